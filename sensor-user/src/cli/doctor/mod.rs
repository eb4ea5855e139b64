//! `weir doctor`: is this host fit for Weir, will it attach, and does it see both directions?
//!
//! Reads only; needs neither daemon nor BPF object. Run as root it sees more.

mod clients;
mod finding;
mod host;
mod interface;
mod traffic;

use clap::Args;
use serde::Serialize;

use self::finding::{Finding, Level};
use super::{Outcome, format::FormatOption};
use crate::system::{interface::Interface, paths::Paths};

/// Check whether this host and its interfaces are fit for Weir.
///
/// Each line is ok, WARN (Weir works, but not as well as it could) or FAIL (it does not work), with
/// what to do about it. Exits with 1 if anything fails.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir doctor              # the host and every interface that is up\n  \
    weir doctor eth0\n  \
    weir doctor eth0 --format json")]
pub(super) struct Doctor {
    /// Interfaces to look at; without any, those that are up.
    #[arg(value_name = "IF")]
    interfaces: Vec<String>,
    #[command(flatten)]
    format: FormatOption,
}

#[derive(Serialize)]
struct Report {
    /// The worst level.
    level: Level,
    findings: Vec<Finding>,
}

impl Doctor {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let mut findings = host::examine(paths);
        findings.extend(traffic::examine(paths));
        findings.extend(clients::examine());
        if self.interfaces.is_empty() {
            let up = Interface::all()?
                .into_iter()
                .filter(|interface| interface.up && interface.link_type != libc::ARPHRD_LOOPBACK);
            findings.extend(up.flat_map(|found| interface::examine(&found, paths)));
        }
        for name in &self.interfaces {
            findings.extend(match Interface::named(name) {
                Ok(found) => interface::examine(&found, paths),
                Err(error) => interface::missing(name, &error),
            });
        }
        let level = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        let report = Report { level, findings };
        self.format.print(&report, |report, out| finding::write(&report.findings, out))?;
        Ok(if level == Level::Fail { Outcome::Unfit } else { Outcome::Done })
    }
}
