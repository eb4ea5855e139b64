//! The pipeline, packet by packet: the same question put to the host's engine and to the programs
//! that the verifier accepted.
//!
//! [`Engine`] is what a test may ask. [`HostEngine`] answers from the host's tables, and
//! [`KernelEngine`] through `BPF_PROG_TEST_RUN` from the loaded programs and their maps, both by a
//! clock that the test sets.

mod corpus;
mod counter;
mod engine;
mod host;
mod kernel;
mod program;
mod raw;
mod records;
mod replay;

pub use corpus::{Frames, read_frames};
pub use counter::{Counter, Moved, moved};
pub use engine::{Engine, Fate, Hook, Place};
pub use host::HostEngine;
pub use kernel::KernelEngine;
pub use program::Program;
pub use records::{Records, difference};
pub use replay::{Passed, Replayed, replay};
