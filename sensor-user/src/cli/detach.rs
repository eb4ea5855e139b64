//! `weir detach`

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::{Outcome, format::FormatOption};
use crate::{
    daemon::{lock::DaemonLock, sensor::Sensor},
    system::paths::Paths,
};

/// Remove Weir from every interface and from the BPF file system.
///
/// Nothing is measured or enforced afterwards. The state directory is kept, and with it the kill
/// switch. A running daemon must be stopped first.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  systemctl stop weir && weir detach")]
pub(super) struct Detach {
    #[command(flatten)]
    format: FormatOption,
}

#[derive(Serialize)]
struct Detached {
    /// What was removed: pins and attachments, as paths or `interface hook`.
    removed: Vec<String>,
}

impl Detach {
    pub(super) fn execute<S: Sensor>(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let _lock = DaemonLock::take(&paths.daemon_lock()).context("cannot detach")?;
        let removed = S::detach_all(paths).context("cannot detach")?;
        self.format.print(&Detached { removed }, |detached, out| {
            if detached.removed.is_empty() {
                return writeln!(out, "nothing of Weir's was there");
            }
            for removed in &detached.removed {
                writeln!(out, "removed {removed}")?;
            }
            Ok(())
        })?;
        Ok(Outcome::Done)
    }
}
