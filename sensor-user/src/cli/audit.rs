//! `weir audit`

use std::io::{self, Write};

use clap::Args;

use super::{Outcome, client, format::FormatOption};
use crate::{
    api::message::{AuditFinding, AuditQuery, AuditReport},
    enforce::audit,
    system::paths::Paths,
};

/// Show whether the kernel does what is wanted: what was checked, found and repaired, and what it costs.
///
/// Exits with 1 while less is enforced than `sensor.coverage_min` asks for.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir audit --now\n  \
    weir audit --format json | jq '.open[] | {fault, object, text}'")]
pub(super) struct Audit {
    /// Check everything now, and answer when that is done.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    format: FormatOption,
}

/// Findings that a person is shown.
const SHOWN: usize = 10;

impl Audit {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let query = AuditQuery { now: self.now };
        let report = client::ask(paths, async |client| client.audit(&query).await)?;
        self.format.print(&report, |report, out| write(report, out))?;
        Ok(if report.coverage < report.coverage_min { Outcome::Unfit } else { Outcome::Done })
    }
}

fn write(report: &AuditReport, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "enforced   {:.2} % of what is wanted (at least {:.0} %)",
        report.coverage * 100.0,
        report.coverage_min * 100.0
    )?;
    writeln!(out, "attached   {} of {} interfaces", report.attached, report.interfaces)?;
    match &report.swept_at {
        Some(at) => writeln!(
            out,
            "verdicts   {} read at {at}, {} amiss; in {:.0} ms, {:.1} ms of them the loop's",
            report.entries, report.amiss, report.took_ms, report.busy_ms
        )?,
        None => writeln!(out, "verdicts   not read yet")?,
    }
    writeln!(
        out,
        "program    asked about {} verdicts, {} answered as wanted",
        report.asked, report.answered
    )?;
    if let (Some(received), Some(seen)) = (report.received, report.seen) {
        writeln!(out, "packets    {received} received, {seen} seen since the comparison before")?;
    }
    writeln!(
        out,
        "cost       a sweep every {} s, a fault is noticed within {} s; {:.2} % of the loop's time",
        report.every_s,
        report.noticed_within_s,
        report.loop_share * 100.0
    )?;
    for count in &report.counts {
        writeln!(
            out,
            "found      {} {}, {} of them repaired",
            count.found,
            count.fault.name(),
            count.repaired
        )?;
    }
    if !report.open.is_empty() {
        writeln!(out, "\nto be looked at:")?;
        for finding in &report.open {
            line(finding, "since ", out)?;
        }
    }
    if !report.latest.is_empty() {
        writeln!(out, "\nlatest:")?;
        for finding in report.latest.iter().take(SHOWN) {
            line(finding, "", out)?;
        }
    }
    Ok(())
}

fn line(finding: &AuditFinding, since: &str, out: &mut dyn Write) -> io::Result<()> {
    let outcome = match finding.outcome {
        audit::Outcome::Repaired => "repaired",
        audit::Outcome::Alarm => "alarm",
    };
    write!(out, "  {since}{} {} ×{} {outcome}", finding.at, finding.fault.name(), finding.count)?;
    for part in [&finding.object, &finding.text] {
        if !part.is_empty() {
            write!(out, " {part}")?;
        }
    }
    writeln!(out)
}
