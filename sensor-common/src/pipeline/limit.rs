//! The limit stage: new connections a second, by verdict and by the service's SYN guard.
//!
//! Packets of established flows are never limited. What rests on forgeable evidence, and the SYN
//! guard, hold back a first SYN and let its retransmission pass: a real client loses a second, a
//! spoofed one never comes back.

use super::{
    Tables,
    ingress::Ingress,
    quic,
    verdict::{self, Ruling},
};
use crate::{
    abi::{
        BucketKey, EventHeader, EventKind, Milestone, MilestoneKind, Reason, SourceKey,
        tally::Outcome,
        time::{self, SECOND_NS},
        verdict::CLASS_UNPROVEN_ONLY,
    },
    flow::{bucket, scan},
    packet::{Packet, Transport},
};

/// A held-back SYN may come again from this many ticks on (about 0.2 s; the first
/// retransmission is due after 1 s, RFC 6298) …
const RETRY_FIRST_TICKS: u32 = 3;
/// … until this many (about 64 s).
const RETRY_LAST_TICKS: u32 = 954;
/// Compare-exchange attempts before the packet passes: somebody else took the token each time.
const ATTEMPTS: u32 = 4;

/// Whether a verdict's limit holds this packet back.
#[inline(never)]
pub(super) fn exceeded<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    ruling: &mut Ruling,
) -> bool {
    // Where the kernel follows no handshake, every datagram counts as new, but for the answers to
    // this host's own questions.
    let is_new = match ingress.headers.transport {
        Transport::Tcp => ingress.headers.segment.is_first_syn(),
        Transport::Udp => !verdict::is_own_flow(ingress) && !quic::continues(packet, ingress),
        Transport::Opaque | Transport::Essential => false,
    };
    is_new && over(ingress, ruling)
}

/// [`exceeded`], where a connection is new to its service because its hello just named it.
#[inline(never)]
pub(super) fn exceeded_at_hello<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) -> bool {
    over(ingress, ruling)
}

#[inline(always)]
fn over<T: Tables>(ingress: &Ingress<'_, T>, ruling: &mut Ruling) -> bool {
    let limits = ingress.tables.with_class(ruling.limit_class(), |class| {
        let unproven_only = class.flags & CLASS_UNPROVEN_ONLY != 0;
        (class.limit_interval_ns, class.limit_burst_ns, unproven_only)
    });
    let Some((interval_ns, burst_ns, unproven_only)) = limits else {
        return false;
    };
    let source = ingress.source();
    if unproven_only
        && (ingress.headers.transport == Transport::Udp || is_proven(ingress.tables, &source))
    {
        return false;
    }
    let key = BucketKey { source, class: u32::from(ruling.limit_class()) };
    let taken = ingress.tables.with_bucket(&key, |cell| {
        take(ingress.tables, cell, ingress.coarse_ns(), interval_ns, burst_ns)
    });
    match taken {
        Some(true) => return false,
        Some(false) => {}
        None => {
            ingress.tables.note(Reason::FullBuckets);
            return false;
        }
    }
    if unproven_only && is_retry(ingress) {
        ingress.reason(Reason::PassGuardRetry);
        return false;
    }
    verdict::count_limited(ingress, ruling);
    let observes = ruling.limit_observes();
    if observes {
        if ruling.is_counted() {
            return false;
        }
        ruling.would_limit();
    }
    let reason = if unproven_only { Reason::LimitUnproven } else { Reason::LimitVerdict };
    held_back(ingress, reason, !observes)
}

/// Counts a packet that a limiter holds back, or would.
#[inline(always)]
fn held_back<T: Tables>(ingress: &Ingress<'_, T>, reason: Reason, enforced: bool) -> bool {
    if enforced {
        ingress.reason(reason);
        ingress.outcome(Outcome::Limit);
    } else {
        ingress.reason(Reason::Would);
        ingress.outcome(Outcome::Would);
    }
    enforced
}

