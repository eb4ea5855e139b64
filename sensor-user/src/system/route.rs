//! Gateways: a verdict on one of them would cut this host off.
//!
//! Those of every route of every table, of both families, link-local ones included; and when addresses
//! or routes change.

use std::{collections::BTreeSet, io, net::IpAddr, time::Duration};

use nix::sys::socket::SockProtocol;

use super::netlink::{DUMP, Netlink, attributes, u16_at};

/// `struct rtmsg`
const RTMSG: usize = 12;
/// `struct rtnexthop`
const NEXTHOP: usize = 8;

// RTA_* of include/uapi/linux/rtnetlink.h
const GATEWAY: u16 = 5;
const MULTIPATH: u16 = 9;
const VIA: u16 = 18;

// RTMGRP_* of the same
const GROUPS: u32 = 0x10 | 0x40 | 0x100 | 0x400;

/// Most gateways that count: a router has hundreds of thousands of routes, but not of neighbours.
const MOST: usize = 1024;

/// The gateways of every route, of both families and of every table, in this thread's network
/// namespace; not more than 1024.
pub fn gateways() -> io::Result<Vec<IpAddr>> {
    let mut gateways = BTreeSet::new();
    let mut netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let mut body = [0; RTMSG];
        body[0] = family as u8;
        netlink.request(libc::RTM_GETROUTE, DUMP, &body, |kind, payload| {
            if kind == libc::RTM_NEWROUTE {
                collect(payload, &mut gateways);
            }
        })?;
    }
    Ok(gateways.into_iter().take(MOST).collect())
}

/// Hears that addresses or routes of this thread's network namespace change.
pub struct Changes(Netlink);

impl Changes {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the kernel has no such socket for this process.
    pub fn listen() -> io::Result<Self> {
        Netlink::listen(SockProtocol::NetlinkRoute, GROUPS).map(Self)
    }

    /// Waits for as long until something changes; whether something did.
    ///
    /// # Errors
    /// If the socket is broken.
    pub fn within(&mut self, time: Duration) -> io::Result<bool> {
        self.0.is_told(time)
    }
}

fn collect(payload: &[u8], gateways: &mut BTreeSet<IpAddr>) {
    for (kind, value) in attributes(payload.get(RTMSG..).unwrap_or_default()) {
        match kind {
            GATEWAY | VIA => gateways.extend(gateway(kind, value)),
            MULTIPATH => {
                let mut rest = value;
                while let Some(hop) =
                    u16_at(rest, 0).and_then(|n| rest.get(NEXTHOP..usize::from(n)))
                {
                    let nested = attributes(hop).filter(|(kind, _)| matches!(*kind, GATEWAY | VIA));
                    gateways.extend(nested.filter_map(|(kind, value)| gateway(kind, value)));
                    rest = rest.get((NEXTHOP + hop.len() + 3) & !3..).unwrap_or_default();
                }
            }
            _ => {}
        }
    }
}

/// `RTA_GATEWAY` is an address of the route's family, `RTA_VIA` has its own family before it.
fn gateway(kind: u16, value: &[u8]) -> Option<IpAddr> {
    let bytes = if kind == VIA { value.get(2..)? } else { value };
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::push_attribute, *};

    fn route(destination_bits: u8, attribute: (u16, &[u8])) -> Vec<u8> {
        let mut payload = vec![0; RTMSG];
        payload[1] = destination_bits;
        push_attribute(&mut payload, attribute.0, attribute.1);
        payload
    }

    #[test]
    fn every_route_names_its_gateway() {
        let mut found = BTreeSet::new();
        collect(&route(24, (GATEWAY, &[192, 0, 2, 9])), &mut found);
        collect(&route(0, (GATEWAY, &[192, 0, 2, 1])), &mut found);
        collect(&route(0, (VIA, &[2, 0, 192, 0, 2, 7])), &mut found);
        collect(&route(0, (3, &[192, 0, 2, 8])), &mut found);
        let link_local: std::net::Ipv6Addr = "fe80::1".parse().unwrap();
        collect(&route(0, (GATEWAY, &link_local.octets())), &mut found);
        let expected = ["192.0.2.1", "192.0.2.7", "192.0.2.9", "fe80::1"];
        assert_eq!(found, expected.iter().map(|it| it.parse().unwrap()).collect());
    }

    #[test]
    fn every_hop_of_a_multipath_route_counts() {
        let mut hops = Vec::new();
        for last in [1, 2] {
            let mut hop = vec![0; NEXTHOP];
            push_attribute(&mut hop, GATEWAY, &[192, 0, 2, last]);
            let length = (hop.len() as u16).to_ne_bytes();
            hop[..2].copy_from_slice(&length);
            hops.extend(hop);
        }
        let mut found = BTreeSet::new();
        collect(&route(0, (MULTIPATH, &hops)), &mut found);
        assert_eq!(found, [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])].into());
    }

    #[test]
    fn the_running_kernel_answers() {
        gateways().unwrap();
    }

    #[test]
    fn a_new_address_is_told_at_once() {
        crate::system::netns::private(|| {
            let mut changes = Changes::listen().unwrap();
            assert!(!changes.within(Duration::from_millis(50)).unwrap(), "nothing happened");
            let mut ip = std::process::Command::new("ip");
            let added = ip.args(["address", "add", "192.0.2.9/32", "dev", "lo"]).status();
            assert!(added.unwrap().success());
            assert!(changes.within(Duration::from_secs(5)).unwrap());
        });
    }
}
