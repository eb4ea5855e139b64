//! The ledger on disk: what was acknowledged outlives the daemon and the boot, what was lifted does
//! not come back.
//!
//! *One truth.* What the store has for a prefix or a fingerprint is what is wanted there. The kernel's
//! maps are filled from it at the start, and what they have beyond it is looked at
//! ([`Ledger::adopt`](super::Ledger::adopt)):
//!
//! | in the store | in the kernel | becomes |
//! | --- | --- | --- |
//! | a verdict | the same, another or none | the store's, unless it has ended |
//! | lifted | one | gone: lifted before the kernel could be told |
//! | nothing | one that has not ended | kept, and stored: a rule's (told to the kernel first), or an operator's who was not answered yet |
//!
//! *Changes.* The ledger notes at which places something changed; a [`Batch`] says what is wanted at
//! each of them now, and replaces whatever the store had there. So batches may be merged, repeated or
//! delayed, and the last one counts.
//!
//! *Time.* Ends are kept in the monotonic time of a boot. Each boot has a row that says what the wall
//! clock showed at a monotonic instant, renewed with every batch. Within a boot, wall clocks do not
//! matter. In a later boot, what was left when the earlier one was last seen counts, less what later
//! boots ran and what the wall clock says was between boots: one that jumped forward may end a verdict,
//! one that jumped back does not prolong it.

mod forget;
mod read;
mod write;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use ipnet::IpNet;

pub use self::{
    forget::forget,
    write::{Batch, tidy},
};
use super::{ClassRecord, Entry};
use crate::{enforce::dataplane::Subject, system::clock};

/// The ledger's tables. `net` is a byte 4 or 6, the address, and the length.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS boot (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    began_ns INTEGER NOT NULL,
    seen_ns INTEGER NOT NULL,
    seen_unix_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS meaning (
    number INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE IF NOT EXISTS verdict (
    net BLOB NOT NULL,
    origin TEXT NOT NULL,
    meaning INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    made_ns INTEGER NOT NULL,
    ends_ns INTEGER,
    PRIMARY KEY (net, origin)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fingerprint_verdict (
    name TEXT PRIMARY KEY,
    forms TEXT NOT NULL,
    meaning INTEGER NOT NULL,
    boot INTEGER NOT NULL,
    made_ns INTEGER NOT NULL,
    ends_ns INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lifted (place BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS class (
    number INTEGER PRIMARY KEY,
    meaning INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS rule (number INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS offence (
    net BLOB NOT NULL,
    policy TEXT NOT NULL,
    times INTEGER NOT NULL,
    action TEXT NOT NULL,
    boot INTEGER NOT NULL,
    ends_ns INTEGER NOT NULL,
    PRIMARY KEY (net, policy)
) STRICT, WITHOUT ROWID;
";

/// Most offences that are kept; those that ended longest ago go first.
const MOST_OFFENCES: u32 = 500_000;

/// A moment by both clocks, and the boot that the monotonic one is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Names the boot.
    pub boot_id: Arc<str>,
    /// `CLOCK_MONOTONIC` ns.
    pub now_ns: u64,
    /// The wall clock, ns since 1970.
    pub unix_ns: u64,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn now(boot_id: &Arc<str>) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            boot_id: Arc::clone(boot_id),
            now_ns: clock::monotonic_ns(),
            unix_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// A repeated offence, so that the next term is longer also after a restart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptOffence {
    /// Whose.
    pub net: IpNet,
    /// Under which policy.
    pub policy: Arc<str>,
    /// How often.
    pub times: u32,
    /// The last verdict's action.
    pub action: weir_common::abi::Action,
    /// When the last verdict ends or ended, `CLOCK_MONOTONIC` ns of this boot; 0 if before it.
    pub until_ns: u64,
    /// How long ago that is, ns; 0 if it has not ended.
    pub ago_ns: u64,
}

/// What the store kept, in the time of this boot.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Kept {
    pub(super) rules: Vec<Arc<str>>,
    pub(super) classes: Vec<ClassRecord>,
    pub(super) entries: Vec<(IpNet, Entry)>,
    pub(super) fingerprints: Vec<KeptFingerprint>,
    // Prefixes and names whose verdicts ended meanwhile: their rows are to go.
    pub(super) ended: Vec<IpNet>,
    pub(super) ended_names: Vec<String>,
    pub(super) lifted: HashSet<Vec<u8>>,
    /// Repeated offences.
    pub offences: Vec<KeptOffence>,
}

/// An entry on a fingerprint.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct KeptFingerprint {
    pub(super) name: String,
    // What its hash is known to stand for, as JA4_r.
    pub(super) forms: Vec<String>,
    pub(super) entry: Entry,
}

/// A prefix as the store writes it.
pub(super) fn net_bytes(net: &IpNet) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(18);
    match net {
        IpNet::V4(v4) => {
            bytes.push(4);
            bytes.extend(v4.network().octets());
        }
        IpNet::V6(v6) => {
            bytes.push(6);
            bytes.extend(v6.network().octets());
        }
    }
    bytes.push(net.prefix_len());
    bytes
}

/// A key of the kernel's as the store writes it, apart from every prefix. Flows are not kept.
pub(super) fn subject_bytes(subject: &Subject) -> Option<Vec<u8>> {
    let (kind, key) = match subject {
        Subject::Fingerprint(key) => (b't', key),
        Subject::Syn(key) => (b's', key),
        Subject::Flow(_) => return None,
    };
    Some([&[kind][..], &key.to_be_bytes()].concat())
}

#[cfg(test)]
pub(super) mod disk;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
