//! `weir kill`

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::{Outcome, format::FormatOption};
use crate::{
    daemon::{
        kill::{self, KernelSwitch},
        lock::LockError,
    },
    journal::{
        Actor, Kind, Record,
        offline::{Offline, OfflineError},
    },
    system::paths::Paths,
};

/// Let everything pass, or enforce again; needs no daemon and survives a reboot.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir kill on        # at once, in the kernel\n  \
    weir kill status\n  \
    weir kill off")]
pub(super) struct Kill {
    #[command(subcommand)]
    position: Position,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Position {
    /// Everything passes, from the next packet on and after a reboot too.
    #[command(after_help = "Example:\n  weir kill on")]
    On,
    /// Verdicts count again.
    #[command(after_help = "Example:\n  weir kill off")]
    Off,
    /// Show how it stands.
    #[command(after_help = "Example:\n  weir kill status --format json")]
    Status(StatusOptions),
}

#[derive(Args, Clone, Copy, Debug)]
struct StatusOptions {
    #[command(flatten)]
    format: FormatOption,
}

#[derive(Serialize)]
struct KillStatus {
    /// As it will be after a reboot.
    persisted: bool,
    /// As it is in the kernel; absent where no program was ever loaded.
    kernel: Option<bool>,
}

impl Kill {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let (on, format) = match self.position {
            Position::On => (Some(true), None),
            Position::Off => (Some(false), None),
            Position::Status(options) => (None, Some(options.format)),
        };
        if let Some(on) = on {
            let word = if on { "on" } else { "off" };
            let kernel = kill::set(paths, on)
                .with_context(|| format!("cannot turn the kill switch {word}"))?;
            note(paths, on);
            match (on, kernel) {
                (true, KernelSwitch::Set) => println!("kill switch on: everything passes"),
                (false, KernelSwitch::Set) => println!("kill switch off: verdicts count again"),
                (_, KernelSwitch::Absent) => println!(
                    "kill switch {word}; no program is in the kernel now, so it takes effect with \
                     the next `weir run`"
                ),
            }
        }
        if let Some(format) = format {
            let status =
                KillStatus { persisted: kill::persisted(paths)?, kernel: kill::in_kernel(paths)? };
            format.print(&status, |status, out| {
                let word = |on| if on { "on" } else { "off" };
                let kernel = status.kernel.map_or("no program loaded", word);
                writeln!(out, "after a reboot  {}", word(status.persisted))?;
                writeln!(out, "in the kernel   {kernel}")
            })?;
        }
        Ok(Outcome::Done)
    }
}

/// Tells the journal, or the daemon that writes it. The switch is turned already: nothing here fails.
fn note(paths: &Paths, on: bool) {
    let uid = nix::unistd::getuid().as_raw();
    if let Err(error) = kill::leave_note(paths, on, uid) {
        eprintln!("weir: the journal will not say who turned it: {error}");
    }
    let record = Record::new(Kind::Kill, &Actor::User(uid), json!({"on": on}));
    match Offline::note(paths, &record) {
        // A daemon sees it within a second.
        Ok(()) | Err(OfflineError::Lock(LockError::Held { .. }) | OfflineError::Missing { .. }) => {
        }
        Err(error) => eprintln!("weir: it is not in the journal: {error}"),
    }
}
