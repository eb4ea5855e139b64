//! The measure stage of ingress: proof, flow timing, velocity; what strangers do.

use super::{
    Decision, Tables,
    establish::{self, Proof},
    hello::{self, Attended},
    ingress::Ingress,
    limit, progress, strangers, syn,
};
use crate::{
    abi::{
        CloseReason, MilestoneKind, Reason, flow::FLOW_APPROXIMATE, tally::Outcome,
        verdict::UNPROTECTED,
    },
    flow::progress::FromClient,
    packet::{Link, Packet, PacketMut, Syn, Transport, tcp::RST},
};

const NS_PER_MS: u64 = 1_000_000;

/// Measures a packet that the verdicts let pass, and lets it pass.
#[inline(always)]
pub(super) fn ingress<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
    syn: &mut Syn,
    attended: &mut Attended,
    link: Link,
) -> Decision {
    if ingress.headers.transport == Transport::Tcp {
        let segment = &ingress.headers.segment;
        if segment.is_odd() {
            strangers::odd(ingress);
        }
        if ingress.service == UNPROTECTED {
            if segment.is_first_syn() {
                strangers::note(ingress, MilestoneKind::Ports);
            }
        } else if segment.is_first_syn() {
            strangers::press(ingress);
            if limit::guarded(ingress) {
                return Decision::Drop;
            }
            first_syn(packet, ingress, syn, attended);
        } else if follow(packet, ingress, attended, P::APPROXIMATE) {
            if let Some(decision) = hello::look(packet, ingress, attended, link) {
                return decision;
            }
            if segment.payload > 0 {
                progress::from_attended(packet, ingress, attended.now_ns);
            }
        }
    } else if ingress.service == UNPROTECTED && ingress.headers.transport == Transport::Udp {
        strangers::datagram(packet, ingress, link);
    }
    ingress.outcome(Outcome::Pass);
    Decision::Pass
}

/// A connection attempt to a protected port: half open until it is proven.
#[inline(never)]
fn first_syn<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    syn: &mut Syn,
    attended: &Attended,
) {
    let tables = ingress.tables;
    let segment = &ingress.headers.segment;
    let key = ingress.key();
    if !syn.signature.is_known() {
        syn::read(packet, tables, ingress.headers, syn);
    }
    let syn = &*core::hint::black_box(syn);
    let ttl = ingress.headers.ttl;
    let now_ns = tables.now_ns();
    ingress.reason(Reason::SynSeen);
    // Forgeable: counted apart from what the source proved.
    tables.with_source(&key.source(), |source| source.syns = source.syns.wrapping_add(1));
    let would = attended.would;
    let is_again = tables.with_handshake(key, |it| {
        let is_again = it.syn_again(segment, syn, ttl, now_ns);
        it.would_be_refused(would);
        is_again
    });
    if is_again != Some(true) {
        strangers::note(ingress, MilestoneKind::HalfOpen);
    }
    if is_again.is_none() {
        let inserted = tables.insert_handshake(key, |it| {
            it.first_syn(segment, syn, ttl, now_ns);
            it.would_be_refused(would);
        });
        if !inserted {
            tables.note(Reason::FullHandshakes);
        }
    }
}

/// Any other segment to a protected port: progress of a proven flow, or proof of a new one. `true`:
/// it needs a closer look.
#[inline(always)]
fn follow<P: PacketMut, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    attended: &mut Attended,
    approximate: bool,
) -> bool {
    let tables = ingress.tables;
    let segment = &ingress.headers.segment;
    if segment.has(RST) && is_spoilt_reset(packet, ingress) {
        ingress.reason(Reason::OutOfWindow);
        return false;
    }
    let now_ns = tables.now_ns();
    attended.now_ns = now_ns;
    let step = advance(packet, ingress, now_ns, approximate);
    // Ports are reused: the third packet of a new handshake is out of the old flow's window.
    if !matches!(step, None | Some(FromClient::OutOfWindow)) {
        return step == Some(FromClient::Attended);
    }
    let proof = Proof {
        at_ns: now_ns,
        service: ingress.service,
        client_seq: segment.seq,
        reason: Reason::ProvenHandshake,
    };
    let proven = tables.with_handshake(ingress.key(), |handshake| {
        let proven = handshake.proven_by_client(segment);
        if proven {
            handshake.would_be_refused(attended.would);
            establish::flow(tables, ingress.key(), handshake, &proof);
        }
        proven
    });
    if proven == Some(true) {
        tables.remove_handshake(ingress.key());
        return first_advance(packet, ingress, now_ns, approximate) == Some(FromClient::Attended);
    }
    if step.is_some() {
        ingress.reason(Reason::OutOfWindow);
    } else if proven.is_none() && !segment.is_odd() {
        strangers::note(ingress, MilestoneKind::Strays);
    }
    false
}

/// Whether a reset that would end the flow has a bad checksum: the server discards it, and goes on
/// listening to a flow that would be forgotten here.
#[inline(never)]
fn is_spoilt_reset<P: PacketMut, T: Tables>(packet: &P, ingress: &Ingress<'_, T>) -> bool {
    let seq = ingress.headers.segment.seq;
    let is_next = ingress.tables.with_flow(ingress.key(), |flow| flow.client_next == seq);
    is_next == Some(true) && !hello::is_intact(packet, ingress)
}

/// Moves a proven flow on by one segment; reports stalls and the end.
#[inline(always)]
fn advance<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    now_ns: u64,
    approximate: bool,
) -> Option<FromClient> {
    let tables = ingress.tables;
    let key = ingress.key();
    let segment = &ingress.headers.segment;
    let stall_ns = ingress.control.stall_ns;
    let step = tables.with_flow(key, |flow| {
        if approximate {
            flow.flags |= FLOW_APPROXIMATE;
        }
        let step = flow.from_client(segment, now_ns, stall_ns);
        if matches!(step, FromClient::Counted | FromClient::Stalled | FromClient::Finished)
            && !flow.needs_attention()
        {
            progress::from_client(packet, ingress, flow, now_ns);
        }
        let why = match step {
            FromClient::Reset => CloseReason::ClientReset,
            FromClient::Finished => CloseReason::Fin,
            FromClient::Stalled => {
                let waited_ms = now_ns.saturating_sub(flow.asked_ns) / NS_PER_MS;
                strangers::tell(ingress, MilestoneKind::Stalled, now_ns, waited_ms);
                // A hello that takes its time is read all the same.
                return if flow.needs_attention() { FromClient::Attended } else { step };
            }
            FromClient::Counted | FromClient::Attended | FromClient::OutOfWindow => return step,
        };
        establish::closed(tables, key, flow, why, now_ns);
        step
    })?;
    if matches!(step, FromClient::Reset | FromClient::Finished) {
        tables.remove_flow(key);
    }
    Some(step)
}

/// The segment that proved a flow counts for it too. Out of line: once a connection.
#[inline(never)]
fn first_advance<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    now_ns: u64,
    approximate: bool,
) -> Option<FromClient> {
    advance(packet, ingress, now_ns, approximate)
}
