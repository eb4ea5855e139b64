//! How far the daemon has shut itself in.

use serde::{Deserialize, Serialize};

/// The sandbox, thread by thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxStatus {
    /// The process first, then the threads that parse what others wrote.
    pub parts: Vec<SandboxPart>,
}

/// A part of the daemon, and what keeps it in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxPart {
    /// `process`, or the thread's name.
    pub name: String,
    /// Why capabilities are more than it needs; absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<String>,
    /// Why Landlock does not confine it, or not wholly; absent: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<String>,
    /// Why seccomp does not filter its system calls; absent: it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<String>,
}

impl SandboxPart {
    /// Whether everything that was asked for holds.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.capabilities.is_none() && self.files.is_none() && self.calls.is_none()
    }

    /// What is missing, in a sentence; `None`: nothing.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        let layers =
            [("capabilities", &self.capabilities), ("files", &self.files), ("calls", &self.calls)];
        let said: Vec<String> = layers
            .iter()
            .filter_map(|(layer, why)| Some(format!("{layer}: {}", why.as_ref()?)))
            .collect();
        (!said.is_empty()).then(|| format!("{}: {}", self.name, said.join("; ")))
    }
}
