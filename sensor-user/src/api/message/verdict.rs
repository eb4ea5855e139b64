//! Verdicts in force.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Query of `GET /v1/verdicts`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictsQuery {
    /// Only those that cover this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
}

/// Answer of `GET /v1/verdicts`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    /// On addresses, in order of their prefixes.
    pub verdicts: Vec<VerdictEntry>,
    /// On fingerprints, in order of their names; none where an address was asked for.
    #[serde(default)]
    pub fingerprints: Vec<FingerprintEntry>,
}

/// A verdict on addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictEntry {
    /// Whom it is about.
    pub prefix: IpNet,
    /// What it says, and how it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// A verdict on a fingerprint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FingerprintEntry {
    /// Which: `ja4:…`, `stable:…` or `tcp:…`.
    pub fingerprint: String,
    /// What it says, and how it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// What a verdict says, and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// `allow`, `mark`, `limit`, `reject` or `drop`.
    pub action: String,
    /// `observe` or `enforce`.
    pub mode: String,
    /// `active`; `partial` or `covered` where an allow or something stronger holds instead; `due`
    /// where the kernel could not be told yet; `waiting` for a JA4 that nobody was seen with yet;
    /// `daemon` for QUIC, where the daemon acts and not the kernel.
    pub state: String,
    /// Names of services; empty = everything, unprotected ports too.
    pub services: Vec<String>,
    /// Who set it: `operator` or `rule`.
    pub origin: String,
    /// The rule, as `policy/rule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why: the operator's words, or the names of the rules.
    pub reason: String,
    /// When it ends (RFC 3339); absent = when it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// In how many seconds it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
    /// Packets that it decided: a lower bound under contention of several CPUs.
    pub hits: u64,
    /// When it last decided one (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_hit_at: Option<String>,
}
