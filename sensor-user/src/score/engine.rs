//! The engine: events in, decisions out.

use std::sync::Arc;

use serde::Serialize;
use weir_common::abi::{
    Action, MilestoneKind, Mode, ServiceSet, SourceKey, map::capacity, time::SECOND_NS,
    verdict::UNPROTECTED,
};

use super::{
    decision::{Decision, Trigger},
    factor::{Assessment, Score},
    feature::{Evidence, FeatureInfo},
    measure::Measurements,
    offence::{Case, Offences},
    registry::FeatureId,
};
use crate::{
    event::Event,
    policy::{CompiledPolicy, Policy},
    profile::{ProfileCounters, Profiles, source, subject::Subjects},
};

/// How events' times relate to the calendar, for groups that end on a day.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Clock {
    /// Seconds since 1970 when `CLOCK_MONOTONIC` was 0.
    pub unix_s_at_zero: u64,
}

impl Clock {
    const fn unix_s(self, at_ns: u64) -> u64 {
        self.unix_s_at_zero.saturating_add(at_ns / SECOND_NS)
    }
}

/// What is known of a source where some policies judge it.
#[derive(Clone, PartialEq, Debug)]
pub struct KnownFeatures {
    /// These policies.
    pub policies: Vec<Arc<str>>,
    /// Features and their values, in the registry's order; what is unknown is left out.
    pub values: Vec<(FeatureId, f64)>,
}

/// What the engine did since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct EngineCounters {
    /// Events handled.
    pub events: u64,
    /// Decisions made.
    pub decisions: u64,
    /// Decisions not made, or made weaker, because the source is exempt.
    pub exempted: u64,
    /// Sources profiled now.
    pub sources: u64,
    /// What was out of the ordinary.
    pub profiles: ProfileCounters,
}

/// Scores sources by their events.
#[derive(Debug)]
pub struct Engine {
    policy: Arc<CompiledPolicy>,
    // Index: policy. Policies for the same services share a scope.
    scopes: Vec<usize>,
    profiles: Profiles,
    subjects: Subjects,
    offences: Offences,
    clock: Clock,
    now_ns: u64,
    counters: EngineCounters,
}

impl Engine {
    /// An engine that knows no source yet.
    #[must_use]
    pub fn new(policy: Arc<CompiledPolicy>, clock: Clock) -> Self {
        let limits = policy.settings.profiles;
        let (sets, scopes) = scopes(&policy);
        Self {
            scopes,
            profiles: Profiles::new(limits, sets, &policy.features),
            subjects: Subjects::new(capacity::FLOWS),
            offences: Offences::new(limits.sources),
            policy,
            clock,
            now_ns: 0,
            counters: EngineCounters::default(),
        }
    }

    /// Takes another policy. What is known of sources stays, for services that are judged together
    /// as before.
    pub fn replace_policy(&mut self, policy: Arc<CompiledPolicy>) {
        let (sets, scopes) = scopes(&policy);
        self.profiles.replace_scopes(policy.settings.profiles, sets, &policy.features);
        self.scopes = scopes;
        self.policy = policy;
    }

    /// The policy in use.
    #[must_use]
    pub const fn policy(&self) -> &Arc<CompiledPolicy> {
        &self.policy
    }

    /// How events' times relate to the calendar.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Takes note of a rule's verdict that is live already, as after a restart, so that it is not
    /// decided again.
    pub fn assume(
        &mut self,
        source: &SourceKey,
        policy: &str,
        evidence: Evidence,
        action: Action,
        now_ns: u64,
        until_ns: u64,
    ) {
        let case = Case::new(source, &policy.into(), evidence);
        self.offences.assume(&case, action, now_ns, until_ns);
    }

    /// What the engine did.
    #[must_use]
    pub fn counters(&self) -> EngineCounters {
        EngineCounters {
            sources: self.profiles.len() as u64,
            profiles: self.profiles.counters(),
            ..self.counters
        }
    }

    /// The score of a source under a policy, as things stand.
    pub fn score(&mut self, source: &SourceKey, policy: &str) -> Option<Score> {
        let compiled = Arc::clone(&self.policy);
        let mut policies = compiled.policies.iter().zip(&self.scopes);
        let (policy, scope) = policies.find(|(known, _)| *known.name == *policy)?;
        let view = self.profiles.view(source, *scope, None, self.now_ns);
        let mut measured = Measurements::new(&compiled.features, view, self.now_ns);
        Some(Assessment::of(policy, &mut measured).explain(&mut measured))
    }

