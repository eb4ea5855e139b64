//! The host's circuit breaker: what moves it, what it does, and what is told of it.

use serde_json::json;
use weir_common::abi::{
    Control, Mode,
    tally::{self, Outcome},
    time::SECOND_NS,
};

use super::{Daemon, sensor::Sensor};
use crate::{
    api::message::{BrakeStatus, Cause, Failure, FailureKind, Reason},
    enforce::{
        breaker::{Breaker, Move, State},
        cohort::Harm,
        names::mode_name,
    },
    journal::{Actor, Kind, Record},
    policy::{BrakeSettings, CompiledPolicy},
    system::clock,
};

/// How often the share of drops is looked at.
const LOOKED_EVERY_NS: u64 = 10 * SECOND_NS;

/// Fewer packets than this between two looks say nothing.
const FEWEST_PACKETS: u64 = 1000;

/// The breaker, and the alarm beside it.
#[derive(Debug)]
pub(super) struct BreakerDesk {
    pub(super) breaker: Breaker,
    drops: Drops,
    /// Whether the kernel was told what the breaker says.
    is_told: bool,
}

/// Packets so far, and the share of them that was dropped lately.
#[derive(Clone, Copy, Debug, Default)]
struct Drops {
    looked_ns: u64,
    passed: u64,
    dropped: u64,
    share: f64,
    alarmed: bool,
}

impl BreakerDesk {
    pub(super) fn new(settings: &BrakeSettings, now_ns: u64) -> Self {
        let breaker = Breaker::new(settings.breaker, now_ns);
        Self { breaker, drops: Drops::default(), is_told: true }
    }
}

/// The kernel's settings: what a policy says, and how far the breaker lets it go.
pub(super) fn control(policy: &CompiledPolicy, breaker: Mode) -> Control {
    Control { breaker_mode: breaker as u8, ..policy.control() }
}

impl<S: Sensor> Daemon<S> {
    /// Looks at the harm that is done, and does what follows.
    pub(super) fn weigh_harm(&mut self, now_ns: u64) {
        let harm = self.cohort.host_harm();
        if let Some(moved) = self.brakes.breaker.weigh(&harm, now_ns) {
            self.moved_breaker(moved, &harm, &Actor::Daemon, now_ns);
        }
    }

    /// A second passed.
    pub(super) fn tick_breaker(&mut self, now_ns: u64) {
        self.cohort.pass(now_ns);
        self.weigh_harm(now_ns);
        if !self.brakes.is_told {
            self.tell_breaker();
        }
        if now_ns.saturating_sub(self.brakes.drops.looked_ns) >= LOOKED_EVERY_NS {
            self.watch_drops(now_ns);
        }
    }

    /// Takes over what the policy says of the breaker.
    pub(super) fn set_breaker(&mut self) {
        let bounds = self.engine.policy().brakes.breaker;
        if bounds.window_ns != self.brakes.breaker.bounds().window_ns {
            self.cohort.restart_host(bounds.window_ns);
        }
        self.brakes.breaker.set_bounds(bounds);
    }

    /// An operator closes the breaker.
    pub(super) fn reset_breaker(&mut self, actor: &Actor) -> Result<BrakeStatus, Failure> {
        let now_ns = clock::monotonic_ns();
        let harm = self.cohort.host_harm();
        let Some(moved) = self.brakes.breaker.reset(now_ns) else {
            let message = "the breaker is closed: there is nothing to reset";
            return Err(Failure::new(FailureKind::Refused, message));
        };
        self.moved_breaker(moved, &harm, actor, now_ns);
        Ok(self.brake_status())
    }

    fn moved_breaker(&mut self, moved: Move, harm: &Harm, actor: &Actor, now_ns: u64) {
        // First the kernel: every millisecond is one in which somebody is wrongly refused, or rightly.
        self.tell_breaker();
        self.post();
        let mut lifted = 0;
        if matches!(moved, Move::HalfOpened | Move::Reset) {
            lifted = self.lift_from_trusted(now_ns);
            self.cohort.restart_host(self.brakes.breaker.bounds().window_ns);
        }
        let bounds = *self.brakes.breaker.bounds();
        let percent = |share: f64| share * 100.0;
        let figures = format!(
            "{} of {} trusted sources refused ({:.2} %, {} networks of {}) within {} s; the bound is \
             {:.2} %",
            harm.sources.dropped,
            harm.sources.seen,
            percent(harm.dropped_share),
            harm.networks.dropped,
            harm.networks.seen,
            harm.window_ns / SECOND_NS,
            percent(bounds.trusted_dropped_max),
        );
        match moved {
            Move::Tripped => tracing::error!(
                "the breaker is open, nothing is enforced for {} s: {figures}; `weir decisions` shows \
                 by which policy, `weir brake reset` enforces at once",
                bounds.hold_ns / SECOND_NS
            ),
            Move::Held => tracing::error!(
                "the breaker stays open: enforcement would refuse {} of {} trusted sources",
                harm.sources.would,
                harm.sources.seen
            ),
            Move::HalfOpened => tracing::warn!(
                "enforcement is back, and watched; {lifted} verdicts on trusted sources were lifted"
            ),
            Move::Closed => tracing::info!("the breaker is closed: enforcement did no such harm"),
            Move::Reset => tracing::warn!("an operator reset the breaker: enforcement is back"),
        }
        let (state, ..) = self.brakes.breaker.state();
        let body = json!({
            "brake": "breaker", "move": moved, "state": state, "lifted": lifted,
            "bound": bounds, "harm": harm,
        });
        self.note(Record::new(Kind::Brake, actor, body));
        self.keep_breaker();
    }

