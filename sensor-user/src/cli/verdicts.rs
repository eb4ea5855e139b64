//! `weir verdicts`

use std::{
    io::{self, Write},
    net::IpAddr,
};

use clap::Args;

use super::{
    Outcome, client,
    format::{self, FormatOption},
    table::Table,
};
use crate::{
    api::message::{self, Standing, VerdictsQuery},
    system::paths::Paths,
};

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
            if verdicts.verdicts.is_empty() && verdicts.fingerprints.is_empty() {
                return match self.address {
                    Some(address) => writeln!(out, "no verdict covers {address}"),
                    None => writeln!(out, "no verdicts in force"),
                };
            }
            write(verdicts, out)
        })?;
        Ok(Outcome::Done)
    }
}

fn write(verdicts: &message::Verdicts, out: &mut dyn Write) -> io::Result<()> {
    let heading = |first| [first, "ACTION", "SERVICES", "ENDS IN", "HITS", "BY", "REASON"];
    if !verdicts.verdicts.is_empty() {
        let mut table = Table::new(heading("PREFIX"));
        for verdict in &verdicts.verdicts {
            table.row(row(verdict.prefix.to_string(), &verdict.standing));
        }
        table.write(out)?;
    }
    if verdicts.fingerprints.is_empty() {
        return Ok(());
    }
    if !verdicts.verdicts.is_empty() {
        writeln!(out)?;
    }
    let mut table = Table::new(heading("FINGERPRINT"));
    let mut is_waiting = false;
    for verdict in &verdicts.fingerprints {
        is_waiting |= verdict.standing.state == "waiting";
        table.row(row(verdict.fingerprint.clone(), &verdict.standing));
    }
    table.write(out)?;
    if is_waiting {
        writeln!(
            out,
            "waiting: not seen yet; takes effect when first seen, after that connection"
        )?;
    }
    Ok(())
}

fn row(whom: String, standing: &Standing) -> [String; 7] {
    let mut action = standing.action.clone();
    let asides = [
        (standing.mode != "enforce").then_some(standing.mode.as_str()),
        matches!(standing.state.as_str(), "waiting" | "daemon").then_some(standing.state.as_str()),
    ];
    let asides: Vec<&str> = asides.into_iter().flatten().collect();
    if !asides.is_empty() {
        action.push_str(&format!(" ({})", asides.join(", ")));
    }
    let services =
        if standing.services.is_empty() { "all".to_owned() } else { standing.services.join(",") };
    [
        whom,
        action,
        services,
        standing.expires_in_s.map_or_else(|| "never".into(), format::seconds),
        standing.hits.to_string(),
        standing.rule.clone().unwrap_or_else(|| standing.origin.clone()),
        standing.reason.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::message::{FingerprintEntry, VerdictEntry};

    #[test]
    fn addresses_and_fingerprints_have_tables_of_their_own() {
        let standing = |state: &str, mode: &str| Standing {
            action: "drop".into(),
            mode: mode.into(),
            state: state.into(),
            services: Vec::new(),
            origin: "operator".into(),
            rule: None,
            reason: "ticket 4711".into(),
            expires_at: None,
            expires_in_s: Some(600),
            hits: 7,
            last_hit_at: None,
        };
        let verdicts = message::Verdicts {
            verdicts: vec![VerdictEntry {
                prefix: "192.0.2.0/24".parse().unwrap(),
                standing: standing("active", "enforce"),
            }],
            fingerprints: vec![FingerprintEntry {
                fingerprint: "ja4:t13d1516h2_8daaf6152771_e5627efa2ab1".into(),
                standing: standing("waiting", "observe"),
            }],
        };
        let mut out = Vec::new();
        write(&verdicts, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "PREFIX        ACTION  SERVICES  ENDS IN  HITS  BY        REASON\n\
             192.0.2.0/24  drop    all       10m      7     operator  ticket 4711\n\
             \n\
             FINGERPRINT                               ACTION                   SERVICES  ENDS IN  \
             HITS  BY        REASON\n\
             ja4:t13d1516h2_8daaf6152771_e5627efa2ab1  drop (observe, waiting)  all       10m      \
             7     operator  ticket 4711\n\
             waiting: not seen yet; takes effect when first seen, after that connection\n"
        );
        let json = serde_json::to_value(&verdicts).unwrap();
        assert_eq!(json["verdicts"][0]["prefix"], "192.0.2.0/24");
        assert_eq!(json["verdicts"][0]["hits"], 7);
        assert_eq!(json["fingerprints"][0]["state"], "waiting");
    }
}
