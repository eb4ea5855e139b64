//! `weir unblock`

use std::path::PathBuf;

use clap::Args;

use super::{Outcome, block::explain, client, format::FormatOption, input::Input};
use crate::{api::message::UnblockQuery, system::paths::Paths};

/// Take verdicts back: operators' and rules', on exactly the prefixes and fingerprints named.
///
/// A verdict on a covering prefix stays in force; `weir verdicts ADDR` shows what still covers an
/// address.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir unblock 192.0.2.7\n  \
    weir unblock ja4:t13d1516h2_8daaf6152771_e5627efa2ab1\n  \
    weir unblock --file spamhaus.netset\n  \
    weir unblock --all")]
pub(super) struct Unblock {
    /// Addresses, prefixes and fingerprints; `-` reads standard input.
    #[arg(value_name = "ADDR|CIDR|FINGERPRINT", required_unless_present_any = ["file", "all"])]
    whom: Vec<String>,
    /// Files with one address, prefix or fingerprint a line.
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Take every verdict back.
    #[arg(long, conflicts_with_all = ["whom", "file"])]
    all: bool,
    /// Take ja4:… and ja4_r:… by their stable form.
    #[arg(long)]
    stable: bool,
    #[command(flatten)]
    format: FormatOption,
}

impl Unblock {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let mut input = Input::gather(&self.whom, &self.file)?;
        let query = UnblockQuery { all: self.all, stable: self.stable };
        let list = input.take_text().into();
        let unblocked = client::ask(paths, async |client| client.unblock(&query, list).await)
            .map_err(|error| explain(error, &input))?;
        self.format.print(&unblocked, |unblocked, out| {
            let noun = if unblocked.removed == 1 { "verdict" } else { "verdicts" };
            write!(out, "{} {noun} taken back", unblocked.removed)?;
            if unblocked.unknown > 0 {
                write!(out, ", {} of those named had none", unblocked.unknown)?;
            }
            writeln!(out, " ({:.1} ms)", unblocked.took_ms)?;
            for note in &unblocked.notes {
                writeln!(out, "note: {note}")?;
            }
            Ok(())
        })?;
        Ok(Outcome::Done)
    }
}
