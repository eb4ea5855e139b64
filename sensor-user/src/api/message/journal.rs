//! The journal's commands: keys, and who asks to be forgotten.

use serde::{Deserialize, Serialize};

/// Query of `POST /v1/forget`; the body has one address or prefix a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetQuery {
    /// Take the verdicts on them back too.
    #[serde(default)]
    pub unblock: bool,
}

/// Answer of `POST /v1/forget`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgot {
    /// Records of the journal whose personal part was taken out.
    pub records: usize,
    /// What else was deleted, and how much of it: rows of tables, decisions in memory.
    pub deleted: Vec<(String, usize)>,
    /// Verdicts that are still in force on them: they stay until they end or are taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<String>,
    /// Verdicts that were taken back.
    #[serde(default)]
    pub unblocked: usize,
    /// What whoever asked should know, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Which key of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum JournalKey {
    /// The one that addresses are called by.
    #[default]
    Pseudonyms,
    /// The one that signs checkpoints.
    Signature,
}

/// Query of `POST /v1/journal/rotate-key`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateQuery {
    /// Which key.
    #[serde(default)]
    pub key: JournalKey,
}

/// Answer of `POST /v1/journal/rotate-key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The new key: its number, or its public half in hexadecimal digits.
    pub new: String,
}
