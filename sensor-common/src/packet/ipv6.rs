//! IPv6 (RFC 8200): header and a bounded chain of extension headers.

use super::{Family, Headers, Heading, Packet};
use crate::abi::Reason;

/// Bytes of the fixed header.
pub const HEADER_LEN: u32 = 40;
/// Extension headers that the parser follows.
pub const MAX_EXTENSIONS: u32 = 6;

const HOP_BY_HOP: u32 = 0;
const ROUTING: u32 = 43;
const FRAGMENT: u32 = 44;
const AUTHENTICATION: u32 = 51;
const DESTINATION_OPTIONS: u32 = 60;
const MOBILITY: u32 = 135;

/// Fragment offset, in the high bits of the fragment header's second half.
const OFFSET_MASK: u32 = 0xfff8;

/// Reads the header at `headers.network_at`, and its extensions.
#[inline(always)]
pub fn read<P: Packet>(packet: &P, heading: Heading, headers: &mut Headers) -> Result<(), Reason> {
    let at = headers.network_at;
    let [first, lengths] = packet.words::<2>(at).ok_or(Reason::PassTruncated)?;
    let source = packet.words::<4>(at + 8).ok_or(Reason::PassTruncated)?;
    let destination = packet.words::<4>(at + 24).ok_or(Reason::PassTruncated)?;
    if u32::from_be(first) >> 28 != 6 {
        return Err(Reason::PassMalformed);
    }
    let lengths = u32::from_be(lengths);
    let payload_len = lengths >> 16;
    // 0 means a jumbogram (RFC 2675) or a super-packet longer than 64 KiB: its buffer tells.
    let end = if payload_len == 0 { packet.len() } else { at + HEADER_LEN + payload_len };
    if !packet.holds(end) {
        return Err(Reason::PassTruncated);
    }
    (headers.key.remote, headers.key.local) = match heading {
        Heading::Ingress => (source, destination),
        Heading::Egress => (destination, source),
    };
    headers.family = Family::V6;
    headers.end = end;
    headers.ttl = lengths as u8;
    headers.key.protocol = lengths >> 8 & 0xff;
    headers.transport_at = at + HEADER_LEN;
    follow(packet, headers);
    Ok(())
}

/// Follows the extension headers: moves protocol and transport on, or says why it cannot.
#[inline(always)]
fn follow<P: Packet>(packet: &P, headers: &mut Headers) {
    let mut at = headers.transport_at;
    let mut protocol = headers.key.protocol;
    let mut reason = Reason::Pass;
    for _ in 0..MAX_EXTENSIONS {
        let unit = unit(protocol);
        if unit == Unit::NotAnExtension {
            break;
        }
        let Some([head]) = packet.words::<1>(at) else {
            reason = Reason::PassTruncated;
            break;
        };
        let head = u32::from_be(head);
        protocol = head >> 24;
        let length = head >> 16 & 0xff;
        at += match unit {
            Unit::Eight => (length + 1) * 8,
            Unit::Four => (length + 2) * 4,
            Unit::Fragment | Unit::NotAnExtension => 8,
        };
        if unit == Unit::Fragment && head & OFFSET_MASK != 0 {
            reason = Reason::PassFragment;
            break;
        }
    }
    if reason == Reason::Pass && unit(protocol) != Unit::NotAnExtension {
        reason = Reason::PassTooDeep;
    }
    headers.key.protocol = protocol;
    headers.transport_at = at;
    headers.reason = reason;
}

/// How an extension header states its length.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    NotAnExtension,
    /// In units of 8 bytes, the first one not counted (RFC 8200, section 4).
    Eight,
    /// In units of 4 bytes, minus 2 (RFC 4302, section 2.2).
    Four,
    /// Always 8 bytes.
    Fragment,
}

#[inline(always)]
const fn unit(protocol: u32) -> Unit {
    match protocol {
        HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | MOBILITY => Unit::Eight,
        AUTHENTICATION => Unit::Four,
        FRAGMENT => Unit::Fragment,
        _ => Unit::NotAnExtension,
    }
}
