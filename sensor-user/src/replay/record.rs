//! A decision as replay prints it: one JSON object a line.

pub(super) use crate::score::record::told;
pub use crate::score::record::{DecisionRecord, FactorRecord};
