//! The sensor's own settings, with defaults that suit an edge host.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_common::abi::{Mode, map, time::SECOND_NS};

use crate::{
    enforce::{ladder::RateLimit, names},
    profile::ProfileLimits,
};

/// Settings of the sensor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Settings {
    /// Ceiling of everything: verdicts of policies and of operators, limits and SYN guards.
    #[serde(serialize_with = "names::mode")]
    pub mode: Mode,
    /// How long a request may wait for its end before it counts as stalled.
    pub stall_ns: u64,
    /// If set: how long enforcement goes on when the daemon is gone. Otherwise until each
    /// verdict's own end.
    pub heartbeat_ns: Option<u64>,
    /// New connections of one proven source that pass a SYN guard.
    pub lane: RateLimit,
    /// Percentage of what is wanted that the kernel must enforce: with less, the daemon is not ready.
    pub coverage_min: u8,
    /// How much is remembered of sources.
    pub profiles: ProfileLimits,
    /// Entries of kernel tables, where they differ from the default.
    pub capacities: BTreeMap<&'static str, u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            stall_ns: 2 * SECOND_NS,
            heartbeat_ns: None,
            lane: RateLimit::new(SECOND_NS / 20, 50),
            coverage_min: 95,
            profiles: ProfileLimits::default(),
            capacities: BTreeMap::new(),
        }
    }
}

/// The tables whose capacity a site may choose, by the name that policy files use.
pub(super) fn resizable(name: &str) -> Option<&'static str> {
    map::VERSIONED
        .iter()
        .find(|spec| spec.resizable && spec.name.eq_ignore_ascii_case(name))
        .map(|spec| spec.name)
}

/// Their names, as policy files write them.
pub(super) fn resizable_names() -> Vec<String> {
    let resizable = map::VERSIONED.iter().filter(|spec| spec.resizable);
    resizable.map(|spec| spec.name.to_ascii_lowercase()).collect()
}
