//! What is known of addresses at one time.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use weir_common::abi::SourceKey;

use super::{
    FeedSpec, ReputationSpec, feed,
    geo::{self, GeoFile, Tells},
    prefixes::PrefixSet,
};
use crate::score::reputation::Reputation;

/// One feed of a snapshot.
#[derive(Clone, Debug)]
pub struct KnownFeed {
    /// Its name.
    pub name: Arc<str>,
    /// Where it comes from.
    pub source: Arc<str>,
    /// What it lists; `None`: never read.
    pub set: Option<Arc<PrefixSet>>,
}

/// All feeds and files, as they were read last. Never changes.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By the number of the feed.
    pub feeds: Vec<KnownFeed>,
    /// Autonomous systems.
    pub asn: Option<Arc<GeoFile>>,
    /// Countries.
    pub country: Option<Arc<GeoFile>>,
}

impl KnownFeed {
    /// A feed of a Site, and what it lists.
    #[must_use]
    pub fn new(spec: &FeedSpec, set: Option<Arc<PrefixSet>>) -> Self {
        Self { name: Arc::clone(&spec.name), source: feed::source_of(spec).into(), set }
    }
}

impl Snapshot {
    /// What the files of a Site say, for those that have no daemon and ask nobody: replay and tests.
    /// Feeds without a file are unknown. Files that cannot be used are unknown too, and named.
    #[must_use]
    pub fn of_files(spec: &ReputationSpec) -> (Self, Vec<String>) {
        let mut errors = Vec::new();
        let mut usable = |read: Result<_, String>| read.map_err(|why| errors.push(why)).ok();
        let mut feeds = Vec::with_capacity(spec.feeds.len());
        for feed in &spec.feeds {
            let read = feed.file.as_deref().map(|path| feed::read_file(feed, path));
            let set = read.and_then(&mut usable).map(Arc::new);
            feeds.push(KnownFeed::new(feed, set));
        }
        let mut file = |path: &Option<PathBuf>, tells| {
            let read = geo::read_file(path.as_deref()?, tells);
            read.map_err(|why| errors.push(why)).ok().map(Arc::new)
        };
        let (asn, country) = (file(&spec.asn, Tells::Asn), file(&spec.country, Tells::Country));
        (Self { feeds, asn, country }, errors)
    }

    /// The same, with the numbers that feeds have in a Site. Feeds of another source are unknown.
    #[must_use]
    pub fn numbered_as(&self, spec: &ReputationSpec) -> Self {
        let feeds = spec.feeds.iter().map(|feed| {
            let wanted = KnownFeed::new(feed, None);
            let is_it =
                |known: &&KnownFeed| (&known.name, &known.source) == (&wanted.name, &wanted.source);
            self.feeds.iter().find(is_it).cloned().unwrap_or(wanted)
        });
        Self { feeds: feeds.collect(), ..self.clone() }
    }
}

impl Reputation for Snapshot {
    fn listed(&self, feed: u16, source: &SourceKey) -> Option<bool> {
        let set = self.feeds.get(usize::from(feed))?.set.as_ref()?;
        Some(set.contains(source))
    }

    fn asn(&self, source: &SourceKey) -> Option<u32> {
        self.asn.as_ref()?.asn(source)
    }

    fn country(&self, source: &SourceKey) -> Option<u16> {
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
