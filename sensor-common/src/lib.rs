//! What Weir's kernel programs and its daemon must agree on, and all pure packet logic.
//!
//! Nothing here touches the kernel, allocates, or reads a clock: time, packets and tables are
//! arguments. The same code is compiled into the BPF object and run on the host by unit tests,
//! fuzzers and replay, so what a test shows here is what the kernel does.
//!
//! - [`abi`]: map keys and values, events, verdicts, reasons.
//! - [`packet`]: bounds-checked reads and the header cursor.
//! - [`flow`]: handshake and proof, flow timing, windows, token buckets.
//! - [`tls`]: the ClientHello walk and the keys of fingerprints.
//! - [`pipeline`]: the stages, in order, written once for XDP, TC and the host.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![forbid(unsafe_code)]

pub mod abi;
pub mod flow;
#[cfg(any(test, feature = "host"))]
pub mod host;
pub mod packet;
pub mod pipeline;
pub mod tls;
