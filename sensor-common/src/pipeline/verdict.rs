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

/// What the verdicts say of a packet. Plain words in working memory: the verifier does not follow
/// their values, and so need not follow every combination of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(8))]
pub struct Ruling {
    /// An allow ([`ALLOWED`] and the reason) or a refusal (action in the second byte, reason in the
    /// first); 0 for neither. Both are final.
    decision: u32,
    /// A limit's class, 0 for none; with [`OBSERVED`] it only counts. And [`WOULD`].
    limit: u32,
}

/// In [`Ruling::decision`]: it passes, whatever else is said.
const ALLOWED: u32 = 1 << 16;
/// In [`Ruling::limit`]: the limit only counts.
const OBSERVED: u32 = 1 << 16;
/// In [`Ruling::limit`]: the class.
const CLASS: u32 = OBSERVED - 1;
/// In [`Ruling::limit`]: what would have been done was counted.
const WOULD: u32 = 1 << 17;

/// How a packet goes on.
pub(super) enum Verdict {
    /// Nothing holds it back.
    None,
    /// It passes, and that is counted.
    Allow { reason: Reason },
    /// New connections are limited as this class says.
    Limit { class: u16, observe: bool },
    /// Drop or reject.
    Refuse { action: Action, reason: Reason },
}

impl Ruling {
    /// What it comes to: the stronger of exact entry and prefix.
    #[inline(always)]
    pub(super) const fn verdict(&self) -> Verdict {
        let reason = Reason::from_u8(self.decision as u8);
        if self.decision & ALLOWED != 0 {
            Verdict::Allow { reason }
        } else if self.decision != 0 {
            Verdict::Refuse { action: Action::from_u8((self.decision >> 8) as u8), reason }
        } else if self.limit & CLASS != 0 {
            Verdict::Limit { class: self.limit as u16, observe: self.limit & OBSERVED != 0 }
        } else {
            Verdict::None
        }
    }

    #[inline(always)]
    const fn is_final(&self) -> bool {
        self.decision != 0
    }
}

/// Looks the source up: the exact entry, then prefixes, longest first. A source that nobody judged
/// costs two look-ups and no call.
#[inline(always)]
pub(super) fn judge<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
    *ruling = Ruling::default();
    if ingress.headers.family == Family::V6 {
        return judge_v6(ingress, ruling);
    }
    let [_, _, _, address] = ingress.key().remote;
    ingress.tables.with_v4_exact(&address, |entry| consider(ingress, entry, ruling));
    if ruling.is_final() {
        return;
    }
    let longest = ingress.tables.with_v4_prefix(address, 32, |entry| step(ingress, entry, ruling));
    if let Some(shorter @ 1..) = longest {
        shorter_v4(ingress, ruling, shorter);
    }
}

/// The prefixes behind the longest, which said nothing: of less than `length` bits.
#[inline(never)]
fn shorter_v4<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling, mut length: u32) {
    let [_, _, _, address] = ingress.key().remote;
    for _ in 1..PREFIX_STEPS {
        let next = ingress
            .tables
            .with_v4_prefix(address, length - 1, |entry| step(ingress, entry, ruling));
        match next {
            Some(shorter @ 1..) => length = shorter,
            _ => return,
        }
    }
}

/// IPv6: the address, its /64, then prefixes. The address whose lower half is zero shares its key
/// with the /64, so a verdict on it alone is kept among the prefixes.
#[inline(never)]
fn judge_v6<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) {
    let address = ingress.key().remote;
    ingress.tables.with_v6_exact(&address, |entry| step(ingress, entry, ruling));
    if ruling.is_final() {
        return;
    }
    let [a, b, c, d] = address;
    if c | d != 0 {
        ingress.tables.with_v6_exact(&[a, b, 0, 0], |entry| step(ingress, entry, ruling));
    }
    let mut max_len = 128;
    for _ in 0..PREFIX_STEPS {
        if ruling.is_final() {
            return;
        }
        let next =
            ingress.tables.with_v6_prefix(&address, max_len, |entry| step(ingress, entry, ruling));
        match next {
            Some(shorter @ 1..) => max_len = shorter - 1,
            _ => return,
        }
    }
}

/// Considers an entry: 0 if it counts, otherwise the length of its prefix, to look for a shorter one.
#[inline(never)]
fn step<T: Tables>(ingress: &Ingress<'_, T>, entry: &mut abi::Verdict, ruling: &mut Ruling) -> u32 {
    if consider(ingress, entry, ruling) { 0 } else { u32::from(entry.prefix_len) }
}

