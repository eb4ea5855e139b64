//! A score, and the factors that it is made of.

use std::sync::Arc;

use serde::Serialize;

use super::{
    ceiling::Ceiling,
    feature::Evidence,
    measure::Measurements,
    memory::{Faded, Recall},
    plan::PolicyPlan,
};
use crate::{
    enforce::ladder::Ladder,
    policy::{Audience, Policy, Rule},
};

/// The highest score.
const HIGHEST: i32 = 100;

/// What kind of reason a factor is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FactorKind {
    /// A rule of the policy.
    Rule,
    /// A rule that compares with the service's own baseline.
    Anomaly,
    /// A supervised model.
    Model,
    /// A rule that reads a feed, or whose address it is.
    Reputation,
    /// A rule with negative points.
    Trust,
    /// What makes the points add up: a score lies between 0 and 100, and some are held lower.
    Cap,
}

impl FactorKind {
    /// As records name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Anomaly => "anomaly",
            Self::Model => "model",
            Self::Reputation => "reputation",
            Self::Trust => "trust",
            Self::Cap => "cap",
        }
    }
}

/// One reason for a score.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Factor {
    /// The rule, or what holds the score: `cap`, `shared-address`, `fan-in`.
    pub rule: Arc<str>,
    /// What kind of reason it is.
    pub kind: FactorKind,
    /// What it adds.
    pub points: i32,
    /// Whether somebody else could have caused it.
    pub evidence: Evidence,
    /// Ids of threats.
    pub owasp: Arc<[String]>,
    /// What was measured, in a sentence.
    pub sentence: String,
}

/// A score with its reasons: the points of the factors add up to `total`, those of the authentic
/// ones to `authentic`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Score {
    /// From authentic evidence alone, 0..=100.
    pub authentic: u8,
    /// From all evidence, 0..=100.
    pub total: u8,
    /// Why.
    pub factors: Vec<Factor>,
}

impl Score {
    /// The score that a decision on this kind of evidence rests on.
    #[must_use]
    pub const fn on(&self, evidence: Evidence) -> u8 {
        match evidence {
            Evidence::Authentic => self.authentic,
            Evidence::Forgeable => self.total,
        }
    }

    /// The factors that add up to [`Score::on`] it.
    pub fn factors_on(&self, evidence: Evidence) -> impl Iterator<Item = &Factor> {
        let counts = move |factor: &&Factor| {
            evidence == Evidence::Forgeable || factor.evidence == Evidence::Authentic
        };
        self.factors.iter().filter(counts)
    }
}

/// A rule that counts now.
#[derive(Debug)]
struct Counted<'p> {
    rule: &'p Rule,
    kind: FactorKind,
    points: i32,
    faded: Option<Faded>,
}

/// Which rules of a policy count, before anything is put into words.
#[derive(Debug)]
pub(super) struct Assessment<'p> {
    counted: Vec<Counted<'p>>,
    ceiling: Option<Ceiling>,
    // Points that the ceiling takes away.
    held: i32,
    authentic: i32,
    forgeable: i32,
}

/// Which rules are asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    /// Those about a source, which came to a service of this audience.
    Source(Option<Audience>),
    /// Those about a service as a whole.
    Service,
}

impl About {
    /// Whether a rule's audience is theirs.
    pub(super) fn asks(self, rule: &Rule) -> bool {
        match self {
            Self::Source(audience) => rule.audience.is_none_or(|it| Some(it) == audience),
            Self::Service => true,
        }
    }
}

impl<'p> Assessment<'p> {
    pub(super) fn of(
        policy: &'p Policy,
        plan: &PolicyPlan,
        about: About,
        measured: &mut Measurements<'_>,
        recall: &mut Recall<'_>,
    ) -> Self {
        let mut counted = Vec::new();
        for (rule, rule_plan) in policy.rules.iter().zip(&plan.rules) {
            if rule_plan.is_whole != (about == About::Service) || !about.asks(rule) {
                continue;
            }
            let met = rule.when.evaluate(&mut |feature| measured.get(feature)) == Some(true);
            let faded = rule.decay_ns.and_then(|decay| recall.rule(rule, rule_plan, decay, met));
            let points = match &faded {
                _ if met => i32::from(rule.points),
                Some(faded) => faded.points(rule.points),
                None => continue,
            };
            let faded = faded.filter(|_| !met);
            counted.push(Counted { rule, kind: rule_plan.kind, points, faded });
        }
        let sum = |evidence| {
            let of_kind = counted.iter().filter(|it| it.rule.evidence == evidence);
            of_kind.map(|it| it.points).sum()
        };
        let (authentic, forgeable) = (sum(Evidence::Authentic), sum(Evidence::Forgeable));
        Self { counted, ceiling: None, held: 0, authentic, forgeable }
    }

