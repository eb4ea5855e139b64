//! What the kernel's maps cannot tell a restarted daemon: what classes mean, what rules are called,
//! and what is wanted but not written because something stronger or an allow stands above it.

use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    class::ClassRecord,
    entry::{Entry, Meaning},
};

/// The form of [`Memo`].
const VERSION: u32 = 1;

/// Kept in a file by whoever owns the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memo {
    version: u32,
    /// The boot whose monotonic clock the times are of.
    boot_id: String,
    pub(super) rules: Vec<Arc<str>>,
    pub(super) classes: Vec<ClassRecord>,
    pub(super) unwritten: Vec<UnwrittenRecord>,
    #[serde(default)]
    pub(super) fingerprints: FingerprintRecords,
}

/// Entries on fingerprints. Keys in the kernel cannot be told from one another, so all are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FingerprintRecords {
    /// The maps that they were written to; others were made since.
    pub(super) maps: String,
    pub(super) entries: Vec<FingerprintRecord>,
}

/// An entry on a fingerprint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FingerprintRecord {
    pub(super) name: String,
    /// What its hash is known to stand for, as JA4_r.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) forms: Vec<String>,
    pub(super) meaning: Arc<Meaning>,
    pub(super) created_ns: u64,
    pub(super) expires_ns: Option<u64>,
}

/// An entry that the kernel does not have as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UnwrittenRecord {
    pub(super) prefix: IpNet,
    pub(super) meaning: Arc<Meaning>,
    pub(super) created_ns: u64,
    pub(super) expires_ns: Option<u64>,
}

/// A memo that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoError {
    /// It is not a memo.
    #[error(
        "cannot read the ledger's memo: {0}; without it, reasons of verdicts are lost and verdicts are kept"
    )]
    Form(#[from] serde_json::Error),
    /// Another version of Weir wrote it.
    #[error(
        "the ledger's memo has version {0}, this is version {VERSION}; without it, reasons of verdicts are lost and verdicts are kept"
    )]
    Version(u32),
}

impl Memo {
    pub(super) fn new(
        boot_id: &str,
        rules: Vec<Arc<str>>,
        classes: Vec<ClassRecord>,
        unwritten: Vec<UnwrittenRecord>,
        fingerprints: FingerprintRecords,
    ) -> Self {
        let boot_id = boot_id.to_owned();
        Self { version: VERSION, boot_id, rules, classes, unwritten, fingerprints }
    }

    /// One that says nothing but what rules are called.
    pub(super) fn empty(boot_id: &str, rules: Vec<Arc<str>>) -> Self {
        Self::new(boot_id, rules, Vec::new(), Vec::new(), FingerprintRecords::default())
    }

    /// Reads a memo. What it says of times holds only within one boot; after another one the
    /// kernel's maps are empty, and so is what this returns, but for the numbers of rules.
    ///
    /// # Errors
    /// If the text is not a memo of this version.
    pub fn read(text: &str, boot_id: &str) -> Result<Self, MemoError> {
        let memo: Self = serde_json::from_str(text)?;
        if memo.version != VERSION {
            return Err(MemoError::Version(memo.version));
        }
        if memo.boot_id != boot_id {
            return Ok(Self::empty(boot_id, memo.rules));
        }
        Ok(memo)
    }

    /// The text to keep.
    ///
    /// # Errors
    /// None that is known: every part can be written.
    pub fn write(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

impl UnwrittenRecord {
    pub(super) fn new(prefix: IpNet, entry: &Entry) -> Self {
        Self {
            prefix,
            meaning: Arc::clone(&entry.meaning),
            created_ns: entry.created_ns,
            expires_ns: entry.expires_ns,
        }
    }

    pub(super) fn entry(&self) -> Entry {
        Entry {
            meaning: Arc::clone(&self.meaning),
            created_ns: self.created_ns,
            expires_ns: self.expires_ns,
        }
    }
}
