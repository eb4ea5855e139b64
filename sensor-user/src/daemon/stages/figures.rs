//! What gates are read from: harm from the cohort, packets from the kernel, the daemon's own state.

use std::{collections::BTreeMap, sync::Arc};

use weir_common::abi::{Action, Mode, Reason, Tally, tally};

use super::StageDesk;
use crate::{
    api::message::StageCounts,
    daemon::{Daemon, sensor::Sensor},
    enforce::{
        cohort::Harm,
        gate::{Figures, Health},
        ledger::{Ledger, Origin},
        stage::Instant,
    },
    event::Event,
    policy::Policy,
    score::Decision,
};

/// Most sources of one network that count as evidence, as the cohort counts them.
const OF_A_NETWORK: u64 = 4;

/// For how long lost events are held against the daemon, ns.
const RECENT_NS: u64 = 60_000_000_000;

/// What policies did and would have done, by the names under which they judge.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    counts: BTreeMap<Arc<str>, StageCounts>,
    // Packets by class at the last look.
    classes: Vec<u64>,
    lost: u64,
    // What was lost before this daemon began is nothing that it can be blamed for.
    looked: bool,
    // How many events were lost at the last loss, and when that was.
    losses: Option<(u64, u64)>,
}

impl Tallies {
    pub(super) fn of(&self, policy: &str) -> StageCounts {
        self.counts.get(policy).copied().unwrap_or_default()
    }

    pub(super) fn forget(&mut self, policy: &str) {
        self.counts.remove(policy);
    }

    fn entry(&mut self, policy: &Arc<str>) -> &mut StageCounts {
        self.counts.entry(Arc::clone(policy)).or_default()
    }

    fn decided(&mut self, decision: &Decision) {
        if decision.action < Action::Limit {
            return;
        }
        let counts = self.entry(&decision.policy);
        if decision.mode == Mode::Enforce {
            counts.enforced += 1;
        } else {
            counts.observed += 1;
        }
    }

    /// The kernel's counters as they are now: what came since the last look is by the classes of now.
    fn counted(&mut self, tally: &[Tally], ledger: &Ledger, now_ns: u64) {
        let packets = |index: u32| tally.get(index as usize).map_or(0, |tally| tally.packets);
        for class in ledger.classes().records() {
            let (id, meaning) = (usize::from(class.id), class.meaning);
            if self.classes.len() <= id {
                self.classes.resize(id + 1, 0);
            }
            let count = packets(tally::class_index(class.id));
            let before = self.classes.get_mut(id).map_or(0, |kept| std::mem::replace(kept, count));
            let Origin::Policy { name, .. } = &meaning.origin else { continue };
            let fresh = if self.looked { count.saturating_sub(before) } else { 0 };
            if fresh == 0 || meaning.action < Action::Limit {
                continue;
            }
            let counts = self.entry(name);
            if meaning.mode == Mode::Enforce {
                counts.dropped_packets += fresh;
            } else {
                counts.would_packets += fresh;
            }
        }
        let reasons =
            [Reason::LostEstablished, Reason::LostClosed, Reason::LostMilestone, Reason::LostHit];
        let lost = reasons.into_iter().map(|reason| packets(tally::reason_index(reason))).sum();
        if self.looked && lost > self.lost {
            self.losses = Some((lost - self.lost, now_ns));
        }
        self.lost = lost;
        self.looked = true;
    }

    fn events_lost(&self, now_ns: u64) -> u64 {
        let recent = |(_, at_ns): &(u64, u64)| now_ns.saturating_sub(*at_ns) < RECENT_NS;
        self.losses.filter(recent).map_or(0, |(lost, _)| lost)
    }
}

impl StageDesk {
    /// Takes decisions in.
    pub(in crate::daemon) fn note_decisions(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            self.tallies.decided(decision);
        }
    }
}

impl<S: Sensor> Daemon<S> {
    /// Takes an event in: a connection tells which verdict would have refused it.
    pub(in crate::daemon) fn note_would(&mut self, event: &Event) {
        let Event::Established(event) = event else { return };
        if event.would_class == 0 {
            return;
        }
        let meaning = self.ledger.classes().meaning(event.would_class);
        if let Some(Origin::Policy { name, .. }) = meaning.map(|meaning| &meaning.origin) {
            let name = Arc::clone(name);
            self.stages.tallies.entry(&name).would_connections += 1;
        }
    }

    /// Reads the kernel's counters.
    pub(super) fn count_packets(&mut self, now_ns: u64) {
        match self.sensor.tally() {
            Ok(tally) => self.stages.tallies.counted(&tally, &self.ledger, now_ns),
            Err(error) => tracing::debug!("{error}; what policies would have done is not counted"),
        }
    }

    /// What is known of one version of a policy; `since`: since when it is where it is.
    pub(super) fn figures(&self, policy: &Policy, since: &Instant, now_ns: u64) -> Figures {
        let harm = self.harm_of(policy).unwrap_or_default();
        let ppm = |share: f64| (share * 1e6).ceil().clamp(0.0, 1e6) as u32;
        Figures {
            in_stage_ns: self.stages.now().since_ns(since),
            connections: harm.connections.seen,
            trusted_sources: harm.sources.seen.min(harm.networks.seen.saturating_mul(OF_A_NETWORK)),
            trusted_would_ppm: ppm(harm.would_share),
            trusted_dropped_ppm: ppm(harm.dropped_share),
            networks_dropped: harm.networks.dropped,
            named_would: harm.named.would,
            named_dropped: harm.named.dropped,
            // Rounded down: what is not quite whole is not whole.
            coverage_ppm: Some((self.audit.coverage().ratio() * 1e6).clamp(0.0, 1e6) as u32),
            health: Health {
                events_lost: self.stages.tallies.events_lost(now_ns),
                store: self.store_trouble(),
                kernel: self.kernel_error.clone(),
            },
        }
    }
}

/// What others measure.
impl<S: Sensor> Daemon<S> {
    fn harm_of(&self, policy: &Policy) -> Option<Harm> {
        self.cohort.harm(&policy.name, &policy.version)
    }

    fn store_trouble(&self) -> Option<String> {
        self.keeper.store.health().trouble
    }
}