    /// Lifts what policies decided about those who are trusted, so that whoever is refused again is
    /// refused by a decision that is seen.
    fn lift_from_trusted(&mut self, now_ns: u64) -> usize {
        let mut lifted = 0;
        for source in self.cohort.harmed() {
            lifted += self.lift_rules(&source, now_ns).len();
        }
        if lifted > 0 {
            self.apply();
            self.post();
        }
        lifted
    }

    /// Tells the kernel how far it may go; tried again every second while it refuses.
    pub(super) fn tell_breaker(&mut self) {
        let control = control(self.engine.policy(), self.brakes.breaker.mode());
        match self.sensor.set_control(&control) {
            Ok(()) => self.brakes.is_told = true,
            Err(error) => {
                tracing::error!("{error}; the breaker does not act yet");
                self.brakes.is_told = false;
            }
        }
    }

    /// Looks at the share of packets that are dropped: for an alarm, and nothing else.
    fn watch_drops(&mut self, now_ns: u64) {
        let Ok(tally) = self.sensor.tally() else { return };
        let sum = |outcome: Outcome| -> u64 {
            let of = |service| tally.get(tally::service_index(service, outcome) as usize);
            (0..=u8::MAX).filter_map(of).map(|tally| tally.packets).sum()
        };
        let (passed, dropped) = (sum(Outcome::Pass), sum(Outcome::Drop) + sum(Outcome::Limit));
        let before = self.brakes.drops;
        let new_dropped = dropped.saturating_sub(before.dropped);
        let all = passed.saturating_sub(before.passed) + new_dropped;
        let is_known = before.looked_ns != 0 && all >= FEWEST_PACKETS;
        let share = if is_known { new_dropped as f64 / all as f64 } else { 0.0 };
        let bound = self.engine.policy().brakes.drop_share_alarm;
        let alarmed = share > bound;
        if alarmed && !before.alarmed {
            tracing::warn!(
                "{:.0} % of packets are dropped: an attack, or a policy that catches too many; this \
                 moves no brake",
                share * 100.0
            );
            let body =
                json!({"brake": "drop-share", "alarm": true, "share": share, "bound": bound});
            self.note(Record::new(Kind::Brake, &Actor::Daemon, body));
        }
        self.brakes.drops = Drops { looked_ns: now_ns, passed, dropped, share, alarmed };
    }

    /// How the brakes stand.
    pub(super) fn brake_status(&self) -> BrakeStatus {
        let breaker = &self.brakes.breaker;
        let (state, since_ns, until_ns) = breaker.state();
        let harm = self.cohort.host_harm();
        BrakeStatus {
            state,
            mode: mode_name(breaker.mode()).into(),
            since: clock::wall_text(since_ns),
            until: until_ns.map(clock::wall_text),
            trips: breaker.trips(),
            harm,
            trusted_dropped_max: breaker.bounds().trusted_dropped_max,
            sample_suffices: breaker.bounds().is_met_by(&harm),
            cohort: self.cohort.counts(),
            drop_share: self.brakes.drops.share,
            drop_share_alarm: self.brakes.drops.alarmed,
        }
    }

    /// What of it is worth a look, or keeps Weir from enforcing.
    pub(super) fn breaker_reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        match self.brakes.breaker.state() {
            (State::Open, _, until_ns) => {
                let until = until_ns.map_or_else(String::new, clock::wall_text);
                let text = format!(
                    "the breaker is open until {until} at least, nothing is enforced: policies refused \
                     too many of the trusted; `weir brake status`"
                );
                reasons.push(Reason::fails(Cause::BreakerOpen, text));
            }
            (State::HalfOpen, ..) => {
                let text = "the breaker was open; enforcement is back, and watched";
                reasons.push(Reason::warns(Cause::BreakerOpen, text));
            }
            (State::Closed, ..) => {}
        }
        if !self.brakes.is_told {
            let text = "the kernel was not told what the breaker says; tried again every second";
            reasons.push(Reason::fails(Cause::BreakerOpen, text));
        }
        if self.brakes.drops.alarmed {
            let share = self.brakes.drops.share * 100.0;
            let text = format!("{share:.0} % of packets are dropped; this moves no brake");
            reasons.push(Reason::warns(Cause::DropShare, text));
        }
        reasons
    }
}
