//! Verdicts: the ladder, the ledger of desired state, and the kernel tables as a trait.

pub mod audit;
pub mod dataplane;
pub mod fingerprint;
pub mod guard;
pub mod ladder;
pub mod ledger;
pub mod memory;
pub mod names;
