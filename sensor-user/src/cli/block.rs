//! `weir block`

use std::{net::IpAddr, path::PathBuf, time::Duration};

use anyhow::anyhow;
use clap::Args;

use super::{Outcome, client, format::FormatOption, input::Input};
use crate::{
    api::{
        client::ClientError,
        message::{BlockQuery, OperatorAction},
    },
    system::paths::Paths,
};

/// Set a verdict on addresses, prefixes and fingerprints.
///
/// A fingerprint is written as ja4:… (JA4), ja4_r:… (JA4_r), stable:… (the stable form that `weir
/// fingerprint` shows, without extensions that come and go) or tcp:… (a SYN signature as p0f writes
/// it). A JA4 is a hash: one that nobody was seen with yet takes effect after it is first seen. A
/// fingerprint is judged when a hello or SYN comes, so connections that are already open stay.
///
/// Files and standard input have one address, prefix or fingerprint a line; `#` and `;` begin
/// comments. If one line is bad, every bad line is reported and nothing is changed. A verdict
/// replaces the operator's earlier one on the same prefix or fingerprint. It is in force before
/// this returns, on addresses also for connections that are already open, and stored: it holds until
/// its end also over a restart and a reboot.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir block 192.0.2.7 2001:db8:7::/48 --for 10m --reason \"ticket 4711\"\n  \
    weir block --file spamhaus.netset --for 24h --reason spamhaus\n  \
    weir block ja4:t13d1516h2_8daaf6152771_e5627efa2ab1 --service shop --reason bot --observe\n  \
    weir block 'tcp:4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0' --service shop --reason bot\n  \
    curl -s https://lists.example/today | weir block - --for 24h --reason feed --observe\n  \
    weir block 198.51.100.0/24 --action allow --reason \"partner: contract 12\"")]
pub(super) struct Block {
    /// Addresses, prefixes and fingerprints; `-` reads standard input.
    #[arg(value_name = "ADDR|CIDR|FINGERPRINT", required_unless_present = "file")]
    whom: Vec<String>,
    /// Files with one address, prefix or fingerprint a line.
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// How long it holds ("90s", "10m", "24h", "7d"); without it, until `weir unblock`.
    #[arg(long = "for", value_name = "TIME", value_parser = term)]
    term: Option<Duration>,
    /// Why; shown by `weir verdicts`.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// What to do.
    #[arg(long, value_enum, default_value_t)]
    action: OperatorAction,
    /// Only for this service of the policy; without it, for everything that this host serves.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Take ja4:… and ja4_r:… by their stable form.
    #[arg(long)]
    stable: bool,
    /// Count what would be done, and do nothing.
    #[arg(long)]
    observe: bool,
    /// It stops acting this long after the daemon died ("30s"); without it, it goes on to its end.
    #[arg(long, value_name = "TIME", value_parser = term)]
    heartbeat: Option<Duration>,
    /// With `--action limit`: new connections a second.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    #[command(flatten)]
    format: FormatOption,
}

impl Block {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let mut input = Input::gather(&self.whom, &self.file)?;
        let query = BlockQuery {
            for_s: self.term.map(|term| term.as_secs()),
            reason: self.reason,
            action: self.action,
            service: self.service,
            observe: self.observe,
            stable: self.stable,
            heartbeat_s: self.heartbeat.map(|it| it.as_secs()),
            rate_per_s: (self.action == OperatorAction::Limit).then_some(self.rate),
            operator: operator_address(),
        };
        let list = input.take_text().into();
        let blocked = client::ask(paths, async |client| client.block(&query, list).await)
            .map_err(|error| explain(error, &input))?;
        self.format.print(&blocked, |blocked, out| {
            let in_force = blocked.entries.saturating_sub(blocked.waiting);
            let noun = if in_force == 1 { "verdict" } else { "verdicts" };
            write!(out, "{in_force} {noun} in force")?;
            if blocked.waiting > 0 {
                write!(out, ", {} waiting", blocked.waiting)?;
            }
            if blocked.replaced > 0 {
                write!(out, ", {} of them in place of earlier ones", blocked.replaced)?;
            }
            if blocked.connections_ended > 0 {
                write!(out, ", {} open connections ended", blocked.connections_ended)?;
            }
            writeln!(out, " ({:.1} ms)", blocked.took_ms)?;
            for note in &blocked.notes {
                writeln!(out, "note: {note}")?;
            }
            Ok(())
        })?;
        Ok(Outcome::Done)
    }
}

/// A failure that is about the list is told in terms of its files.
pub(super) fn explain(error: anyhow::Error, input: &Input) -> anyhow::Error {
    match error.downcast::<ClientError>() {
        Ok(ClientError::Failed(failure)) => anyhow!("{}", input.explain(&failure)),
        Ok(other) => other.into(),
        Err(error) => error,
    }
}

/// A term of at least a second: the ledger counts in seconds.
fn term(text: &str) -> Result<Duration, String> {
    let term = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a time like 90s, 10m, 24h or 7d"))?;
    if term < Duration::from_secs(1) {
        return Err("at least one second".into());
    }
    Ok(term)
}

/// Where the operator's own SSH session comes from (`SSH_CONNECTION` of sshd(8)), so that the
/// daemon refuses to cut it.
fn operator_address() -> Option<IpAddr> {
    let connection = std::env::var("SSH_CONNECTION").ok()?;
    let address = connection.split_whitespace().next()?;
    address.split('%').next()?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_as_people_type_them() {
        assert_eq!(term("10m").unwrap(), Duration::from_secs(600));
        assert_eq!(term("1d 2h").unwrap(), Duration::from_secs(93_600));
        assert!(term("10").unwrap_err().contains("write a time like 90s"));
        assert!(term("200ms").unwrap_err().contains("at least one second"));
    }
}
