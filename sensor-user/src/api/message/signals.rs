//! What applications and logs said, counted.

use serde::{Deserialize, Serialize};

/// Signals since the daemon started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalStatus {
    /// Messages of applications, refused ones included.
    pub messages: u64,
    /// Lines of logs, refused ones included.
    pub lines: u64,
    /// Signals that became events.
    pub heard: u64,
    /// Of those, signals of which no connection was found: they count, for a service only where the
    /// signal or its log names one.
    pub unjoined: u64,
    /// Messages and lines that were passed over, by reason; reasons that never occurred are left out.
    pub refused: Vec<RefusalCount>,
    /// By declared signal; those of signals that are no longer declared are left out.
    pub by_signal: Vec<SignalCount>,
    /// The logs.
    pub logs: Vec<LogStatus>,
}

/// Messages and lines that were passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalCount {
    /// The reason's name.
    pub reason: String,
    /// What it means.
    pub explanation: String,
    /// How many.
    pub count: u64,
}

/// Signals of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalCount {
    /// The signal.
    pub signal: String,
    /// How many.
    pub count: u64,
}

/// A log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Lines read.
    pub lines: u64,
    /// Lines that were passed over.
    pub refused: u64,
    /// Signals found in it.
    pub signals: u64,
    /// Bytes not read yet.
    pub behind_bytes: u64,
    /// Why it is not read; absent: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl SignalStatus {
    /// What the operator should look at, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for log in &self.logs {
            if let Some(problem) = &log.problem {
                warnings
                    .push(format!("the log {} ({}) is not read: {problem}", log.name, log.file));
            } else if log.refused * 2 > log.lines {
                warnings.push(format!(
                    "{} of {} lines of the log {} say nothing that could be used: compare its \
                     `format` with what is in {}",
                    log.refused, log.lines, log.name, log.file
                ));
            }
        }
        warnings
    }
}
