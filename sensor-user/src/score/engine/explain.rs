//! Why a source's score is what it is, and what would change it.

use std::sync::Arc;

use serde::Serialize;
use weir_common::abi::{Action, SourceKey};

use super::{Engine, judge::spared};
use crate::{
    enforce::names,
    policy::{
        Policy,
        condition::{Comparator, Condition},
    },
    profile::source,
    score::{
        ceiling::Ceiling,
        factor::{About, Assessment, Factor, Score},
        feature::Evidence,
        measure::Measurements,
        offence::Case,
        plan::PolicyPlan,
        registry::Registry,
    },
};

/// How things stand between a source and a policy.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Explanation {
    /// The source: an IPv4 /32 or an IPv6 /64.
    #[serde(serialize_with = "source::serialize")]
    pub source: SourceKey,
    /// The policy.
    pub policy: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// When, `CLOCK_MONOTONIC` ns: the engine's latest event.
    pub at_ns: u64,
    /// From authentic evidence alone, 0..=100.
    pub authentic: u8,
    /// From all evidence, 0..=100.
    pub score: u8,
    /// What the ladder gives for it on authentic evidence; `allow`: nothing.
    #[serde(serialize_with = "names::action")]
    pub action: Action,
    /// What adds up to the score.
    pub factors: Vec<Factor>,
    /// Rules that do not count, and how far they are from it.
    pub unmet: Vec<Unmet>,
    /// Features that rules ask for and that are unknown.
    pub unknown: Vec<String>,
    /// Verdicts that are live.
    pub verdicts: Vec<LiveVerdict>,
    /// Actions that the source is spared.
    pub spared: Vec<&'static str>,
    /// What would have to change for another outcome, a sentence each.
    pub otherwise: Vec<String>,
}

/// A verdict that is live.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct LiveVerdict {
    /// What.
    #[serde(serialize_with = "names::action")]
    pub action: Action,
    /// On what kind of evidence.
    pub evidence: Evidence,
    /// Since when, `CLOCK_MONOTONIC` ns.
    pub since_ns: u64,
    /// Until when, `CLOCK_MONOTONIC` ns.
    pub until_ns: u64,
    /// The how manieth time, from 1.
    pub offence: u32,
}

/// A rule that does not count.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Unmet {
    /// Its name.
    pub rule: Arc<str>,
    /// What it would add.
    pub points: i32,
    /// Whether the rule is for services of another audience.
    pub other_audience: bool,
    /// Its comparisons, as they stand.
    pub comparisons: Vec<Comparison>,
}

/// One comparison of a condition.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// The feature.
    pub feature: String,
    /// Its value; `None`: unknown.
    pub value: Option<f64>,
    /// What is needed: `>= 60`.
    pub needed: String,
    /// Whether it holds; `None`: unknown.
    pub holds: Option<bool>,
}

impl Engine {
    /// The score of a source under a policy, as things stand.
    pub fn score(&mut self, source: &SourceKey, policy: &str) -> Option<Score> {
        self.with(source, policy, |case| case.assessment.explain(case.measured))
    }

    /// Why the score of a source under a policy is what it is; `None`: there is no such policy. Asking
    /// changes nothing.
    pub fn explain(&mut self, source: &SourceKey, policy: &str) -> Option<Explanation> {
        let mut explanation = self.with(source, policy, |case| case.explain())?;
        let policy = self.policy.policies.iter().find(|known| *known.name == *policy)?;
        let spared = spared(policy, source, self.clock.unix_s(self.now_ns));
        explanation.spared = spared.iter().map(|action| names::action_name(*action)).collect();
        let own = policy.ladder.reached(explanation.authentic, |action| !spared.contains(&action));
        explanation.action = own.map_or(Action::Allow, |step| step.action);
        for evidence in [Evidence::Authentic, Evidence::Forgeable] {
            let case = Case::new(source, &policy.name, evidence);
            let live = self.offences.live(&case, self.now_ns);
            explanation.verdicts.extend(live.map(|(action, since_ns, until_ns, offence)| {
                LiveVerdict { action, evidence, since_ns, until_ns, offence }
            }));
        }
        Some(explanation)
    }

    fn with<T>(
        &mut self,
        source: &SourceKey,
        policy: &str,
        look: impl FnOnce(&mut Looked<'_, '_>) -> T,
    ) -> Option<T> {
        let compiled = Arc::clone(&self.policy);
        let index = compiled.policies.iter().position(|known| *known.name == *policy)?;
        let (policy, plan) = (compiled.policies.get(index)?, self.plans.get(index)?);
        let scope = self.scopes.get(index).copied()?;
        let service = self.profiles.latest_service(source, scope);
        let about = About::Source(self.audience(policy, service));
        let view = self.profiles.view(source, scope, service, self.now_ns);
        let registry = &compiled.features;
        let mut measured = Measurements::new(around!(self, compiled), view, self.now_ns);
        let mut recall = self.memory.of(source, self.now_ns, false);
        let mut assessment = Assessment::of(policy, plan, about, &mut measured, &mut recall);
        assessment.hold(Ceiling::of(measured.view(), self.now_ns), &policy.ladder);
        let at_ns = self.now_ns;
        let measured = &mut measured;
        Some(look(&mut Looked { policy, plan, about, registry, at_ns, assessment, measured }))
    }
}

/// What is there to look at.
struct Looked<'p, 'm> {
    policy: &'p Policy,
    plan: &'p PolicyPlan,
    about: About,
    registry: &'p Registry,
    at_ns: u64,
    assessment: Assessment<'p>,
    measured: &'m mut Measurements<'p>,
}

