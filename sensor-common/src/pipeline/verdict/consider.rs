//! What an entry means for a packet, and counting it.

use super::{ALLOWED, CLASS, MARKED, OBSERVED, Ruling, Subject};
use crate::{
    abi::{
        self, Action, EventHeader, EventKind, Mode, Reason, VerdictClass, VerdictKind,
        control::SERVICE_NAMED,
        key::V4_MAPPED,
        tally::{self, Outcome},
        time::{self, SECOND_NS},
        verdict::UNPROTECTED,
    },
    packet::Transport,
    pipeline::{Tables, ingress::Ingress},
};

/// A UDP exchange that this host began is its own for this long after its last datagram
/// (the time that Linux conntrack grants, `nf_conntrack_udp_timeout_stream`).
const OUTBOUND_UDP_NS: u64 = 120 * SECOND_NS;

/// Considers an entry: 0 if it counts, otherwise the length of its prefix, to look for a shorter one.
#[inline(never)]
pub(super) fn step<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    ruling: &mut Ruling,
) -> u32 {
    if consider(ingress, entry, ruling) { 0 } else { u32::from(entry.prefix_len) }
}

/// Adds what one entry says of this packet. `false`: it says nothing, as if it were not there.
#[inline(always)]
pub(super) fn consider<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    ruling: &mut Ruling,
) -> bool {
    let now_tick = time::tick(ingress.coarse_ns());
    if !entry.is_live(now_tick) {
        return false;
    }
    let Some(terms) = ingress.tables.with_class(entry.class, |class| Terms::of(class, ingress))
    else {
        ingress.tables.note(Reason::BadClass);
        return false;
    };
    if !terms.applies && !applies_by_name(ingress, entry.class) {
        return false;
    }
    match Action::from_u8(terms.action) {
        Action::Mark => {
            // It says nothing against others: the look-up goes on.
            if terms.act(ingress) {
                ruling.limit |= MARKED;
            }
            return false;
        }
        Action::Allow => ruling.decision = ALLOWED | Reason::PassAllowed as u32,
        Action::Limit => {
            if ruling.limit & CLASS == 0 || ruling.limit & OBSERVED != 0 {
                let observed = !terms.act(ingress);
                ruling.limit = ruling.limit & MARKED
                    | u32::from(entry.class)
                    | if observed { OBSERVED } else { 0 };
                ruling.limited = ruling.considered;
            }
        }
        Action::Reject | Action::Drop => return hit(ingress, entry, terms, ruling, now_tick),
    }
    true
}

/// Whether a class is for the service that the flow's hello named.
#[inline(always)]
fn applies_by_name<T: Tables>(ingress: &Ingress<'_, T>, class: u16) -> bool {
    ingress.service_flags & SERVICE_NAMED != 0 && names_service_of(ingress, class)
}

#[inline(never)]
fn names_service_of<T: Tables>(ingress: &Ingress<'_, T>, class: u16) -> bool {
    let named = ingress.tables.with_flow(ingress.key(), |flow| flow.service);
    named.is_some_and(|named| {
        ingress.tables.with_class(class, |class| class.services.contains(named)) == Some(true)
    })
}

/// What a class says of a service's packets: copied, so that the closure that reads it is small
/// enough to be inlined.
#[derive(Clone, Copy)]
struct Terms {
    applies: bool,
    /// It was considered for the port's service, before the hello named another.
    again: bool,
    action: u8,
    mode: u8,
    reason: u8,
    heartbeat_ticks: u32,
}

impl Terms {
    #[inline(always)]
    const fn of<T>(class: &VerdictClass, ingress: &Ingress<'_, T>) -> Self {
        Self {
            applies: class.services.contains(ingress.service),
            again: ingress.renamed && class.services.contains(ingress.port_service),
            action: class.action,
            mode: class.mode,
            reason: class.reason,
            heartbeat_ticks: class.heartbeat_ticks,
        }
    }

