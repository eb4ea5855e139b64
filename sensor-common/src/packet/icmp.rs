//! The ICMP messages that no verdict may hold back, because the network itself breaks without.

use super::{Family, Headers, Packet};

/// IANA protocol number of ICMP.
pub const ICMP: u32 = 1;
/// IANA protocol number of ICMPv6.
pub const ICMPV6: u32 = 58;

/// Destination unreachable, fragmentation needed (RFC 1191), as the header's first half.
const V4_FRAGMENTATION_NEEDED: u16 = 0x0304;
/// Packet too big (RFC 8201).
const V6_PACKET_TOO_BIG: u8 = 2;
/// MLD query, report, done (RFC 2710), and report version 2 (RFC 3810).
const V6_MLD: core::ops::RangeInclusive<u8> = 130..=132;
const V6_MLD_REPORT2: u8 = 143;
/// Router and neighbour solicitation, advertisement, redirect (RFC 4861).
const V6_NEIGHBOUR_DISCOVERY: core::ops::RangeInclusive<u8> = 133..=137;

/// Whether this is path-MTU discovery, neighbour discovery or multicast listener discovery.
#[inline(always)]
pub fn is_essential<P: Packet>(packet: &P, headers: &Headers) -> bool {
    let Some(head) = packet.half(headers.transport_at).map(u16::from_be) else {
        return false;
    };
    match headers.family {
        Family::V4 => headers.key.protocol == ICMP && head == V4_FRAGMENTATION_NEEDED,
        Family::V6 => {
            let kind = (head >> 8) as u8;
            headers.key.protocol == ICMPV6
                && (kind == V6_PACKET_TOO_BIG
                    || V6_MLD.contains(&kind)
                    || kind == V6_MLD_REPORT2
                    // From a router it would have been decremented: RFC 4861, section 6.1.
                    || V6_NEIGHBOUR_DISCOVERY.contains(&kind) && headers.ttl == 255)
        }
    }
}
