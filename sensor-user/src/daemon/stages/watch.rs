//! Gates are read every second, and those for going back after every decision that may do harm: a policy
//! that hurts the trusted is taken back at once.

use std::sync::Arc;

use weir_common::abi::{Action, Mode};

use super::figures_of;
use crate::{
    daemon::{Daemon, sensor::Sensor},
    enforce::{
        gate::{Course, Judgement, Reading, judge},
        stage::{Instant, Stage, shadow_name},
    },
    journal::Actor,
    policy::Policy,
    score::Decision,
};

/// How often the kernel's counters are read, in ticks.
const COUNTED_EVERY: u64 = 5;

impl<S: Sensor> Daemon<S> {
    /// A second passed.
    pub(in crate::daemon) fn tick_stages(&mut self, now_ns: u64) {
        if self.ticks % COUNTED_EVERY == 1 {
            self.count_packets(now_ns);
        }
        self.keep_stages();
        for policy in Arc::clone(&self.stages.files).policies.iter() {
            self.weigh(policy, now_ns, true);
        }
    }

    /// After decisions, once it is known whether they do harm.
    pub(in crate::daemon) fn weigh_gates(&mut self, decisions: &[Decision], now_ns: u64) {
        let refuses = |policy: &Policy| {
            decisions.iter().any(|decision| {
                decision.policy == policy.name
                    && decision.mode == Mode::Enforce
                    && decision.action >= Action::Limit
            })
        };
        self.weigh_back(refuses, now_ns);
    }

    /// Reads the gates of some policies, and takes back those that do harm.
    pub(super) fn weigh_back(&mut self, which: impl Fn(&Policy) -> bool, now_ns: u64) {
        let files = Arc::clone(&self.stages.files);
        for policy in files.policies.iter().filter(|policy| which(policy)) {
            self.weigh(policy, now_ns, false);
        }
    }

    /// Reads a policy's gates, and moves it where they say. `ahead`: forward too.
    fn weigh(&mut self, policy: &Policy, now_ns: u64, ahead: bool) {
        let Some(record) = self.stages.stages.of(&policy.name).cloned() else { return };
        let Some(judged) = self.judged(&policy.name, &record.since, now_ns) else { return };
        self.stages.book.note(&policy.name, &judged.readings, now_ns);
        let waits = self.waits_ns(policy).is_some();
        match judged.course(policy.gates.auto, record.stage, policy.stage_max, waits) {
            Course::Back => return self.go_back(policy, &judged),
            Course::Forward(to) if ahead && record.shadow.is_none() => {
                let why = "all gates hold".to_owned();
                let mover = self.stages.mover(&Actor::Daemon, why);
                let moved = self.stages.stages.go(&policy.name, to, &mover);
                if let Some(moved) = moved {
                    self.stages.note(moved, figures_of(&judged));
                    self.restage(&Actor::Daemon);
                }
            }
            Course::Forward(_) | Course::Stay => {}
        }
        let Some(shadow) = record.shadow.filter(|_| ahead) else { return };
        let name: Arc<str> = shadow_name(&policy.name).into();
        let Some(judged) = self.judged(&name, &shadow.since, now_ns) else { return };
        self.stages.book.note(&name, &judged.readings, now_ns);
        // It takes over at the stage that it finds, so any stage ahead of watching will do.
        let course = judged.course(policy.gates.auto, Stage::Monitor, Stage::Enforce, waits);
        if matches!(course, Course::Forward(_)) {
            self.take_over(policy, &judged, &Actor::Daemon, "all gates of what watched hold");
        }
    }

    /// What the gates say of what judges under a name.
    pub(super) fn judged(&self, name: &str, since: &Instant, now_ns: u64) -> Option<Judgement> {
        let policy = self.engine.policy().policies.iter().find(|it| *it.name == *name)?;
        Some(judge(&policy.gates, &self.figures(policy, since, now_ns)))
    }

    fn go_back(&mut self, policy: &Policy, judged: &Judgement) {
        let broken: Vec<String> = judged.broken().map(told).collect();
        let why = format!("a gate broke: {}", broken.join("; "));
        let mover = self.stages.mover(&Actor::Daemon, why);
        let moved = self.stages.stages.go_back(&policy.name, &mover);
        if let Some(moved) = moved {
            self.stages.note(moved, figures_of(judged));
            self.restage(&Actor::Daemon);
        }
    }

    /// What watched beside a policy acts in its place. Returns how many verdicts changed.
    pub(super) fn take_over(
        &mut self,
        policy: &Policy,
        judged: &Judgement,
        by: &Actor,
        why: &str,
    ) -> usize {
        let mover = self.stages.mover(by, why.to_owned());
        let Some(moved) = self.stages.stages.replace(policy, &mover) else { return 0 };
        self.stages.note(moved, figures_of(judged));
        let shadow = shadow_name(&policy.name);
        self.stages.tallies.forget(&policy.name);
        self.stages.tallies.forget(&shadow);
        self.stages.book.forget(&shadow);
        self.ledger.forget_policy(&shadow);
        let mut both = crate::policy::CompiledPolicy::clone(self.modes.base());
        both.policies.retain(|it| *it.name != *shadow);
        let filed = self.stages.files.policies.iter().find(|it| it.name == policy.name);
        let acting = both.policies.iter_mut().find(|it| it.name == policy.name);
        if let (Some(acting), Some(filed)) = (acting, filed) {
            *acting = filed.clone();
        }
        let both = Arc::new(both);
        self.modes.set_base(&both);
        self.engine.replace_policy(self.modes.over(&both));
        let verdicts = self.restage(by);
        self.apply();
        verdicts
    }

    /// For how long a policy is not moved forward by itself, because it went back; ns.
    pub(super) fn waits_ns(&self, policy: &Policy) -> Option<u64> {
        let went_back = self.stages.stages.of(&policy.name)?.went_back.as_ref()?;
        let since_ns = self.stages.now().since_ns(went_back);
        policy.gates.retry_after_ns.checked_sub(since_ns).filter(|left_ns| *left_ns > 0)
    }
}

/// A gate that broke, in words.
pub(super) fn told(reading: &Reading) -> String {
    let value = reading.value.map_or_else(|| "not known".to_owned(), |value| value.text());
    let relation = if reading.at_least { "at least" } else { "at most" };
    let sample = match reading.sample {
        0 => String::new(),
        sample => format!(", of {sample}"),
    };
    format!("{} {value} ({relation} {}{sample})", reading.gate.name(), reading.bound.text())
}
