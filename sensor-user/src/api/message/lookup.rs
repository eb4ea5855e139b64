//! What a proxy is told about a client.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Query of `GET /v1/verdict`. A field that is misspelt or given twice is an error: what a proxy asks
/// is written once, and must not go wrong silently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupQuery {
    /// The client; absent = in the header that the Site names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The service that it asks something of; absent = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Who asks, where that makes a difference.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub asker: Option<Asker>,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Asker {
    /// nginx's `auth_request`, which takes any status but 2xx, 401 and 403 for a failure: what is
    /// limited is answered with 403.
    Nginx,
}

/// Answer of `GET /v1/verdict`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LookupAnswer {
    /// The client.
    pub address: IpAddr,
    /// The service that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What to do now: `allow` (nothing), `mark` (challenge), `limit`, `reject` or `drop`.
    pub action: String,
    /// What would be done if the policy did more than observe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would: Option<String>,
    /// How far enforcement goes here: `off`, `observe` or `enforce`.
    pub mode: String,
    /// The score of the decision, 0 to 100; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<u8>,
    /// The decision's id, for `weir explain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The policy whose verdict this is; absent for an operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Why: the operator's words, or the names of the rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the verdict ends (RFC 3339); absent = there is none, or until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Questions of proxies since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookupStatus {
    /// Answered with a verdict or none.
    pub answered: u64,
    /// Of those, with a challenge.
    pub challenged: u64,
    /// Of those, over a limit.
    pub limited: u64,
    /// Of those, refused.
    pub refused: u64,
    /// Of those, allowed where a policy that observes would have done something.
    pub would: u64,
    /// Not understood: no address, no such service.
    pub misunderstood: u64,
    /// Not HTTP, or longer than a proxy's question can be.
    pub malformed: u64,
    /// Connections ended because a request did not come to its end.
    pub slow: u64,
    /// Connections ended to make room for others.
    pub turned_away: u64,
    /// Prefixes with a verdict that questions are answered from.
    pub prefixes: u64,
}
