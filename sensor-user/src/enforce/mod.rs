//! Verdicts: the ladder, the ledger of desired state, and the kernel tables as a trait.

pub mod audit;
pub mod breaker;
pub mod cohort;
pub mod dataplane;
pub mod drop_cap;
pub mod fingerprint;
pub mod gate;
pub mod guard;
pub mod ladder;
pub mod ledger;
pub mod memory;
pub mod names;
pub mod stage;