/// Whether the service's SYN guard holds this first SYN back. Allow verdicts do not override it.
#[inline(never)]
pub(super) fn guarded<T: Tables>(ingress: &Ingress<'_, T>) -> bool {
    let taken = ingress.tables.with_guard(ingress.service, |guard| {
        if guard.interval_ns == 0 {
            return None;
        }
        let (interval_ns, burst_ns) = (guard.interval_ns, guard.burst_ns);
        Some(take(ingress.tables, &mut guard.tat_ns, ingress.coarse_ns(), interval_ns, burst_ns))
    });
    if !matches!(taken, Some(Some(false))) {
        return false;
    }
    if own_lane(ingress) {
        ingress.reason(Reason::PassGuardLane);
        return false;
    }
    if is_retry(ingress) {
        ingress.reason(Reason::PassGuardRetry);
        return false;
    }
    report_guarding(ingress);
    held_back(ingress, Reason::LimitGuard, ingress.enforces(0))
}

/// A proven source has a lane of its own, with a rate that spoofing its address soon fills.
#[inline(always)]
fn own_lane<T: Tables>(ingress: &Ingress<'_, T>) -> bool {
    let (interval_ns, burst_ns) = (ingress.control.lane_interval_ns, ingress.control.lane_burst_ns);
    if interval_ns == 0 {
        return false;
    }
    let source = ingress.key().source();
    ingress
        .tables
        .with_source(&source, |source| {
            take(
                ingress.tables,
                &mut source.lane_tat_ns,
                ingress.coarse_ns(),
                interval_ns,
                burst_ns,
            )
        })
        .unwrap_or(false)
}

#[inline(always)]
pub(super) fn is_proven<T: Tables>(tables: &T, source: &SourceKey) -> bool {
    tables.with_source(source, |_| ()).is_some()
}

/// Takes a token with a compare-exchange.
#[inline(always)]
pub(super) fn take<T: Tables>(
    tables: &T,
    cell: &mut u64,
    now_ns: u64,
    interval_ns: u64,
    burst_ns: u64,
) -> bool {
    for _ in 0..ATTEMPTS {
        let old = *cell;
        let Some(new) = bucket::take(old, now_ns, interval_ns, burst_ns) else {
            return false;
        };
        if tables.compare_exchange(cell, old, new) {
            return true;
        }
    }
    true
}

/// Whether this SYN was held back before and now comes again; if not, notes it.
///
/// A cell holds a 32-bit tag of ports, addresses and sequence number, and the tick.
#[inline(always)]
fn is_retry<T: Tables>(ingress: &Ingress<'_, T>) -> bool {
    let key = ingress.key();
    let [a, b, c, d] = key.remote;
    let ports = u64::from(key.remote_port) << 16 | u64::from(key.local_port);
    let seed = ingress.control.seed;
    let hash = scan::mix(seed, u64::from(a) << 32 | u64::from(b));
    let hash = scan::mix(hash, u64::from(c) << 32 | u64::from(d));
    let hash = scan::mix(hash, u64::from(ingress.headers.segment.seq) << 32 | ports);
    let now_tick = time::tick(ingress.coarse_ns());
    let tag = hash >> 32;
    ingress
        .tables
        .with_retry(hash, |cell| {
            let age = now_tick.wrapping_sub(*cell as u32);
            if *cell >> 32 == tag && age <= RETRY_LAST_TICKS {
                return age >= RETRY_FIRST_TICKS;
            }
            *cell = tag << 32 | u64::from(now_tick);
            false
        })
        .unwrap_or(true)
}

/// Tells the daemon that a guard holds SYNs back, at most once a second.
#[inline(never)]
fn report_guarding<T: Tables>(ingress: &Ingress<'_, T>) {
    let now_ns = ingress.coarse_ns();
    let held_back = ingress.tables.with_guard(ingress.service, |guard| {
        guard.held_back = guard.held_back.wrapping_add(1);
        if now_ns.saturating_sub(guard.reported_ns) < SECOND_NS {
            return 0;
        }
        guard.reported_ns = now_ns;
        core::mem::take(&mut guard.held_back)
    });
    let value = held_back.unwrap_or(0);
    if value == 0 {
        return;
    }
    ingress.tables.report_milestone(&Milestone {
        header: EventHeader {
            at_ns: now_ns,
            kind: EventKind::Milestone as u8,
            detail: MilestoneKind::Guarding as u8,
            service: ingress.service,
            mode: 0,
            ifindex: ingress.tables.ifindex(),
        },
        key: *ingress.key(),
        value,
    });
}
