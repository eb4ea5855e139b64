//! The daemon shuts itself in, where the kernel lets it: capabilities, files (Landlock) and system
//! calls (seccomp).
//!
//! [`confine`] does so for the process, before it has a second thread, so that every thread has at
//! least these walls. [`enter`] does more for a thread that parses what others wrote or answers them:
//! it gives up its capabilities, so that not even a bug there reaches the maps, sees its own files only,
//! and cannot make sockets that it does not need.
//!
//! | part | capabilities | files | sockets |
//! | --- | --- | --- | --- |
//! | process | three | state, run, pins, recording: write; policy, logs, `/etc`, `/proc`, `/sys`: read | local, netlink, IP |
//! | `api` | none | the run directory: remove | none that are not open already |
//! | `signals` | none | logs: read; the run directory: remove | none that are not open already |
//! | `feeds` | none | its folder: write; feeds' files, certificates, resolver: read | IP |
//! | `fetch` | none | certificates, resolver: read | IP; TCP to the feed's port and to 53 |
//!
//! What is refused fails with `EPERM` or `EACCES`, and never kills: a C library that calls something
//! unforeseen must not end enforcement. No part starts programs, traces processes, mounts, loads
//! modules or makes namespaces.
//!
//! Where a wall cannot be built (an old kernel, a container that forbids it), [`report`] says so, and
//! the daemon goes on, unless it was told to need it.

mod calls;
mod files;
#[cfg(debug_assertions)]
mod probe;

use std::{
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
};

pub(crate) use self::files::place_of;
use super::privileges;
use crate::api::message::{SandboxPart, SandboxStatus};

/// What the daemon touches.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Where it writes: state and run directory, pins, recording.
    pub written: Vec<PathBuf>,
    /// What it reads, again when it is told to: policies, feeds' files.
    pub read: Vec<PathBuf>,
    /// The run directory.
    pub run_dir: PathBuf,
    /// Where logs are.
    pub logs: Vec<PathBuf>,
    /// Where feeds are kept.
    pub feeds: PathBuf,
    /// Where feeds' files are.
    pub feed_files: Vec<PathBuf>,
    /// Whether a wall that cannot be built is a reason not to start.
    pub required: bool,
}

/// A thread with walls of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Answers the control socket and proxies.
    Api,
    /// Reads signals and logs.
    Signals,
    /// Keeps feeds.
    Feeds,
    /// Asks one feed's server, at this port.
    Fetch {
        /// TCP port.
        port: u16,
    },
}

impl Part {
    /// Its name in the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Signals => "signals",
            Self::Feeds => "feeds",
            Self::Fetch { .. } => "fetch",
        }
    }
}

/// A wall is missing that was asked for with `--require-sandbox`.
#[derive(Debug, thiserror::Error)]
#[error(
    "the sandbox is not whole: {0}; use a kernel with Landlock and seccomp and let the daemon use them, \
     or start without --require-sandbox"
)]
pub struct Unwalled(String);

/// What was asked for, and what came of it: a fact about this process, like its capabilities.
static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

#[derive(Debug)]
struct Sandbox {
    plan: Plan,
    parts: Mutex<Vec<SandboxPart>>,
}

impl Sandbox {
    fn note(&self, part: SandboxPart) -> Result<(), Unwalled> {
        let missing = part.missing();
        if let Some(missing) = &missing {
            tracing::warn!("the sandbox is not whole: {missing}");
        }
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        match parts.iter_mut().find(|known| known.name == part.name) {
            // Feeds' servers are asked again and again.
            Some(known) => *known = part,
            None => parts.push(part),
        }
        match missing {
            Some(missing) if self.plan.required => Err(Unwalled(missing)),
            _ => Ok(()),
        }
    }
}

/// Shuts the process in. Call it once, before there is a second thread.
///
/// # Errors
/// If a wall cannot be built and the plan needs it.
pub fn confine(plan: Plan) -> Result<(), Unwalled> {
    let capabilities = privileges::settle().err().map(|error| error.to_string());
    let files = files::confine(&plan).err();
    let calls = calls::confine().err();
    let sandbox = SANDBOX.get_or_init(|| Sandbox { plan, parts: Mutex::default() });
    probed("process");
    sandbox.note(SandboxPart { name: "process".into(), capabilities, files, calls })
}

/// Shuts the calling thread in further, if the process is. The threads that it starts are within the
/// same walls.
///
/// # Errors
/// If a wall cannot be built and the plan needs it: the thread must not go on.
pub fn enter(part: Part) -> Result<(), Unwalled> {
    let Some(sandbox) = SANDBOX.get() else { return Ok(()) };
    let capabilities = match part {
        // `feeds` has none, and started it.
        Part::Fetch { .. } => None,
        _ => privileges::renounce().err().map(|error| error.to_string()),
    };
    let files = files::enter(part, &sandbox.plan).err();
    // Last, because it forbids to build walls.
    let calls = calls::enter(part).err();
    probed(part.name());
    sandbox.note(SandboxPart { name: part.name().into(), capabilities, files, calls })
}

/// What came of it; no part at all if nothing was asked for.
#[must_use]
pub fn report() -> SandboxStatus {
    let parts = SANDBOX
        .get()
        .map(|sandbox| sandbox.parts.lock().unwrap_or_else(PoisonError::into_inner).clone());
    SandboxStatus { parts: parts.unwrap_or_default() }
}

/// What this kernel has of it: Landlock's version (0: none), and whether seccomp filters.
#[must_use]
pub fn offered() -> (i32, bool) {
    (files::version(), calls::is_offered())
}

/// Tries what must not work, where a test asks for it. Not in release builds.
fn probed(part: &str) {
    #[cfg(debug_assertions)]
    probe::run(part, SANDBOX.get().map(|sandbox| &sandbox.plan));
    #[cfg(not(debug_assertions))]
    let _ = part;
}

#[cfg(test)]
mod tests;
