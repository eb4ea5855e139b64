//! What leaves the daemon as figures.

pub mod metrics;
