//! TCP (RFC 9293): one segment's fields, and the options that proof and windows need.

use super::{Headers, Heading, Packet};
use crate::abi::Reason;

/// IANA protocol number.
pub const TCP: u32 = 6;
/// Bytes of a header without options.
pub const HEADER_LEN: u32 = 20;

/// FIN flag.
pub const FIN: u8 = 0x01;
/// SYN flag.
pub const SYN: u8 = 0x02;
/// RST flag.
pub const RST: u8 = 0x04;
/// ACK flag.
pub const ACK: u8 = 0x10;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_WINDOW_SCALE: u8 = 3;
/// TCP Fast Open (RFC 7413).
const OPTION_FAST_OPEN: u8 = 34;
/// Shared experimental option (RFC 6994), which early Fast Open used with a magic number.
const OPTION_EXPERIMENT: u8 = 254;
const FAST_OPEN_MAGIC: u16 = 0xf989;
/// Options that the walk follows; real stacks send fewer than ten, NOPs included.
const MAX_OPTIONS: u32 = 16;
/// Largest shift that a receiver may use (RFC 7323, section 2.3).
const MAX_WINDOW_SHIFT: u8 = 14;

/// One segment. Numbers are in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Payload bytes.
    pub payload: u32,
    /// Segments on the wire that this stands for.
    pub segments: u32,
    /// Window, unscaled.
    pub window: u16,
    /// Low eight flags.
    pub flags: u8,
}

/// Reads the header at `headers.transport_at`.
#[inline(always)]
pub fn read<P: Packet>(packet: &P, heading: Heading, headers: &mut Headers) -> Result<(), Reason> {
    let [ports, seq, ack, control, _] =
        packet.words::<5>(headers.transport_at).ok_or(Reason::PassTruncated)?;
    let control = u32::from_be(control);
    let header_len = control >> 28 << 2;
    let payload_at = headers.transport_at + header_len;
    if header_len < HEADER_LEN || payload_at > headers.end {
        return Err(Reason::PassMalformed);
    }
    let ports = u32::from_be(ports);
    headers.set_ports(heading, ((ports >> 16) as u16).to_be(), (ports as u16).to_be());
    headers.segment = Segment {
        seq: u32::from_be(seq),
        ack: u32::from_be(ack),
        payload: headers.end - payload_at,
        segments: packet.segments(),
        window: control as u16,
        flags: (control >> 16) as u8,
    };
    Ok(())
}

