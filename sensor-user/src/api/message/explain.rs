//! Why somebody is treated as they are.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Decision, VerdictEntry};
use crate::score::record::FactorRecord;

/// Query of `GET /v1/explain`: one of both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuery {
    /// Whom to explain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The decision to explain, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
}

/// Answer of `GET /v1/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Whom it is about: an address, or an IPv6 /64; `*` for a decision on a whole service.
    pub source: String,
    /// As of when (RFC 3339).
    pub at: String,
    /// The decision that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Verdicts in force that cover the source, operators' among them.
    pub verdicts: Vec<VerdictEntry>,
    /// What is known of it, each feature once; what differs between policies is under the first.
    pub seen: Vec<Seen>,
    /// Features that rules ask for and that are unknown.
    pub unknown: Vec<String>,
    /// How each policy sees it now.
    pub policies: Vec<PolicyExplanation>,
    /// The latest decisions about it, newest first.
    pub decisions: Vec<Decision>,
}

/// A feature's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Its name.
    pub feature: String,
    /// Its value.
    pub value: f64,
    /// The same in words.
    pub text: String,
}

/// How a policy sees a source now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyExplanation {
    /// Its name.
    pub policy: String,
    /// Its version.
    pub version: String,
    /// How far it goes: `off`, `observe` or `enforce`.
    pub mode: String,
    /// How far the policy has come: `monitor`, `canary` or `enforce`.
    pub stage: String,
    /// The services that it is for.
    pub services: Vec<String>,
    /// 0 to 100: the sum of the factors' points.
    pub score: u8,
    /// The part of it that nobody else can have caused; the ladder goes by it.
    pub authentic_score: u8,
    /// What the ladder gives for it now; `allow`: nothing. A verdict that was decided before goes on
    /// to its end.
    pub action: String,
    /// What adds up to the score.
    pub factors: Vec<FactorRecord>,
    /// Rules that do not count, and how far they are from it.
    pub unmet: Vec<UnmetRule>,
    /// Actions that the source is spared.
    pub spared: Vec<String>,
    /// What would have to change for another outcome, a sentence each.
    pub otherwise: Vec<String>,
}

/// A rule that does not count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnmetRule {
    /// Its name.
    pub rule: String,
    /// What it would add.
    pub points: i32,
    /// Whether it is for services of another audience.
    pub other_audience: bool,
    /// Its comparisons, as they stand.
    pub comparisons: Vec<ComparisonState>,
}

/// One comparison of a condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonState {
    /// The feature.
    pub feature: String,
    /// Its value; absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What is needed: `>= 60`.
    pub needed: String,
    /// Whether it holds; absent: unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
}
