//! `weir run`

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use crate::{
    daemon::{
        self,
        sensor::{Preference, Sensor},
    },
    system::paths::Paths,
};

/// Attach to interfaces, measure, decide and enforce.
///
/// Everything is checked before anything is attached. SIGTERM and SIGINT end the daemon and leave
/// enforcement in the kernel, where verdicts go on until they expire; `weir detach` removes it.
/// SIGHUP reads the policy again, and keeps the old one if the new one has a mistake. Log lines go
/// to standard error; WEIR_LOG=debug shows more.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir run --interface eth0 --policy /etc/weir/policy.yaml\n  \
    weir run --interface eth0 --interface eth1 --mode tc --policy policy.yaml")]
pub(super) struct Run {
    /// Interface that visitors come in by; repeat it for several.
    #[arg(short, long, value_name = "IF", required = true)]
    interface: Vec<String>,
    /// Policy file.
    #[arg(short, long, value_name = "FILE")]
    policy: PathBuf,
    /// Where the ingress program goes.
    #[arg(long, value_enum, default_value_t)]
    mode: Preference,
}

impl Run {
    pub(super) fn execute<S: Sensor>(self, paths: Paths) -> anyhow::Result<Outcome> {
        daemon::run::<S>(&daemon::Plan {
            paths,
            interfaces: self.interface,
            preference: self.mode,
            policy: self.policy,
        })?;
        Ok(Outcome::Done)
    }
}
