//! What a device says that it can do with XDP: the `netdev` family of generic netlink
//! (Documentation/netlink/specs/netdev.yaml), kernel 6.3 and later.

use std::io;

use nix::sys::socket::SockProtocol;
use serde::{Deserialize, Serialize};

use super::netlink::{Netlink, ONE, attributes, push_attribute, u16_at, u32_at};

/// `struct genlmsghdr`
const GENL: usize = 4;

// include/uapi/linux/genetlink.h
const CONTROL_FAMILY: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

// include/uapi/linux/netdev.h
const DEVICE_GET: u8 = 1;
const DEVICE_IFINDEX: u16 = 1;
const DEVICE_XDP_FEATURES: u16 = 3;
const BASIC: u64 = 1 << 0;
const RX_SG: u64 = 1 << 5;

/// What a driver does natively.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpFeatures {
    /// Runs programs that pass, drop and send back.
    pub native: bool,
    /// Hands them packets that do not fit into one buffer.
    pub fragments: bool,
}

/// Asks a device; `None` if this kernel cannot be asked (before 6.3).
pub fn of(ifindex: u32) -> io::Result<Option<XdpFeatures>> {
    let mut netlink = Netlink::open(SockProtocol::NetlinkGeneric)?;
    let mut family = None;
    let mut body = vec![GET_FAMILY, 1, 0, 0];
    push_attribute(&mut body, FAMILY_NAME, b"netdev\0");
    let asked = netlink.request(CONTROL_FAMILY, ONE, &body, |_, payload| {
        family = attribute(payload, FAMILY_ID).and_then(|value| u16_at(value, 0));
    });
    match asked {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        other => other?,
    }
    let Some(family) = family else {
        return Ok(None);
    };
    let mut features = None;
    let mut body = vec![DEVICE_GET, 1, 0, 0];
    push_attribute(&mut body, DEVICE_IFINDEX, &ifindex.to_ne_bytes());
    netlink.request(family, ONE, &body, |_, payload| {
        features = attribute(payload, DEVICE_XDP_FEATURES).and_then(parse);
    })?;
    Ok(features)
}

fn attribute(payload: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(payload.get(GENL..)?).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// The value is a 64-bit word, of which all known bits are in the first 32.
fn parse(value: &[u8]) -> Option<XdpFeatures> {
    let low = u32_at(value, if cfg!(target_endian = "little") { 0 } else { 4 })?;
    let bits = u64::from(low);
    Some(XdpFeatures { native: bits & BASIC != 0, fragments: bits & RX_SG != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_runs_no_native_programs() {
        // Where the kernel cannot be asked there is nothing to compare.
        if let Some(features) = of(1).unwrap() {
            assert_eq!(features, XdpFeatures { native: false, fragments: false });
        }
    }

    #[test]
    fn feature_bits_are_read() {
        let native = parse(&(BASIC | 1 << 2).to_ne_bytes()).unwrap();
        assert_eq!(native, XdpFeatures { native: true, fragments: false });
        assert!(parse(&(BASIC | RX_SG).to_ne_bytes()).unwrap().fragments);
    }
}
