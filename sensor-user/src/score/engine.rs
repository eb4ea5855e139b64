//! The engine: events in, decisions out.

/// What features are read from besides a profile. A macro, because a method would borrow the profiles
/// too.
macro_rules! around {
    ($engine:ident, $compiled:ident) => {
        crate::score::measure::Around {
            registry: &$compiled.features,
            reputation: &*$engine.reputation,
            baselines: &$engine.baselines,
            hour: $engine.clock.hour($engine.now_ns),
        }
    };
}

mod cap;
mod explain;
mod judge;
mod learn;

use std::sync::Arc;

use serde::Serialize;
use weir_common::abi::{
    Action, MilestoneKind, Mode, ServiceSet, SourceKey, map::capacity, time::SECOND_NS,
};

pub use self::explain::{Comparison, Explanation, LiveVerdict, Unmet};
use self::judge::Cause;
use super::{
    baseline::Baselines,
    decision::{Decision, Trigger},
    depends::Touched,
    feature::{Evidence, Feature, FeatureInfo},
    measure::Measurements,
    memory::Memory,
    offence::{Case, Offences},
    plan::{self, PolicyPlan},
    registry::FeatureId,
    reputation::{NoReputation, Reputation},
};
use crate::{
    enforce::drop_cap::DropCap,
    enforce::stage::Acting,
    event::Event,
    policy::{Audience, CompiledPolicy, Policy},
    profile::{ProfileCounters, Profiles, subject::Subjects},
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

    /// The hour of the day (UTC), 0 to 23.
    const fn hour(self, at_ns: u64) -> u8 {
        (self.unix_s(at_ns) / 3600 % 24) as u8
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
    /// Decisions not made, or made weaker, because many share the address.
    pub held: u64,
    /// Decisions made weaker because their rule made as many new drops as it may in a minute.
    pub capped: u64,
    /// Sources profiled now.
    pub sources: u64,
    /// What was out of the ordinary.
    pub profiles: ProfileCounters,
}

/// Which networks a batch of a baseline keeps where more come than it holds: the same on every run.
const BASELINE_SEED: u64 = 0x7765_6972;

/// Scores sources by their events.
#[derive(Debug)]
pub struct Engine {
    policy: Arc<CompiledPolicy>,
    // Index: policy, like `scopes`. Policies for the same services share a scope.
    plans: Vec<PolicyPlan>,
    scopes: Vec<usize>,
    // Index: service.
    audiences: Vec<Audience>,
    profiles: Profiles,
    subjects: Subjects,
    offences: Offences,
    memory: Memory,
    drop_cap: DropCap,
    reputation: Arc<dyn Reputation>,
    baselines: Baselines,
    // Features whose rank a policy asks for.
    ranked: Vec<Feature>,
    acting: Acting,
    clock: Clock,
    now_ns: u64,
    counters: EngineCounters,
    /// Every rule is asked after every event.
    #[cfg(test)]
    pub(super) thorough: bool,
}

impl Engine {
    /// An engine that knows no source yet.
    #[must_use]
    pub fn new(policy: Arc<CompiledPolicy>, clock: Clock) -> Self {
        let limits = policy.settings.profiles;
        let (sets, scopes) = scopes(&policy);
        Self {
            plans: plan::plans(&policy),
            scopes,
            audiences: audiences(&policy),
            profiles: Profiles::new(limits, sets, &policy.features),
            subjects: Subjects::new(capacity::FLOWS),
            offences: Offences::new(limits.sources),
            memory: Memory::new(limits.sources),
            drop_cap: DropCap::default(),
            reputation: Arc::new(NoReputation),
            baselines: Baselines::new(BASELINE_SEED),
            ranked: learn::ranked(&policy),
            policy,
            acting: Acting::default(),
            clock,
            now_ns: 0,
            counters: EngineCounters::default(),
            #[cfg(test)]
            thorough: false,
        }
    }

    /// Takes another policy. What is known of sources stays, for services that are judged together
    /// as before.
    pub fn replace_policy(&mut self, policy: Arc<CompiledPolicy>) {
        let limits = policy.settings.profiles;
        let (sets, scopes) = scopes(&policy);
        self.profiles.replace_scopes(limits, sets, &policy.features);
        self.memory.resize(limits.sources);
        self.baselines.replace_registry(&self.policy.features, &policy.features);
        self.ranked = learn::ranked(&policy);
        self.plans = plan::plans(&policy);
        self.scopes = scopes;
        self.audiences = audiences(&policy);
        self.policy = policy;
        self.renew_caps();
    }

    /// How far policies go from now on. At first, every policy watches.
    pub fn set_acting(&mut self, acting: Acting) {
        self.acting = acting;
    }

    /// The same with policies that all act.
    #[cfg(test)]
    #[must_use]
    pub(crate) fn enforcing(mut self) -> Self {
        self.acting = Acting::all(crate::enforce::stage::Stage::Enforce, 0);
        self
    }

    /// How far policies go.
    #[must_use]
    pub const fn acting(&self) -> &Acting {
        &self.acting
    }

    /// Whether what a policy decides about a source acts.
    pub(crate) fn mode(&self, policy: &Policy, source: &SourceKey) -> Mode {
        self.ceiling(self.acting.mode(&policy.name, policy.stage_max, source))
    }

    fn mode_for_all(&self, policy: &Policy) -> Mode {
        self.ceiling(self.acting.mode_for_all(&policy.name, policy.stage_max))
    }

    /// Where the sensor as a whole watches or is off, no decision acts.
    fn ceiling(&self, mode: Mode) -> Mode {
        if self.policy.settings.mode == Mode::Enforce { mode } else { Mode::Observe }
    }

    /// What others know of addresses, from now on.
    pub fn set_reputation(&mut self, reputation: Arc<dyn Reputation>) {
        self.reputation = reputation;
    }

    /// What is usual at each service.
    #[must_use]
    pub const fn baselines(&self) -> &Baselines {
        &self.baselines
    }

    /// Goes on from what an earlier run learned.
    pub fn set_baselines(&mut self, baselines: Baselines) {
        self.baselines = baselines;
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

    /// Takes note of how often a source had a verdict of a policy before, on authentic evidence, the
    /// last one until then: what an earlier run knew.
    pub fn recall(
        &mut self,
        source: &SourceKey,
        policy: &Arc<str>,
        times: u32,
        action: Action,
        until_ns: u64,
    ) {
        let case = Case::new(source, policy, Evidence::Authentic);
        self.offences.recall(&case, times, action, until_ns);
    }

    /// Takes note that a verdict was taken back before its end, so that it is decided anew when the
    /// score asks for it again. It does not count as an offence.
    pub fn lift(&mut self, source: &SourceKey, policy: &Arc<str>, now_ns: u64) {
        self.offences.lift(&Case::new(source, policy, Evidence::Authentic), now_ns);
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

    /// What is known of a source now, for every set of services that is judged together: the policies
    /// that judge it, and the features whose value is known.
    pub fn known(&mut self, source: &SourceKey) -> Vec<KnownFeatures> {
        let compiled = Arc::clone(&self.policy);
        let scopes = self.scopes.iter().copied().max().map_or(0, |most| most + 1);
        let known = (0..scopes).map(|scope| {
            let judges = compiled.policies.iter().zip(&self.scopes);
            let judges = judges.filter(|(_, its)| **its == scope);
            let service = self.profiles.latest_service(source, scope);
            let view = self.profiles.view(source, scope, service, self.now_ns);
            let mut measured = Measurements::new(around!(self, compiled), view, self.now_ns);
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
        match event {
            Event::Tick { at_ns } => return self.tick(*at_ns),
            Event::Milestone(event) if is_about_a_service(event.header.detail) => {
                self.profiles.pressure(event);
                return self.judge_service(event.header.service, event.header.at_ns);
            }
            _ => {}
        }
        let Some(source) = self.subjects.of(event, &self.policy.proxies) else {
            return Vec::new();
        };
        let Some(cause) = self.take_in(&source, event) else { return Vec::new() };
        let decisions = self.judge(&source, &cause);
        self.learn(&source, &cause);
        decisions
    }

    /// Adds an event to what is known of its source; `None`: it says nothing.
    fn take_in(&mut self, source: &SourceKey, event: &Event) -> Option<Cause> {
        let profiles = &mut self.profiles;
        let at_ns = event.at_ns();
        let (service, trigger, touched) = match event {
            Event::Established(event) => {
                profiles.established(source, event);
                (Some(event.header.service), Trigger::Established, Touched::ARRIVALS)
            }
            Event::Closed(event) => {
                profiles.closed(source, event);
                (Some(event.header.service), Trigger::Closed, Touched::CONTENTS)
            }
            Event::Progress(event) => {
                profiles.progress(source, event);
                let touched = Touched::CONTENTS.or(Touched::ARRIVALS);
                (Some(event.header.service), Trigger::Progress, touched)
            }
            Event::Hello(event) => {
                profiles.hello(source, event);
                (Some(event.service), Trigger::Hello, Touched::HELLOS)
            }
            Event::Signal(event) => {
                profiles.signal(source, event);
                let service = (event.service != 0).then_some(event.service);
                (service, Trigger::Signal, Touched::SIGNALS)
            }
            Event::Milestone(event) => {
                profiles.milestone(source, event);
                match MilestoneKind::from_u8(event.header.detail)? {
                    MilestoneKind::Stalled => {
                        (Some(event.header.service), Trigger::Stalled, Touched::STALLS)
                    }
                    // A scan is about the host, so every policy looks at it.
                    MilestoneKind::Ports => (None, Trigger::Ports, Touched::UNPROVEN),
                    // So is what belongs to no connection.
                    _ => (None, Trigger::Unproven, Touched::UNPROVEN),
                }
            }
            // Counts of what was dropped say nothing authentic about the source.
            Event::Hit(_) | Event::Tick { .. } => return None,
        };
        Some(Cause { at_ns, service, trigger, touched })
    }
}

/// Whether a milestone is about a service, and its address is nobody's, or whoever's SYN came first.
const fn is_about_a_service(detail: u8) -> bool {
    matches!(
        MilestoneKind::from_u8(detail),
        Some(MilestoneKind::Guarding | MilestoneKind::Pressure)
    )
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

/// Every service's audience, by its number.
fn audiences(policy: &CompiledPolicy) -> Vec<Audience> {
    let mut audiences = vec![Audience::Both; 1 << u8::BITS];
    for service in &policy.services {
        if let Some(audience) = audiences.get_mut(usize::from(service.id)) {
            *audience = service.audience;
        }
    }
    audiences
}

impl Engine {
    /// The audience of the service that an event is about; where it is about none, the one that all
    /// of a policy's services have.
    fn audience(&self, policy: &Policy, service: Option<u8>) -> Option<Audience> {
        let of = |id: u8| self.audiences.get(usize::from(id)).copied();
        if let Some(service) = service {
            return of(service);
        }
        let mut all = (1..=u8::MAX).filter(|id| policy.services.contains(*id)).map(of);
        let first = all.next()??;
        all.all(|other| other == Some(first)).then_some(first)
    }
}
