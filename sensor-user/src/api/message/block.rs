//! Setting and taking back operator verdicts.

use serde::{Deserialize, Serialize};
use weir_common::abi::Action;

/// What an operator can ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OperatorAction {
    /// Drop silently, and end open connections.
    #[default]
    Drop,
    /// Refuse with a TCP reset, and end open connections.
    Reject,
    /// Limit new connections.
    Limit,
    /// Tell proxies to challenge; hold nothing back.
    Mark,
    /// Pass, whatever other verdicts say.
    Allow,
}

impl OperatorAction {
    /// Whether it keeps packets out.
    #[must_use]
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Drop | Self::Reject)
    }
}

impl From<OperatorAction> for Action {
    fn from(action: OperatorAction) -> Self {
        match action {
            OperatorAction::Drop => Self::Drop,
            OperatorAction::Reject => Self::Reject,
            OperatorAction::Limit => Self::Limit,
            OperatorAction::Mark => Self::Mark,
            OperatorAction::Allow => Self::Allow,
        }
    }
}

/// Query of `POST /v1/block`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockQuery {
    /// For how long, in seconds; absent = until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
    /// Why, in the operator's words.
    #[serde(default)]
    pub reason: String,
    /// What to do.
    #[serde(default)]
    pub action: OperatorAction,
    /// Only for this service; absent = for everything, unprotected ports too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Count what would be done, and do nothing.
    #[serde(default)]
    pub observe: bool,
    /// New connections a second that `limit` lets through; absent = 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_s: Option<u32>,
    /// It stops acting so many seconds after the daemon died; absent = it goes on to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_s: Option<u64>,
    /// Take JA4s and JA4_rs of the list by their stable form.
    #[serde(default)]
    pub stable: bool,
    /// The address that the operator is connected from: never blocked by this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<std::net::IpAddr>,
}

/// Answer of `POST /v1/block`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Blocked {
    /// Verdicts set by this request: its prefixes and fingerprints, each counted once.
    pub entries: usize,
    /// Of these, those that take effect later: on JA4s that nobody was seen with yet.
    #[serde(default)]
    pub waiting: usize,
    /// Of these, those that took the place of an operator's earlier one.
    pub replaced: usize,
    /// Open connections that were ended.
    pub connections_ended: usize,
    /// What the operator should know, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Time that the daemon took, in milliseconds.
    pub took_ms: f64,
}

/// Query of `POST /v1/unblock`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnblockQuery {
    /// Take every verdict back, operators' and rules'; the body is not read.
    #[serde(default)]
    pub all: bool,
    /// Take JA4s and JA4_rs of the list by their stable form.
    #[serde(default)]
    pub stable: bool,
}

/// Answer of `POST /v1/unblock`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unblocked {
    /// Verdicts that were taken back.
    pub removed: usize,
    /// Prefixes and fingerprints of the request that had none.
    pub unknown: usize,
    /// What the operator should know, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Time that the daemon took, in milliseconds.
    pub took_ms: f64,
}
