//! Scores: features of a profile become points of named factors, and points become decisions.
//!
//! Pure: the same events under the same policy give the same decisions, byte for byte.

pub mod baseline;
pub mod feature;
pub mod owasp;
pub mod registry;

mod decision;
mod engine;
mod factor;
mod measure;
mod offence;

pub use self::{
    decision::{Decision, Trigger},
    engine::{Clock, Engine, EngineCounters, KnownFeatures},
    factor::{Factor, Score},
};

#[cfg(test)]
mod actors;
#[cfg(test)]
mod hello_tests;
#[cfg(test)]
mod tests;
