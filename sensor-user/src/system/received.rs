//! Which interface has a name just now, and how many packets its driver says it received.

use std::io;

use nix::sys::socket::SockProtocol;

use super::netlink::{Netlink, ONE, attributes, push_attribute, u32_at};

/// `struct ifinfomsg`
const IFINFO: usize = 16;
// IFLA_* of include/uapi/linux/if_link.h
const IFNAME: u16 = 3;
const STATS64: u16 = 23;

/// An interface's index and counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Index in this thread's network namespace.
    pub index: u32,
    /// Packets received since it was made (`rx_packets` of `struct rtnl_link_stats64`). Whether what
    /// XDP drops is among them is the driver's choice.
    pub packets: u64,
}

/// Asks about an interface by name. `None`: there is none.
pub fn received(name: &str) -> io::Result<Option<Received>> {
    let mut body = vec![0; IFINFO];
    let mut terminated = name.as_bytes().to_vec();
    terminated.push(0);
    push_attribute(&mut body, IFNAME, &terminated);
    let mut found = None;
    let mut netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
    let asked = netlink.request(libc::RTM_GETLINK, ONE, &body, |kind, payload| {
        if kind == libc::RTM_NEWLINK {
            found = parse(payload);
        }
    });
    match asked {
        Ok(()) => Ok(found),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse(payload: &[u8]) -> Option<Received> {
    let index = u32_at(payload, 4)?;
    let stats = attributes(payload.get(IFINFO..)?).find(|(kind, _)| *kind == STATS64);
    let packets = stats
        .and_then(|(_, value)| Some(u64::from_ne_bytes(value.get(..8)?.try_into().ok()?)))
        .unwrap_or(0);
    Some(Received { index, packets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_the_first_interface_and_an_unknown_one_is_none() {
        assert_eq!(received("lo").unwrap().unwrap().index, 1);
        assert_eq!(received("weir-none").unwrap(), None);
    }
}
