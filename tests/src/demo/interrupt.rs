//! Ctrl-C ends the demo in an orderly way: what it made is removed.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static CAME: AtomicBool = AtomicBool::new(false);

/// Listens for SIGINT and SIGTERM from now on.
pub(super) fn listen() -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only stores to an atomic, which is async-signal-safe.
        unsafe { sigaction(signal, &action) }.context("cannot listen for signals")?;
    }
    Ok(())
}

/// Whether one came.
pub(super) fn came() -> bool {
    CAME.load(Ordering::Relaxed)
}

extern "C" fn note(_signal: i32) {
    CAME.store(true, Ordering::Relaxed);
}
