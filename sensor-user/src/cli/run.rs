//! `weir run`

use std::path::PathBuf;

use clap::Args;

use super::Outcome;
use crate::{
    daemon::{
        self, RecordingPlan,
        sensor::{Preference, Sensor},
    },
    enforce::stage::Stage,
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
    weir run --interface eth0 --policy /etc/weir/policies\n  \
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
    /// Where policies begin that were never here; the others go on where they are.
    #[arg(long, value_enum, default_value_t, value_name = "STAGE")]
    stage: Stage,
    /// Keep every event in this file, for `weir replay`; the older half is FILE.1. There are addresses
    /// of clients in it.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// MiB that both files may have together.
    #[arg(long, value_name = "MIB", default_value = "1024", requires = "record")]
    record_limit: u32,
    /// Do not start where the kernel cannot shut the daemon in (Landlock, seccomp); otherwise `weir
    /// status` says what is missing.
    #[arg(long)]
    require_sandbox: bool,
}

impl Run {
    pub(super) fn execute<S: Sensor>(self, paths: Paths) -> anyhow::Result<Outcome> {
        daemon::run::<S>(&daemon::Plan {
            paths,
            interfaces: self.interface,
            preference: self.mode,
            policy: self.policy,
            stage: self.stage,
            recording: self
                .record
                .map(|file| RecordingPlan { file, limit: u64::from(self.record_limit) << 20 }),
            require_sandbox: self.require_sandbox,
        })?;
        Ok(Outcome::Done)
    }
}