/// Adds what one entry says of this packet. `false`: it says nothing, as if it were not there.
#[inline(always)]
fn consider<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    ruling: &mut Ruling,
) -> bool {
    let now_tick = time::tick(ingress.coarse_ns());
    if !entry.is_live(now_tick) {
        return false;
    }
    let Some(terms) =
        ingress.tables.with_class(entry.class, |class| Terms::of(class, ingress.service))
    else {
        ingress.tables.note(Reason::BadClass);
        return false;
    };
    if !terms.applies {
        return false;
    }
    match Action::from_u8(terms.action) {
        Action::Mark => return false,
        Action::Allow => ruling.decision = ALLOWED | Reason::PassAllowed as u32,
        Action::Limit => {
            if ruling.limit & CLASS == 0 || ruling.limit & OBSERVED != 0 {
                let observed = !terms.enforces() || !ingress.enforces();
                ruling.limit = ruling.limit & WOULD
                    | u32::from(entry.class)
                    | if observed { OBSERVED } else { 0 };
            }
        }
        Action::Reject | Action::Drop => return hit(ingress, entry, terms, ruling, now_tick),
    }
    true
}

/// What a class says of a service's packets: copied, so that the closure that reads it is small
/// enough to be inlined.
#[derive(Clone, Copy)]
struct Terms {
    applies: bool,
    action: u8,
    mode: u8,
    reason: u8,
}

impl Terms {
    #[inline(always)]
    const fn of(class: &VerdictClass, service: u8) -> Self {
        Self {
            applies: class.services.contains(service),
            action: class.action,
            mode: class.mode,
            reason: class.reason,
        }
    }

    #[inline(always)]
    fn enforces(self) -> bool {
        Mode::from_u8(self.mode) == Mode::Enforce
    }
}

/// A refusing entry was hit: counts it, reports the 1st, 2nd, 4th … hit.
#[inline(always)]
fn hit<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    terms: Terms,
    ruling: &mut Ruling,
    now_tick: u32,
) -> bool {
    if is_own_flow(ingress) {
        ruling.decision = ALLOWED | Reason::PassOwnFlow as u32;
        return true;
    }
    let enforced = terms.enforces() && ingress.enforces();
    count_hit(ingress, entry, terms.action, enforced, now_tick);
    if enforced {
        ruling.decision = u32::from(terms.action) << 8 | u32::from(terms.reason);
    } else if ruling.limit & WOULD == 0 {
        ruling.limit |= WOULD;
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
    action: u8,
    enforced: bool,
    now_tick: u32,
) {
    entry.hits = entry.hits.wrapping_add(ingress.packets);
    entry.last_hit_tick = now_tick;
    if entry.hits & entry.hits.wrapping_sub(1) == 0 {
        report(ingress, entry, action, enforced);
    }
    ingress.count(tally::class_index(entry.class));
}

/// Counts a packet that a limit held back, under the entry that says so: rare enough for a second
/// look-up. Limits on prefixes count under their class alone.
#[inline(never)]
pub(super) fn count_limited<T: Tables>(ingress: &Ingress<'_, T>, class_id: u16, enforced: bool) {
    let tables = ingress.tables;
    let [a, b, _, address] = ingress.key().remote;
    let count = |entry: &mut abi::Verdict| {
        let same = entry.class == class_id;
        if same {
            let now_tick = time::tick(ingress.coarse_ns());
            count_hit(ingress, entry, Action::Limit as u8, enforced, now_tick);
        }
        same
    };
    let counted = match ingress.headers.family {
        Family::V4 => tables.with_v4_exact(&address, count),
        Family::V6 => tables.with_v6_exact(&[a, b, 0, 0], count),
    };
    if counted != Some(true) {
        ingress.count(tally::class_index(class_id));
    }
}

#[inline(never)]
fn report<T: Tables>(ingress: &Ingress<'_, T>, entry: &abi::Verdict, action: u8, enforced: bool) {
    let hit = Hit {
        header: EventHeader {
            at_ns: ingress.coarse_ns(),
            kind: EventKind::Hit as u8,
            detail: action,
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
        !is_udp || ingress.coarse_ns().saturating_sub(last_ns) < OUTBOUND_UDP_NS
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
