//! The verdict stage: exact entry, then the longest live prefix; the stronger counts.
//!
//! An entry that has expired, or is for other services, is as if it were not there. Observe
//! counts what it would have done and shields nothing. The ledger has already subtracted what
//! allows cover, so an allow needs no second look-up.

use super::{Decision, Tables, ingress::Ingress};
use crate::{
    abi::{
        self, Action, EventHeader, EventKind, Hit, Mode, Reason, VerdictClass,
        flow::FLOW_RESET_SENT,
        tally::{self, Outcome},
        time::{self, SECOND_NS},
        verdict::UNPROTECTED,
    },
    packet::{Family, Link, PacketMut, Transport, reset, tcp},
};

/// Shorter prefixes tried where the longest has expired or is for other services. The daemon
/// sweeps what has expired within seconds, so longer ladders are not met.
const PREFIX_STEPS: u32 = 4;

/// A UDP exchange that this host began is its own for this long after its last datagram
/// (the time that Linux conntrack grants, `nf_conntrack_udp_timeout_stream`).
const OUTBOUND_UDP_NS: u64 = 120 * SECOND_NS;

/// The server may not have obeyed a reset, because it had acknowledged more than was seen; it then
/// says so, and the next one fits. More often than this, they would only be load.
const RESET_EVERY_NS: u64 = SECOND_NS;

/// What the verdicts say of a packet. Plain bytes in working memory: the verifier does not follow
/// their values, and so need not follow every combination of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Ruling {
    /// An allow: pass, whatever else is said.
    allow: bool,
    /// A refusal, with its action and reason.
    refuse: bool,
    action: u8,
    reason: u8,
    /// A limit on new connections: the class, 0 for none.
    limit: u16,
    /// The limit only counts.
    limit_observed: bool,
}

/// How a packet goes on.
pub(super) enum Verdict {
    /// Nothing holds it back.
    None,
    /// It passes, and that is counted.
    Allow,
    /// New connections are limited as this class says.
    Limit { class: u16, observe: bool },
    /// Drop or reject.
    Refuse { action: Action, reason: Reason },
}

impl Ruling {
    /// What it comes to: the stronger of exact entry and prefix.
    #[inline(always)]
    pub(super) const fn verdict(&self) -> Verdict {
        if self.refuse {
            Verdict::Refuse {
                action: Action::from_u8(self.action),
                reason: Reason::from_u8(self.reason),
            }
        } else if self.limit != 0 {
            Verdict::Limit { class: self.limit, observe: self.limit_observed }
        } else if self.allow {
            Verdict::Allow
        } else {
            Verdict::None
        }
    }

    #[inline(always)]
    const fn is_final(&self) -> bool {
        self.allow || self.refuse
    }
}

/// Looks the source up: the exact entry, then prefixes, longest first.
#[inline(never)]
pub(super) fn judge<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
    *ruling = Ruling::default();
    match ingress.headers.family {
        Family::V4 => judge_v4(ingress, ruling),
        Family::V6 => judge_v6(ingress, ruling),
    }
}

#[inline(always)]
fn judge_v4<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
    let [_, _, _, address] = ingress.key().remote;
    ingress.tables.with_v4_exact(&address, |entry| consider(ingress, entry, ruling));
    let mut max_len = 32;
    for _ in 0..PREFIX_STEPS {
        if ruling.is_final() {
            return;
        }
        let step = ingress.tables.with_v4_prefix(address, max_len, |entry| {
            if consider(ingress, entry, ruling) { 0 } else { entry.prefix_len }
        });
        match step {
            None | Some(0) => return,
            Some(length) => max_len = u32::from(length) - 1,
        }
    }
}

/// IPv6: the address, its /64, then prefixes. The address whose lower half is zero shares its key
/// with the /64, so a verdict on it alone is kept among the prefixes.
#[inline(always)]
fn judge_v6<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
    let address = ingress.key().remote;
    ingress.tables.with_v6_exact(&address, |entry| consider(ingress, entry, ruling));
    if ruling.is_final() {
        return;
    }
    let [a, b, c, d] = address;
    if c | d != 0 {
        ingress.tables.with_v6_exact(&[a, b, 0, 0], |entry| consider(ingress, entry, ruling));
    }
    let mut max_len = 128;
    for _ in 0..PREFIX_STEPS {
        if ruling.is_final() {
            return;
        }
        let step = ingress.tables.with_v6_prefix(&address, max_len, |entry| {
            if consider(ingress, entry, ruling) { 0 } else { entry.prefix_len }
        });
        match step {
            None | Some(0) => return,
            Some(length) => max_len = u32::from(length) - 1,
        }
    }
}

