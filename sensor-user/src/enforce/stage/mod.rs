//! How far a policy has come: it watches, acts on some sources, or acts on all.
//!
//! Where a policy stands is held in the ledger and moved by gates or by an operator; policy files
//! only set the ceiling. What is pure is here: which decisions of which policy act on whom.

mod acting;
pub mod kept;
mod lot;
mod record;
mod stages;

use std::{fmt, str::FromStr};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use self::{
    acting::{Acting, Standing},
    lot::{EVERYBODY_PPM, Lot},
    record::{Instant, Shadow, StageRecord},
    stages::{Move, Moved, Mover, Stages, of_shadow, shadow_name, with_shadows},
};

/// The share of sources that a canary acts on where nothing else is said, in parts per million.
pub const CANARY_PPM: u32 = 50_000;

/// How far a policy has come.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It is scored, and what it would do is counted.
    #[default]
    Monitor,
    /// It acts on a share of all sources, and is counted for the rest.
    Canary,
    /// It acts.
    Enforce,
}

impl Stage {
    /// Its name, as policy files and the command line write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Canary => "canary",
            Self::Enforce => "enforce",
        }
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::Monitor => Some(Self::Canary),
            Self::Canary => Some(Self::Enforce),
            Self::Enforce => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No stage is called so.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no stage `{0}`: monitor, canary or enforce")]
pub struct NoSuchStage(String);

impl FromStr for Stage {
    type Err = NoSuchStage;

    fn from_str(name: &str) -> Result<Self, NoSuchStage> {
        [Self::Monitor, Self::Canary, Self::Enforce]
            .into_iter()
            .find(|stage| stage.name() == name)
            .ok_or_else(|| NoSuchStage(name.to_owned()))
    }
}

#[cfg(test)]
mod tests;
