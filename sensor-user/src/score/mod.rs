//! Scores: features of a profile become points of named factors, and points become decisions.
//!
//! Pure: the same events under the same policy give the same decisions, byte for byte.

pub mod baseline;
pub mod feature;
pub mod owasp;
pub mod registry;

pub mod record;
pub mod reputation;

mod ceiling;
mod decision;
mod depends;
mod engine;
mod factor;
mod measure;
mod memory;
mod offence;
mod plan;

pub use self::{
    decision::{Decision, Trigger},
    engine::{
        Clock, Comparison, Engine, EngineCounters, Explanation, KnownFeatures, LiveVerdict, Unmet,
    },
    factor::{Factor, FactorKind, Score},
};

#[cfg(test)]
mod actors;
#[cfg(test)]
mod decision_tests;
#[cfg(test)]
mod hello_tests;
#[cfg(test)]
mod rank_tests;
#[cfg(test)]
mod tests;
