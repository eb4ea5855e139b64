//! Reputation: what is known of addresses from elsewhere. Feeds list prefixes; MMDB files name the
//! network and the country of an address.
//!
//! Feeds are written by strangers, so a list is taken whole or not at all ([`list`]), a dangerous one
//! is refused and the last good one stays ([`safety`]). What is asked is a [`Snapshot`], which never
//! changes: the [`keeper`] makes another one, on a thread of its own, and posts it on a [`Board`].
//! Membership is known at once and without a system call; a feed that was never read is *unknown*.
//!
//! | file | what |
//! | --- | --- |
//! | `spec` | what a Site says |
//! | `list` | the texts of lists |
//! | `prefixes` | the set that is asked |
//! | `safety` | what no list may do |
//! | `watch` | files, read again when they change |
//! | `fetch` | addresses, asked again in time |
//! | `kept` | the last good copies, over a restart |
//! | `geo` | MMDB files |
//! | `feed` | one feed: from its sources to a set, or a reason |
//! | `keeper` | all of them, and the thread |

pub mod feed;
pub mod fetch;
pub mod geo;
pub mod keeper;
mod kept;
pub mod list;
pub mod prefixes;
pub mod safety;
mod snapshot;
mod spec;
mod status;
mod watch;

pub use self::{
    snapshot::{Board, KnownFeed, Snapshot},
    spec::{FeedSpec, MOST_FEEDS, ReputationSpec, USUAL_MAX_CHANGE, USUAL_REFRESH_S},
    status::{FeedStatus, GeoStatus, ReputationStatus},
};

#[cfg(test)]
mod tests;