/// Adds what one entry says of this packet. `false`: it says nothing, as if it were not there.
#[inline(never)]
fn consider<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    ruling: &mut Ruling,
) -> bool {
    let now_tick = time::tick(ingress.coarse_ns);
    if !entry.is_live(now_tick) {
        return false;
    }
    let class_id = entry.class;
    let counts = ingress.tables.with_class(class_id, |class| {
        if !class.services.contains(ingress.service) {
            return false;
        }
        match class.action() {
            Action::Mark => return false,
            Action::Allow => ruling.allow = true,
            Action::Limit => {
                if ruling.limit == 0 || ruling.limit_observed {
                    ruling.limit = class_id;
                    ruling.limit_observed = class.mode() != Mode::Enforce || !ingress.enforces();
                }
            }
            Action::Reject | Action::Drop => return hit(ingress, entry, class, ruling),
        }
        true
    });
    counts.unwrap_or_else(|| {
        ingress.tables.note(Reason::BadClass);
        false
    })
}

/// A refusing entry was hit: counts it, reports the 1st, 2nd, 4th … hit.
#[inline(always)]
fn hit<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    class: &VerdictClass,
    ruling: &mut Ruling,
) -> bool {
    if is_own_flow(ingress) {
        ingress.reason(Reason::PassOwnFlow);
        return false;
    }
    let enforced = class.mode() == Mode::Enforce && ingress.enforces();
    count_hit(ingress, entry, class, enforced);
    if enforced {
        ruling.refuse = true;
        ruling.action = class.action;
        ruling.reason = class.reason;
    } else {
        ingress.reason(Reason::Would);
        ingress.outcome(Outcome::Would);
    }
    enforced
}

/// Counts a packet that an entry decided; reports the 1st, 2nd, 4th …
#[inline(always)]
fn count_hit<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    class: &VerdictClass,
    enforced: bool,
) {
    entry.hits = entry.hits.wrapping_add(ingress.packets);
    entry.last_hit_tick = time::tick(ingress.coarse_ns);
    if entry.hits & entry.hits.wrapping_sub(1) == 0 {
        report(ingress, entry, class, enforced);
    }
    ingress.count(tally::class_index(entry.class));
}

/// Counts a packet that a limit held back, under the entry that says so: rare enough for a second
/// look-up. Limits on prefixes count under their class alone.
#[inline(never)]
pub(super) fn count_limited<T: Tables>(ingress: &Ingress<'_, T>, class_id: u16, enforced: bool) {
    let tables = ingress.tables;
    let [a, b, _, address] = ingress.key().remote;
    let counted = tables.with_class(class_id, |class| {
        let count = |entry: &mut abi::Verdict| {
            let same = entry.class == class_id;
            if same {
                count_hit(ingress, entry, class, enforced);
            }
            same
        };
        match ingress.headers.family {
            Family::V4 => tables.with_v4_exact(&address, count),
            Family::V6 => tables.with_v6_exact(&[a, b, 0, 0], count),
        }
    });
    if counted != Some(Some(true)) {
        ingress.count(tally::class_index(class_id));
    }
}

#[inline(never)]
fn report<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &abi::Verdict,
    class: &VerdictClass,
    enforced: bool,
) {
    let hit = Hit {
        header: EventHeader {
            at_ns: ingress.coarse_ns,
            kind: EventKind::Hit as u8,
            detail: class.action,
            service: ingress.service,
            mode: if enforced { Mode::Enforce } else { Mode::Observe } as u8,
            ifindex: ingress.tables.ifindex(),
        },
        source: ingress.key().source(),
        class: entry.class,
        prefix_len: entry.prefix_len,
        reserved: 0,
        hits: entry.hits,
    };
    if !ingress.tables.emit_hit(&hit) {
        ingress.tables.note(Reason::LostHit);
    }
}

/// Part of a flow that this host opened: never held back. A protected port and a first SYN
/// cannot be, so the common drop pays no look-up.
#[inline(always)]
fn is_own_flow<T: Tables>(ingress: &Ingress<'_, T>) -> bool {
    if ingress.service != UNPROTECTED {
        return false;
    }
    let is_udp = match ingress.headers.transport {
        Transport::Tcp if !ingress.headers.segment.is_first_syn() => false,
        Transport::Udp => true,
        _ => return false,
    };
    let last_ns = ingress.tables.with_outbound(ingress.key(), |flow| flow.last_ns);
    last_ns.is_some_and(|last_ns| {
        !is_udp || ingress.coarse_ns.saturating_sub(last_ns) < OUTBOUND_UDP_NS
    })
}

/// Drops or rejects. An established connection is ended at the server, because a connection that
/// only falls silent stays open there and a slow attack would be completed, not ended.
#[inline(always)]
pub(super) fn refuse<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
    action: Action,
    reason: Reason,
    link: Link,
) -> Decision {
    ingress.outcome(Outcome::Drop);
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

/// Turns the segment of a proven flow into a reset for the server.
#[inline(always)]
fn end_at_server<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
) -> Option<Decision> {
    let now_ns = ingress.coarse_ns;
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
