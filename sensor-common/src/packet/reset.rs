//! Turning a segment into a reset: towards the server, to end a connection there; or back to the
//! client, so that someone refused sees more than a timeout.

use super::{Family, Headers, Packet, checksum::Checksum, ipv6, tcp};

/// A packet that can be rewritten in place.
pub trait PacketMut: Packet {
    /// Overwrites two bytes, wire order.
    fn store_half(&mut self, offset: u32, half: u16) -> bool;
    /// Overwrites words, wire order.
    fn store_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> bool;
    /// Cuts everything from `len` on.
    fn truncate(&mut self, len: u32) -> bool;
}

/// Hop limit of an answer (RFC 1700's recommended default).
const HOP_LIMIT: u32 = 64;

/// Turns the client's segment into a reset with exactly the sequence number that the server
/// expects, the only one that it obeys (RFC 5961, section 3.2). `false`: it could not be
/// rewritten, and is fit only to be dropped.
#[inline(never)]
pub fn to_server<P: PacketMut>(packet: &mut P, headers: &Headers, seq: u32) -> bool {
    let Some([ports, _, _, _, _]) = packet.words::<5>(headers.transport_at) else {
        return false;
    };
    shorten(packet, headers, None)
        && write_tcp(packet, headers, ports, seq, 0, tcp::RST)
        && packet.truncate(headers.transport_at + tcp::HEADER_LEN)
}

/// Turns a segment around into the reset that a closed port would send (RFC 9293, section
/// 3.10.7.1). `ethernet`: whether there is an Ethernet header, whose ends must change places too.
#[inline(never)]
pub fn to_client<P: PacketMut>(packet: &mut P, headers: &Headers, ethernet: bool) -> bool {
    let segment = &headers.segment;
    let ports = u32::from(u16::from_be(headers.key.local_port)) << 16
        | u32::from(u16::from_be(headers.key.remote_port));
    let (seq, ack, flags) = if segment.has(tcp::ACK) {
        (segment.ack, 0, tcp::RST)
    } else {
        (0, segment.next_seq(), tcp::RST | tcp::ACK)
    };
    (!ethernet || swap_ends(packet))
        && shorten(packet, headers, Some(HOP_LIMIT))
        && swap_addresses(packet, headers)
        && write_tcp(packet, headers, ports.to_be(), seq, ack, flags)
        && packet.truncate(headers.transport_at + tcp::HEADER_LEN)
}

/// Writes a 20-byte TCP header with its checksum.
#[inline(always)]
fn write_tcp<P: PacketMut>(
    packet: &mut P,
    headers: &Headers,
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
    packet.store_words(headers.transport_at, &[ports, seq, ack, control, last.to_be()])
}

/// Sets the IP length to the headers alone, and the hop limit if one is given.
#[inline(always)]
fn shorten<P: PacketMut>(packet: &mut P, headers: &Headers, hop_limit: Option<u32>) -> bool {
    let at = headers.network_at;
    let header_bytes = headers.transport_at - at;
    match headers.family {
        Family::V4 => {
            let Some([first, fragment, lifetime]) = packet.words::<3>(at) else {
                return false;
            };
            let old_sum = u32::from_be(lifetime) & 0xffff;
            let new_first =
                (u32::from_be(first) & 0xffff_0000 | (header_bytes + tcp::HEADER_LEN)).to_be();
            let ttl = hop_limit.unwrap_or(u32::from_be(lifetime) >> 24);
            let cleared = (u32::from_be(lifetime) & 0x00ff_0000 | ttl << 24).to_be();
            // RFC 1624: HC' = ~(~HC + ~m + m').
            let sum = Checksum::default()
                .word((!old_sum & 0xffff).to_be())
                .word(!first)
                .word(new_first)
                .word(!(lifetime & 0xffff_0000_u32.to_be()))
                .word(cleared)
                .finish();
            let new_lifetime = (u32::from_be(cleared) | u32::from(u16::from_be(sum))).to_be();
            packet.store_words(at, &[new_first, fragment, new_lifetime])
        }
        Family::V6 => {
            let Some([lengths]) = packet.words::<1>(at + 4) else {
                return false;
            };
            let lengths = u32::from_be(lengths);
            let limit = hop_limit.unwrap_or(lengths & 0xff);
            let payload = header_bytes - ipv6::HEADER_LEN + tcp::HEADER_LEN;
            let new = payload << 16 | lengths & 0xff00 | limit;
            packet.store_words(at + 4, &[new.to_be()])
        }
    }
}

#[inline(always)]
fn swap_addresses<P: PacketMut>(packet: &mut P, headers: &Headers) -> bool {
    match headers.family {
        Family::V4 => {
            let [_, _, _, remote] = headers.key.remote;
            let [_, _, _, local] = headers.key.local;
            packet.store_words(headers.network_at + 12, &[local, remote])
        }
        Family::V6 => {
            let at = headers.network_at + 8;
            packet.store_words(at, &headers.key.local)
                && packet.store_words(at + 16, &headers.key.remote)
        }
    }
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