    /// Whether the class acts on this packet.
    #[inline(always)]
    fn act<T: Tables>(self, ingress: &Ingress<'_, T>) -> bool {
        Mode::from_u8(self.mode) == Mode::Enforce && ingress.enforces(self.heartbeat_ticks)
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
    let enforced = terms.act(ingress);
    if terms.again && !enforced {
        return false;
    }
    count_hit(ingress, entry, &ruling.considered, terms.action, enforced, now_tick);
    if enforced {
        ruling.decision = u32::from(terms.action) << 8 | u32::from(terms.reason);
    } else {
        if !ruling.is_counted() {
            ingress.reason(Reason::Would);
            ingress.outcome(Outcome::Would);
        }
        ruling.would_refuse(entry.class);
    }
    enforced
}

/// Counts a packet that an entry decided; reports the 1st, 2nd, 4th …
#[inline(always)]
fn count_hit<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &mut abi::Verdict,
    subject: &Subject,
    action: u8,
    enforced: bool,
    now_tick: u32,
) {
    if T::ENDS_AT_VERDICT {
        return ingress.count(tally::class_index(entry.class));
    }
    entry.hits = entry.hits.wrapping_add(ingress.packets);
    entry.last_hit_tick = now_tick;
    if entry.hits & entry.hits.wrapping_sub(1) == 0 {
        report(ingress, entry, subject, action, enforced);
    }
    ingress.count(tally::class_index(entry.class));
}

/// Counts a packet that a limit held back, under the entry that says so: rare enough for a second
/// look-up. Limits on prefixes count under their class alone.
#[inline(never)]
pub(in crate::pipeline) fn count_limited<T: Tables>(ingress: &Ingress<'_, T>, ruling: &Ruling) {
    let tables = ingress.tables;
    let Subject { by, fingerprint } = ruling.limited;
    let [a, b, c, address] = *ingress.client;
    let is_v4 = a | b == 0 && c == V4_MAPPED;
    let count = |entry: &mut abi::Verdict| {
        let same = entry.class == ruling.limit_class();
        if same {
            let (action, enforced) = (Action::Limit as u8, !ruling.limit_observes());
            let now_tick = time::tick(ingress.coarse_ns());
            count_hit(ingress, entry, &ruling.limited, action, enforced, now_tick);
        }
        same
    };
    let counted = match VerdictKind::from_u8(by as u8) {
        VerdictKind::Address if is_v4 => tables.with_v4_exact(&address, count),
        VerdictKind::Address => match tables.with_v6_exact(ingress.client, count) {
            Some(true) => Some(true),
            _ => tables.with_v6_exact(&[a, b, 0, 0], count),
        },
        VerdictKind::Syn => tables.with_syn_verdict(fingerprint, count),
        VerdictKind::Flow => tables.with_flow_verdict(ingress.key(), count),
        VerdictKind::Fingerprint => tables.with_fingerprint(fingerprint, count),
    };
    if counted != Some(true) {
        ingress.count(tally::class_index(ruling.limit_class()));
    }
}

#[inline(never)]
fn report<T: Tables>(
    ingress: &Ingress<'_, T>,
    entry: &abi::Verdict,
    subject: &Subject,
    action: u8,
    enforced: bool,
) {
    let emitted = ingress.tables.emit_hit(|hit| {
        hit.header = EventHeader {
            at_ns: ingress.coarse_ns(),
            kind: EventKind::Hit as u8,
            detail: action,
            service: ingress.service,
            mode: if enforced { Mode::Enforce } else { Mode::Observe } as u8,
            ifindex: ingress.tables.ifindex(),
        };
        hit.source = ingress.source();
        hit.class = entry.class;
        hit.prefix_len = entry.prefix_len;
        hit.by = subject.by as u8;
        hit.hits = entry.hits;
        hit.fingerprint = subject.fingerprint;
    });
    if !emitted {
        ingress.tables.note(Reason::LostHit);
    }
}

/// Part of a flow that this host opened: never held back. A protected port and a first SYN
/// cannot be, so the common drop pays no look-up.
#[inline(always)]
pub(in crate::pipeline) fn is_own_flow<T: Tables>(ingress: &Ingress<'_, T>) -> bool {
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
