//! Whether Weir does what its policy says, and if not, why.
//!
//! Each owner says what is wrong with its part; here it is collected. What keeps packets from being
//! treated as the policy says *fails*; what an operator should look at, while everything works,
//! *warns*.

use nix::net::if_::if_nametoindex;
use weir_common::abi::Reason as Counter;

use super::{
    Daemon,
    sensor::{Sensor, Streams},
};
use crate::{
    api::message::{Cause, Failure, Readiness, Reason, StoreStatus},
    export::metrics,
    system::{clock, sandbox},
};

/// How long lost events are worth a look.
const RECENT_NS: u64 = 60_000_000_000;

/// When events were lost last.
#[derive(Debug, Default)]
pub(super) struct Losses {
    total: u64,
    seen_ns: Option<u64>,
    // What was lost before this daemon began is nothing that it can be blamed for.
    begun: bool,
}

impl Losses {
    /// Takes note of how many were lost so far.
    fn note(&mut self, total: u64, now_ns: u64) {
        if self.begun && total > self.total {
            self.seen_ns = Some(now_ns);
        }
        self.begun = true;
        self.total = total;
    }

    fn is_recent(&self, now_ns: u64) -> bool {
        self.seen_ns.is_some_and(|then| now_ns.saturating_sub(then) < RECENT_NS)
    }
}

impl<S: Sensor> Daemon<S> {
    /// Whether all is as it should be.
    pub(super) fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        reasons.extend(self.interfaces_gone());
        reasons.extend(self.brakes_pulled());
        reasons.extend(self.breaker_reasons());
        reasons.extend(self.kernel_troubles());
        let amiss = self.coverage_amiss();
        reasons.extend(amiss.map(|text| Reason::fails(Cause::Coverage, text)));
        reasons.extend(self.reload_error.as_ref().map(|error| {
            let text = format!("the policy before is in force, the file has a mistake: {error}");
            Reason::warns(Cause::PolicyRefused, text)
        }));
        let store = StoreStatus::from(self.keeper.store.health());
        reasons.extend(store.failing().map(|text| Reason::warns(Cause::StoreFails, text)));
        reasons.extend(self.clients_hidden());
        if self.losses.is_recent(clock::monotonic_ns()) {
            let text = "events were lost within the last minute: the host makes more connections than \
                        the daemon can follow";
            reasons.push(Reason::warns(Cause::EventsLost, text));
        }
        reasons.extend(sandbox::report().parts.iter().filter_map(|part| {
            let text = format!("the sandbox is not whole: {}", part.missing()?);
            Some(Reason::warns(Cause::Sandbox, text))
        }));
        reasons.extend(self.journal_troubles());
        Readiness::of(reasons)
    }

    /// Looks at how many events were lost; from time to time, because it reads every counter.
    pub(super) fn watch_losses(&mut self, now_ns: u64) {
        const LOST: [Counter; 4] = [
            Counter::LostEstablished,
            Counter::LostClosed,
            Counter::LostMilestone,
            Counter::LostHit,
        ];
        match self.sensor.tally() {
            Ok(tally) => {
                let lost = |reason: Counter| {
                    let index = weir_common::abi::tally::reason_index(reason) as usize;
                    tally.get(index).map_or(0, |tally| tally.packets)
                };
                self.losses.note(LOST.into_iter().map(lost).sum(), now_ns);
            }
            Err(error) => tracing::warn!("{error}; lost events are not noticed"),
        }
    }

    /// The figures for Prometheus.
    pub(super) fn metrics(&self, streams: &Streams<S>) -> Result<String, Failure> {
        Ok(metrics::page(&self.status(streams)?))
    }

    fn interfaces_gone(&self) -> Option<Reason> {
        let is_gone = |name: &str, index: u32| {
            if_nametoindex(name).is_ok_and(|now| now == index).then_some(())
        };
        let gone: Vec<&str> = self
            .attachments
            .iter()
            .filter(|it| is_gone(&it.interface, it.index).is_none())
            .map(|it| it.interface.as_str())
            .collect();
        (!gone.is_empty()).then(|| {
            let text = format!(
                "{} is no longer the interface that Weir was attached to: Weir attaches again when it \
                 is back",
                gone.join(", ")
            );
            Reason::fails(Cause::InterfaceGone, text)
        })
    }

    fn brakes_pulled(&self) -> Option<Reason> {
        match self.sensor.kill() {
            Ok(false) => None,
            Ok(true) => {
                let text = "the kill switch is on: everything passes; `weir kill off`";
                Some(Reason::fails(Cause::KillSwitch, text))
            }
            Err(error) => {
                let text = format!("it cannot be told whether the kill switch is on: {error}");
                Some(Reason::fails(Cause::KillSwitch, text))
            }
        }
    }

    fn kernel_troubles(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if let Some(error) = &self.kernel_error {
            let text = format!("verdicts are missing in the kernel: {error}");
            reasons.push(Reason::fails(Cause::KernelWrites, text));
        }
        let mismatched = self.hello_status(0, 0).mismatched;
        if mismatched > 0 {
            let text = format!(
                "the kernel knew {mismatched} ClientHellos by other keys than the daemon: verdicts by \
                 fingerprint do not work; please report it"
            );
            reasons.push(Reason::fails(Cause::KeysDiffer, text));
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_of_an_earlier_run_are_not_news_and_new_ones_are_for_a_minute() {
        let mut losses = Losses::default();
        losses.note(500, 0);
        assert!(!losses.is_recent(1));
        losses.note(501, 10);
        losses.note(501, 20);
        assert!(losses.is_recent(30));
        assert!(!losses.is_recent(10 + RECENT_NS));
    }
}