    /// What is known of a source now, for every set of services that is judged together: the policies
    /// that judge it, and the features whose value is known.
    pub fn known(&mut self, source: &SourceKey) -> Vec<KnownFeatures> {
        let compiled = Arc::clone(&self.policy);
        let scopes = self.scopes.iter().copied().max().map_or(0, |most| most + 1);
        let known = (0..scopes).map(|scope| {
            let judges = compiled.policies.iter().zip(&self.scopes);
            let judges = judges.filter(|(_, its)| **its == scope);
            let view = self.profiles.view(source, scope, None, self.now_ns);
            let mut measured = Measurements::new(&compiled.features, view, self.now_ns);
            let value = |info: &FeatureInfo| Some((info.id, measured.get(info.id)?));
            KnownFeatures {
                policies: judges.map(|(policy, _)| Arc::clone(&policy.name)).collect(),
                values: compiled.features.iter().filter_map(value).collect(),
            }
        });
        known.collect()
    }

    /// Takes an event in. Returns what follows from it; usually nothing.
    pub fn handle(&mut self, event: &Event) -> Vec<Decision> {
        self.counters.events += 1;
        self.now_ns = self.now_ns.max(event.at_ns());
        if let Event::Tick { at_ns } = event {
            return self.tick(*at_ns);
        }
        let Some(source) = self.subjects.of(event, &self.policy.proxies) else {
            return Vec::new();
        };
        match event {
            Event::Established(event) => {
                self.profiles.established(&source, event);
                let service = Some(event.header.service);
                self.judge(&source, service, event.header.at_ns, Trigger::Established)
            }
            Event::Closed(event) => {
                self.profiles.closed(&source, event);
                let service = Some(event.header.service);
                self.judge(&source, service, event.header.at_ns, Trigger::Closed)
            }
            Event::Milestone(event) => {
                self.profiles.milestone(&source, event);
                let at_ns = event.header.at_ns;
                match MilestoneKind::from_u8(event.header.detail) {
                    Some(MilestoneKind::Stalled) => {
                        let service = Some(event.header.service);
                        self.judge(&source, service, at_ns, Trigger::Stalled)
                    }
                    // A scan is about the host, so every policy looks at it.
                    Some(MilestoneKind::Ports) => self.judge(&source, None, at_ns, Trigger::Ports),
                    Some(MilestoneKind::Guarding) => Vec::new(),
                    // So is what belongs to no connection.
                    _ => self.judge(&source, None, at_ns, Trigger::Unproven),
                }
            }
            Event::Hello(event) => {
                self.profiles.hello(&source, event);
                self.judge(&source, Some(event.service), event.at_ns, Trigger::Hello)
            }
            // Counts of what was dropped say nothing authentic about the source.
            Event::Hit(_) | Event::Tick { .. } => Vec::new(),
            Event::Progress(event) => {
                self.profiles.progress(&source, event);
                let service = Some(event.header.service);
                self.judge(&source, service, event.header.at_ns, Trigger::Progress)
            }
            Event::Signal(event) => {
                self.profiles.signal(&source, event);
                let service = (event.service != 0).then_some(event.service);
                self.judge(&source, service, event.at_ns, Trigger::Signal)
            }
        }
    }

    fn tick(&mut self, at_ns: u64) -> Vec<Decision> {
        self.profiles.tick(at_ns);
        let compiled = Arc::clone(&self.policy);
        let mut decisions = Vec::new();
        for case in self.offences.ending(at_ns) {
            let source = SourceKey { words: case.source };
            for (index, policy) in compiled.policies.iter().enumerate() {
                if policy.name == case.policy {
                    decisions.extend(self.decide(
                        policy,
                        index,
                        &source,
                        None,
                        at_ns,
                        Trigger::Renewal,
                    ));
                }
            }
        }
        decisions
    }

