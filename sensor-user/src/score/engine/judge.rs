//! Judging: which policies are asked after an event, and what a score leads to.

use std::sync::Arc;

use weir_common::abi::{Action, Mode, ServiceSet, SourceKey, verdict::UNPROTECTED};

use super::{Engine, cap};
use crate::{
    enforce::ladder::Step,
    policy::Policy,
    profile::source,
    score::{
        ceiling::Ceiling,
        decision::{Decision, Trigger},
        depends::Touched,
        factor::{About, Assessment, Score},
        feature::Evidence,
        measure::Measurements,
        offence::{Case, Sentence},
        plan::PolicyPlan,
    },
};

/// Why somebody is judged now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cause {
    pub(super) at_ns: u64,
    /// The service that it is about; `None`: about none.
    pub(super) service: Option<u8>,
    pub(super) trigger: Trigger,
    /// What changed.
    pub(super) touched: Touched,
}

impl Engine {
    pub(super) fn tick(&mut self, at_ns: u64) -> Vec<Decision> {
        self.profiles.tick(at_ns);
        self.baselines.tick(at_ns);
        let compiled = Arc::clone(&self.policy);
        let mut decisions = Vec::new();
        for (case, service, since_ns) in self.offences.ending(at_ns) {
            let source = SourceKey { words: case.source };
            // Without anything new it would go on for as long as the longest window remembers.
            if self.profiles.last_ns(&source, case.is_forgeable) <= since_ns {
                continue;
            }
            let touched = Touched::EVERYTHING;
            let cause = Cause { at_ns, service, trigger: Trigger::Renewal, touched };
            for (index, policy) in compiled.policies.iter().enumerate() {
                if policy.name == case.policy {
                    decisions.extend(self.decide(policy, index, &source, &cause));
                }
            }
        }
        decisions.extend(self.give_room(at_ns));
        for service in 0..=u8::MAX {
            decisions.extend(self.judge_service(service, at_ns));
        }
        decisions
    }

    /// Judges a source by every policy for a service, or by every policy.
    pub(super) fn judge(&mut self, source: &SourceKey, cause: &Cause) -> Vec<Decision> {
        let compiled = Arc::clone(&self.policy);
        let mut decisions = Vec::new();
        for (index, policy) in compiled.policies.iter().enumerate() {
            if cause.service.is_none_or(|service| policy.services.contains(service)) {
                decisions.extend(self.decide(policy, index, source, cause));
            }
        }
        decisions
    }

    /// At most one decision on authentic evidence, and one on all of it.
    pub(super) fn decide(
        &mut self,
        policy: &Policy,
        index: usize,
        source: &SourceKey,
        cause: &Cause,
    ) -> Vec<Decision> {
        let Some((scope, plan)) = self.scopes.get(index).copied().zip(self.plans.get(index)) else {
            return Vec::new();
        };
        let audience = self.audience(policy, cause.service);
        let mode = self.mode(policy, source);
        let view = self.profiles.view(source, scope, cause.service, self.now_ns);
        let compiled = Arc::clone(&self.policy);
        let mut measured = Measurements::new(around!(self, compiled), view, self.now_ns);
        let about = About::Source(audience);
        #[cfg(test)]
        let touched = if self.thorough { Touched::EVERYTHING } else { cause.touched };
        #[cfg(not(test))]
        let touched = cause.touched;
        if !may_change(policy, plan, about, touched, &mut measured) {
            return Vec::new();
        }
        let mut recall = self.memory.of(source, self.now_ns, true);
        let mut assessment = Assessment::of(policy, plan, about, &mut measured, &mut recall);
        if policy.ladder.reached(assessment.total().max(assessment.authentic()), |_| true).is_none()
        {
            return Vec::new();
        }
        let ceiling = Ceiling::of(measured.view(), self.now_ns);
        let highest = ceiling.as_ref().map_or(Action::Drop, |ceiling| ceiling.action);
        let before = assessment.authentic();
        assessment.hold(ceiling, &policy.ladder);
        self.counters.held += u64::from(assessment.authentic() != before);
        let spared = spared(policy, source, self.clock.unix_s(cause.at_ns));
        let allowed = |action: Action| !spared.contains(&action);
        let own = policy.ladder.reached(assessment.authentic(), allowed);
        let unlimited = own.is_none_or(|step| step.action < Action::Limit);
        // Forgeable evidence does nothing but limit SYNs of the unproven.
        let limit = |action| action == Action::Limit && action <= highest && allowed(action);
        let forged = (assessment.has_forgeable() && unlimited)
            .then(|| policy.ladder.reached(assessment.total(), limit))
            .flatten();
        if own != policy.ladder.reached(assessment.authentic(), |_| true) {
            self.counters.exempted += 1;
        }
        let mut decisions = Vec::new();
        for (step, evidence) in [(own, Evidence::Authentic), (forged, Evidence::Forgeable)] {
            let Some(step) = step else { continue };
            let case = Case::new(source, &policy.name, evidence);
            let rules = assessment.rules(evidence);
            let capped = cap::capped(
                (&mut self.drop_cap, &self.offences),
                (&compiled, policy),
                (&case, step),
                rules.first(),
                (mode, cause),
                allowed,
            );
            let instead = capped.as_ref().and_then(|capped| capped.instead);
            let step = instead.as_ref().unwrap_or(step);
            let sentence = self.offences.sentence(&case, step, cause.service, cause.at_ns);
            if let Some(capped) = capped.as_ref().filter(|_| instead.is_some()) {
                let (score, is_new) = (assessment.authentic(), sentence.is_some());
                self.drop_cap.wait(&capped.rule, source, cause.service, score, is_new);
                self.counters.capped += u64::from(is_new);
            }
            let Some(sentence) = sentence else { continue };
            self.counters.decisions += 1;
            let mut decided = Decision {
                sequence: self.counters.decisions,
                source: *source,
                mode,
                services: reach(policy, evidence),
                rules,
                score: assessment.explain(&mut measured),
                ..decision(policy, step, sentence, evidence, cause)
            };
            if let Some(capped) = &capped {
                capped.note(&mut self.drop_cap, &mut decided);
            }
            decisions.push(decided);
        }
        self.follow_up(source, scope, cause.at_ns, &decisions);
        decisions
    }

