//! One label.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use weir_common::abi::SourceKey;

/// What a source was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Somebody who is to be served.
    Human,
    /// Somebody who is to be held back.
    Bot,
}

impl Verdict {
    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Bot => "bot",
        }
    }
}

/// Whom a label is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum About {
    /// A source: an IPv4 address or an IPv6 /64.
    Source(SourceKey),
    /// Whom a decision was about, by its id.
    Decision(String),
}

/// What was known of a source where some policies judge it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Observed {
    /// The policies, with their versions.
    pub policies: BTreeMap<String, String>,
    /// Features by name; what was unknown is left out.
    pub features: BTreeMap<String, f64>,
}

/// A label as it is kept.
#[derive(Clone, PartialEq, Debug)]
pub struct Label {
    /// When it was given, nanoseconds since 1970.
    pub unix_ns: u64,
    /// The source.
    pub source: SourceKey,
    /// What it was.
    pub verdict: Verdict,
    /// Why, as typed.
    pub why: Option<String>,
    /// The decision that it was given for.
    pub decision: Option<String>,
    /// What was known of the source then: one for every set of services that is judged together.
    pub observed: Vec<Observed>,
}
