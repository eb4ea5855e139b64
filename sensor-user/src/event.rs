//! Events as the daemon handles them: the kernel's records, decoded, and the passing of time.
//!
//! Everything behind this type is driven by the events' own timestamps, so replaying a recorded
//! stream gives the same decisions.

use weir_common::abi::{Closed, Established, Hit, Milestone};

/// One event.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event {
    /// A flow was proven.
    Established(Established),
    /// A proven flow ended.
    Closed(Closed),
    /// A threshold was crossed.
    Milestone(Milestone),
    /// A verdict decided a packet.
    Hit(Hit),
    /// Time passed: about once a second, `CLOCK_MONOTONIC` ns.
    Tick {
        /// When.
        at_ns: u64,
    },
}

impl Event {
    /// When it happened, `CLOCK_MONOTONIC` ns.
    #[must_use]
    pub const fn at_ns(&self) -> u64 {
        match self {
            Self::Established(event) => event.header.at_ns,
            Self::Closed(event) => event.header.at_ns,
            Self::Milestone(event) => event.header.at_ns,
            Self::Hit(event) => event.header.at_ns,
            Self::Tick { at_ns } => *at_ns,
        }
    }
}
