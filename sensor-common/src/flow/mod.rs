//! Connections as the kernel follows them: handshake and proof, flow timing, rates, limiters.
//!
//! Pure functions over the ABI's records; time is an argument.

pub mod bucket;
pub mod handshake;
pub mod progress;
pub mod quic;
pub mod rate;
pub mod records;
pub mod scan;
pub mod seq;
pub mod syn;
