//! Decisions and their reasons.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Query of `GET /v1/decisions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionsQuery {
    /// At most this many, newest first; absent = all that are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// Answer of `GET /v1/decisions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Decisions {
    /// Newest first.
    pub decisions: Vec<Decision>,
    /// How many were made since the daemon started; older ones are not kept.
    pub made: u64,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// When the packet that crossed the threshold was seen (RFC 3339).
    pub at: String,
    /// The same, `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// From that packet to the verdict in the kernel, in milliseconds; absent if the ledger had
    /// nothing new to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_verdict_ms: Option<f64>,
    /// Whom it is about.
    pub prefix: IpNet,
    /// Names of the services that it is for; empty = everything.
    pub services: Vec<String>,
    /// Name of the policy.
    pub policy: String,
    /// Names of the rules that were met, strongest first.
    pub rules: Vec<String>,
    /// `allow`, `mark`, `limit`, `reject` or `drop`.
    pub action: String,
    /// `observe` or `enforce`.
    pub mode: String,
    /// `authentic`, or `forgeable`: then it reaches only sources that never proved that they exist.
    pub evidence: String,
    /// 0 to 100: the sum of the factors' points.
    pub score: u8,
    /// The part of it that nobody else can have caused.
    pub authentic_score: u8,
    /// For how long, in seconds.
    pub for_s: f64,
    /// The how manieth time, from 1.
    pub offence: u32,
    /// OWASP Automated Threat ids ("OAT-008").
    pub owasp: Vec<String>,
    /// What added up to the score.
    pub factors: Vec<Factor>,
    /// Open connections that the verdict ended.
    pub connections_ended: usize,
}

/// A part of a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// The rule, or `cap` for what exceeds 100.
    pub name: String,
    /// Points; negative for caps.
    pub points: i32,
    /// `authentic` or `forgeable`.
    pub evidence: String,
    /// What was seen, in a sentence.
    pub sentence: String,
}
