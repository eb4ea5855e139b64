//! What is known of addresses at one time.

use std::sync::{Arc, PoisonError, RwLock};

use weir_common::abi::SourceKey;

use super::{geo::GeoFile, prefixes::PrefixSet};

/// All feeds and files, as they were read last. Never changes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By the number of the feed; `None`: never read.
    pub feeds: Vec<Option<Arc<PrefixSet>>>,
    /// Autonomous systems.
    pub asn: Option<Arc<GeoFile>>,
    /// Countries.
    pub country: Option<Arc<GeoFile>>,
}

impl Snapshot {
    /// Whether a feed lists a source; `None` while the feed was never read.
    #[must_use]
    pub fn lists(&self, feed: u16, source: &SourceKey) -> Option<bool> {
        let set = self.feeds.get(usize::from(feed))?.as_ref()?;
        Some(set.contains(source))
    }

    /// The number of the autonomous system that a source belongs to.
    #[must_use]
    pub fn asn(&self, source: &SourceKey) -> Option<u32> {
        self.asn.as_ref()?.asn(source)
    }

    /// The country of a source: two capital letters, the first in the upper byte.
    #[must_use]
    pub fn country(&self, source: &SourceKey) -> Option<u16> {
        self.country.as_ref()?.country(source)
    }
}

/// Where the newest snapshot is posted. Readers take it as a whole, and wait for nobody's work: a
/// snapshot is made before it is posted.
#[derive(Debug, Default)]
pub struct Board {
    newest: RwLock<Arc<Snapshot>>,
}

impl Board {
    /// The newest.
    #[must_use]
    pub fn newest(&self) -> Arc<Snapshot> {
        // Whoever panicked while posting had posted, or not: both are whole.
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Posts another one.
    pub fn post(&self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}
