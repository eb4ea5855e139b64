//! IP packets put together from their fragments (RFC 791, section 3.2; RFC 8200, section 4.5).
//!
//! The first copy of a byte wins. Memory is bounded; the packet that was touched least recently goes
//! first, and is counted.

use crate::{fingerprint::assembly::Assembly, profile::lru::Lru};

/// Packets that are put together at a time.
const MAX_PACKETS: usize = 1_024;
/// Bytes that they may hold: what Linux allows (`net.ipv4.ipfrag_high_thresh`).
const MAX_BYTES: usize = 4 << 20;
/// A fragment that comes later belongs to another packet with the same number: what Linux waits
/// (`net.ipv4.ipfrag_time`).
const PATIENCE_NS: u64 = 30_000_000_000;
/// Longest payload of a packet.
const MAX_PAYLOAD: u32 = u16::MAX as u32;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const MORE_FRAGMENTS: u16 = 0x2000;
const FRAGMENT_HEADER: u8 = 44;
/// Extension headers before the fragment header that are followed.
const MAX_EXTENSIONS: usize = 8;

/// What tells the packets apart: addresses, number, protocol.
type Key = ([u8; 16], [u8; 16], u32, u8);

#[derive(Debug)]
struct Fragment<'a> {
    key: Key,
    offset: u32,
    more: bool,
    payload: &'a [u8],
    /// The packet's header, as the whole packet has it but for its length.
    header: Vec<u8>,
}

#[derive(Debug)]
struct Partial {
    since_ns: u64,
    payload: Assembly,
    length: Option<u32>,
}

impl Partial {
    const fn new(since_ns: u64) -> Self {
        Self { since_ns, payload: Assembly::new(MAX_PAYLOAD), length: None }
    }
}

/// What a packet turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reassembly {
    /// No fragment.
    Whole,
    /// A fragment; others are missing.
    Waiting,
    /// The last missing fragment: the packet.
    Complete(Vec<u8>),
}

/// Packets of which not all fragments came yet.
#[derive(Debug)]
pub struct Fragments {
    // One more than is ever kept: whoever goes is chosen here.
    partial: Lru<Key, Partial>,
    held: usize,
    evicted: u64,
}

impl Fragments {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { partial: Lru::new(MAX_PACKETS + 1), held: 0, evicted: 0 }
    }

    /// Looks at an IP packet.
    pub fn add(&mut self, ip: &[u8], time_ns: u64) -> Reassembly {
        let Some(fragment) = read(ip) else {
            return Reassembly::Whole;
        };
        let (partial, _) = self.partial.get_or_insert(&fragment.key, || Partial::new(time_ns));
        let before = partial.payload.held();
        if time_ns.abs_diff(partial.since_ns) > PATIENCE_NS {
            *partial = Partial::new(time_ns);
        }
        let end = fragment.offset + fragment.payload.len() as u32;
        if !fragment.more && partial.length.is_none() {
            partial.length = Some(end);
        }
        // A fragment too many is as good as a lost one.
        let _ = partial.payload.insert(fragment.offset, fragment.payload);
        let whole =
            partial.length.and_then(|length| partial.payload.front().get(..length as usize));
        let complete = whole.and_then(|payload| packet(fragment.header, payload));
        let after = if complete.is_some() { 0 } else { partial.payload.held() };
        self.held = (self.held + after).saturating_sub(before);
        if complete.is_some() {
            self.partial.remove(&fragment.key);
        }
        self.make_room();
        complete.map_or(Reassembly::Waiting, Reassembly::Complete)
    }

    /// Packets that had to go, unfinished, for others.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Packets of which something is missing.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.partial.iter().filter(|(_, partial)| !partial.payload.is_empty()).count() as u64
    }

    fn make_room(&mut self) {
        while (self.partial.len() > MAX_PACKETS || self.held > MAX_BYTES)
            && let Some((_, partial)) = self.partial.pop_oldest_if(|_| true)
        {
            self.held = self.held.saturating_sub(partial.payload.held());
            self.evicted += u64::from(!partial.payload.is_empty());
        }
    }
}

impl Default for Fragments {
    fn default() -> Self {
        Self::new()
    }
}

fn read(ip: &[u8]) -> Option<Fragment<'_>> {
    match ip.first()? >> 4 {
        4 => read_v4(ip),
        6 => read_v6(ip),
        _ => None,
    }
}

fn read_v4(ip: &[u8]) -> Option<Fragment<'_>> {
    let place = half(ip, 6)?;
    let (offset, more) = (u32::from(place & 0x1fff) * 8, place & MORE_FRAGMENTS != 0);
    if offset == 0 && !more {
        return None;
    }
    let header_len = usize::from(ip.first()? & 0xf) * 4;
    let payload = ip.get(header_len..usize::from(half(ip, 2)?))?;
    let mut header = ip.get(..IPV4_HEADER)?.to_vec();
    // Without options, and whole.
    *header.first_mut()? = 0x45;
    header.get_mut(6..8)?.fill(0);
    let protocol = *ip.get(9)?;
    let mut key = ([0; 16], [0; 16], u32::from(half(ip, 4)?), protocol);
    key.0.first_chunk_mut::<4>()?.copy_from_slice(ip.get(12..16)?);
    key.1.first_chunk_mut::<4>()?.copy_from_slice(ip.get(16..20)?);
    Some(Fragment { key, offset, more, payload, header })
}

