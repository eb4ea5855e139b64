//! What only applications and their logs know of a client: outcomes, endpoints, accounts.
//!
//! They say it over a local socket, one JSON object a line, or in access logs, which are read as they
//! grow. A thread of its own reads and understands; what it hands to the loop is short, bounded, and
//! has neither account nor endpoint in clear text.
//!
//! | file | what |
//! | --- | --- |
//! | `reader` | the thread: sockets, logs, and what becomes of a line |
//! | `listen` | datagrams and streams of local applications |
//! | `tail` | a growing file, through rotation and truncation |
//! | `message` | what an application says |
//! | `combined`, `haproxy`, `json` | what a line of a log says, as an [`entry::Entry`] |
//! | `client` | whom it is about, behind proxies |
//! | `endpoint` | a request's target as servers understand it |
//! | `entity` | pseudonyms under a key of this host |
//! | `stamp` | times in lines |
//! | `join` | the flow that a signal belongs to |
//! | `refusal` | why a line is passed over; all of it is counted |
//!
//! Promises: a line of any length and content costs bounded time and memory; nothing that was refused
//! is written anywhere; whoever may write to the socket or the log is believed, nobody else is.

pub mod client;
pub mod combined;
pub mod endpoint;
pub mod entity;
pub mod entry;
pub mod haproxy;
pub mod join;
pub mod json;
pub mod listen;
pub mod message;
pub mod reader;
pub mod refusal;
pub mod stamp;
pub mod tail;

use std::{net::IpAddr, sync::Arc};

/// A signal as it was heard: by name, because its kind may change with the policy until the loop
/// looks at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// The signal's name.
    pub name: Arc<str>,
    /// When, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// The client; a proxy that speaks the PROXY protocol stands for whom it named.
    pub client: IpAddr,
    /// The client's port; 0 = unknown.
    pub port: u16,
    /// The service; 0 = the flow says which.
    pub service: u8,
    /// The entity's pseudonym; 0 = none.
    pub entity: u64,
    /// The endpoint's pseudonym; 0 = none.
    pub endpoint: u64,
}

#[cfg(test)]
mod page;
