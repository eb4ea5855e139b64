//! Decisions and their reasons.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::score::record::DecisionRecord;

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

/// A decision: the record that replay prints too, and how it went here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What was decided about whom, and why.
    #[serde(flatten)]
    pub record: DecisionRecord,
    /// When the packet was seen that crossed the threshold, `CLOCK_MONOTONIC` nanoseconds.
    pub at_ns: u64,
    /// From that packet to the verdict in the kernel, in milliseconds; absent if the ledger had
    /// nothing new to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_verdict_ms: Option<f64>,
    /// Whom it is about, as a prefix; `::/0` where it is about a whole service.
    pub prefix: IpNet,
    /// Names of the services that it is for; empty = everything.
    pub services: Vec<String>,
    /// Names of the rules that were met, strongest first.
    pub rules: Vec<String>,
    /// The part of the score that nobody else can have caused.
    pub authentic_score: u8,
    /// For how long, in seconds.
    pub for_s: f64,
    /// Open connections that the verdict ended.
    pub connections_ended: usize,
    /// What somebody said since that its source is; `human`: it was a false positive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<crate::label::Verdict>,
}
