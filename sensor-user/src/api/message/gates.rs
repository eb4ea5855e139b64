//! Stages of policies and the gates between them, as they are told.

use serde::{Deserialize, Serialize};

use crate::enforce::{gate::Reading, stage::Stage};

/// Query of `GET /v1/gates`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatesQuery {
    /// Only this policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// Answer of `GET /v1/gates`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// Policies, in the order of their files.
    pub policies: Vec<PolicyGates>,
}

/// Where a policy stands, and what its gates say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyGates {
    /// Its name.
    pub policy: String,
    /// Its stage.
    pub stage: Stage,
    /// The highest stage that its file allows.
    pub stage_max: Stage,
    /// Since when this version is at this stage, RFC 3339.
    pub since: String,
    /// Why it came there.
    pub why: String,
    /// Who moved it.
    pub by: String,
    /// Its set of gates.
    pub gates: String,
    /// What moves it without being asked: `true`, `back` or `false`.
    pub auto: String,
    /// In canary: the share of sources that it acts on, in parts per million.
    pub canary_ppm: u32,
    /// Until when it is not moved forward by itself, because it went back; seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_s: Option<u64>,
    /// What acts, or would act first.
    pub acting: VersionGates,
    /// What watches beside it: what its file says now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<VersionGates>,
}

/// What one version of a policy did, and what the gates make of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionGates {
    /// Its version.
    pub version: String,
    /// What it did since the daemon began, or since its stage did.
    pub counts: StageCounts,
    /// The gates, each with how long it has said the same.
    pub readings: Vec<TimedReading>,
    /// Whether it may go further.
    pub may_promote: bool,
}

/// What a version of a policy did and would have done. Packets are the kernel's own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCounts {
    /// Decisions to limit, reject or drop that were enforced.
    pub enforced: u64,
    /// Such decisions that were observed only.
    pub observed: u64,
    /// Packets that its verdicts held back.
    pub dropped_packets: u64,
    /// Packets that its verdicts would have held back.
    pub would_packets: u64,
    /// Connections that were made and would have been refused.
    pub would_connections: u64,
}

/// A gate, and since when it says what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedReading {
    /// The gate as it is read now.
    #[serde(flatten)]
    pub reading: Reading,
    /// Since when it is in this state, RFC 3339.
    pub since: String,
    /// The same in seconds.
    pub for_s: u64,
}

/// Query of `POST /v1/promote`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromoteQuery {
    /// Which policy.
    pub policy: String,
    /// To which stage; without it the next one, or what watches beside it acts in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Stage>,
    /// Also where gates do not hold.
    #[serde(default)]
    pub force: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Query of `POST /v1/rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackQuery {
    /// Which policy.
    pub policy: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A policy was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageMoved {
    /// Which.
    pub policy: String,
    /// From where.
    pub from: Stage,
    /// Where it is now.
    pub to: Stage,
    /// The version that it is about.
    pub version: String,
    /// Verdicts that act now and did not before, or the other way round.
    pub verdicts: usize,
    /// What else should be known.
    pub notes: Vec<String>,
}
