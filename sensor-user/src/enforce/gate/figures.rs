//! What gates are read from.

/// Whether the daemon's own eyes are open. A policy is not moved forward on what was half seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Events that the kernel could not hand over since the last look.
    pub events_lost: u64,
    /// Why the store cannot be written to, if it cannot.
    pub store: Option<String>,
    /// Why the kernel did not take verdicts, if it did not.
    pub kernel: Option<String>,
}

impl Health {
    /// What is wrong, in a few words; `None`: nothing.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if let Some(why) = &self.kernel {
            return Some(format!("verdicts not taken: {why}"));
        }
        if let Some(why) = &self.store {
            return Some(format!("store: {why}"));
        }
        (self.events_lost > 0).then(|| format!("{} events lost", self.events_lost))
    }
}

/// What was measured of one version of a policy. Harm is counted from when this version, at this
/// stage, began; what it refuses, and what it would refuse if it acted, is told apart.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Figures {
    /// How long it has been at its stage.
    pub in_stage_ns: u64,
    /// Proven connections at its services.
    pub connections: u64,
    /// Trusted sources seen at its services. Those of one network count a few times at most.
    pub trusted_sources: u64,
    /// Of these, whom it refuses or would refuse: limited, rejected or dropped.
    pub trusted_would_drop: u64,
    /// Of these, whom it refuses.
    pub trusted_dropped: u64,
    /// Sources labelled human that it refuses or would refuse.
    pub labelled_human_would_drop: u64,
    /// Of these, whom it refuses.
    pub labelled_human_dropped: u64,
    /// Verdicts that are in the kernel as wanted, in parts per million; `None`: not known.
    pub coverage_ppm: Option<u32>,
    /// The daemon's own state.
    pub health: Health,
}

impl Figures {
    /// A part of the trusted sources, in parts per million; `None` where there is none.
    #[must_use]
    pub(super) fn of_trusted_ppm(&self, part: u64) -> Option<u32> {
        let all = u128::from(self.trusted_sources);
        if all == 0 {
            return None;
        }
        // Rounded up: what is over a bound by a little is over it.
        let ppm = (u128::from(part) * 1_000_000).div_ceil(all);
        Some(u32::try_from(ppm).unwrap_or(u32::MAX))
    }
}
