//! The host's twin of the kernel's tables: the same pipeline, no kernel. For replay and tests.
//!
//! Bounded like the maps are: a full LRU table gives up its least recently touched entry, and a
//! full hash refuses. Time is set by the caller, packet by packet.

mod buffer;
mod fingerprints;
mod tables;
mod verdicts;

pub use buffer::BufferPacket;
pub use fingerprints::{Fingerprints, HelloRecord};
pub use tables::{Emitted, MemoryTables};
pub use verdicts::VerdictTable;
