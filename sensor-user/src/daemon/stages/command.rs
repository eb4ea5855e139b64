//! `weir gates`, `weir promote` and `weir rollback`.

use std::sync::Arc;

use super::{figures_of, watch::told};
use crate::{
    api::message::{
        Failure, FailureKind, Gates, GatesQuery, PolicyGates, PromoteQuery, RollbackQuery,
        StageMoved, TimedReading, VersionGates,
    },
    daemon::{Daemon, sensor::Sensor},
    enforce::{
        gate::{Auto, Judgement},
        stage::{Instant, Stage, StageRecord, shadow_name},
    },
    journal::{Actor, Kind, Record},
    policy::Policy,
    system::clock,
};

impl<S: Sensor> Daemon<S> {
    /// Where policies stand, and what their gates say.
    pub(in crate::daemon) fn gates(&mut self, query: &GatesQuery) -> Result<Gates, Failure> {
        let now_ns = clock::monotonic_ns();
        self.count_packets(now_ns);
        let files = Arc::clone(&self.stages.files);
        if let Some(name) = &query.policy {
            let policy = self.policy_named(name)?;
            return Ok(Gates { policies: self.gates_of(&policy, now_ns).into_iter().collect() });
        }
        let all = files.policies.iter().filter_map(|policy| self.gates_of(policy, now_ns));
        Ok(Gates { policies: all.collect() })
    }

    fn gates_of(&self, policy: &Policy, now_ns: u64) -> Option<PolicyGates> {
        let record = self.stages.stages.of(&policy.name)?;
        let shadow = record.shadow.as_ref().and_then(|shadow| {
            self.version_gates(&shadow_name(&policy.name), &shadow.version, &shadow.since, now_ns)
        });
        let acting =
            self.version_gates(&policy.name, &record.acting.version, &record.since, now_ns)?;
        let since_ns = now_ns.saturating_sub(self.stages.now().since_ns(&record.since));
        Some(PolicyGates {
            policy: policy.name.to_string(),
            stage: record.stage,
            stage_max: policy.stage_max,
            since: clock::wall_text(since_ns),
            why: record.why.clone(),
            by: by(&record.by),
            gates: policy.gates.name.to_string(),
            auto: auto(policy.gates.auto).to_owned(),
            canary_ppm: policy.gates.canary_ppm,
            waits_s: self.waits_ns(policy).map(|ns| ns.div_ceil(1_000_000_000)),
            acting,
            shadow,
        })
    }

    fn version_gates(
        &self,
        name: &str,
        version: &str,
        since: &Instant,
        now_ns: u64,
    ) -> Option<VersionGates> {
        let judged = self.judged(name, since, now_ns)?;
        let timed = |reading: &crate::enforce::gate::Reading| {
            let since_ns = self.stages.book.since_ns(name, reading, now_ns);
            TimedReading {
                since: clock::wall_text(since_ns),
                for_s: now_ns.saturating_sub(since_ns) / 1_000_000_000,
                reading: reading.clone(),
            }
        };
        Some(VersionGates {
            version: version.to_owned(),
            counts: self.stages.tallies.of(name),
            readings: judged.readings.iter().map(timed).collect(),
            may_promote: judged.may_promote(),
        })
    }

    /// Moves a policy forward, if its gates hold or the operator insists.
    pub(in crate::daemon) fn promote(
        &mut self,
        query: &PromoteQuery,
        actor: &Actor,
    ) -> Result<StageMoved, Failure> {
        let policy = self.policy_named(&query.policy)?;
        let record = self.record_of(&policy)?;
        let now_ns = clock::monotonic_ns();
        if query.force && query.why.as_ref().is_none_or(|why| why.trim().is_empty()) {
            return Err(bad("say why with --why: what is forced is asked about later".to_owned()));
        }
        if let Some(shadow) = &record.shadow {
            if query.to.is_some() {
                return Err(refused(format!(
                    "version {} watches beside `{}`: first `weir promote {0}` without --to, then it \
                     acts in place of {}",
                    shadow.version, policy.name, record.acting.version
                )));
            }
            let name = shadow_name(&policy.name);
            let judged = self.judged(&name, &shadow.since, now_ns).ok_or_else(|| unknown(&name))?;
            self.check(&policy, &judged, query, actor)?;
            let why = query.why.as_deref().unwrap_or("its gates hold");
            let verdicts = self.take_over(&policy, &judged, actor, why);
            return self.moved(&policy, record.stage, verdicts);
        }
        let to = match query.to.or_else(|| record.stage.next()) {
            Some(to) if to > record.stage => to,
            _ => {
                let message = format!("`{}` is at {} already", policy.name, record.stage);
                return Err(refused(message));
            }
        };
        if to > policy.stage_max {
            return Err(refused(format!(
                "the ceiling of `{}` is {}: raise `stage_max` in its file, or in the Site's \
                 `defaults`",
                policy.name, policy.stage_max
            )));
        }
        let judged = self.judged(&policy.name, &record.since, now_ns);
        let judged = judged.ok_or_else(|| unknown(&policy.name))?;
        self.check(&policy, &judged, query, actor)?;
        let why = query.why.clone().unwrap_or_else(|| "its gates hold".to_owned());
        let mover = self.stages.mover(actor, why);
        if let Some(moved) = self.stages.stages.go(&policy.name, to, &mover) {
            self.stages.note(moved, figures_of(&judged));
        }
        let verdicts = self.restage(actor);
        let mut moved = self.moved(&policy, record.stage, verdicts)?;
        if moved.to < to {
            let why = self.record_of(&policy)?.why;
            moved.notes.push(format!("it was taken back at once: {why}"));
        }
        Ok(moved)
    }

