//! Labels: what somebody says that sources were.

use serde::{Deserialize, Serialize};

pub use crate::label::Export as Label;

/// Answer of `POST /v1/label`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    /// Labels that were taken.
    pub labels: usize,
    /// Of them, those that say something else than before.
    pub changed: usize,
    /// Verdicts of policies that were lifted.
    pub lifted: usize,
    /// Decisions, of those that are kept, that were false positives.
    pub false_positives: usize,
    /// What the operator should know beside the numbers.
    pub notes: Vec<String>,
}

/// Query of `GET /v1/labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelsQuery {
    /// At most this many, newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only those before this one, by [`Label::id`]: the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
}

/// Answer of `GET /v1/labels`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Labels {
    /// Newest first.
    pub labels: Vec<Label>,
}

/// Labels in the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelStatus {
    /// Sources whose latest label says human.
    pub human: usize,
    /// Sources whose latest label says bot.
    pub bot: usize,
    /// Of the decisions that are kept, those on sources that are labelled human: false positives.
    pub false_positives: usize,
}