fn read_v6(ip: &[u8]) -> Option<Fragment<'_>> {
    let end = IPV6_HEADER + usize::from(half(ip, 4)?);
    let at = fragment_header(ip)?;
    let [next, _, high, low, id @ ..] = *ip.get(at..)?.first_chunk::<8>()?;
    let place = u16::from_be_bytes([high, low]);
    let payload = ip.get(at + 8..end)?;
    // The headers that every fragment has are not needed to read the packet.
    let mut header = ip.get(..IPV6_HEADER)?.to_vec();
    *header.get_mut(6)? = next;
    let source = *ip.get(8..)?.first_chunk()?;
    let destination = *ip.get(24..)?.first_chunk()?;
    let key = (source, destination, u32::from_be_bytes(id), 0);
    Some(Fragment { key, offset: u32::from(place & 0xfff8), more: place & 1 != 0, payload, header })
}

/// Where an IPv6 packet's fragment header is, behind headers for every hop and for routers.
fn fragment_header(ip: &[u8]) -> Option<usize> {
    let mut next = *ip.get(6)?;
    let mut at = IPV6_HEADER;
    for _ in 0..MAX_EXTENSIONS {
        match next {
            FRAGMENT_HEADER => return Some(at),
            // Hop-by-hop options, routing, destination options.
            0 | 43 | 60 => {
                next = *ip.get(at)?;
                at += (usize::from(*ip.get(at + 1)?) + 1) * 8;
            }
            _ => return None,
        }
    }
    None
}

/// The whole packet; `None` if it would be longer than a packet can be.
fn packet(header: Vec<u8>, payload: &[u8]) -> Option<Vec<u8>> {
    let mut packet = header;
    let is_v4 = packet.len() == IPV4_HEADER;
    // IPv6 does not count its own header.
    let (field, counted) =
        if is_v4 { (2, packet.len() + payload.len()) } else { (4, payload.len()) };
    let length = u16::try_from(counted).ok()?;
    packet.get_mut(field..field + 2)?.copy_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(payload);
    Some(packet)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::packet::{
        Packet,
        tests::{ipv4, udp},
    };

    /// A fragment of a packet's payload; multiples of 8 but for the end.
    fn v4(number: u8, payload: &[u8], from: usize, to: usize) -> Vec<u8> {
        let mut fragment = ipv4(17, &payload[from..to]);
        let more = if to < payload.len() { MORE_FRAGMENTS } else { 0 };
        fragment[5] = number;
        fragment[6..8].copy_from_slice(&(more | (from / 8) as u16).to_be_bytes());
        fragment
    }

    fn v6(payload: &[u8], from: usize, to: usize) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(((to - from + 16) as u16).to_be_bytes());
        packet.extend([0, 64]);
        packet.extend([0x20; 32]);
        // Hop-by-hop options, then the fragment header.
        packet.extend([44, 0, 1, 4, 0, 0, 0, 0]);
        packet.extend([17, 0]);
        packet.extend((from as u16 | u16::from(to < payload.len())).to_be_bytes());
        packet.extend([0, 0, 0, 9]);
        packet.extend(&payload[from..to]);
        packet
    }

    fn complete(reassembly: Reassembly) -> Vec<u8> {
        match reassembly {
            Reassembly::Complete(packet) => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn both_families_in_any_order() {
        let payload = udp(&[7; 3000]);
        let end = payload.len();
        for fragment in [|p: &[u8], a, b| v4(1, p, a, b), v6] {
            let mut fragments = Fragments::new();
            assert_eq!(fragments.add(&fragment(&payload, 1600, end), 0), Reassembly::Waiting);
            assert_eq!(fragments.add(&fragment(&payload, 0, 800), 0), Reassembly::Waiting);
            assert_eq!(fragments.add(&fragment(&payload, 0, 800), 0), Reassembly::Waiting);
            assert_eq!(fragments.unfinished(), 1);
            let packet = complete(fragments.add(&fragment(&payload, 800, 1600), 0));
            let packet = Packet::read(&packet, packet.len() as u32).unwrap();
            assert_eq!(packet.payload, &[7; 3000]);
            assert_eq!((fragments.unfinished(), fragments.held), (0, 0));
        }
    }

    #[test]
    fn a_number_used_again_later_is_another_packet() {
        let (old, new) = (udp(&[1; 100]), udp(&[2; 100]));
        let mut fragments = Fragments::new();
        fragments.add(&v4(1, &old, 0, 48), 0);
        fragments.add(&v4(1, &new, 0, 48), PATIENCE_NS + 1);
        let packet = complete(fragments.add(&v4(1, &new, 48, 108), PATIENCE_NS + 2));
        assert_eq!(packet[28..], [2; 100]);
    }

    #[test]
    fn what_is_whole_passes_and_what_makes_no_sense_waits() {
        let mut fragments = Fragments::new();
        let whole = ipv4(17, &udp(b"x"));
        assert_eq!(fragments.add(&whole, 0), Reassembly::Whole);
        assert_eq!(fragments.add(&[], 0), Reassembly::Whole);
        // The "ping of death": the last fragment ends behind the longest packet.
        let payload = vec![0; 65_528 + 80];
        for (from, to) in [(65_528, 65_608), (0, 32_768), (32_768, 65_528)] {
            assert_eq!(fragments.add(&v4(1, &payload, from, to), 0), Reassembly::Waiting);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut fragments = Fragments::new();
        let payload = vec![0; 40_000];
        for number in 0..=255 {
            fragments.add(&v4(number, &payload, 30_000, 39_992), 0);
            assert!(fragments.held <= MAX_BYTES);
        }
        assert!(fragments.evicted() > 100);
    }
}
