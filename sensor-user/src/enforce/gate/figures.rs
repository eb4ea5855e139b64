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

/// What was measured of one version of a policy, over a sliding window. Refusing is rejecting or dropping;
/// whom it refuses, and whom it would refuse if it acted, is told apart.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Figures {
    /// How long it has been at its stage.
    pub in_stage_ns: u64,
    /// Proven connections of trusted sources at its services. Nobody else's count, so that traffic
    /// that somebody makes on purpose is no evidence.
    pub connections: u64,
    /// Trusted sources seen at its services. Those of one network count a few times at most.
    pub trusted_sources: u64,
    /// The share of these whom it would refuse if it acted, in parts per million.
    pub trusted_would_ppm: u32,
    /// The share of these whom it refuses, in parts per million.
    pub trusted_dropped_ppm: u32,
    /// Networks (IPv4 /24, IPv6 /48) in which it refuses trusted sources; whoever owns one owns all of
    /// its addresses.
    pub networks_dropped: u64,
    /// Sources labelled human, or allow-listed, whom it would refuse if it acted.
    pub named_would: u64,
    /// Sources labelled human, or allow-listed, whom it refuses.
    pub named_dropped: u64,
    /// Verdicts that are in the kernel as wanted, in parts per million; `None`: not known.
    pub coverage_ppm: Option<u32>,
    /// The daemon's own state.
    pub health: Health,
}

impl Figures {
    /// The share of trusted sources whom it refuses or would refuse; `None`: nobody was seen.
    pub(super) fn harmed_ppm(&self) -> Option<u32> {
        let both = self.trusted_would_ppm.saturating_add(self.trusted_dropped_ppm);
        (self.trusted_sources > 0).then(|| both.min(1_000_000))
    }

    /// The share of trusted sources whom it refuses; `None`: nobody was seen.
    pub(super) fn dropped_ppm(&self) -> Option<u32> {
        (self.trusted_sources > 0).then_some(self.trusted_dropped_ppm)
    }
}
