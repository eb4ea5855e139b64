//! How the brakes stand.

use serde::{Deserialize, Serialize};

use crate::enforce::{
    breaker::State,
    cohort::{CohortCounts, Harm},
};

/// Answer of `GET /v1/brake`, and part of the status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrakeStatus {
    /// The circuit breaker: `closed`, `open` or `half-open`.
    pub state: State,
    /// How far it lets enforcement go: `observe` or `enforce`.
    pub mode: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// Until when it stays so at least (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How often it broke since the daemon started.
    pub trips: u64,
    /// What policies do to the trusted.
    pub harm: Harm,
    /// Share of the trusted, 0..=1, that may be refused.
    pub trusted_dropped_max: f64,
    /// Whether enough of the trusted were seen to say anything. With fewer it does not move.
    pub sample_suffices: bool,
    /// Who is known.
    pub cohort: CohortCounts,
    /// Share of all packets, 0..=1, that were dropped lately. It moves nothing.
    pub drop_share: f64,
    /// Whether that is more than the policy's alarm says.
    pub drop_share_alarm: bool,
}
