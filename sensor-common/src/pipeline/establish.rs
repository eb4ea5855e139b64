//! Proof: the moment from which a source and a flow cost memory and count as authentic.

use super::{Tables, ingress::Ingress, strangers};
use crate::abi::{
    CloseReason, Established, EventHeader, EventKind, Flow, FlowKey, Handshake, QuicHandshake,
    Reason, Source, SourceKey, SynSignature,
    flow::{FLOW_HANDSHAKE_UNKNOWN, MIDSTREAM},
};

/// How a flow was proven.
pub(super) struct Proof {
    pub(super) at_ns: u64,
    pub(super) service: u8,
    /// Where the client's numbers stand, for a flow whose handshake was not seen: only the client's
    /// own segment proves such a one.
    pub(super) client_seq: u32,
    /// [`Reason::ProvenHandshake`] or [`Reason::ProvenAnswer`].
    pub(super) reason: Reason,
}

/// Takes a proven flow up. The caller removes the handshake, which it still lends.
#[inline(never)]
pub(super) fn flow<T: Tables>(tables: &T, key: &FlowKey, handshake: &Handshake, proof: &Proof) {
    let Proof { at_ns, service, reason, client_seq } = proof;
    tables.with_flow(key, |old| closed(tables, key, old, CloseReason::Reopened, *at_ns));
    let inserted = tables.insert_flow(key, |flow| {
        flow.begin(handshake, *service, *at_ns);
        if handshake.flags & MIDSTREAM != 0 {
            flow.client_next = *client_seq;
        }
    });
    if !inserted {
        tables.note(Reason::FullFlows);
    }
    tables.note(*reason);
    strangers::proven(tables, key.source(), *service);
    let counts = count_source(tables, key.source(), *at_ns);
    report(tables, key, handshake, proof, &counts);
}

/// Takes a flow of datagrams up, whose client this handshake proves.
#[inline(never)]
pub(super) fn datagrams<T: Tables>(
    ingress: &Ingress<'_, T>,
    handshake: &QuicHandshake,
    would: u32,
    at_ns: u64,
) {
    let (tables, key, service) = (ingress.tables, ingress.key(), ingress.service);
    tables.with_flow(key, |old| closed(tables, key, old, CloseReason::Reopened, at_ns));
    let inserted = tables.insert_flow(key, |flow| flow.begin_datagrams(handshake, service, at_ns));
    if !inserted {
        tables.note(Reason::FullFlows);
    }
    tables.note(Reason::ProvenQuic);
    let counts = count_source(tables, key.source(), at_ns);
    emit(tables, &About { key, at_ns, service }, &counts, |event| event.would_class = would as u16);
}

/// Reports the end of a flow.
#[inline(never)]
pub(super) fn closed<T: Tables>(
    tables: &T,
    key: &FlowKey,
    flow: &Flow,
    why: CloseReason,
    now_ns: u64,
) {
    let header = header(tables, EventKind::Closed, why as u8, flow.service, now_ns);
    if !tables.emit_closed(&header, key, flow) {
        tables.note(Reason::LostClosed);
    }
    strangers::ended(tables, key.source(), why);
}

/// Reports how far a flow has come.
#[inline(never)]
pub(super) fn progress<T: Tables>(tables: &T, key: &FlowKey, flow: &mut Flow, now_ns: u64) {
    flow.told(now_ns);
    let header = header(tables, EventKind::Progress, 0, flow.service, now_ns);
    if !tables.emit_closed(&header, key, flow) {
        tables.note(Reason::LostProgress);
    }
}

#[inline(always)]
fn header<T: Tables>(
    tables: &T,
    kind: EventKind,
    detail: u8,
    service: u8,
    at_ns: u64,
) -> EventHeader {
    EventHeader { at_ns, kind: kind as u8, detail, service, mode: 0, ifindex: tables.ifindex() }
}

/// A source's proven connections.
pub(super) struct Counts {
    pub(super) so_far: u32,
    pub(super) in_10s: u32,
}

/// Counts the connection under its source. A function of its own, for its place on the stack.
#[inline(never)]
pub(super) fn count_source<T: Tables>(tables: &T, id: SourceKey, at_ns: u64) -> Counts {
    let is_known = tables.with_source(&id, |_| ()).is_some();
    if !is_known && tables.insert_source(&id, |it| it.first_proof_ns = at_ns).is_none() {
        tables.note(Reason::FullSources);
    }
    let counts = tables.with_source(&id, |source| count(source, at_ns));
    // Only where there is no room.
    counts.unwrap_or(Counts { so_far: 1, in_10s: 1 })
}

#[inline(always)]
fn count(source: &mut Source, at_ns: u64) -> Counts {
    source.connections = source.connections.wrapping_add(1);
    source.last_proof_ns = at_ns;
    Counts { so_far: source.connections, in_10s: source.rate.add(at_ns) }
}

#[inline(never)]
fn report<T: Tables>(
    tables: &T,
    key: &FlowKey,
    handshake: &Handshake,
    proof: &Proof,
    counts: &Counts,
) {
    let about = About { key, at_ns: proof.at_ns, service: proof.service };
    emit(tables, &about, counts, |event| {
        if handshake.is_known() {
            event.flags = 0;
        }
        event.server_ns = handshake.server_ns();
        event.rtt_ns = handshake.rtt_ns(proof.at_ns);
        event.ttl = handshake.ttl;
        event.syn_retries = handshake.syn_retries;
        event.syn = handshake.syn;
        event.would_class = handshake.would_class;
    });
}

/// What an event is about.
pub(super) struct About<'a> {
    pub(super) key: &'a FlowKey,
    pub(super) at_ns: u64,
    pub(super) service: u8,
}

/// Reports a proven flow; `f` adds what is known of its handshake.
#[inline(always)]
pub(super) fn emit<T: Tables>(
    tables: &T,
    about: &About<'_>,
    counts: &Counts,
    f: impl FnOnce(&mut Established),
) {
    let emitted = tables.emit_established(|event| {
        *event = Established {
            header: EventHeader {
                at_ns: about.at_ns,
                kind: EventKind::Established as u8,
                detail: 0,
                service: about.service,
                mode: 0,
                ifindex: tables.ifindex(),
            },
            key: *about.key,
            server_ns: u32::MAX,
            rtt_ns: u32::MAX,
            connections: counts.so_far,
            connections_10s: counts.in_10s,
            flags: FLOW_HANDSHAKE_UNKNOWN,
            ttl: 0,
            syn_retries: 0,
            client_port: 0,
            would_class: 0,
            client: [0; 4],
            syn: SynSignature::UNKNOWN,
        };
        f(event);
    });
    if !emitted {
        tables.note(Reason::LostEstablished);
    }
}
