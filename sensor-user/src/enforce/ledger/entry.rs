//! What an operator or a rule wants for a prefix.

use std::{
    hash::{Hash, Hasher},
    num::NonZeroU32,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use weir_common::abi::{
    Action, Mode, Reason, ServiceSet, VerdictClass,
    time::{self, SECOND_NS},
    verdict::CLASS_UNPROVEN_ONLY,
};

use crate::{
    enforce::{ladder::RateLimit, names},
    score::Decision,
};

/// Who wants it. A prefix has at most one entry of each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The daemon itself, for this host's own addresses and for declared proxies.
    Guard,
    /// An operator.
    Operator,
    /// A policy.
    Policy {
        /// Its name.
        name: Arc<str>,
        /// Whether on forgeable evidence: kept apart, so that forged packets never replace what
        /// authentic evidence led to.
        forgeable: bool,
    },
}

/// What is wanted, for whom it is not said. Shared by all entries that want the same.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meaning {
    /// Who wants it.
    pub origin: Origin,
    /// What.
    #[serde(serialize_with = "names::action", deserialize_with = "names::read_action")]
    pub action: Action,
    /// Whether it acts or is only counted.
    #[serde(serialize_with = "names::mode", deserialize_with = "names::read_mode")]
    pub mode: Mode,
    /// For which services.
    #[serde(serialize_with = "names::services", deserialize_with = "names::read_services")]
    pub services: ServiceSet,
    /// For limits: the rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<RateLimit>,
    /// The rule, as `policy/rule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<str>>,
    /// Why, as an operator typed it or as the rules are called.
    pub reason: Arc<str>,
    /// Whether it goes by a TLS fingerprint, which the kernel counts apart.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_fingerprint: bool,
    /// How long it acts without a pulse of the daemon, in seconds; `None`: it outlives the daemon. An
    /// allow outlives it always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_s: Option<NonZeroU32>,
}

/// One entry of the ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// What is wanted.
    pub meaning: Arc<Meaning>,
    /// When it was made, `CLOCK_MONOTONIC` ns.
    pub created_ns: u64,
    /// When it ends, `CLOCK_MONOTONIC` ns; `None` = never.
    pub expires_ns: Option<u64>,
}

impl Meaning {
    /// What an operator wants.
    #[must_use]
    pub fn operator(action: Action, services: ServiceSet, reason: &str) -> Self {
        Self {
            origin: Origin::Operator,
            action,
            mode: Mode::Enforce,
            services,
            limit: None,
            rule: None,
            reason: reason.into(),
            by_fingerprint: false,
            heartbeat_s: None,
        }
    }

    /// What a decision wants.
    #[must_use]
    pub fn decided(decision: &Decision) -> Self {
        let forgeable = decision.unproven_only();
        Self {
            origin: Origin::Policy { name: Arc::clone(&decision.policy), forgeable },
            action: decision.action,
            mode: decision.mode,
            services: decision.services,
            limit: decision.limit,
            rule: Some(decision.rule().into()),
            reason: decision.reason().into(),
            by_fingerprint: false,
            heartbeat_s: decision.heartbeat_ns.and_then(whole_seconds),
        }
    }

    /// Whether it applies only to sources that never proved that they exist.
    #[must_use]
    pub const fn is_unproven_only(&self) -> bool {
        matches!(self.origin, Origin::Policy { forgeable: true, .. })
    }

    /// The same for other services.
    pub(super) fn for_services(self: &Arc<Self>, services: ServiceSet) -> Arc<Self> {
        if self.services == services {
            Arc::clone(self)
        } else {
            Arc::new(Self { services, ..Self::clone(self) })
        }
    }

    /// The strength of what it does: of two verdicts for the same packet the greater one acts.
    pub(super) fn strength(&self) -> Strength {
        let limit = self.limit.filter(|_| self.action == Action::Limit).unwrap_or_default();
        Strength {
            acts: self.mode == Mode::Enforce,
            action: self.action,
            reaches_proven: !self.is_unproven_only(),
            outlives_s: self.heartbeat_s.map_or(u32::MAX, NonZeroU32::get),
            interval_ns: limit.interval_ns,
            shortfall_ns: u64::MAX - limit.burst_ns,
        }
    }

