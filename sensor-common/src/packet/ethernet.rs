//! Ethernet II and VLAN tags (IEEE 802.1Q, 802.1ad).

use super::Packet;
use crate::abi::Reason;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Tag protocol of 802.1Q.
const VLAN: u16 = 0x8100;
/// Tag protocol of 802.1ad (the outer tag of QinQ).
const SERVICE_VLAN: u16 = 0x88a8;
/// Tags that the parser follows. A tag that the driver moved to metadata is not in the packet.
const MAX_TAGS: u32 = 2;
/// Bytes of an untagged header.
pub const HEADER_LEN: u32 = 14;
/// Bytes that a tag adds.
const TAG_LEN: u32 = 4;

/// The EtherType (host order) and where its payload begins.
#[inline(always)]
pub fn payload<P: Packet>(packet: &P) -> Result<(u16, u32), Reason> {
    let mut at = HEADER_LEN;
    let mut ethertype = read(packet, at - 2)?;
    for _ in 0..MAX_TAGS {
        if ethertype != VLAN && ethertype != SERVICE_VLAN {
            return Ok((ethertype, at));
        }
        at += TAG_LEN;
        ethertype = read(packet, at - 2)?;
    }
    if ethertype == VLAN || ethertype == SERVICE_VLAN {
        return Err(Reason::PassTooDeep);
    }
    Ok((ethertype, at))
}

#[inline(always)]
fn read<P: Packet>(packet: &P, at: u32) -> Result<u16, Reason> {
    packet.half(at).map(u16::from_be).ok_or(Reason::PassTruncated)
}
