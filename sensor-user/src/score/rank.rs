//! Ranks: how unusual a value is at a service, as a feature of its own (`source.connections_10s_rank`).

use weir_common::abi::ServiceSet;

use super::{
    baseline::Baselines,
    feature::{Evidence, FeatureInfo, Unit},
    registry::{Declared, FeatureId, Registry},
};
use crate::policy::CompiledPolicy;

/// How names of ranks end.
const SUFFIX: &str = "_rank";

/// Declares the rank of every feature that has one: what a source shows itself, in numbers. The last
/// step of filling a registry.
pub(crate) fn declare(registry: &mut Registry) {
    let bases: Vec<(FeatureId, String)> = registry
        .iter()
        .filter(|info| has_rank(info))
        .map(|info| (info.id, info.name.clone().into_owned()))
        .collect();
    for (base, name) in bases {
        let info = FeatureInfo {
            // `declare` numbers it.
            id: FeatureId::declared(0),
            name: format!("{name}{SUFFIX}").into(),
            unit: Unit::Share,
            window: "some weeks of the services' own visitors, from a day and 200 networks".into(),
            evidence: Evidence::Authentic,
            most: 1.0,
            meaning: format!("of the services' own visitors stay below its `{name}`").into(),
        };
        registry.declare(info, Declared::Rank(base));
    }
}

fn has_rank(info: &FeatureInfo) -> bool {
    let is_number = matches!(info.unit, Unit::Count | Unit::Share | Unit::Ratio | Unit::Seconds);
    is_number && info.evidence == Evidence::Authentic && info.name.starts_with("source.")
}

/// What ranks of one set of services are read from, at one hour of the day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranks<'a> {
    pub(super) baselines: &'a Baselines,
    pub(super) services: ServiceSet,
    pub(super) hour: u8,
}

impl Ranks<'_> {
    /// The rank of a value.
    pub(super) fn of(&self, base: FeatureId, value: f64) -> Option<f64> {
        self.baselines.rank(&self.services, base, value, self.hour)
    }
}

/// The features that rules of policies for some services ask the rank of.
pub(super) fn asked(policy: &CompiledPolicy, services: ServiceSet) -> Vec<FeatureId> {
    let policies = policy.policies.iter().filter(|policy| policy.services == services);
    let features = policies.flat_map(|policy| &policy.rules).flat_map(|rule| &rule.features);
    let mut bases: Vec<FeatureId> = features
        .filter_map(|feature| match policy.features.measured(*feature) {
            Some(Declared::Rank(base)) => Some(*base),
            _ => None,
        })
        .collect();
    bases.sort_unstable();
    bases.dedup();
    bases
}
