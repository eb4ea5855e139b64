//! Modes: named sets of overrides that a Site declares for bad days, and the policy as it is while one
//! of them is on. What files say is mode `normal`.

use std::sync::Arc;

use weir_common::abi::Mode;

use super::{CompiledPolicy, Policy};
use crate::enforce::ladder::{Ladder, RateLimit};

/// The name of what files say.
pub const NORMAL: &str = "normal";

/// A mode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModeSpec {
    /// Its name.
    pub name: Arc<str>,
    /// How long it is on, unless the command says, in nanoseconds.
    pub term_ns: u64,
    /// A lower ceiling of everything.
    pub ceiling: Option<Mode>,
    /// What is different for policies.
    pub all: PolicyChange,
    /// What is different for policies of these names, instead.
    pub policies: Vec<(Arc<str>, PolicyChange)>,
    /// SYN guard of every service.
    pub syn_guard: Option<RateLimit>,
    /// SYN guards of services, by number.
    pub services: Vec<(u8, RateLimit)>,
}

/// What is different for a policy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PolicyChange {
    /// Points added to every score from which its ladder acts.
    pub thresholds: i8,
    /// Its ladder.
    pub ladder: Option<Ladder>,
}

impl PolicyChange {
    fn apply(&self, policy: &mut Policy) {
        if let Some(ladder) = &self.ladder {
            policy.ladder = ladder.clone();
        }
        for step in &mut policy.ladder.steps {
            step.at = step.at.saturating_add_signed(self.thresholds).clamp(1, 100);
        }
    }
}

impl ModeSpec {
    /// In a few words what is different.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        if self.ceiling.is_some() {
            parts.push("nothing is enforced".to_owned());
        }
        if self.all.thresholds != 0 {
            parts.push(format!("thresholds {:+}", self.all.thresholds));
        }
        if let Some(ladder) = &self.all.ladder {
            parts.push(format!("ladder {}", ladder.name));
        }
        if self.syn_guard.is_some() {
            parts.push("SYN guards of all services".to_owned());
        }
        if !self.services.is_empty() {
            parts.push(format!("{} services apart", self.services.len()));
        }
        if !self.policies.is_empty() {
            parts.push(format!("{} policies apart", self.policies.len()));
        }
        parts.join(", ")
    }
}

impl CompiledPolicy {
    /// A mode by its name.
    #[must_use]
    pub fn mode(&self, name: &str) -> Option<&ModeSpec> {
        self.modes.iter().find(|mode| &*mode.name == name)
    }

    /// The same policy while a mode is on. What was decided before stays as it was decided.
    #[must_use]
    pub fn in_mode(&self, mode: &ModeSpec) -> Self {
        let mut changed = self.clone();
        for policy in &mut changed.policies {
            let own = mode.policies.iter().find(|(name, _)| *name == policy.name);
            own.map_or(&mode.all, |(_, change)| change).apply(policy);
        }
        changed.services.set_guards(|service| {
            let own = mode.services.iter().find(|(id, _)| *id == service.id);
            own.map(|(_, rate)| *rate).or(mode.syn_guard.filter(|_| !service.tcp.is_empty()))
        });
        if let Some(ceiling) = mode.ceiling {
            changed.settings.mode = changed.settings.mode.min(ceiling);
        }
        changed
    }
}
