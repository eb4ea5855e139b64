//! Modes.

use serde::{Deserialize, Serialize};

/// Query of `POST /v1/mode`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchQuery {
    /// Which mode; `normal` is what the files say.
    pub name: String,
    /// For how long, in seconds; absent = as the mode says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
    /// Why, in the operator's words.
    #[serde(default)]
    pub why: String,
}

/// Answer of `GET /v1/mode` and `POST /v1/mode`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeReport {
    /// The mode that is on; absent = normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<ModeOn>,
    /// Modes that can be switched to.
    pub declared: Vec<DeclaredMode>,
    /// What the operator should know beside it.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// A mode that is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeOn {
    /// Its name.
    pub name: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// Until when (RFC 3339); then all is as before.
    pub until: String,
    /// Seconds until then.
    pub left_s: u64,
    /// Why, in the operator's words.
    pub why: String,
    /// What is different, in a few words.
    pub changes: String,
}

/// A mode that a Site declares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredMode {
    /// Its name.
    pub name: String,
    /// For how many seconds, unless the command says.
    pub for_s: u64,
    /// What is different, in a few words.
    pub changes: String,
}