    /// The class that the kernel gets. `rule` is the rule's number.
    pub(super) fn class(&self, rule: u32) -> VerdictClass {
        let reason = match self.action {
            Action::Allow => Reason::PassAllowed,
            Action::Mark => Reason::Pass,
            Action::Limit if self.is_unproven_only() => Reason::LimitUnproven,
            Action::Limit => Reason::LimitVerdict,
            Action::Reject | Action::Drop if self.by_fingerprint => Reason::DropFingerprint,
            Action::Reject | Action::Drop if self.rule.is_none() => Reason::DropOperator,
            Action::Reject | Action::Drop => Reason::DropRule,
        };
        let limit = self.limit.unwrap_or_default();
        VerdictClass {
            action: self.action as u8,
            mode: self.mode as u8,
            reason: reason as u8,
            flags: if self.is_unproven_only() { CLASS_UNPROVEN_ONLY } else { 0 },
            rule,
            services: self.services,
            limit_interval_ns: limit.interval_ns,
            limit_burst_ns: limit.burst_ns,
            heartbeat_ticks: heartbeat_ticks(self.heartbeat_s),
            ..VerdictClass::default()
        }
    }

    /// The meaning of a class that was found in the kernel and is in no table.
    pub(super) fn found(class: &VerdictClass) -> Self {
        let is_unproven_only = class.flags & CLASS_UNPROVEN_ONLY != 0;
        let is_limit = class.action() == Action::Limit;
        let origin = if class.rule == 0 && !is_unproven_only {
            Origin::Operator
        } else {
            Origin::Policy { name: "unknown".into(), forgeable: is_unproven_only }
        };
        Self {
            rule: (class.rule != 0).then(|| format!("unknown/{}", class.rule).into()),
            origin,
            action: class.action(),
            mode: class.mode(),
            services: class.services,
            limit: is_limit.then_some(RateLimit {
                interval_ns: class.limit_interval_ns,
                burst_ns: class.limit_burst_ns,
            }),
            reason: "found in the kernel, reason unknown".into(),
            by_fingerprint: class.reason() == Reason::DropFingerprint,
            heartbeat_s: heartbeat_s(class.heartbeat_ticks),
        }
    }
}

/// A heartbeat's limit in seconds, rounded up.
fn whole_seconds(limit_ns: u64) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(limit_ns.div_ceil(SECOND_NS)).unwrap_or(u32::MAX))
}

/// The kernel's form of a heartbeat's limit: rounded up; 0 = none.
fn heartbeat_ticks(limit_s: Option<NonZeroU32>) -> u32 {
    limit_s.map_or(0, |limit_s| {
        time::tick_ceil(u64::from(limit_s.get()).saturating_mul(SECOND_NS)).max(1)
    })
}

/// [`heartbeat_ticks`] read back.
fn heartbeat_s(ticks: u32) -> Option<NonZeroU32> {
    let seconds = time::tick_start_ns(ticks) / SECOND_NS;
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    (ticks != 0).then(|| NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN))
}

/// See [`Meaning::strength`]. Fields in order of weight.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Strength {
    acts: bool,
    action: Action,
    reaches_proven: bool,
    outlives_s: u32,
    interval_ns: u64,
    shortfall_ns: u64,
}

impl Strength {
    /// Whether the kernel, having found this in an exact entry, goes by `cover` of a prefix if that
    /// is stronger: not if it takes the exact entry's word as final.
    pub(super) fn yields_to(&self, cover: &Self) -> bool {
        !self.acts
            || self.action < Action::Limit
            || (self.action == Action::Limit && cover.action > Action::Limit)
    }
}

impl Entry {
    /// Whether it still counts.
    #[must_use]
    pub fn is_live(&self, now_ns: u64) -> bool {
        self.expires_ns.is_none_or(|end| now_ns < end)
    }

    /// Whether a rule's verdict says the same as a later one of the same rule, for longer.
    pub(super) fn outlasts(&self, later: &Self) -> bool {
        self.is_live(later.created_ns)
            && matches!(self.meaning.origin, Origin::Policy { .. })
            && self.meaning.strength() == later.meaning.strength()
            && self.end() > later.end()
    }

    /// Its end, as a number that is greater the later it is.
    pub(super) fn end(&self) -> u64 {
        self.expires_ns.unwrap_or(u64::MAX)
    }
}

impl Hash for Meaning {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.origin.hash(state);
        (self.action as u8).hash(state);
        (self.mode as u8).hash(state);
        self.services.hash(state);
        self.limit.hash(state);
        self.rule.hash(state);
        self.reason.hash(state);
        self.by_fingerprint.hash(state);
        self.heartbeat_s.hash(state);
    }
}
