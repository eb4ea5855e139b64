//! The contract between kernel and daemon: map keys and values, events, verdicts, reasons.
//!
//! Every type is `repr(C)` without hidden padding, and its size is asserted beside it. A change of
//! any size, field or meaning raises [`ABI_VERSION`], which names the pin directory, so that an old
//! daemon never reads a new map.

pub mod control;
pub mod event;
pub mod flow;
pub mod hello;
pub mod key;
pub mod map;
pub mod quic;
pub mod reason;
pub mod records;
pub mod scan;
pub mod syn;
pub mod synthetic;
pub mod tally;
pub mod time;
pub mod verdict;

pub use control::{Control, Guard, Mode, Service};
pub use event::{
    CloseReason, Closed, Established, EventHeader, EventKind, Hit, Milestone, MilestoneKind,
    VerdictKind,
};
pub use flow::{Direction, Flow, Handshake, Outbound, Source};
pub use hello::{Capture, HelloHeader, HelloKind};
pub use key::{BucketKey, FlowKey, Protocol, SourceKey};
pub use quic::{ConnectionId, QuicHandshake, QuicService};
pub use reason::Reason;
pub use records::Records;
pub use scan::Scan;
pub use syn::SynSignature;
pub use tally::Tally;
pub use verdict::{Action, ServiceSet, Verdict, VerdictClass};

/// Version of everything in this module. Names the pin directory `v<ABI_VERSION>`.
pub const ABI_VERSION: u32 = 3;
