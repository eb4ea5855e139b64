//! How feeds are: what the operator is told.

use serde::{Deserialize, Serialize};

/// One feed.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct FeedStatus {
    /// Its name.
    pub name: String,
    /// Where it comes from: a file, or an address without what could be a secret.
    pub source: String,
    /// Prefixes in use, merged where they touch; 0 and no `read_at` if it was never read.
    pub prefixes: usize,
    /// IPv4 addresses that they cover.
    pub v4_addresses: u64,
    /// IPv6 /64s that they cover.
    pub v6_networks: u64,
    /// When the list in use was read or last confirmed, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at_unix_s: Option<u64>,
    /// When the list in use last changed, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at_unix_s: Option<u64>,
    /// Why the newest list is not in use, until a newer one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Why the newest list could not be had, until it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Lists refused since the daemon started.
    pub refusals: u64,
    /// Times that a list could not be had since the daemon started.
    pub errors: u64,
}

impl FeedStatus {
    /// What is wrong, in a sentence.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let meanwhile = match self.read_at_unix_s {
            Some(_) => "the one before stays in use",
            None => "it is not in use",
        };
        let name = &self.name;
        if let Some(refused) = &self.refused {
            return Some(format!("the feed {name} is refused, {meanwhile}: {refused}"));
        }
        let error = self.error.as_ref()?;
        Some(format!("the feed {name} could not be read, {meanwhile}: {error}"))
    }
}

/// One MMDB file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GeoStatus {
    /// What it tells: `asn` or `country`.
    pub tells: String,
    /// Where it is.
    pub file: String,
    /// When its publisher made it, in seconds since 1970; absent if it was never read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_at_unix_s: Option<u64>,
    /// Why the newest one is not in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// All of them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ReputationStatus {
    /// Feeds, in the order of the Site.
    pub feeds: Vec<FeedStatus>,
    /// MMDB files.
    pub geo: Vec<GeoStatus>,
}

impl ReputationStatus {
    /// What is wrong, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let feeds = self.feeds.iter().filter_map(FeedStatus::warning);
        let geo = self.geo.iter().filter_map(|geo| {
            let error = geo.error.as_ref()?;
            Some(format!("the file of {} addresses, {}: {error}", geo.tells, geo.file))
        });
        feeds.chain(geo).collect()
    }
}
