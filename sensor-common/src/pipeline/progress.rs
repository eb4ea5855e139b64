//! What payload of a proven flow means beyond its volume: records, and telling the daemon that the
//! flow has got some way. Segments without payload never come here.

use super::{Step, Tables, establish, ingress::Ingress};
use crate::{
    abi::{Flow, Records, flow::FLOW_PROGRESS},
    flow::{records::HEADER_LEN, seq},
    packet::{Headers, Packet},
};

/// Records that are followed in one segment or super-packet. More are taken for lost.
const MAX_RECORDS: u32 = 128;

/// Takes up the client's payload, which [`Flow::from_client`] has counted. Most of it costs two
/// comparisons: no header falls into it, and nothing is to be told.
#[inline(always)]
pub(super) fn from_client<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    flow: &mut Flow,
    now_ns: u64,
) {
    let segment = &ingress.headers.segment;
    if segment.payload == 0 {
        return;
    }
    if flow.ingress_records.goes_on() {
        let before = flow.ingress_records.count;
        let is_in_order = !seq::after(segment.seq, flow.client_next);
        follow(packet, ingress.tables, ingress.headers, &mut flow.ingress_records, is_in_order);
        if flow.ingress_records.has_got_on(before) {
            flow.flags |= FLOW_PROGRESS;
        }
    }
    if flow.is_to_be_told(now_ns) && !flow.is_finished() {
        establish::progress(ingress.tables, ingress.key(), flow, now_ns);
    }
}

/// Takes up the client's payload behind the hello stage, which may have left it where it was: the
/// server does not take what it discards.
#[inline(never)]
pub(super) fn from_attended<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    now_ns: u64,
) {
    let seq = ingress.headers.segment.seq;
    ingress.tables.with_flow(ingress.key(), |flow| {
        if seq::after(flow.client_next, seq) {
            from_client(packet, ingress, flow, now_ns);
        }
    });
}

/// Takes up the server's payload.
#[inline(always)]
pub(super) fn from_server<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    flow: &mut Flow,
) {
    if headers.segment.payload > 0 && flow.egress_records.goes_on() {
        follow(packet, tables, headers, &mut flow.egress_records, true);
    }
}

/// Follows the records whose headers lie in this segment.
#[inline(never)]
fn follow<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    records: &mut Records,
    is_in_order: bool,
) {
    let segment = &headers.segment;
    let offset = records.next.wrapping_sub(segment.seq);
    if offset < segment.payload {
        tables.repeat(MAX_RECORDS, &mut Follow { packet, headers, records });
        if records.next.wrapping_sub(segment.seq) < segment.payload {
            records.lose();
        }
    } else if (offset as i32) < 0 && is_in_order {
        // It was in a segment that was not seen, or came before the header in front of it.
        records.lose();
    }
}

/// One header, or a byte of one that is cut.
struct Follow<'a, P> {
    packet: &'a P,
    headers: &'a Headers,
    records: &'a mut Records,
}

impl<P: Packet> Step for Follow<'_, P> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let (headers, records) = (self.headers, &mut *self.records);
        let payload = headers.segment.payload;
        let offset = records.next.wrapping_sub(headers.segment.seq);
        if offset >= payload {
            return false;
        }
        let at = headers.end - payload + offset;
        if records.read == 0 && payload - offset >= HEADER_LEN {
            match self.packet.load(at) {
                Some(header) => records.header(header),
                None => records.lose(),
            }
        } else {
            match self.packet.load(at) {
                Some([byte]) => records.byte(byte),
                None => records.lose(),
            }
        }
        records.goes_on()
    }
}
