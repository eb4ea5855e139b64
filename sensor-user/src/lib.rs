//! Weir's daemon: events from the kernel become profiles, features, scores and decisions, and
//! decisions become verdicts in the kernel.
//!
//! `kernel` is the only module that names aya. `event → profile → score → enforce` is pure and
//! driven by the events' own timestamps.

pub mod api;
pub mod capture;
pub mod cli;
pub mod daemon;
pub mod enforce;
pub mod event;
pub mod export;
pub mod fingerprint;
pub mod journal;
pub mod kernel;
pub mod label;
pub mod policy;
pub mod profile;
pub mod replay;
pub mod reputation;
pub mod score;
pub mod signal;
pub mod store;
pub mod system;
