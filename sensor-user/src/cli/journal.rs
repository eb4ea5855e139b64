//! `weir journal`

mod export;
mod key;
mod show;
mod verify;
mod which;

use clap::{Args, Subcommand};

use super::Outcome;
use crate::system::paths::Paths;

/// Show, verify and export what was decided, switched and asked for.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir journal show --limit 5\n  \
    weir journal verify\n  \
    weir journal export --format parquet --since 30d -o journal.parquet")]
pub(super) struct Journal {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List records, oldest first; the latest unless something else is asked for.
    Show(show::Show),
    /// Find whatever was edited, removed, moved or cut off, and say where.
    Verify(verify::Verify),
    /// Write records to a file, for other tools.
    Export(export::Export),
    /// Show the public key that checkpoints are signed with.
    Key(key::Key),
    /// Use a new key from now on.
    RotateKey(key::RotateKey),
}

impl Journal {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        match self.verb {
            Verb::Show(show) => show.execute(paths),
            Verb::Verify(verify) => verify.execute(paths),
            Verb::Export(export) => export.execute(paths),
            Verb::Key(key) => key.execute(paths),
            Verb::RotateKey(rotate) => rotate.execute(paths),
        }
    }
}
