//! How much is remembered, and what was out of the ordinary.

use serde::Serialize;
use weir_common::abi::time::SECOND_NS;

/// How much is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ProfileLimits {
    /// Sources with a proven connection.
    pub sources: usize,
    /// Sources without one, seen to try ports.
    pub scanners: usize,
    /// Open connections followed of one source and set of services. Counts end there.
    pub connections_per_source: usize,
    /// A connection whose end was not seen counts as open for so long.
    pub connection_timeout_ns: u64,
    /// A source that was not seen for so long is forgotten.
    pub idle_ns: u64,
    /// TLS fingerprints.
    pub fingerprints: usize,
    /// Networks: IPv4 /24s, IPv6 /48s.
    pub prefixes: usize,
    /// Clusters of sources that do the same.
    pub campaigns: usize,
    /// Sources, and as many entities, that applications said something of.
    pub told: usize,
}

impl Default for ProfileLimits {
    fn default() -> Self {
        Self {
            sources: 65_536,
            scanners: 16_384,
            connections_per_source: 1024,
            connection_timeout_ns: 600 * SECOND_NS,
            // Twice as long as the longest window.
            idle_ns: 7200 * SECOND_NS,
            fingerprints: 8192,
            prefixes: 32_768,
            campaigns: 4096,
            told: 65_536,
        }
    }
}

/// What was out of the ordinary, counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ProfileCounters {
    /// Sources forgotten to make room.
    pub evicted_sources: u64,
    /// Scanners forgotten to make room.
    pub evicted_scanners: u64,
    /// TLS fingerprints forgotten to make room.
    pub evicted_fingerprints: u64,
    /// Networks forgotten to make room.
    pub evicted_prefixes: u64,
    /// Clusters of sources forgotten to make room.
    pub evicted_campaigns: u64,
    /// Sources and entities that applications said something of, forgotten to make room.
    pub evicted_told: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Connections not followed because their source had too many.
    pub untracked: u64,
    /// Ends of connections whose beginning was not seen.
    pub unknown_closed: u64,
}
