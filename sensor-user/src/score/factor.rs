//! A score, and the factors that it is made of.

use std::sync::Arc;

use serde::Serialize;

use super::{feature::Evidence, measure::Measurements};
use crate::policy::{Policy, Rule};

/// The highest score.
const HIGHEST: i32 = 100;

/// One reason for a score.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Factor {
    /// The rule, or `cap` for what exceeds 100.
    pub rule: Arc<str>,
    /// What it adds.
    pub points: i32,
    /// Whether somebody else could have caused it.
    pub evidence: Evidence,
    /// OWASP Automated Threat ids.
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

/// Which rules of a policy are met, before anything is put into words.
pub(super) struct Assessment<'p> {
    met: Vec<&'p Rule>,
    authentic: i32,
    forgeable: i32,
}

impl<'p> Assessment<'p> {
    pub(super) fn of(policy: &'p Policy, measured: &mut Measurements<'_>) -> Self {
        let mut assessment = Self { met: Vec::new(), authentic: 0, forgeable: 0 };
        for rule in &policy.rules {
            if rule.when.evaluate(&mut |feature| measured.get(feature)) == Some(true) {
                assessment.met.push(rule);
                match rule.evidence {
                    Evidence::Authentic => assessment.authentic += i32::from(rule.points),
                    Evidence::Forgeable => assessment.forgeable += i32::from(rule.points),
                }
            }
        }
        assessment
    }

    /// The score from authentic evidence alone.
    pub(super) fn authentic(&self) -> u8 {
        capped(self.authentic)
    }

    /// The score from all evidence.
    pub(super) fn total(&self) -> u8 {
        capped(self.authentic + self.forgeable)
    }

    /// Whether anything forgeable counts.
    pub(super) const fn has_forgeable(&self) -> bool {
        self.forgeable > 0
    }

    /// Names of the met rules, strongest first; with authentic evidence, only authentic ones.
    pub(super) fn rules(&self, evidence: Evidence) -> Vec<Arc<str>> {
        let counts = |rule: &&&Rule| evidence == Evidence::Forgeable || rule.evidence == evidence;
        let mut rules: Vec<&&Rule> = self.met.iter().filter(counts).collect();
        // What forgeable evidence added is what the verdict is for.
        rules.sort_by_key(|rule| (rule.evidence != evidence, i8::MAX.saturating_sub(rule.points)));
        rules.into_iter().map(|rule| Arc::clone(&rule.name)).collect()
    }

    /// The score in words.
    pub(super) fn explain(&self, measured: &mut Measurements<'_>) -> Score {
        let mut factors: Vec<Factor> = self
            .met
            .iter()
            .map(|rule| Factor {
                rule: Arc::clone(&rule.name),
                points: i32::from(rule.points),
                evidence: rule.evidence,
                owasp: Arc::clone(&rule.owasp),
                sentence: sentence(rule, measured),
            })
            .collect();
        // Each kind is capped apart, so that the authentic factors add up on their own.
        let over = |points: i32| points - points.clamp(0, HIGHEST);
        factors.extend(cap(over(self.authentic), Evidence::Authentic));
        let forgeable = self.forgeable + i32::from(self.authentic());
        factors.extend(cap(over(forgeable), Evidence::Forgeable));
        Score { authentic: self.authentic(), total: self.total(), factors }
    }
}

fn capped(points: i32) -> u8 {
    u8::try_from(points.clamp(0, HIGHEST)).unwrap_or(100)
}

fn cap(excess: i32, evidence: Evidence) -> Option<Factor> {
    (excess != 0).then(|| Factor {
        rule: "cap".into(),
        points: -excess,
        evidence,
        owasp: Arc::from([]),
        sentence: "a score lies between 0 and 100".into(),
    })
}

fn sentence(rule: &Rule, measured: &mut Measurements<'_>) -> String {
    let parts: Vec<String> =
        rule.features.iter().map(|feature| measured.explain(*feature)).collect();
    parts.join("; ")
}
