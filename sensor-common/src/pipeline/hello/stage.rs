//! Staging: a segment's bytes, copied out of the packet and checked before they count.
//!
//! Staged bytes are aligned like those of a slot, in blocks of 64, so that they can be merged
//! block by block: the payload's first byte stands at its place in the stream, modulo 64.

use core::marker::PhantomData;

use super::{Attended, FORWARD_LEN, describe, emit};
use crate::{
    abi::{
        Capture, HelloKind,
        hello::{HELLO_CHUNK, HELLO_CONFLICT, HELLO_LEN},
        map::INTERFACE_PARTIAL_CHECKSUMS,
    },
    packet::{Family, Headers, Packet, Segment, checksum::Checksum, ipv4},
    pipeline::{SUM_LEN, Step, Tables, ingress::Ingress},
};

/// URG: a byte of such a segment is not part of the stream that the server reads.
const URG: u8 = 0x20;

/// Where bytes that stand at `offset` of the stream are staged.
#[inline(always)]
const fn place(offset: u32) -> u32 {
    offset & 63
}

/// Stages the payload but its first `skip` bytes, which stands at `offset` of the stream: as much
/// as fits. `header.length` says up to where.
#[inline(never)]
pub(super) fn load<P: Packet>(
    packet: &P,
    headers: &Headers,
    staged: &mut Capture,
    skip: u32,
    offset: u32,
) {
    let mut at = headers.end - headers.segment.payload + skip;
    let mut to = place(offset);
    for _ in 0..HELLO_LEN / HELLO_CHUNK {
        let left = headers.end.wrapping_sub(at);
        let room = HELLO_LEN as u32 - to;
        let length = if left > HELLO_CHUNK as u32 { HELLO_CHUNK as u32 } else { left };
        let length = if length > room { room } else { length };
        if length == 0 || !packet.copy(at, length, &mut staged.bytes, to) {
            break;
        }
        at += length;
        to += length;
    }
    staged.header.length = to;
}

/// The staged bytes are the beginning of a stream.
#[inline(always)]
pub(super) const fn begin(staged: &mut Capture) {
    staged.contiguous = staged.header.length;
    staged.wanted = 0;
    staged.record_at = 0;
    staged.gathered = 0;
}

/// Whether the checksums of IPv4 and TCP are good: drivers leave them to the network stack, which
/// discards what they do not fit. The payload is staged as it stands at `offset` of the stream; one
/// that does not fit cannot be checked, and counts as bad.
#[inline(never)]
pub(super) fn is_good<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    staged: &mut Capture,
    offset: u32,
) -> bool {
    let headers = ingress.headers;
    // Segments are merged (GRO) only after their checksums were verified.
    if headers.segment.segments > 1 {
        return true;
    }
    let is_v4 = headers.family == Family::V4;
    if is_v4 && !has_good_v4_header::<P, T>(packet, headers, staged) {
        return false;
    }
    let key = &headers.key;
    let length = headers.end - headers.transport_at;
    let pseudo = Checksum::default()
        .address(&key.remote, is_v4)
        .address(&key.local, is_v4)
        .word(length.to_be())
        .word(key.protocol.to_be());
    let Some(field) = packet.half(headers.transport_at + 16) else {
        return false;
    };
    // A packet from this machine may carry only the pseudo-header's sum, for a device to complete.
    if field == !pseudo.finish()
        && ingress.tables.interface_flags() & INTERFACE_PARTIAL_CHECKSUMS != 0
    {
        return true;
    }
    sum(packet, ingress.tables, headers, staged, place(offset))
        .is_some_and(|sum| pseudo.word(sum).finish() == 0)
}

