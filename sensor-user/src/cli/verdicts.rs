//! `weir verdicts`

use std::net::IpAddr;

use clap::Args;

use super::{
    Outcome, client,
    format::{self, FormatOption},
    table::Table,
};
use crate::{api::message::VerdictsQuery, system::paths::Paths};

/// List the verdicts in force.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir verdicts\n  \
    weir verdicts 192.0.2.7      # what covers this address, and why\n  \
    weir verdicts --format json | jq '.verdicts[] | select(.origin != \"operator\")'")]
pub(super) struct Verdicts {
    /// Only those that cover this address.
    #[arg(value_name = "ADDR")]
    address: Option<IpAddr>,
    #[command(flatten)]
    format: FormatOption,
}

impl Verdicts {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let query = VerdictsQuery { address: self.address };
        let verdicts = client::ask(paths, async |client| client.verdicts(&query).await)?;
        self.format.print(&verdicts, |verdicts, out| {
            if verdicts.verdicts.is_empty() {
                return match self.address {
                    Some(address) => writeln!(out, "no verdict covers {address}"),
                    None => writeln!(out, "no verdicts in force"),
                };
            }
            let mut table =
                Table::new(["PREFIX", "ACTION", "SERVICES", "ENDS IN", "HITS", "BY", "REASON"]);
            for verdict in &verdicts.verdicts {
                let action = if verdict.mode == "enforce" {
                    verdict.action.clone()
                } else {
                    format!("{} ({})", verdict.action, verdict.mode)
                };
                let services = if verdict.services.is_empty() {
                    "all".to_owned()
                } else {
                    verdict.services.join(",")
                };
                table.row([
                    verdict.prefix.to_string(),
                    action,
                    services,
                    verdict.expires_in_s.map_or_else(|| "never".into(), format::seconds),
                    verdict.hits.to_string(),
                    verdict.rule.clone().unwrap_or_else(|| verdict.origin.clone()),
                    verdict.reason.clone(),
                ]);
            }
            table.write(out)
        })?;
        Ok(Outcome::Done)
    }
}
