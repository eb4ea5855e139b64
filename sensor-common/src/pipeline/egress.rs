//! Egress: SYN-ACKs, proof by the server's own answers, server timing, closes, and flows that
//! this host opened. It never holds a packet back.

use super::{
    Tables, Work,
    establish::{self, Proof},
    progress, quic, strangers, syn,
};
use crate::{
    abi::{CloseReason, FlowKey, Outbound, Reason, control, flow::MIDSTREAM, verdict::UNPROTECTED},
    flow::progress::FromServer,
    packet::{self, Headers, Heading, Link, Packet, Syn, Transport, tcp},
};

/// Runs the egress stages over one packet to the device. `work` is memory to work in.
#[inline(always)]
pub fn egress<P: Packet, T: Tables>(packet: &P, tables: &T, link: Link, work: &mut Work) {
    let Work { headers, syn, quic, .. } = work;
    if tables.is_killed() {
        return;
    }
    if packet::parse(packet, link, Heading::Egress, headers).is_err() {
        return;
    }
    let headers = &*core::hint::black_box(headers);
    let is_udp = match headers.transport {
        Transport::Tcp if headers.segment.is_first_syn() => return opened(tables, &headers.key),
        Transport::Tcp => false,
        Transport::Udp => true,
        Transport::Opaque | Transport::Essential => return,
    };
    let port = u16::from_be(headers.key.local_port);
    let service = tables.service(control::service_index(is_udp, port)).id;
    match (is_udp, service) {
        (true, UNPROTECTED) => opened(tables, &headers.key),
        (true, service) => quic::egress(packet, tables, headers, quic, service),
        (false, service) if service != UNPROTECTED => answer(packet, tables, headers, syn, service),
        _ => {}
    }
}

/// This host opened, or goes on with, a flow of its own.
#[inline(always)]
fn opened<T: Tables>(tables: &T, key: &FlowKey) {
    let last_ns = tables.coarse_ns();
    if tables.with_outbound(key, |flow| flow.last_ns = last_ns).is_none() {
        tables.insert_outbound(key, &Outbound { last_ns });
    }
}

/// A protected server sent a segment.
#[inline(always)]
fn answer<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    syn: &mut Syn,
    service: u8,
) {
    let key = &headers.key;
    let segment = &headers.segment;
    let now_ns = tables.now_ns();
    if segment.is_syn_ack() {
        syn_ack(packet, tables, headers, syn, now_ns);
        return;
    }
    if advance(packet, tables, headers, now_ns).is_some() {
        return;
    }
    let proof =
        Proof { at_ns: now_ns, service, client_seq: segment.ack, reason: Reason::ProvenAnswer };
    let step = tables.with_handshake(key, |handshake| {
        if handshake.flags & MIDSTREAM != 0 && segment.payload > 0 {
            handshake.midstream(segment);
        }
        if handshake.proven_by_server(segment) {
            establish::flow(tables, key, handshake, &proof);
            PROVEN
        } else if handshake.refused_by_server(segment) {
            REFUSED
        } else {
            NOTHING
        }
    });
    match step {
        Some(PROVEN) => {
            tables.remove_handshake(key);
            advance(packet, tables, headers, now_ns);
        }
        Some(REFUSED) => {
            tables.remove_handshake(key);
            strangers::answered(tables, key.source());
        }
        None if segment.payload > 0
            && !segment.has(tcp::RST)
            && !tables.insert_handshake(key, |it| it.midstream(segment)) =>
        {
            tables.note(Reason::FullHandshakes);
        }
        _ => {}
    }
}

/// What a segment of the server's is to a half-open connection.
const NOTHING: u32 = 0;
const PROVEN: u32 = 1;
/// Nothing listens: it was never half open.
const REFUSED: u32 = 2;

#[inline(never)]
fn syn_ack<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    syn: &mut Syn,
    now_ns: u64,
) {
    let segment = &headers.segment;
    syn::read(packet, tables, headers, syn);
    let syn = &*core::hint::black_box(syn);
    tables.note(Reason::SynAckSeen);
    let known = tables.with_handshake(&headers.key, |handshake| {
        handshake.syn_ack(segment, syn, now_ns);
    });
    if known.is_none() {
        let inserted = tables.insert_handshake(&headers.key, |it| it.syn_ack(segment, syn, now_ns));
        if !inserted {
            tables.note(Reason::FullHandshakes);
        }
    }
}

/// Moves a proven flow on by one segment; reports the end.
#[inline(never)]
fn advance<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    now_ns: u64,
) -> Option<FromServer> {
    let (key, segment) = (&headers.key, &headers.segment);
    let step = tables.with_flow(key, |flow| {
        let step = flow.from_server(segment, now_ns);
        if step != FromServer::Reset {
            progress::from_server(packet, tables, headers, flow);
        }
        let why = match step {
            FromServer::Reset => CloseReason::ServerReset,
            FromServer::Finished => CloseReason::Fin,
            FromServer::Counted => return step,
        };
        establish::closed(tables, key, flow, why, now_ns);
        step
    })?;
    if step != FromServer::Counted {
        tables.remove_flow(key);
    }
    Some(step)
}