    /// What decisions mean for what is known.
    fn follow_up(&mut self, source: &SourceKey, scope: usize, at_ns: u64, decisions: &[Decision]) {
        if !decisions.is_empty() {
            self.baselines.withdraw(source);
        }
        let own = |d: &&Decision| d.evidence == Evidence::Authentic;
        if decisions.iter().filter(own).any(|d| d.action >= Action::Limit) {
            self.profiles.judged(source, at_ns);
        }
        let ends = |d: &Decision| d.action >= Action::Reject && d.mode == Mode::Enforce;
        if decisions.iter().any(ends) {
            // A drop ends its connections; were they still counted, it would renew itself.
            self.profiles.end_all(source, scope, at_ns);
        }
    }

    /// Judges a service as a whole. What presses on it is forgeable, so all that can follow is a
    /// guard before its SYNs.
    pub(super) fn judge_service(&mut self, service: u8, at_ns: u64) -> Vec<Decision> {
        let compiled = Arc::clone(&self.policy);
        let mut decisions = Vec::new();
        let policies = compiled.policies.iter().zip(&self.plans).zip(&self.scopes);
        for ((policy, plan), scope) in policies {
            if !plan.has_whole || !policy.services.contains(service) {
                continue;
            }
            let nobody = SourceKey::default();
            let mode = self.mode_for_all(policy);
            let view = self.profiles.view(&nobody, *scope, Some(service), self.now_ns);
            let mut measured = Measurements::new(around!(self, compiled), view, self.now_ns);
            let mut recall = self.memory.of(&whole(service), self.now_ns, true);
            let about = About::Service;
            let assessment = Assessment::of(policy, plan, about, &mut measured, &mut recall);
            let total = assessment.total().max(assessment.authentic());
            let step = policy.ladder.reached(total, |action| action == Action::Limit);
            let Some(step) = step else { continue };
            let evidence = Evidence::Forgeable;
            let case = Case::of_service(service, &policy.name);
            let sentence = self.offences.sentence(&case, step, Some(service), at_ns);
            let Some(sentence) = sentence else { continue };
            self.counters.decisions += 1;
            let touched = Touched::PRESSURE;
            let trigger = Trigger::Pressure;
            let cause = Cause { at_ns, service: Some(service), trigger, touched };
            decisions.push(Decision {
                sequence: self.counters.decisions,
                whole_service: Some(service),
                mode,
                services: ServiceSet::one(service),
                rules: assessment.rules(evidence),
                score: assessment.explain(&mut measured),
                ..decision(policy, step, sentence, evidence, &cause)
            });
        }
        decisions
    }
}

/// Whether the score can be higher than at the last look: a rule that is met now reads what changed,
/// or one that gave trust may not be met any more.
fn may_change(
    policy: &Policy,
    plan: &PolicyPlan,
    about: About,
    touched: Touched,
    measured: &mut Measurements<'_>,
) -> bool {
    let mut rules = policy.rules.iter().zip(&plan.rules);
    rules.any(|(rule, plan)| {
        plan.touched.meets(touched)
            && !plan.is_whole
            && about.asks(rule)
            && (rule.points < 0
                || rule.when.evaluate(&mut |feature| measured.get(feature)) == Some(true))
    })
}

/// What every decision has; the rest is for the caller to fill in.
fn decision(
    policy: &Policy,
    step: &Step,
    sentence: Sentence,
    evidence: Evidence,
    cause: &Cause,
) -> Decision {
    Decision {
        sequence: 0,
        at_ns: cause.at_ns,
        source: SourceKey::default(),
        whole_service: None,
        service: cause.service,
        services: policy.services,
        policy: Arc::clone(&policy.name),
        version: Arc::clone(&policy.version),
        rules: Vec::new(),
        action: step.action,
        mode: Mode::Observe,
        term_ns: sentence.term_ns,
        offence: sentence.offence,
        evidence,
        trigger: cause.trigger,
        limit: step.limit_on(evidence),
        heartbeat_ns: policy.heartbeat_ns,
        score: Score { authentic: 0, total: 0, factors: Vec::new() },
    }
}

/// What stands for a service among sources: no packet comes from there (RFC 4291, section 2.5.2).
pub(in crate::score) const fn whole(service: u8) -> SourceKey {
    SourceKey { words: [0, service as u32] }
}

/// Where a decision applies. Scans are seen on ports that nothing protects, so what limits unproven
/// SYNs limits them there too.
fn reach(policy: &Policy, evidence: Evidence) -> ServiceSet {
    match evidence {
        Evidence::Authentic => policy.services,
        Evidence::Forgeable => policy.services.union(ServiceSet::one(UNPROTECTED)),
    }
}

/// The actions that a source is spared.
pub(super) fn spared(policy: &Policy, source: &SourceKey, now_unix_s: u64) -> Vec<Action> {
    let net = source::net(source);
    let groups = policy.exempt.iter().filter(|exempt| exempt.spares(&net, now_unix_s));
    groups.flat_map(|exempt| exempt.actions.iter().copied()).collect()
}
