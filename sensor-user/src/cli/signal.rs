//! `weir signal`

use std::{net::IpAddr, os::unix::net::UnixDatagram};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::{Outcome, client};
use crate::{policy::suggest, system::paths::Paths};

/// Say something of a client, as an application does: to try a policy, or from a script.
///
/// The signal must be declared in the Site. What the daemon makes of it is counted in `weir status`.
#[derive(Args, Debug, Serialize)]
#[command(after_help = "Examples:\n  \
    weir signal login_failed --address 203.0.113.7 --account ada\n  \
    weir signal challenge_passed --address 203.0.113.7 --service web")]
pub(super) struct Signal {
    /// A signal that the Site declares, or `challenge_passed`, `challenge_failed`.
    #[arg(value_name = "NAME")]
    signal: String,
    /// The client.
    #[arg(long, value_name = "ADDR")]
    address: IpAddr,
    /// The client's port, by which its connection is found.
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    /// Service; without it, the client's connection says which.
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Account, token or subject of a certificate; only its pseudonym is kept.
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// What was asked for.
    #[arg(long, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
}

impl Signal {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let status = client::ask(paths, async |client| client.status().await)?;
        let known: Vec<&str> =
            status.signals.by_signal.iter().map(|count| count.signal.as_str()).collect();
        if !known.contains(&self.signal.as_str()) {
            let help = suggest::help(&self.signal, &known).unwrap_or_default();
            bail!("the policy declares no signal `{}`; {help}", self.signal);
        }
        let socket = paths.signal_datagrams();
        let message = serde_json::to_vec(&self).context("cannot write the message")?;
        UnixDatagram::unbound()
            .and_then(|unbound| unbound.send_to(&message, &socket))
            .with_context(|| format!("cannot send to {}", socket.display()))?;
        Ok(Outcome::Done)
    }
}
