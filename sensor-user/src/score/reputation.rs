//! What others know of an address: feeds that list it, the network and the country that it belongs to.

use std::fmt::Debug;

use weir_common::abi::SourceKey;

/// Answers from memory and at once: it is asked for every event.
pub trait Reputation: Debug + Send + Sync {
    /// Whether a feed lists the source: its index among the Site's feeds; `None` while it was never
    /// read.
    fn listed(&self, feed: u16, source: &SourceKey) -> Option<bool>;
    /// The number of the autonomous system that announces it.
    fn asn(&self, source: &SourceKey) -> Option<u32>;
    /// The country that it is registered in: two letters (ISO 3166-1), the first in the upper byte.
    fn country(&self, source: &SourceKey) -> Option<u16>;
}

/// Nothing is known of anybody.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoReputation;

impl Reputation for NoReputation {
    fn listed(&self, _: u16, _: &SourceKey) -> Option<bool> {
        None
    }

    fn asn(&self, _: &SourceKey) -> Option<u32> {
        None
    }

    fn country(&self, _: &SourceKey) -> Option<u16> {
        None
    }
}
