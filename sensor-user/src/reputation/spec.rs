//! What a Site says of feeds.

use std::{path::PathBuf, sync::Arc};

use serde::Serialize;

use super::list::Format;

/// Most feeds of a Site.
pub const MOST_FEEDS: usize = 64;

/// How often an address is asked for, if the Site does not say: once an hour.
pub const USUAL_REFRESH_S: u64 = 3600;

/// How much of a feed may change at once, if the Site does not say.
pub const USUAL_MAX_CHANGE: f64 = 0.2;

/// One feed.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FeedSpec {
    /// Its name, as in the feature `feed.NAME`.
    pub name: Arc<str>,
    /// A file that it is read from. With a `url` too: until that first answers.
    pub file: Option<PathBuf>,
    /// An address that it is fetched from.
    pub url: Option<String>,
    /// How it is written.
    pub format: Format,
    /// How often the address is asked, in seconds.
    pub refresh_s: u64,
    /// The share of it that may change at once.
    pub max_change: f64,
}

/// What a Site knows of addresses from elsewhere.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct ReputationSpec {
    /// Feeds, by the numbers that their features have.
    pub feeds: Vec<FeedSpec>,
    /// Which autonomous system an address belongs to.
    pub asn: Option<PathBuf>,
    /// Which country.
    pub country: Option<PathBuf>,
}

impl ReputationSpec {
    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.feeds.is_empty() && self.asn.is_none() && self.country.is_none()
    }
}
