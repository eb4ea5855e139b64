//! `weir mode`

use std::{io, io::Write, time::Duration};

use clap::Args;

use super::{
    Outcome, client,
    format::{self, FormatOption},
};
use crate::{
    api::message::{ModeReport, SwitchQuery},
    system::paths::Paths,
};

/// Switch to a set of overrides that the policy declares for bad days, or back.
///
/// `normal` is what the files say. Every other mode ends by itself, also over a restart.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir mode attack --for 2h --why \"ticket 4711\"\n  \
    weir mode normal\n  \
    weir mode status --format json")]
pub(super) struct Mode {
    /// `normal`, a mode that the policy declares, or `status` to show which is on.
    #[arg(value_name = "NAME")]
    name: String,
    /// For how long ("30m", "2h"); without it, as the mode says.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    term: Option<Duration>,
    /// Why; goes into the journal.
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    #[command(flatten)]
    format: FormatOption,
}

impl Mode {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let report = if self.name == "status" {
            client::ask(paths, async |client| client.mode().await)?
        } else {
            let for_s = self.term.map(|term| term.as_secs());
            let query = SwitchQuery { name: self.name, for_s, why: self.why };
            client::ask(paths, async |client| client.switch_mode(&query).await)?
        };
        self.format.print(&report, write)?;
        Ok(Outcome::Done)
    }
}

fn write(report: &ModeReport, out: &mut dyn Write) -> io::Result<()> {
    match &report.on {
        None => writeln!(out, "mode normal: what the files say")?,
        Some(on) => {
            writeln!(
                out,
                "mode {} for another {}, until {}: {}",
                on.name,
                format::seconds(on.left_s),
                on.until,
                on.changes
            )?;
            if !on.why.is_empty() {
                writeln!(out, "because: {}", on.why)?;
            }
        }
    }
    for mode in &report.declared {
        let term = format::seconds(mode.for_s);
        writeln!(out, "  {:<12} {term}: {}", mode.name, mode.changes)?;
    }
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}