impl Segment {
    /// Whether all of `flags` are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// A connection attempt: SYN without ACK, RST or FIN.
    #[inline(always)]
    #[must_use]
    pub const fn is_first_syn(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// The answer to one.
    #[inline(always)]
    #[must_use]
    pub const fn is_syn_ack(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN | ACK
    }

    /// One past the last sequence number that the segment takes.
    #[inline(always)]
    #[must_use]
    pub const fn next_seq(&self) -> u32 {
        let flags = self.has(SYN) as u32 + self.has(FIN) as u32;
        self.seq.wrapping_add(self.payload).wrapping_add(flags)
    }
}

/// What a look through the options ended with.
enum Walk<R> {
    /// The option looked for.
    Found(R),
    /// It is not there.
    Absent,
    /// There are more options than the walk follows.
    TooMany,
}

/// Whether a SYN carries a Fast Open option, with or without a cookie. More options than the walk
/// follows may hide one, and count as one.
#[inline(always)]
pub fn offers_fast_open<P: Packet>(packet: &P, headers: &Headers) -> bool {
    let walk = walk(packet, headers, |kind, _, at| {
        let found = kind == OPTION_FAST_OPEN
            || kind == OPTION_EXPERIMENT && packet.half(at + 2) == Some(FAST_OPEN_MAGIC.to_be());
        found.then_some(())
    });
    !matches!(walk, Walk::Absent)
}

/// The window scale of a SYN-ACK; 0 when there is none.
#[inline(always)]
pub fn window_shift<P: Packet>(packet: &P, headers: &Headers) -> u8 {
    let walk = walk(packet, headers, |kind, length, at| {
        if kind == OPTION_WINDOW_SCALE && length == 3 { packet.byte(at + 2) } else { None }
    });
    match walk {
        Walk::Found(shift) if shift <= MAX_WINDOW_SHIFT => shift,
        Walk::Found(_) => MAX_WINDOW_SHIFT,
        Walk::Absent | Walk::TooMany => 0,
    }
}

/// Shows `find` each option's kind, length and place until it finds. What contradicts itself ends
/// the walk. No state but the place lives through an iteration, so that the verifier has one
/// path to follow.
#[inline(always)]
fn walk<P: Packet, R>(
    packet: &P,
    headers: &Headers,
    find: impl Fn(u8, u32, u32) -> Option<R>,
) -> Walk<R> {
    let mut at = headers.transport_at + HEADER_LEN;
    let Some(offset) = packet.byte(headers.transport_at + 12) else {
        return Walk::Absent;
    };
    let end = headers.transport_at + (u32::from(offset >> 4) << 2);
    for _ in 0..MAX_OPTIONS {
        // The last byte can only be an end or a NOP.
        let Some(option) = packet.half(at).filter(|_| at + 1 < end).map(u16::from_be) else {
            return Walk::Absent;
        };
        let kind = (option >> 8) as u8;
        let length = u32::from(option & 0xff);
        let step = step(kind, length);
        if kind == OPTION_END || step == 0 {
            return Walk::Absent;
        }
        if let Some(found) = find(kind, length, at) {
            return Walk::Found(found);
        }
        at += step;
    }
    Walk::TooMany
}

/// How far the next option is: 1 behind a NOP, otherwise the length. In arithmetic and not with a
/// branch, whose two outcomes the verifier would follow through every further option.
#[inline(always)]
fn step(kind: u8, length: u32) -> u32 {
    let is_nop = core::hint::black_box(u32::from(kind ^ OPTION_NOP).wrapping_sub(1) >> 31);
    core::hint::black_box(length + is_nop - length * is_nop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::slice::SlicePacket;

    /// A bare TCP header with these options, padded with zeros.
    fn with_options(options: &[u8]) -> Vec<u8> {
        let words = options.len().div_ceil(4);
        let mut bytes = vec![0; 20];
        bytes[12] = ((5 + words) << 4) as u8;
        bytes.extend(options);
        bytes.resize(20 + 4 * words, 0);
        bytes
    }

    fn shift(options: &[u8]) -> u8 {
        window_shift(&SlicePacket::new(&with_options(options)), &Headers::default())
    }

    fn fast_open(options: &[u8]) -> bool {
        offers_fast_open(&SlicePacket::new(&with_options(options)), &Headers::default())
    }

    #[test]
    fn options_are_found_behind_others_and_behind_nops() {
        assert_eq!(shift(&[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7]), 7);
        assert_eq!(shift(&[1, 1, 1, 3, 3, 9]), 9);
        assert_eq!(shift(&[3, 3, 200]), MAX_WINDOW_SHIFT);
        assert!(fast_open(&[2, 4, 5, 180, 34, 2]));
        assert!(fast_open(&[254, 4, 0xf9, 0x89]));
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert_eq!(shift(&[2, 4, 5, 180]), 0);
        assert_eq!(shift(&[0, 0, 0, 3, 3, 7]), 0, "behind the end");
        assert_eq!(shift(&[2, 0, 3, 3, 7]), 0, "a length of zero ends the walk");
        assert!(!fast_open(&[254, 4, 1, 2]), "another experiment");
        assert!(!fast_open(&[]));
    }

    #[test]
    fn too_many_options_count_as_hiding_fast_open() {
        assert!(fast_open(&[1; 40]));
        assert_eq!(shift(&[1; 40]), 0);
    }
}