#[inline(always)]
fn has_good_v4_header<P: Packet, T: Tables>(
    packet: &P,
    headers: &Headers,
    staged: &mut Capture,
) -> bool {
    let at = headers.network_at;
    let length = headers.transport_at - at;
    let sum = if length == ipv4::HEADER_LEN {
        let Some([a, b, c, d, e]) = packet.words::<5>(at) else {
            return false;
        };
        Checksum::default().word(a).word(b).word(c).word(d).word(e)
    } else {
        if !packet.copy(at, length, &mut staged.bytes, HELLO_LEN as u32) {
            return false;
        }
        Checksum::default().word(T::sum(&staged.bytes, HELLO_LEN as u32, length, 0))
    };
    sum.finish() == 0
}

/// The sum over header and payload.
#[inline(always)]
fn sum<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    staged: &mut Capture,
    to: u32,
) -> Option<u32> {
    let payload = headers.segment.payload;
    let header_len = headers.end - payload - headers.transport_at;
    if staged.header.length != to + payload {
        return None;
    }
    if !packet.copy(headers.transport_at, header_len, &mut staged.bytes, HELLO_LEN as u32) {
        return None;
    }
    staged.outcome = T::sum(&staged.bytes, HELLO_LEN as u32, header_len, 0);
    staged.at = to;
    staged.end = to + payload;
    // Sums are of whole words: zeros fill the last one.
    for past in 0..3 {
        if let Some(byte) = staged.bytes.get_mut((staged.end as usize & 0x1fff) + past) {
            *byte = 0;
        }
    }
    tables.repeat(HELLO_LEN as u32 / SUM_LEN, &mut Sum { staged, tables: PhantomData::<T> });
    Some(staged.outcome)
}

/// Sums the staged bytes.
struct Sum<'a, T> {
    staged: &'a mut Capture,
    tables: PhantomData<T>,
}

impl<T: Tables> Step for Sum<'_, T> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let (at, end) = (self.staged.at, self.staged.end);
        if at >= end {
            return false;
        }
        let left = (end - at + 3) & !3;
        let length = if left > SUM_LEN { SUM_LEN } else { left };
        self.staged.outcome = T::sum(&self.staged.bytes, at, length, self.staged.outcome);
        self.staged.at = at + length;
        true
    }
}

/// Flags of a record whose segment has urgent data.
#[inline(always)]
pub(super) const fn urgency(segment: &Segment) -> u8 {
    if segment.flags & URG == 0 { 0 } else { HELLO_CONFLICT }
}

/// Hands the segment's bytes to the daemon: in more than one piece where it is a super-packet.
#[inline(never)]
pub(super) fn forward<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    staged: &mut Capture,
    flow: &Attended,
) {
    let offset = ingress.headers.segment.seq.wrapping_sub(flow.base);
    staged.from = if (offset as i32) < 0 { offset.wrapping_neg() } else { 0 };
    ingress.tables.repeat(MAX_PIECES, &mut Pieces { packet, ingress, staged, flow });
}

/// As many as [`super::FORWARD_LEN`] has room for.
const MAX_PIECES: u32 = FORWARD_LEN as u32 / HELLO_LEN as u32;

/// Hands over one piece.
struct Pieces<'a, 'b, P, T> {
    packet: &'a P,
    ingress: &'a Ingress<'b, T>,
    staged: &'a mut Capture,
    flow: &'a Attended,
}

impl<P: Packet, T: Tables> Step for Pieces<'_, '_, P, T> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let (ingress, staged) = (self.ingress, &mut *self.staged);
        let segment = &ingress.headers.segment;
        let skip = staged.from;
        if skip >= segment.payload {
            return false;
        }
        load(self.packet, ingress.headers, staged, skip, 0);
        staged.from = skip + staged.header.length;
        staged.header.service = ingress.service;
        staged.header.flags = urgency(segment);
        staged.header.segments = 1;
        staged.header.offset = segment.seq.wrapping_sub(self.flow.base).wrapping_add(skip);
        describe(ingress, staged, self.flow);
        emit(ingress.tables, staged, HelloKind::Piece);
        true
    }
}
