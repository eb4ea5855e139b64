//! Who is trusted, and what brakes enforcement.

use serde::Serialize;

use crate::enforce::{breaker::Bounds, cohort::TrustRule};

/// The Site's section `brakes`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct BrakeSettings {
    /// What makes a source trusted.
    pub trusted: TrustRule,
    /// When the circuit breaker breaks.
    pub breaker: Bounds,
    /// How many new drops a rule makes in a minute that says nothing else; what exceeds it is limited.
    pub new_drops_per_minute: u32,
    /// The share of packets that are dropped, 0..=1, from which an alarm is raised. It moves nothing.
    pub drop_share_alarm: f64,
}

impl Default for BrakeSettings {
    fn default() -> Self {
        Self {
            trusted: TrustRule::default(),
            breaker: Bounds::default(),
            new_drops_per_minute: 600,
            drop_share_alarm: 0.5,
        }
    }
}
