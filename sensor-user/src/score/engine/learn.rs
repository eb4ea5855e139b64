//! Learning what is usual: from sources that nothing is held against.

use std::sync::Arc;

use weir_common::abi::SourceKey;

use super::{Engine, judge::Cause};
use crate::{
    policy::CompiledPolicy,
    score::{
        baseline::Place,
        decision::Trigger,
        feature::{Evidence, Feature},
        measure::{Measurements, RANKED},
        offence::Case,
    },
};

/// The features whose rank a policy asks for.
pub(super) fn ranked(policy: &CompiledPolicy) -> Vec<Feature> {
    let asked = |rank: Feature| {
        let mut rules = policy.policies.iter().flat_map(|policy| &policy.rules);
        rules.any(|rule| rule.features.contains(&rank.into()))
    };
    RANKED.into_iter().filter(|(rank, _)| asked(*rank)).map(|(_, base)| base).collect()
}

impl Engine {
    /// A connection of a source ended, or went on: what it is like teaches what is usual, unless
    /// something is held against the source.
    pub(super) fn learn(&mut self, source: &SourceKey, cause: &Cause) {
        let is_time = matches!(cause.trigger, Trigger::Closed | Trigger::Progress);
        let (Some(service), true) = (cause.service, is_time && !self.ranked.is_empty()) else {
            return;
        };
        if self.is_judged(source, cause.at_ns) {
            return;
        }
        let compiled = Arc::clone(&self.policy);
        let judges = compiled.policies.iter().zip(self.scopes.clone());
        let mut done: Vec<usize> = Vec::new();
        for (policy, scope) in judges.filter(|(policy, _)| policy.services.contains(service)) {
            if !done.contains(&scope) {
                done.push(scope);
                let place = Place::new(&policy.services, service);
                self.learn_at(place, scope, service, source, cause.at_ns);
            }
        }
    }

    fn learn_at(
        &mut self,
        place: Place,
        scope: usize,
        service: u8,
        source: &SourceKey,
        at_ns: u64,
    ) {
        let compiled = Arc::clone(&self.policy);
        let hour = self.clock.hour(at_ns);
        let view = self.profiles.view(source, scope, Some(service), self.now_ns);
        let mut measured = Measurements::new(around!(self, compiled), view, self.now_ns);
        let values: Vec<(Feature, Option<f64>)> =
            self.ranked.iter().map(|base| (*base, measured.get((*base).into()))).collect();
        for (base, value) in values {
            if let Some(value) = value {
                self.baselines.observe(place, base.into(), source, value, at_ns, hour);
            }
        }
    }

    /// Whether a verdict on a source is live, of whatever policy and on whatever evidence.
    fn is_judged(&self, source: &SourceKey, now_ns: u64) -> bool {
        self.policy.policies.iter().any(|policy| {
            [Evidence::Authentic, Evidence::Forgeable].into_iter().any(|evidence| {
                let case = Case::new(source, &policy.name, evidence);
                self.offences.live(&case, now_ns).is_some()
            })
        })
    }
}
