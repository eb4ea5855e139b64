//! Whether Weir does what its policy says.

use serde::{Deserialize, Serialize};

/// Answer of `GET /v1/ready`, which comes with 200 when ready and with 503 when not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether nothing fails.
    pub ready: bool,
    /// What is not as it should be, what fails first.
    pub reasons: Vec<Reason>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What it is, for programs.
    pub name: Cause,
    /// What it is and what to do, for people.
    pub text: String,
    /// Whether Weir is not ready because of it; otherwise it is only worth a look.
    pub fails: bool,
}

/// What can be not as it should be. Each is a label of the metric `weir_readiness_reason`, so there
/// are few, and none names a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// An interface that Weir was attached to is gone.
    InterfaceGone,
    /// The kill switch is on.
    KillSwitch,
    /// The circuit breaker is open, or enforcement is back and watched.
    BreakerOpen,
    /// Much of the traffic is dropped: worth a look, and no brake.
    DropShare,
    /// Verdicts could not be written to the kernel.
    KernelWrites,
    /// The programs know hellos by other keys than the daemon.
    KeysDiffer,
    /// The policy file has a mistake; the policy before is in force.
    PolicyRefused,
    /// The daemon does not follow: events were lost within the last minute.
    EventsLost,
    /// What is to be kept does not reach the disk.
    StoreFails,
    /// Most connections come from a few neighbours, behind whom clients are hidden.
    ClientsHidden,
    /// The kernel enforces less of what is wanted than the site asks for.
    Coverage,
    /// A wall of the sandbox is missing.
    Sandbox,
    /// The journal has a trouble, or lost records.
    Journal,
    /// The daemon's loop does not answer.
    LoopSilent,
}

impl Cause {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::InterfaceGone,
        Self::KillSwitch,
        Self::BreakerOpen,
        Self::DropShare,
        Self::KernelWrites,
        Self::KeysDiffer,
        Self::PolicyRefused,
        Self::EventsLost,
        Self::StoreFails,
        Self::ClientsHidden,
        Self::Coverage,
        Self::Sandbox,
        Self::Journal,
        Self::LoopSilent,
    ];

    /// Its name in JSON and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InterfaceGone => "interface-gone",
            Self::KillSwitch => "kill-switch",
            Self::BreakerOpen => "breaker-open",
            Self::DropShare => "drop-share",
            Self::KernelWrites => "kernel-writes",
            Self::KeysDiffer => "keys-differ",
            Self::PolicyRefused => "policy-refused",
            Self::EventsLost => "events-lost",
            Self::StoreFails => "store-fails",
            Self::ClientsHidden => "clients-hidden",
            Self::Coverage => "coverage",
            Self::Sandbox => "sandbox",
            Self::Journal => "journal",
            Self::LoopSilent => "loop-silent",
        }
    }
}

impl Reason {
    /// Because of this, Weir is not ready.
    #[must_use]
    pub fn fails(name: Cause, text: impl Into<String>) -> Self {
        Self { name, text: text.into(), fails: true }
    }

    /// This is worth a look, and nothing more.
    #[must_use]
    pub fn warns(name: Cause, text: impl Into<String>) -> Self {
        Self { name, text: text.into(), fails: false }
    }
}

impl Readiness {
    /// What follows from these.
    #[must_use]
    pub fn of(mut reasons: Vec<Reason>) -> Self {
        reasons.sort_by_key(|reason| (!reason.fails, reason.name));
        Self { ready: reasons.iter().all(|reason| !reason.fails), reasons }
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_warns_leaves_it_ready_and_comes_last() {
        let warned = Reason::warns(Cause::PolicyRefused, "look");
        assert!(Readiness::of(vec![warned.clone()]).ready);
        let failed = Reason::fails(Cause::EventsLost, "act");
        let both = Readiness::of(vec![warned.clone(), failed.clone()]);
        assert!(!both.ready);
        assert_eq!(both.reasons, [failed, warned]);
    }

    #[test]
    fn names_are_those_of_the_json() {
        for cause in Cause::ALL.iter().copied() {
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
        }
    }
}
