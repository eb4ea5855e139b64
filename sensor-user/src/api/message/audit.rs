//! What the self-audit found.

use serde::{Deserialize, Serialize};

use crate::enforce::audit::{Fault, Outcome};

/// Query of `GET /v1/audit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Audit now, and answer when that is done.
    #[serde(default)]
    pub now: bool,
}

/// Answer of `GET /v1/audit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Share of what is wanted that the kernel does, 0 to 1.
    pub coverage: f64,
    /// Below this share the daemon is not ready.
    pub coverage_min: f64,
    /// Sweeps since the daemon started.
    pub sweeps: u64,
    /// When the last one ended (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swept_at: Option<String>,
    /// Entries that it read.
    pub entries: usize,
    /// Verdicts that it found not to be as they should be.
    pub amiss: usize,
    /// How long it took, the reading thread's pauses included.
    pub took_ms: f64,
    /// How long the loop worked for it.
    pub busy_ms: f64,
    /// How often a sweep begins, with as many verdicts as there are.
    pub every_s: u64,
    /// How long after it happened a fault is noticed at most.
    pub noticed_within_s: u64,
    /// Share of the loop's time since the daemon started.
    pub loop_share: f64,
    /// Interfaces that Weir is to be on.
    pub interfaces: usize,
    /// Of them, those that run its programs both ways.
    pub attached: usize,
    /// Synthetic packets of the last sweep.
    pub asked: usize,
    /// Of them, those that were decided as the ledger wants.
    pub answered: usize,
    /// Packets that the interfaces received between the last two comparisons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// Packets that the programs saw meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
    /// What somebody has to look at.
    pub open: Vec<AuditFinding>,
    /// What was found lately, newest first.
    pub latest: Vec<AuditFinding>,
    /// What was found since the daemon started.
    pub counts: Vec<AuditCount>,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFinding {
    /// When (RFC 3339); of what is open, since when.
    pub at: String,
    /// What.
    pub fault: Fault,
    /// Where: an interface, a map, a pin.
    pub object: String,
    /// Entries concerned.
    pub count: usize,
    /// What became of it.
    pub outcome: Outcome,
    /// More, in a sentence.
    pub text: String,
    /// Some of whom it concerns.
    pub about: Vec<String>,
}

/// How often a kind was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCount {
    /// What.
    pub fault: Fault,
    /// Entries found.
    pub found: u64,
    /// Of them, repaired at once.
    pub repaired: u64,
}
