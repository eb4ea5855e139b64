//! Where one policy stands: its stage and since when, the version that acts, the one that watches.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_common::abi::time::SECOND_NS;

use super::Stage;
use crate::{journal::Actor, policy::KeptPolicy};

/// An instant on both clocks: the monotonic one counts within a boot, the wall's over all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Instant {
    /// Seconds since 1970.
    pub unix_s: u64,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub monotonic_ns: u64,
    /// The boot that it belongs to.
    pub boot_id: Arc<str>,
}

impl Instant {
    /// How long ago an earlier instant was, in nanoseconds. Within a boot a wall clock that jumps
    /// changes nothing; over boots it cannot make more of it than the wall clocks say, nor less than
    /// nothing.
    #[must_use]
    pub fn since_ns(&self, earlier: &Self) -> u64 {
        if self.boot_id == earlier.boot_id {
            self.monotonic_ns.saturating_sub(earlier.monotonic_ns)
        } else {
            self.unix_s.saturating_sub(earlier.unix_s).saturating_mul(SECOND_NS)
        }
    }
}

/// A version of a policy that watches beside the one that acts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shadow {
    /// Its version.
    pub version: Arc<str>,
    /// What it does, see [`crate::policy::Policy::conduct`].
    pub conduct: Arc<str>,
    /// Since when it watches.
    pub since: Instant,
}

/// Where a policy stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StageRecord {
    /// Its stage.
    pub stage: Stage,
    /// Since when this version is at this stage.
    pub since: Instant,
    /// Since when this version acts, on some sources or on all; `None`: it only watches. Whom it refuses
    /// completes no session, so trust that was earned since then says nothing about it.
    pub acted_since: Option<Instant>,
    /// The version that its stage is about.
    pub acting: KeptPolicy,
    /// The version of its file that watches, if that is another.
    pub shadow: Option<Shadow>,
    /// Why it came there.
    pub why: String,
    /// Who moved it.
    pub by: Actor,
    /// When it was taken back by a gate, if nobody moved it since.
    pub went_back: Option<Instant>,
}