impl Looked<'_, '_> {
    fn explain(&mut self) -> Explanation {
        let Score { authentic, total, factors } = self.assessment.explain(self.measured);
        let counts = |name: &str| factors.iter().any(|factor| *factor.rule == *name);
        let rules = self.policy.rules.iter().zip(&self.plan.rules);
        let unmet: Vec<Unmet> = rules
            .filter(|(rule, plan)| !plan.is_whole && !counts(&rule.name))
            .map(|(rule, _)| {
                let mut comparisons = Vec::new();
                collect(&rule.when, false, self.registry, self.measured, &mut comparisons);
                Unmet {
                    rule: Arc::clone(&rule.name),
                    points: i32::from(rule.points),
                    other_audience: !self.about.asks(rule),
                    comparisons,
                }
            })
            .collect();
        let all = self.policy.rules.iter().flat_map(|rule| &rule.features);
        let mut unknown: Vec<String> = all
            .filter(|id| self.measured.get(**id).is_none())
            .filter_map(|id| Some(self.registry.info(*id)?.name.to_string()))
            .collect();
        unknown.sort();
        unknown.dedup();
        let otherwise = otherwise(self.policy, authentic, &factors, &unmet);
        Explanation {
            source: self.measured.view().source,
            policy: Arc::clone(&self.policy.name),
            version: Arc::clone(&self.policy.version),
            at_ns: self.at_ns,
            authentic,
            score: total,
            action: Action::Allow,
            factors,
            unmet,
            unknown,
            verdicts: Vec::new(),
            spared: Vec::new(),
            otherwise,
        }
    }
}

/// The comparisons of a condition, as they would have to hold.
fn collect(
    condition: &Condition,
    negated: bool,
    registry: &Registry,
    measured: &mut Measurements<'_>,
    into: &mut Vec<Comparison>,
) {
    match condition {
        Condition::Compare { feature, comparator, number } => {
            let comparator = if negated { opposite(*comparator) } else { *comparator };
            let value = measured.get(*feature);
            let name = registry.info(*feature).map(|info| info.name.to_string());
            into.push(Comparison {
                feature: name.unwrap_or_default(),
                value,
                needed: format!("{} {number}", comparator.sign()),
                holds: value.map(|value| comparator.holds(value, *number)),
            });
        }
        Condition::Relate { feature, comparator, factor, other } => {
            let comparator = if negated { opposite(*comparator) } else { *comparator };
            let (value, bound) = (measured.get(*feature), measured.get(*other));
            let bound = bound.map(|bound| factor * bound);
            let name = |id| registry.info(id).map_or_else(String::new, |it| it.name.to_string());
            let sign = comparator.sign();
            let needed = bound.map_or_else(
                || format!("{sign} {factor} * {} (unknown)", name(*other)),
                |bound| format!("{sign} {factor} * {} (now {bound:.4})", name(*other)),
            );
            let holds = value.zip(bound).map(|(value, bound)| comparator.holds(value, bound));
            into.push(Comparison { feature: name(*feature), value, needed, holds });
        }
        Condition::In { feature, numbers } => {
            let value = measured.get(*feature);
            let info = registry.info(*feature);
            let listed: Vec<String> = numbers
                .iter()
                .map(|it| info.map_or_else(String::new, |info| info.value(*it)))
                .collect();
            let word = if negated { "not in" } else { "in" };
            into.push(Comparison {
                feature: info.map_or_else(String::new, |info| info.name.to_string()),
                value,
                needed: format!("{word} [{}]", listed.join(", ")),
                holds: value.map(|value| numbers.contains(&value) != negated),
            });
        }
        Condition::All(parts) | Condition::Any(parts) => {
            for part in parts {
                collect(part, negated, registry, measured, into);
            }
        }
        Condition::Not(inner) => collect(inner, !negated, registry, measured, into),
    }
}

const fn opposite(comparator: Comparator) -> Comparator {
    match comparator {
        Comparator::Less => Comparator::GreaterOrEqual,
        Comparator::LessOrEqual => Comparator::Greater,
        Comparator::Greater => Comparator::LessOrEqual,
        Comparator::GreaterOrEqual => Comparator::Less,
        Comparator::Equal => Comparator::NotEqual,
        Comparator::NotEqual => Comparator::Equal,
    }
}

/// What would lead to a stronger or a weaker action.
fn otherwise(policy: &Policy, score: u8, factors: &[Factor], unmet: &[Unmet]) -> Vec<String> {
    let mut sentences = Vec::new();
    let steps = &policy.ladder.steps;
    if let Some(next) = steps.iter().find(|step| step.at > score) {
        let missing = next.at - score;
        let action = names::action_name(next.action);
        sentences.push(format!("{action} needs {missing} more points ({} in all)", next.at));
        for rule in unmet.iter().filter(|rule| rule.points > 0 && !rule.other_audience) {
            let open: Vec<String> = rule
                .comparisons
                .iter()
                .filter(|it| it.holds != Some(true))
                .map(|it| match it.value {
                    Some(value) => format!("{} {} (is {value:.4})", it.feature, it.needed),
                    None => format!("{} {} (is unknown)", it.feature, it.needed),
                })
                .collect();
            let (name, points) = (&rule.rule, rule.points);
            sentences.push(format!("{name} would add {points} with {}", open.join(", ")));
        }
    }
    if let Some(reached) = steps.iter().rev().find(|step| step.at <= score) {
        let action = names::action_name(reached.action);
        for factor in factors.iter().filter(|it| it.points > 0) {
            let without = i32::from(score) - factor.points;
            if without < i32::from(reached.at) {
                let (name, at) = (&factor.rule, reached.at);
                sentences.push(format!(
                    "without {name} the score would be {}, below the {at} of {action}",
                    without.max(0)
                ));
            }
        }
    }
    sentences
}
