//! Default gateways: a verdict on one of them would cut this host off.

use std::{io, net::IpAddr};

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

/// The gateways of every default route, of both families, in this thread's network namespace.
pub fn default_gateways() -> io::Result<Vec<IpAddr>> {
    let mut gateways = Vec::new();
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
    gateways.sort_unstable();
    gateways.dedup();
    Ok(gateways)
}

fn collect(payload: &[u8], gateways: &mut Vec<IpAddr>) {
    // rtm_dst_len: only 0.0.0.0/0 and ::/0 are default routes.
    if payload.get(1) != Some(&0) {
        return;
    }
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
    fn only_default_routes_name_default_gateways() {
        let mut found = Vec::new();
        collect(&route(24, (GATEWAY, &[192, 0, 2, 9])), &mut found);
        collect(&route(0, (GATEWAY, &[192, 0, 2, 1])), &mut found);
        collect(&route(0, (VIA, &[2, 0, 192, 0, 2, 7])), &mut found);
        assert_eq!(found, [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 7])]);
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
        let mut found = Vec::new();
        collect(&route(0, (MULTIPATH, &hops)), &mut found);
        assert_eq!(found, [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])]);
    }

    #[test]
    fn the_running_kernel_answers() {
        default_gateways().unwrap();
    }
}
