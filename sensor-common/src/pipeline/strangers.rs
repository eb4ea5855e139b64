//! What is done in the name of sources without proof: counted by source in a bounded sketch, by
//! service for a second, and told at thresholds. Forgeable, and never more than that.

use super::{Tables, ingress::Ingress, verdict};
use crate::{
    abi::{
        CloseReason, EventHeader, EventKind, FlowKey, Milestone, MilestoneKind, SourceKey,
        event::PRESSING_SYNS,
        time::{self, SECOND_NS},
    },
    flow::scan,
    packet::{Link, Packet},
};

/// A second of SYNs that came to its end so long ago is not told any more.
const STALE_NS: u64 = 10 * SECOND_NS;

/// Counts a deed of the packet's source by what it may lead to: [`MilestoneKind::Ports`] and the
/// kinds that count by the minute.
#[inline(never)]
pub(super) fn note<T: Tables>(ingress: &Ingress<'_, T>, deed: MilestoneKind) {
    let key = ingress.key();
    let source = key.source();
    let seed = ingress.control.seed;
    let now_ns = ingress.coarse_ns();
    let belongs_to_nothing = matches!(deed, MilestoneKind::Strays | MilestoneKind::Datagrams);
    if belongs_to_nothing && now_ns < ingress.control.strays_from_ns {
        return;
    }
    let now_tick = time::tick(now_ns);
    let told = ingress.tables.with_scan(cell(source, seed), |scan| {
        scan.enter(source, now_tick);
        match deed {
            MilestoneKind::Ports => scan.port(key.local_port, seed),
            MilestoneKind::HalfOpen => scan.attempt(),
            MilestoneKind::Strays => scan.stray(),
            MilestoneKind::OddFlags => scan.odd(),
            MilestoneKind::Datagrams => scan.datagram(),
            MilestoneKind::Stalled | MilestoneKind::Guarding | MilestoneKind::Pressure => None,
        }
    });
    if let Some(value) = told.flatten() {
        tell(ingress, deed, ingress.tables.now_ns(), u64::from(value));
    }
}

/// A segment with flags that no stack sends tries its port, whatever that is.
#[inline(never)]
pub(super) fn odd<T: Tables>(ingress: &Ingress<'_, T>) {
    note(ingress, MilestoneKind::OddFlags);
    note(ingress, MilestoneKind::Ports);
}

/// A datagram to a port of no service tries that port, but for answers to this host's own questions
/// and what is sent to everybody.
#[inline(never)]
pub(super) fn datagram<P: Packet, T: Tables>(packet: &P, ingress: &Ingress<'_, T>, link: Link) {
    let key = ingress.key();
    let source = key.source();
    let seed = ingress.control.seed;
    let now_tick = time::tick(ingress.coarse_ns());
    let again = ingress.tables.with_scan(cell(source, seed), |scan| {
        scan.has_tried(source, key.local_port, seed, now_tick)
    });
    if again == Some(true) || is_for_everybody(packet, key, link) || verdict::is_own_flow(ingress) {
        return;
    }
    note(ingress, MilestoneKind::Ports);
}

/// Whether a packet goes to a group: by its link-layer address or by its own.
#[inline(always)]
fn is_for_everybody<P: Packet>(packet: &P, key: &FlowKey, link: Link) -> bool {
    if link == Link::Ethernet && packet.byte(0).is_none_or(|first| first & 1 == 1) {
        return true;
    }
    let [first, .., last] = key.local;
    u32::from_be(first) >> 24 == 0xff || first == 0 && u32::from_be(last) >> 28 >= 0xe
}

/// A handshake was proven: it is not half open any more.
#[inline(never)]
pub(super) fn proven<T: Tables>(tables: &T, source: SourceKey, service: u8) {
    answered(tables, source);
    tables.with_guard(service, |guard| guard.proofs = guard.proofs.wrapping_add(1));
}

/// A first SYN came to an end, by proof or because nothing listens: it is not half open.
#[inline(never)]
pub(super) fn answered<T: Tables>(tables: &T, source: SourceKey) {
    tables.with_scan(cell(source, seed(tables)), |scan| scan.answered(source));
}

/// A flow ended: what its peer still sends belongs to nothing, and is no stray.
#[inline(never)]
pub(super) fn ended<T: Tables>(tables: &T, source: SourceKey, why: CloseReason) {
    tables.with_scan(cell(source, seed(tables)), |scan| scan.ended(source, why));
}

/// SYNs of a second of which the service is told at once, and not when the second is over.
const FLOODING_SYNS: u32 = 128;
/// In the count of SYNs: some of this second were told.
const TOLD: u32 = 1 << 31;

/// Counts a SYN to a service, and tells of the second before where many came in it.
#[inline(never)]
pub(super) fn press<T: Tables>(ingress: &Ingress<'_, T>) {
    let now_ns = ingress.coarse_ns();
    let pressure = ingress.tables.with_guard(ingress.service, |guard| {
        // A second that has yet to come is of another boot, or of a test: it is long past.
        let past_ns = now_ns.wrapping_sub(guard.second_ns);
        if past_ns < SECOND_NS {
            guard.syns = guard.syns.wrapping_add(1);
            if guard.syns != FLOODING_SYNS {
                return 0;
            }
            // A flood is not waited for. What is told is not told again.
            let proofs = core::mem::take(&mut guard.proofs);
            guard.syns = TOLD;
            return u64::from(proofs) << 32 | u64::from(FLOODING_SYNS);
        }
        let (syns, proofs) = (guard.syns & !TOLD, guard.proofs);
        guard.second_ns = now_ns;
        guard.syns = 1;
        guard.proofs = 0;
        if syns < PRESSING_SYNS || past_ns > STALE_NS {
            return 0;
        }
        u64::from(proofs) << 32 | u64::from(syns)
    });
    if let Some(value @ 1..) = pressure {
        tell(ingress, MilestoneKind::Pressure, now_ns, value);
    }
}

/// Reports a threshold. Pressure names nobody.
#[inline(never)]
pub(super) fn tell<T: Tables>(
    ingress: &Ingress<'_, T>,
    kind: MilestoneKind,
    at_ns: u64,
    value: u64,
) {
    let mut event = Milestone {
        header: EventHeader {
            at_ns,
            kind: EventKind::Milestone as u8,
            detail: kind as u8,
            service: ingress.service,
            mode: 0,
            ifindex: ingress.tables.ifindex(),
        },
        key: *ingress.key(),
        value,
    };
    if kind as u8 == MilestoneKind::Pressure as u8 {
        event.key.remote = [0; 4];
        event.key.remote_port = 0;
    }
    ingress.tables.report_milestone(&event);
}

/// The hash of a source's cell.
#[inline(always)]
const fn cell(source: SourceKey, seed: u64) -> u64 {
    scan::mix(seed, scan::source_bits(source))
}

#[inline(always)]
fn seed<T: Tables>(tables: &T) -> u64 {
    tables.control().map_or(0, |control| control.seed)
}