    /// Holds the score below what is stronger than a ceiling allows.
    pub(super) fn hold(&mut self, ceiling: Option<Ceiling>, ladder: &Ladder) {
        let Some(ceiling) = ceiling else { return };
        let stronger = ladder.steps.iter().find(|step| step.action > ceiling.action);
        if let Some(step) = stronger
            && self.authentic() >= step.at
        {
            self.held = i32::from(self.authentic()) - i32::from(step.at) + 1;
            self.ceiling = Some(ceiling);
        }
    }

    /// The score from authentic evidence alone.
    pub(super) fn authentic(&self) -> u8 {
        within(i32::from(within(self.authentic)) - self.held)
    }

    /// The score from all evidence.
    pub(super) fn total(&self) -> u8 {
        within(self.authentic.min(HIGHEST) - self.held + self.forgeable)
    }

    /// Whether anything forgeable counts.
    pub(super) const fn has_forgeable(&self) -> bool {
        self.forgeable > 0
    }

    /// Names of the rules that count against the source, strongest first; with authentic evidence,
    /// only authentic ones.
    pub(super) fn rules(&self, evidence: Evidence) -> Vec<Arc<str>> {
        let counts = |it: &&Counted<'_>| {
            it.points > 0 && (evidence == Evidence::Forgeable || it.rule.evidence == evidence)
        };
        let mut rules: Vec<&Counted<'_>> = self.counted.iter().filter(counts).collect();
        // What forgeable evidence added is what the verdict is for.
        rules.sort_by_key(|it| (it.rule.evidence != evidence, -it.points));
        rules.into_iter().map(|it| Arc::clone(&it.rule.name)).collect()
    }

    /// The score in words.
    pub(super) fn explain(&self, measured: &mut Measurements<'_>) -> Score {
        let mut factors: Vec<Factor> = self
            .counted
            .iter()
            .map(|it| Factor {
                rule: Arc::clone(&it.rule.name),
                kind: it.kind,
                points: it.points,
                evidence: it.rule.evidence,
                owasp: Arc::clone(&it.rule.owasp),
                sentence: it.faded.as_ref().map_or_else(
                    || measured.sentence(&it.rule.features),
                    |faded| faded.sentence(it.rule.points),
                ),
            })
            .collect();
        // Each kind is capped apart, so that the authentic factors add up on their own.
        let (authentic, total) = (self.authentic(), self.total());
        factors
            .extend(cap(i32::from(within(self.authentic)) - self.authentic, Evidence::Authentic));
        if let Some(ceiling) = &self.ceiling {
            factors.push(held(ceiling, self.held));
        }
        let rest = i32::from(total) - i32::from(authentic) - self.forgeable;
        factors.extend(cap(rest, Evidence::Forgeable));
        Score { authentic, total, factors }
    }
}

fn within(points: i32) -> u8 {
    u8::try_from(points.clamp(0, HIGHEST)).unwrap_or(100)
}

fn cap(points: i32, evidence: Evidence) -> Option<Factor> {
    (points != 0).then(|| Factor {
        rule: "cap".into(),
        kind: FactorKind::Cap,
        points,
        evidence,
        owasp: Arc::from([]),
        sentence: "a score lies between 0 and 100".into(),
    })
}

fn held(ceiling: &Ceiling, points: i32) -> Factor {
    Factor {
        rule: ceiling.name.into(),
        kind: FactorKind::Cap,
        points: -points,
        evidence: Evidence::Authentic,
        owasp: Arc::from([]),
        sentence: ceiling.sentence.clone(),
    }
}
