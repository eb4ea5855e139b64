//! What of a rule can be worked out once: what kind of reason it is, whether it is about a service as
//! a whole, and after which events it must be asked again.

use super::{
    depends::Touched,
    factor::FactorKind,
    memory::rule_key,
    registry::{Declared, Registry},
};
use crate::policy::{CompiledPolicy, Policy, Rule};

/// One rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct RulePlan {
    pub(super) kind: FactorKind,
    /// All its features are about a service as a whole.
    pub(super) is_whole: bool,
    /// What it is remembered by.
    pub(super) key: u64,
    /// What must have changed for it to be met where it was not.
    pub(super) touched: Touched,
}

/// One policy.
#[derive(Clone, Debug)]
pub(super) struct PolicyPlan {
    // In the order of the policy's rules.
    pub(super) rules: Vec<RulePlan>,
    /// Whether any rule is about a service as a whole.
    pub(super) has_whole: bool,
}

/// Of every policy, in their order.
pub(super) fn plans(policy: &CompiledPolicy) -> Vec<PolicyPlan> {
    policy.policies.iter().map(|it| PolicyPlan::of(it, &policy.features)).collect()
}

impl PolicyPlan {
    fn of(policy: &Policy, registry: &Registry) -> Self {
        let plan = |rule| RulePlan::of(policy, rule, registry);
        let rules: Vec<RulePlan> = policy.rules.iter().map(plan).collect();
        let has_whole = rules.iter().any(|rule| rule.is_whole);
        Self { rules, has_whole }
    }
}

impl RulePlan {
    fn of(policy: &Policy, rule: &Rule, registry: &Registry) -> Self {
        let any = |test: fn(&str) -> bool| {
            let names = rule.features.iter().filter_map(|id| registry.info(*id));
            names.into_iter().any(|info| test(&info.name))
        };
        let kind = if rule.points < 0 {
            FactorKind::Trust
        } else if any(|name| name.ends_with("_rank")) {
            FactorKind::Anomaly
        } else if any(is_reputation) {
            FactorKind::Reputation
        } else {
            FactorKind::Rule
        };
        let touched = rule.features.iter().map(|id| match id.as_built_in() {
            Some(feature) => feature.touched_by(),
            None => declared(registry, id.as_declared()),
        });
        Self {
            kind,
            is_whole: !rule.features.is_empty() && !any(|name| !name.starts_with("service.")),
            key: rule_key(&policy.name, &rule.name),
            touched: touched.fold(Touched::NOTHING, Touched::or),
        }
    }
}

fn is_reputation(name: &str) -> bool {
    name.starts_with("feed.") || matches!(name, "source.asn" | "source.country")
}

fn declared(registry: &Registry, nth: Option<usize>) -> Touched {
    match nth.and_then(|nth| registry.declared().nth(nth)) {
        Some(Declared::Signal(_)) => Touched::SIGNALS,
        Some(Declared::Feed(_)) | None => Touched::EVERYTHING,
    }
}
