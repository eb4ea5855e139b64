//! The bounds of gates, as a Site sets them.

use std::sync::Arc;

use weir_common::abi::time::SECOND_NS;

use crate::enforce::stage::CANARY_PPM;

const HOUR_NS: u64 = 3600 * SECOND_NS;

/// What moves a policy without being asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Auto {
    /// Nothing.
    Off,
    /// Back, when a gate breaks; forward only by an operator.
    #[default]
    Back,
    /// Back when a gate breaks, and forward when all gates hold.
    Both,
}

/// Bounds for going one stage further.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promote {
    /// Least time in the stage.
    pub after_ns: u64,
    /// Least number of connections of trusted sources.
    pub min_connections: u64,
    /// Least number of trusted sources seen, for figures on harm to count.
    pub min_trusted_sources: u64,
    /// Largest share of trusted sources that it would refuse or refuses, in parts per million.
    pub trusted_would_drop_max_ppm: u32,
    /// Least coverage of enforcement, in parts per million.
    pub coverage_min_ppm: u32,
    /// Most sources that were labelled human and that it would refuse or refuses.
    pub labelled_human_would_drop_max: u64,
}

/// Bounds beyond which a policy that acts goes back to watching.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rollback {
    /// Least number of connections of trusted sources, for their share to count.
    pub min_connections: u64,
    /// Least number of trusted sources seen, for their share to count.
    pub min_trusted_sources: u64,
    /// Least number of networks in which it has refused trusted sources: one patient attacker is not
    /// enough.
    pub min_trusted_dropped: u64,
    /// Largest share of trusted sources that it refuses, in parts per million.
    pub trusted_dropped_max_ppm: u32,
    /// Most sources that were labelled human and that it refuses.
    pub labelled_human_dropped_max: u64,
    /// Least coverage of enforcement, in parts per million.
    pub coverage_min_ppm: u32,
}

/// A set of gates by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GateSet {
    /// Its name.
    pub name: Arc<str>,
    /// The share of sources that a canary acts on, in parts per million.
    pub canary_ppm: u32,
    /// What moves a policy without being asked.
    pub auto: Auto,
    /// After going back, how long a policy is not moved forward by itself.
    pub retry_after_ns: u64,
    /// For going further.
    pub promote: Promote,
    /// For going back.
    pub rollback: Rollback,
}

impl GateSet {
    /// How far back figures on harm go: as long as a policy must have watched, but not so short that
    /// nobody is seen, nor so long that harm of today drowns.
    #[must_use]
    pub fn window_ns(&self) -> u64 {
        self.promote.after_ns.clamp(HOUR_NS / 6, 24 * HOUR_NS)
    }
}

impl Default for GateSet {
    /// What a Site that says nothing has: careful bounds, and back by itself only.
    fn default() -> Self {
        Self {
            name: "standard".into(),
            canary_ppm: CANARY_PPM,
            auto: Auto::default(),
            retry_after_ns: 24 * HOUR_NS,
            promote: Promote {
                after_ns: 24 * HOUR_NS,
                min_connections: 10_000,
                min_trusted_sources: 20,
                trusted_would_drop_max_ppm: 1_000,
                coverage_min_ppm: 999_000,
                labelled_human_would_drop_max: 0,
            },
            rollback: Rollback {
                min_connections: 200,
                min_trusted_sources: 5,
                min_trusted_dropped: 3,
                trusted_dropped_max_ppm: 1_000,
                labelled_human_dropped_max: 0,
                coverage_min_ppm: 950_000,
            },
        }
    }
}
