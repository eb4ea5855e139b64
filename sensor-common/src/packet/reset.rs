//! Turning a segment into a reset: towards the server, to end a connection there; or back to the
//! client, so that someone refused sees more than a timeout.
//!
//! A reset is a bare IP header and a bare TCP header: options and extension headers go, and with them
//! what would make a first fragment of it, which the receiver would wait to complete for ever.

use super::{Family, Headers, Packet, checksum::Checksum, ipv4, ipv6, tcp};
use crate::abi::key::Address;

/// A packet that can be rewritten in place.
pub trait PacketMut: Packet {
    /// Adds bits to the packet's mark, where the hook has one.
    fn mark(&mut self, _bits: u32) {}

    /// Overwrites two bytes, wire order.
    fn store_half(&mut self, offset: u32, half: u16) -> bool;
    /// Overwrites words, wire order.
    fn store_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> bool;
    /// Cuts everything from `len` on.
    fn truncate(&mut self, len: u32) -> bool;
}

/// Don't Fragment, the one flag of IPv4 that a reset keeps.
const DONT_FRAGMENT: u32 = 0x4000;

/// Hop limit of an answer (RFC 1700's recommended default).
const HOP_LIMIT: u32 = 64;

/// Turns the client's segment into a reset with exactly the sequence number that the server
/// expects, the only one that it obeys (RFC 5961, section 3.2). `false`: it could not be
/// rewritten, and is fit only to be dropped.
#[inline(never)]
pub fn to_server<P: PacketMut>(packet: &mut P, headers: &Headers, seq: u32) -> bool {
    let key = &headers.key;
    let ports = ports(key.remote_port, key.local_port);
    let at = match headers.family {
        Family::V4 => write_v4(packet, headers, key.remote, key.local, None),
        Family::V6 => write_v6(packet, headers, None),
    };
    at.is_some_and(|at| {
        write_tcp(packet, headers, at, ports, seq, 0, tcp::RST)
            && packet.truncate(at + tcp::HEADER_LEN)
    })
}

/// Turns a segment around into the reset that a closed port would send (RFC 9293, section
/// 3.10.7.1). `ethernet`: whether there is an Ethernet header, whose ends must change places too.
#[inline(never)]
pub fn to_client<P: PacketMut>(packet: &mut P, headers: &Headers, ethernet: bool) -> bool {
    let (key, segment) = (&headers.key, &headers.segment);
    let ports = ports(key.local_port, key.remote_port);
    let (seq, ack, flags) = if segment.has(tcp::ACK) {
        (segment.ack, 0, tcp::RST)
    } else {
        (0, segment.next_seq(), tcp::RST | tcp::ACK)
    };
    if ethernet && !swap_ends(packet) {
        return false;
    }
    let at = match headers.family {
        Family::V4 => write_v4(packet, headers, key.local, key.remote, Some(HOP_LIMIT)),
        Family::V6 => {
            let at = headers.network_at + 8;
            let swapped =
                packet.store_words(at, &key.local) && packet.store_words(at + 16, &key.remote);
            if swapped { write_v6(packet, headers, Some(HOP_LIMIT)) } else { None }
        }
    };
    at.is_some_and(|at| {
        write_tcp(packet, headers, at, ports, seq, ack, flags)
            && packet.truncate(at + tcp::HEADER_LEN)
    })
}

/// Two ports, wire order, as the first word of a header.
#[inline(always)]
const fn ports(source: u16, destination: u16) -> u32 {
    (((u16::from_be(source) as u32) << 16) | u16::from_be(destination) as u32).to_be()
}

/// Writes a 20-byte TCP header with its checksum.
#[inline(always)]
fn write_tcp<P: PacketMut>(
    packet: &mut P,
    headers: &Headers,
    at: u32,
    ports: u32,
    seq: u32,
    ack: u32,
    flags: u8,
) -> bool {
    let control = (5 << 28 | u32::from(flags) << 16).to_be();
    let (seq, ack) = (seq.to_be(), ack.to_be());
    let is_v4 = headers.family == Family::V4;
    let sum = Checksum::default()
        .address(&headers.key.remote, is_v4)
        .address(&headers.key.local, is_v4)
        .word((tcp::TCP << 16 | tcp::HEADER_LEN).to_be())
        .word(ports)
        .word(seq)
        .word(ack)
        .word(control)
        .finish();
    let last = u32::from(u16::from_be(sum)) << 16;
    packet.store_words(at, &[ports, seq, ack, control, last.to_be()])
}

/// Makes the IPv4 header one of 20 bytes that says so. Returns where the TCP header goes.
#[inline(always)]
fn write_v4<P: PacketMut>(
    packet: &mut P,
    headers: &Headers,
    source: Address,
    destination: Address,
    ttl: Option<u32>,
) -> Option<u32> {
    let at = headers.network_at;
    let [first, fragment, lifetime] = packet.words::<3>(at)?;
    let service = u32::from_be(first) & 0x00ff_0000;
    let first = (0x4500_0000 | service | (ipv4::HEADER_LEN + tcp::HEADER_LEN)).to_be();
    let fragment = (u32::from_be(fragment) & (0xffff_0000 | DONT_FRAGMENT)).to_be();
    let ttl = ttl.unwrap_or(u32::from_be(lifetime) >> 24);
    let lifetime = ttl << 24 | tcp::TCP << 16;
    let sum = Checksum::default()
        .word(first)
        .word(fragment)
        .word(lifetime.to_be())
        .address(&source, true)
        .address(&destination, true)
        .finish();
    let lifetime = (lifetime | u32::from(u16::from_be(sum))).to_be();
    let ([_, _, _, source], [_, _, _, destination]) = (source, destination);
    packet
        .store_words(at, &[first, fragment, lifetime, source, destination])
        .then_some(at + ipv4::HEADER_LEN)
}

/// Makes the IPv6 header say that TCP follows at once. Returns where the TCP header goes.
#[inline(always)]
fn write_v6<P: PacketMut>(
    packet: &mut P,
    headers: &Headers,
    hop_limit: Option<u32>,
) -> Option<u32> {
    let at = headers.network_at;
    let [lengths] = packet.words::<1>(at + 4)?;
    let limit = hop_limit.unwrap_or(u32::from_be(lengths) & 0xff);
    let lengths = tcp::HEADER_LEN << 16 | tcp::TCP << 8 | limit;
    packet.store_words(at + 4, &[lengths.to_be()]).then_some(at + ipv6::HEADER_LEN)
}

#[inline(always)]
fn swap_ends<P: PacketMut>(packet: &mut P) -> bool {
    for at in [0, 2, 4] {
        let (Some(destination), Some(source)) = (packet.half(at), packet.half(at + 6)) else {
            return false;
        };
        if !packet.store_half(at, source) || !packet.store_half(at + 6, destination) {
            return false;
        }
    }
    true
}
