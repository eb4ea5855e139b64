//! The control API: HTTP/1.1 and JSON on a Unix socket, for the command line and for whoever
//! automates it.
//!
//! | method and path | body | answer |
//! | --- | --- | --- |
//! | `GET /v1/status` | | [`message::Status`] |
//! | `GET /v1/ready` | | [`message::Readiness`], with 200 or 503 |
//! | `GET /metrics` | | OpenMetrics text ([`crate::export::metrics`]) |
//! | `GET /v1/verdicts?address=…` | | [`message::Verdicts`] |
//! | `GET /v1/decisions?limit=…` | | [`message::Decisions`] |
//! | `GET /v1/explain?address=…` or `?decision=ID` | | [`message::Explanation`] |
//! | `GET /v1/audit?now=…` | | [`message::AuditReport`] |
//! | `GET /v1/verdict?address=…&service=…` | | [`message::LookupAnswer`]; see [`lookup`] |
//! | any `/v1/check/SERVICE/…` | not read | the same |
//! | `GET /v1/mode` | | [`message::ModeReport`] |
//! | `POST /v1/mode?name=…` ([`message::SwitchQuery`]) | | the same |
//! | `GET /v1/gates?policy=…` | | [`message::Gates`] |
//! | `POST /v1/promote?…` ([`message::PromoteQuery`]) | | [`message::StageMoved`] |
//! | `POST /v1/rollback?…` ([`message::RollbackQuery`]) | | [`message::StageMoved`] |
//! | `POST /v1/label` | one label a line: `ADDR\|DECISION human\|bot [why]` | [`message::Labelled`] |
//! | `GET /v1/labels?…` ([`message::LabelsQuery`]) | | [`message::Labels`] |
//! | `GET /v1/brake`, `POST /v1/brake/reset` | | [`message::BrakeStatus`] |
//! | `POST /v1/block?…` ([`message::BlockQuery`]) | one prefix or fingerprint a line | [`message::Blocked`] |
//! | `POST /v1/unblock?…` ([`message::UnblockQuery`]) | one prefix or fingerprint a line | [`message::Unblocked`] |
//! | `POST /v1/forget?…` ([`message::ForgetQuery`]) | one address or prefix a line | [`message::Forgot`] |
//! | `POST /v1/journal/rotate-key?key=…` | | [`message::Rotated`] |
//!
//! Every error answer is a [`message::Failure`]. Lists go as plain text, because a hundred thousand
//! prefixes are parsed while they arrive and never held as JSON.
//!
//! Promises: only root, the daemon's own user and members of the group `weir` are answered, by what the
//! kernel says of them (`SO_PEERCRED`, `SO_PEERGROUPS`), and every command is journaled with who asked; a
//! list with one bad line changes nothing; the server holds no state, everything is asked of the daemon's loop. The
//! exception are questions of proxies ([`lookup`]): they have doors of their own, where nothing else
//! can be asked and nothing changed, and are answered without the loop.

pub mod block_list;
pub mod client;
pub mod command;
mod control;
pub mod lookup;
pub mod message;
mod peer;
mod route;
pub mod server;
mod talk;
pub mod thread;

/// Paths of the API.
pub mod path {
    /// What the daemon is doing.
    pub const STATUS: &str = "/v1/status";
    /// Whether all is as it should be.
    pub const READY: &str = "/v1/ready";
    /// Figures for Prometheus.
    pub const METRICS: &str = "/metrics";
    /// Verdicts in force.
    pub const VERDICTS: &str = "/v1/verdicts";
    /// Latest decisions, explained.
    pub const DECISIONS: &str = "/v1/decisions";
    /// Why somebody is treated as they are.
    pub const EXPLAIN: &str = "/v1/explain";
    /// What a proxy shall do with a client.
    pub const VERDICT: &str = "/v1/verdict";
    /// The same for proxies that append the client's path; before the service's name.
    pub const CHECK: &str = "/v1/check/";
    /// Say what sources were.
    pub const LABEL: &str = "/v1/label";
    /// What was said.
    pub const LABELS: &str = "/v1/labels";
    /// How the brakes stand.
    pub const BRAKE: &str = "/v1/brake";
    /// Close the circuit breaker.
    pub const RESET_BRAKE: &str = "/v1/brake/reset";
    /// Forget somebody.
    pub const FORGET: &str = "/v1/forget";
    /// Replace a key of the journal.
    pub const ROTATE_KEY: &str = "/v1/journal/rotate-key";
    /// Which mode is on; switch it.
    pub const MODE: &str = "/v1/mode";
    /// What the self-audit found.
    pub const AUDIT: &str = "/v1/audit";
    /// Where policies stand, and what their gates say.
    pub const GATES: &str = "/v1/gates";
    /// Move a policy forward.
    pub const PROMOTE: &str = "/v1/promote";
    /// Take a policy back to watching.
    pub const ROLLBACK: &str = "/v1/rollback";
    /// Set operator verdicts.
    pub const BLOCK: &str = "/v1/block";
    /// Take verdicts back.
    pub const UNBLOCK: &str = "/v1/unblock";
}

/// Largest list that one request may carry: a million prefixes of usual length fit twice.
pub const LARGEST_LIST_BYTES: usize = 64 << 20;
