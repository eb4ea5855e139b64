//! A running daemon: its life from start to signal, and what it wrote.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Weir;
use crate::clock::{sleep, wait_until};

/// Loading and verifying takes most of it.
const START: Duration = Duration::from_secs(20);

/// How long the daemon may take to end after a signal.
const END: Duration = Duration::from_secs(10);

/// A `weir run`. Dropping it kills the process; what it attached stays in the kernel until the lab
/// goes.
#[derive(Debug)]
pub struct Daemon<'lab> {
    weir: Weir<'lab>,
    child: Child,
    log: PathBuf,
}

impl<'lab> Daemon<'lab> {
    pub(super) fn start(
        weir: Weir<'lab>,
        interfaces: &[&str],
        policy: &Path,
        options: &[&str],
    ) -> Result<Self> {
        let log = weir.lab().directory().join("weir.log");
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let mut command = weir.command(["run", "--policy"]);
        command.arg(policy);
        for interface in interfaces {
            command.args(["--interface", interface]);
        }
        if !options.contains(&"--stage") {
            // Most tests are about what policies do when they act.
            command.args(["--stage", "enforce"]);
        }
        command.args(options);
        let child = command
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("cannot start weir run")?;
        let mut daemon = Self { weir, child, log };
        wait_until("weir run answers", START, || {
            if let Some(status) = daemon.child.try_wait()? {
                bail!("weir run ended with {status}:\n{}", daemon.log());
            }
            // Another daemon's answer would not do.
            Ok(daemon.weir.status().is_ok_and(|status| status.pid == daemon.pid()))
        })
        .with_context(|| format!("weir said:\n{}", daemon.log()))?;
        Ok(daemon)
    }

    /// The binary, for verbs that talk to this daemon.
    #[must_use]
    pub fn weir(&self) -> &Weir<'lab> {
        &self.weir
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What this and earlier daemons of the lab wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait()
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.wait()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), signal)
            .with_context(|| format!("cannot send {signal} to weir"))
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let mut ended = None;
        wait_until("weir run ends", END, || {
            ended = self.child.try_wait()?;
            Ok(ended.is_some())
        })?;
        ended.context("weir run has no exit status")
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.child.kill();
        while let Ok(None) = self.child.try_wait() {
            sleep(Duration::from_millis(1));
        }
    }
}
