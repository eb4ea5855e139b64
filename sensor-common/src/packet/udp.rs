//! UDP (RFC 768): ports, and the DHCP exchanges that no verdict may hold back.

use super::{Family, Headers, Heading, Packet};
use crate::abi::Reason;

/// IANA protocol number.
pub const UDP: u32 = 17;
/// Bytes of the header.
pub const HEADER_LEN: u32 = 8;

/// Reads the ports.
#[inline(always)]
pub fn read<P: Packet>(packet: &P, heading: Heading, headers: &mut Headers) -> Result<(), Reason> {
    let [ports, _] = packet.words::<2>(headers.transport_at).ok_or(Reason::PassTruncated)?;
    if headers.transport_at + HEADER_LEN > headers.end {
        return Err(Reason::PassTruncated);
    }
    let ports = u32::from_be(ports);
    headers.set_ports(heading, ((ports >> 16) as u16).to_be(), (ports as u16).to_be());
    Ok(())
}

/// Whether the ports are those of DHCP (RFC 2131) or DHCPv6 (RFC 8415).
#[inline(always)]
#[must_use]
pub const fn is_dhcp(headers: &Headers) -> bool {
    let (server, client) = match headers.family {
        Family::V4 => (67, 68),
        Family::V6 => (547, 546),
    };
    let remote = u16::from_be(headers.key.remote_port);
    let local = u16::from_be(headers.key.local_port);
    (remote == server || remote == client) && (local == server || local == client)
}
