//! `weir ready`

use std::io::{self, Write};

use clap::Args;

use super::{Outcome, client, format::FormatOption};
use crate::{api::message::Readiness, system::paths::Paths};

/// Say whether Weir does what its policy says, and if not, why.
///
/// What fails is shown first. What is only worth a look is shown too, and leaves it ready.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 ready; 1 not ready, or no daemon answers; 2 not understood.\n\n\
    Examples:\n  \
    weir ready\n  \
    weir ready --format json | jq -r '.reasons[].name'"
)]
pub(super) struct Ready {
    #[command(flatten)]
    format: FormatOption,
}

impl Ready {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let readiness = client::ask(paths, async |client| client.ready().await)?;
        self.format.print(&readiness, write)?;
        Ok(if readiness.ready { Outcome::Done } else { Outcome::Unfit })
    }
}

fn write(readiness: &Readiness, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", if readiness.ready { "ready" } else { "not ready" })?;
    for reason in &readiness.reasons {
        let weight = if reason.fails { "fails" } else { "look " };
        writeln!(out, "{weight} {}: {}", reason.name.name(), reason.text)?;
    }
    Ok(())
}
