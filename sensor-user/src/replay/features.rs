//! What is known of each source, for whoever writes rules: every feature's value after the source's
//! last event, and the highest that it ever had.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use weir_common::abi::map::capacity;

use super::{record::told, session::Witness};
use crate::{
    event::Event,
    policy::CompiledPolicy,
    profile::subject::Subjects,
    score::{Decision, Engine, registry::FeatureId},
};

/// Sources that are remembered.
const REMEMBERED: usize = 1 << 16;

/// Watches every source's features.
#[derive(Debug)]
pub struct Features {
    policy: Arc<CompiledPolicy>,
    subjects: Subjects,
    sources: BTreeMap<(String, Vec<Arc<str>>), Values>,
}

#[derive(Debug, Default)]
struct Values {
    last: BTreeMap<FeatureId, f64>,
    peak: BTreeMap<FeatureId, f64>,
}

/// What is known of a source where some policies judge it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Known {
    /// An address, or an IPv6 /64.
    pub source: String,
    /// The policies that judge it so.
    pub policies: Vec<String>,
    /// Values after its last event; what is unknown is left out.
    pub features: BTreeMap<String, f64>,
    /// The highest values after any of its events.
    pub peak: BTreeMap<String, f64>,
}

impl Features {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(policy: Arc<CompiledPolicy>) -> Self {
        Self { policy, subjects: Subjects::new(capacity::FLOWS), sources: BTreeMap::new() }
    }

    /// What is known, by source.
    pub fn known(&self) -> impl Iterator<Item = Known> {
        let named = |values: &BTreeMap<FeatureId, f64>| {
            let named = values.iter().filter_map(|(id, value)| {
                Some((self.policy.features.info(*id)?.name.clone().into_owned(), *value))
            });
            named.collect()
        };
        self.sources.iter().map(move |((source, policies), values)| Known {
            source: source.clone(),
            policies: policies.iter().map(ToString::to_string).collect(),
            features: named(&values.last),
            peak: named(&values.peak),
        })
    }
}

impl Witness for Features {
    fn event(&mut self, _event: &Event) {}

    fn judged(&mut self, event: &Event, _decisions: Vec<Decision>, engine: &mut Engine) {
        let Some(subject) = self.subjects.of(event, &self.policy.proxies) else { return };
        let source = told(&subject);
        for known in engine.known(&subject) {
            let key = (source.clone(), known.policies);
            if self.sources.len() >= REMEMBERED && !self.sources.contains_key(&key) {
                continue;
            }
            let values = self.sources.entry(key).or_default();
            values.last = known.values.iter().copied().collect();
            for (id, value) in known.values {
                let peak = values.peak.entry(id).or_insert(value);
                *peak = peak.max(value);
            }
        }
    }
}