    /// Takes a policy back to watching.
    pub(in crate::daemon) fn roll_back(
        &mut self,
        query: &RollbackQuery,
        actor: &Actor,
    ) -> Result<StageMoved, Failure> {
        let policy = self.policy_named(&query.policy)?;
        let record = self.record_of(&policy)?;
        if record.stage == Stage::Monitor {
            return Err(refused(format!("`{}` only watches already", policy.name)));
        }
        let why = query.why.clone().unwrap_or_else(|| "by hand".to_owned());
        let mover = self.stages.mover(actor, why);
        let judged = self.judged(&policy.name, &record.since, clock::monotonic_ns());
        if let Some(moved) = self.stages.stages.go_back(&policy.name, &mover) {
            let figures = judged.as_ref().map(figures_of).unwrap_or_default();
            self.stages.note(moved, figures);
        }
        let verdicts = self.restage(actor);
        self.moved(&policy, record.stage, verdicts)
    }

    /// Refuses to promote where gates do not hold and nobody insists; that is written down too.
    fn check(
        &mut self,
        policy: &Policy,
        judged: &Judgement,
        query: &PromoteQuery,
        actor: &Actor,
    ) -> Result<(), Failure> {
        if query.force || judged.may_promote() {
            return Ok(());
        }
        let missing: Vec<String> = judged.missing().map(told).collect();
        let body = serde_json::json!({
            "asked": "promote", "policy": &*policy.name, "missing": missing,
        });
        self.note(Record::new(Kind::Refusal, actor, body));
        Err(refused(format!(
            "these gates of `{}` do not hold: {}. `weir gates {}` shows them; --force --why \"…\" \
             promotes nevertheless",
            policy.name,
            missing.join("; "),
            policy.name
        )))
    }

    fn moved(&self, policy: &Policy, from: Stage, verdicts: usize) -> Result<StageMoved, Failure> {
        let record = self.record_of(policy)?;
        let mut notes = Vec::new();
        if record.stage == Stage::Canary {
            let share = crate::enforce::gate::Measure::Ppm(policy.gates.canary_ppm).text();
            notes.push(format!("it acts on {share} of sources"));
        }
        if record.stage > Stage::Monitor && self.effective_mode() != weir_common::abi::Mode::Enforce
        {
            notes.push("nothing acts now: `weir status` says why".to_owned());
        }
        Ok(StageMoved {
            policy: policy.name.to_string(),
            from,
            to: record.stage,
            version: record.acting.version.to_string(),
            verdicts,
            notes,
        })
    }

    fn policy_named(&self, name: &str) -> Result<Policy, Failure> {
        let policies = &self.stages.files.policies;
        policies.iter().find(|policy| *policy.name == *name).cloned().ok_or_else(|| {
            let known: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
            bad(format!("there is no policy `{name}`; there are: {}", known.join(", ")))
        })
    }

    fn record_of(&self, policy: &Policy) -> Result<StageRecord, Failure> {
        self.stages.stages.of(&policy.name).cloned().ok_or_else(|| unknown(&policy.name))
    }
}

fn unknown(policy: &str) -> Failure {
    Failure::new(FailureKind::Internal, format!("the stage of `{policy}` is not known"))
}

fn bad(message: String) -> Failure {
    Failure::new(FailureKind::BadRequest, message)
}

fn refused(message: String) -> Failure {
    Failure::new(FailureKind::Refused, message)
}

const fn auto(auto: Auto) -> &'static str {
    match auto {
        Auto::Off => "false",
        Auto::Back => "back",
        Auto::Both => "true",
    }
}

/// Who did it, in words.
fn by(actor: &Actor) -> String {
    match actor {
        Actor::Daemon => "the daemon".to_owned(),
        Actor::Peer { uid, .. } => format!("user {uid}"),
        Actor::User(uid) => format!("user {uid}"),
    }
}
