//! What an error answer says.

use serde::{Deserialize, Serialize};

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Which kind, for programs.
    pub kind: FailureKind,
    /// What happened, to what, and what to do, for people.
    pub message: String,
    /// Lines of a list that could not be read; nothing of the list was applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<BadLine>,
    /// More such lines than are listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_lines: usize,
}

/// Kinds of error answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The list has lines that are not prefixes.
    BadList,
    /// The request is not understood: an unknown service, a missing term.
    BadRequest,
    /// A guard forbids it: it would cut this host or its operator off.
    Refused,
    /// A table in the kernel has no room.
    Full,
    /// Something in the daemon or the kernel failed.
    Internal,
    /// The daemon is ending.
    Stopping,
}

impl Failure {
    /// A failure that is one sentence.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), lines: Vec::new(), more_lines: 0 }
    }
}

/// A line of a list that is not a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadLine {
    /// Which line of the request's body, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

const fn is_zero(number: &usize) -> bool {
    *number == 0
}