    /// Judges a source by every policy for a service, or by every policy.
    fn judge(
        &mut self,
        source: &SourceKey,
        service: Option<u8>,
        at_ns: u64,
        trigger: Trigger,
    ) -> Vec<Decision> {
        let compiled = Arc::clone(&self.policy);
        let mut decisions = Vec::new();
        for (index, policy) in compiled.policies.iter().enumerate() {
            if service.is_none_or(|service| policy.services.contains(service)) {
                decisions.extend(self.decide(policy, index, source, service, at_ns, trigger));
            }
        }
        decisions
    }

    /// At most one decision on authentic evidence, and one on all of it.
    fn decide(
        &mut self,
        policy: &Policy,
        index: usize,
        source: &SourceKey,
        service: Option<u8>,
        at_ns: u64,
        trigger: Trigger,
    ) -> Vec<Decision> {
        let mut decisions = Vec::new();
        if policy.mode == Mode::Off {
            return decisions;
        }
        let Some(scope) = self.scopes.get(index).copied() else { return decisions };
        let compiled = Arc::clone(&self.policy);
        let view = self.profiles.view(source, scope, service, self.now_ns);
        let mut measured = Measurements::new(&compiled.features, view, self.now_ns);
        let assessment = Assessment::of(policy, &mut measured);
        if policy.ladder.reached(assessment.total(), |_| true).is_none() {
            return decisions;
        }
        let spared = spared(policy, source, self.clock.unix_s(at_ns));
        let allowed = |action: Action| !spared.contains(&action);
        let own = policy.ladder.reached(assessment.authentic(), allowed);
        let unlimited = own.is_none_or(|step| step.action < Action::Limit);
        // Forgeable evidence does nothing but limit SYNs of the unproven.
        let forged = (assessment.has_forgeable() && unlimited)
            .then(|| {
                let limit = |action| action == Action::Limit && allowed(action);
                policy.ladder.reached(assessment.total(), limit)
            })
            .flatten();
        if own != policy.ladder.reached(assessment.authentic(), |_| true) {
            self.counters.exempted += 1;
        }
        let steps = [(own, Evidence::Authentic), (forged, Evidence::Forgeable)];
        for (step, evidence) in steps {
            let Some(step) = step else { continue };
            let case = Case::new(source, &policy.name, evidence);
            let Some(sentence) = self.offences.sentence(&case, step, at_ns) else { continue };
            decisions.push(Decision {
                at_ns,
                source: *source,
                services: reach(policy, evidence),
                policy: Arc::clone(&policy.name),
                rules: assessment.rules(evidence),
                action: step.action,
                mode: policy.mode,
                term_ns: sentence.term_ns,
                offence: sentence.offence,
                evidence,
                trigger,
                limit: step.limit_on(evidence),
                score: assessment.explain(&mut measured),
            });
        }
        self.counters.decisions += decisions.len() as u64;
        let ends = |d: &Decision| d.action >= Action::Reject && d.mode == Mode::Enforce;
        if decisions.iter().any(ends) {
            // A drop ends its connections; were they still counted, it would renew itself.
            self.profiles.end_all(source, scope, at_ns);
        }
        decisions
    }
}

/// Where a decision applies. Scans are seen on ports that nothing protects, so what limits unproven
/// SYNs limits them there too.
fn reach(policy: &Policy, evidence: Evidence) -> ServiceSet {
    match evidence {
        Evidence::Authentic => policy.services,
        Evidence::Forgeable => policy.services.union(ServiceSet::one(UNPROTECTED)),
    }
}

/// The distinct sets of services that policies judge, and which of them each policy uses.
fn scopes(policy: &CompiledPolicy) -> (Vec<ServiceSet>, Vec<usize>) {
    let mut sets: Vec<ServiceSet> = Vec::new();
    let mut scopes = Vec::with_capacity(policy.policies.len());
    for policy in &policy.policies {
        let known = sets.iter().position(|set| *set == policy.services);
        scopes.push(known.unwrap_or(sets.len()));
        if known.is_none() {
            sets.push(policy.services);
        }
    }
    (sets, scopes)
}

/// The actions that a source is spared.
fn spared(policy: &Policy, source: &SourceKey, now_unix_s: u64) -> Vec<Action> {
    let net = source::net(source);
    let groups = policy.exempt.iter().filter(|exempt| exempt.spares(&net, now_unix_s));
    groups.flat_map(|exempt| exempt.actions.iter().copied()).collect()
}
