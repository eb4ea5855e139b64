//! `weir features`

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;

use super::{Outcome, format::FormatOption, table::Table};
use crate::{
    policy::{self, ServiceIds},
    score::{
        feature::FeatureInfo,
        owasp::{THREATS, Threat},
        registry::Registry,
    },
};

/// List what conditions can compare: name, unit, window, evidence, and what it says.
///
/// With a policy, also what its Site declares: signals and feeds.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir features\n  \
    weir features --policy /etc/weir --format json\n  \
    weir features --owasp")]
pub(super) struct Features {
    /// Policy file or folder whose Site declares more.
    #[arg(short, long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// List the threats of OWASP that rules can name instead.
    #[arg(long, conflicts_with = "policy")]
    owasp: bool,
    #[command(flatten)]
    format: FormatOption,
}

impl Features {
    pub(super) fn execute(&self) -> anyhow::Result<Outcome> {
        if self.owasp {
            self.format.print(&THREATS, |threats, out| print_threats(threats, out))?;
            return Ok(Outcome::Done);
        }
        let registry = match &self.policy {
            Some(path) => policy::load(path, &ServiceIds::default())?.features,
            None => Registry::default(),
        };
        let features: Vec<&FeatureInfo> = registry.iter().collect();
        self.format.print(&features, |features, out| print_features(features, out))?;
        Ok(Outcome::Done)
    }
}

fn print_features(features: &[&FeatureInfo], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(["FEATURE", "UNIT", "EVIDENCE", "OVER", "MEANING"]);
    for info in features {
        table.row([
            info.name.to_string(),
            format!("{:?}", info.unit).to_lowercase(),
            format!("{:?}", info.evidence).to_lowercase(),
            info.window.to_string(),
            info.meaning.to_string(),
        ]);
    }
    table.write(out)
}

fn print_threats(threats: &[Threat], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(["ID", "NAME", "WHAT IT DOES"]);
    for threat in threats {
        table.row([threat.id.into(), threat.name.into(), threat.definition.into()]);
    }
    table.write(out)
}
