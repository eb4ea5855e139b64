//! `weir brake`

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::{Outcome, client, format::FormatOption};
use crate::{api::message::BrakeStatus, enforce::breaker::State, system::paths::Paths};

/// Show the circuit breaker, or close it.
///
/// The breaker opens when policies refuse too many of the trusted: then nothing is enforced for a while.
/// How much of all traffic is dropped moves nothing; it only raises an alarm.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir brake status\n  \
    weir brake status --format json | jq .harm\n  \
    weir brake reset")]
pub(super) struct Brake {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Show how it stands, and what policies do to the trusted.
    #[command(after_help = "Example:\n  weir brake status")]
    Status(FormatOption),
    /// Close it: enforce again at once.
    #[command(after_help = "Example:\n  weir brake reset")]
    Reset(FormatOption),
}

impl Brake {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let (status, format) = match self.what {
            What::Status(format) => {
                (client::ask(paths, async |client| client.brake().await)?, format)
            }
            What::Reset(format) => {
                (client::ask(paths, async |client| client.reset_brake().await)?, format)
            }
        };
        format.print(&status, write)?;
        Ok(Outcome::Done)
    }
}

/// How the brakes stand, in a few lines.
pub(super) fn write(status: &BrakeStatus, out: &mut dyn Write) -> io::Result<()> {
    let harm = &status.harm;
    let state = match status.state {
        State::Closed => "closed",
        State::Open => "OPEN, nothing is enforced",
        State::HalfOpen => "half-open, enforcement is watched",
    };
    write!(out, "breaker     {state}, since {}", status.since)?;
    if let Some(until) = &status.until {
        write!(out, ", until {until} at least")?;
    }
    writeln!(out, "; broke {} times", status.trips)?;
    writeln!(
        out,
        "trusted     {} sources of {} networks seen in {} s, {} refused ({:.2} %, bound {:.2} %), {} \
         would be{}",
        harm.sources.seen,
        harm.networks.seen,
        harm.window_ns / 1_000_000_000,
        harm.sources.dropped,
        harm.dropped_share * 100.0,
        status.trusted_dropped_max * 100.0,
        harm.sources.would,
        if status.sample_suffices { "" } else { "; too few to say anything" }
    )?;
    writeln!(
        out,
        "known       {} sources have the sessions that trust needs, {} are labelled",
        status.cohort.regulars, status.cohort.labelled
    )?;
    writeln!(
        out,
        "drops       {:.1} % of packets lately{}",
        status.drop_share * 100.0,
        if status.drop_share_alarm { ": ALARM, which moves no brake" } else { "" }
    )
}
