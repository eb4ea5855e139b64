//! What verdicts do to the trusted: the figures that gates and the breaker read.

use serde::{Deserialize, Serialize};

/// How many were seen, and what became of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Affected {
    /// Seen in the window.
    pub seen: u64,
    /// Of them, would have been refused, had the verdicts on them been enforced.
    pub would: u64,
    /// Of them, were refused.
    pub dropped: u64,
}

/// Harm done to trusted sources in a window of time.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Harm {
    /// Distinct trusted sources.
    pub sources: Affected,
    /// Distinct networks that they are in; a source that somebody named (labelled human, or
    /// allow-listed) counts as one of its own.
    pub networks: Affected,
    /// Their proven connections. Dropped ones are those that a verdict ended after proof: of those that
    /// it kept from being made nobody knows whose they were.
    pub connections: Affected,
    /// Of the sources, those labelled human or allow-listed.
    pub named: Affected,
    /// Share of the trusted who would have been refused, 0..=1: by sources, of which no network counts
    /// for more than a few.
    pub would_share: f64,
    /// Share of the trusted who were refused, 0..=1.
    pub dropped_share: f64,
    /// Trusted sources that were not counted because there was no room.
    pub overlooked: u64,
    /// How far back the figures go at most, ns.
    pub window_ns: u64,
}
