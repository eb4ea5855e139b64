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
    /// A cap on new drops has room again.
    Room,
    /// SYNs press on a service.
    Pressure,
}

/// A decision.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Decision {
    /// Which of the engine's decisions it is, from 1.
    pub sequence: u64,
    /// When the packet was seen that tipped the scales, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// About whom; nobody where it is about a whole service.
    #[serde(serialize_with = "source::serialize")]
    pub source: SourceKey,
    /// The service that it is about as a whole. All that follows is a guard before its SYNs.
    pub whole_service: Option<u8>,
    /// The service of the event that tipped the scales; `None`: of none.
    pub service: Option<u8>,
    /// For which services.
    #[serde(serialize_with = "names::services")]
    pub services: ServiceSet,
    /// By which policy.
    pub policy: Arc<str>,
    /// What that policy said: its version.
    pub version: Arc<str>,
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
    /// If set: its verdict stops acting this long after the daemon died.
    pub heartbeat_ns: Option<u64>,
    /// Why.
    pub score: Score,
}

impl Decision {
    /// Names it. The same stream gives the same ids.
    #[must_use]
    pub fn id(&self) -> String {
        // FNV-1a: short, and the same everywhere.
        let fields = [
            &self.sequence.to_le_bytes()[..],
            &self.at_ns.to_le_bytes(),
            &self.source.words.map(u32::to_le_bytes).concat(),
            &[self.whole_service.unwrap_or(0), u8::from(self.unproven_only())],
            self.policy.as_bytes(),
        ];
        let bytes = fields.iter().flat_map(|field| field.iter());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }

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
