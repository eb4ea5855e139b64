//! Decisions: what shall be done to whom, for how long, and why.

use std::sync::Arc;

use serde::Serialize;
use weir_common::abi::{Action, Mode, ServiceSet, SourceKey};

use super::{factor::Score, feature::Evidence};
use crate::{
    enforce::{ladder::RateLimit, names},
    profile::source,
};

/// What made the engine look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// A connection was proven.
    Established,
    /// A connection ended.
    Closed,
    /// A request stalled.
    Stalled,
    /// Ports were tried.
    Ports,
    /// Something came in its name that proves nothing.
    Unproven,
    /// An application said something of it.
    Signal,
    /// A connection goes on.
    Progress,
    /// A ClientHello was read.
    Hello,
    /// A verdict is about to end.
    Renewal,
}

/// A decision.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Decision {
    /// When the packet was seen that tipped the scales, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// About whom.
    #[serde(serialize_with = "source::serialize")]
    pub source: SourceKey,
    /// For which services.
    #[serde(serialize_with = "names::services")]
    pub services: ServiceSet,
    /// By which policy.
    pub policy: Arc<str>,
    /// By which of its rules, strongest first.
    pub rules: Vec<Arc<str>>,
    /// What.
    #[serde(serialize_with = "names::action")]
    pub action: Action,
    /// Whether it acts.
    #[serde(serialize_with = "names::mode")]
    pub mode: Mode,
    /// For how long.
    pub term_ns: u64,
    /// The how manieth time, from 1.
    pub offence: u32,
    /// On what kind of evidence. Forgeable evidence limits unproven SYNs and nothing else.
    pub evidence: Evidence,
    /// What made the engine look.
    pub trigger: Trigger,
    /// For limits: the rate.
    pub limit: Option<RateLimit>,
    /// Why.
    pub score: Score,
}

impl Decision {
    /// When its verdict ends, `CLOCK_MONOTONIC` ns.
    #[must_use]
    pub const fn until_ns(&self) -> u64 {
        self.at_ns.saturating_add(self.term_ns)
    }

    /// Whether its verdict applies only to sources that never proved that they exist.
    #[must_use]
    pub fn unproven_only(&self) -> bool {
        self.evidence == Evidence::Forgeable
    }

    /// The rule that weighs most, as `policy/rule`.
    #[must_use]
    pub fn rule(&self) -> String {
        let rule = self.rules.first().map_or("", |rule| rule);
        format!("{}/{rule}", self.policy)
    }

    /// Why, in a line that does not depend on measured values, so that verdicts share it.
    #[must_use]
    pub fn reason(&self) -> String {
        self.rules.join(", ")
    }
}
