//! IPv4 (RFC 791): header, options passed over, fragments.

use super::{Family, Headers, Heading, Packet};
use crate::abi::{Reason, key::V4_MAPPED};

/// Bytes of a header without options.
pub const HEADER_LEN: u32 = 20;
/// Fragment offset, in the low bits of flags and offset.
const OFFSET_MASK: u32 = 0x1fff;

/// Reads the header at `headers.network_at`.
#[inline(always)]
pub fn read<P: Packet>(packet: &P, heading: Heading, headers: &mut Headers) -> Result<(), Reason> {
    let at = headers.network_at;
    let [first, fragment, lifetime, source, destination] =
        packet.words::<5>(at).ok_or(Reason::PassTruncated)?;
    let first = u32::from_be(first);
    let lifetime = u32::from_be(lifetime);
    let header_len = (first >> 24 & 0xf) * 4;
    let total_len = first & 0xffff;
    if first >> 28 != 4 || header_len < HEADER_LEN {
        return Err(Reason::PassMalformed);
    }
    // A super-packet longer than 64 KiB carries 0 here (BIG TCP, kernel 6.3): its buffer tells.
    let end = if total_len == 0 && P::APPROXIMATE { packet.len() } else { at + total_len };
    if end < at + header_len {
        return Err(Reason::PassMalformed);
    }
    if !packet.holds(end) {
        return Err(Reason::PassTruncated);
    }
    let (remote, local) = match heading {
        Heading::Ingress => (source, destination),
        Heading::Egress => (destination, source),
    };
    headers.family = Family::V4;
    headers.key.remote = [0, 0, V4_MAPPED, remote];
    headers.key.local = [0, 0, V4_MAPPED, local];
    headers.key.protocol = lifetime >> 16 & 0xff;
    headers.transport_at = at + header_len;
    headers.end = end;
    headers.ttl = (lifetime >> 24) as u8;
    if u32::from_be(fragment) & OFFSET_MASK != 0 {
        headers.reason = Reason::PassFragment;
    }
    Ok(())
}
