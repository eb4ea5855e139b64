//! Acting on a refusal: dropping, ending the connection at the server, answering the client.

use crate::{
    abi::{Action, Reason, flow::FLOW_RESET_SENT, time::SECOND_NS, verdict::UNPROTECTED},
    packet::{Link, PacketMut, Transport, reset, tcp},
    pipeline::{Decision, Tables, ingress::Ingress},
};

/// The server may not have obeyed a reset, because it had acknowledged more than was seen; it then
/// says so, and the next one fits. More often than this, they would only be load.
const RESET_EVERY_NS: u64 = SECOND_NS;

/// Drops or rejects; the outcome is counted before. An established connection is ended at the server, because a connection that
/// only falls silent stays open there and a slow attack would be completed, not ended.
#[inline(always)]
pub(in crate::pipeline) fn refuse<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
    action: Action,
    reason: Reason,
    link: Link,
) -> Decision {
    if ingress.headers.transport == Transport::Tcp {
        let segment = &ingress.headers.segment;
        if ingress.service != UNPROTECTED
            && !segment.is_first_syn()
            && let Some(decision) = end_at_server(packet, ingress)
        {
            return decision;
        }
        if action == Action::Reject && !segment.has(tcp::RST) {
            return answer_client(packet, ingress, link);
        }
    }
    ingress.reason(reason);
    Decision::Drop
}

/// [`refuse`], for the rarer ways to it.
#[inline(never)]
pub(in crate::pipeline) fn refuse_late<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
    action: Action,
    reason: Reason,
    link: Link,
) -> Decision {
    refuse(packet, ingress, action, reason, link)
}

/// Turns the segment of a proven flow into a reset for the server.
#[inline(always)]
fn end_at_server<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
) -> Option<Decision> {
    let now_ns = ingress.coarse_ns();
    let seq = ingress.tables.with_flow(ingress.key(), |flow| {
        let sent = flow.flags & FLOW_RESET_SENT != 0;
        if sent && now_ns.saturating_sub(flow.ingress.last_ns) < RESET_EVERY_NS {
            return None;
        }
        flow.flags |= FLOW_RESET_SENT;
        flow.ingress.last_ns = now_ns;
        Some(flow.client_next)
    })??;
    if !reset::to_server(packet, ingress.headers, seq) {
        ingress.reason(Reason::ResetFailed);
        return Some(Decision::Drop);
    }
    ingress.reason(Reason::ResetToServer);
    Some(Decision::Pass)
}

/// Turns the segment around into a reset for the client.
#[inline(always)]
fn answer_client<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
    link: Link,
) -> Decision {
    if !reset::to_client(packet, ingress.headers, link == Link::Ethernet) {
        ingress.reason(Reason::ResetFailed);
        return Decision::Drop;
    }
    ingress.reason(Reason::RejectReset);
    Decision::Reply
}
