//! Weir as its users have it: the binary, run inside a lab's edge with directories of the lab's
//! own, and what it prints.

mod chronicle;
mod daemon;
mod refusal;
mod report;
mod shipped;
mod traces;

pub use chronicle::Chronicle;
pub use daemon::Daemon;
pub use refusal::Refusal;
pub use report::{
    Count, Decision, Decisions, Events, Factor, FingerprintVerdict, Interface, Latency, MapMemory,
    Memory, Mode, PolicyInForce, ReasonCount, ServiceCount, Status, Verdict, Verdicts,
};
pub use shipped::Shipped;
pub use traces::Traces;

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;

use crate::net::Lab;

/// The `weir` binary in a lab.
#[derive(Clone, Debug)]
pub struct Weir<'lab> {
    lab: &'lab Lab,
    binary: PathBuf,
    abi: Option<u32>,
}

impl<'lab> Weir<'lab> {
    /// The binary that `WEIR_BIN` names, else the one built beside this program.
    pub fn in_lab(lab: &'lab Lab) -> Result<Self> {
        Ok(Self { lab, binary: binary()?, abi: None })
    }

    /// The same binary as if it were of another ABI version: it pins elsewhere, and takes over what it
    /// finds as such. Needs a debug build.
    #[must_use]
    pub fn of_version(self, abi: u32) -> Self {
        Self { abi: Some(abi), ..self }
    }

    /// Another binary, or what stands for it.
    #[must_use]
    pub fn by(lab: &'lab Lab, binary: PathBuf) -> Self {
        Self { lab, binary, abi: None }
    }

    /// The lab.
    #[must_use]
    pub fn lab(&self) -> &'lab Lab {
        self.lab
    }

    /// The binary.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Whether the binary was built with optimisation, told by cargo's name of the directory.
    #[must_use]
    pub fn is_optimised(&self) -> bool {
        self.binary.parent().is_some_and(|directory| directory.ends_with("release"))
    }

    /// A command that will run inside the edge with the lab's directories.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.lab.edge().command(&self.binary);
        command
            .env("WEIR_BPFFS", self.lab.bpffs())
            .env("WEIR_STATE_DIR", self.lab.state_dir())
            .env("WEIR_RUN_DIR", self.lab.run_dir())
            .args(arguments);
        if let Some(abi) = self.abi {
            command.env("WEIR_TEST_ABI", abi.to_string());
        }
        command
    }

    /// Runs a verb to its end, whatever it ends with.
    pub fn output<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Output> {
        self.command(arguments)
            .output()
            .with_context(|| format!("cannot run {}", self.binary.display()))
    }

    /// Runs a verb that must succeed; returns what it printed.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments)?;
        ensure!(
            output.status.success(),
            "weir {} ended with {}: {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts the daemon on `interfaces` and waits until it answers.
    pub fn run(&self, interfaces: &[&str], policy: &Path) -> Result<Daemon<'lab>> {
        Daemon::start(self.clone(), interfaces, policy, &[])
    }

    /// The same with more options, such as `--mode tc`.
    pub fn run_with(
        &self,
        interfaces: &[&str],
        policy: &Path,
        options: &[&str],
    ) -> Result<Daemon<'lab>> {
        Daemon::start(self.clone(), interfaces, policy, options)
    }

    /// Runs a verb that must fail.
    pub fn refusal(&self, arguments: &[&str]) -> Result<Refusal> {
        Refusal::of(&mut self.command(arguments))
    }

    /// Writes a policy file into the lab's directory; returns where it is.
    pub fn policy(&self, text: &str) -> Result<PathBuf> {
        let path = self.lab.directory().join("policy.yaml");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// `weir status`.
    pub fn status(&self) -> Result<Status> {
        self.read(&["status"])
    }

    /// `weir verdicts`.
    pub fn verdicts(&self) -> Result<Verdicts> {
        self.read(&["verdicts"])
    }

    /// `weir decisions`, the latest `limit`.
    pub fn decisions(&self, limit: usize) -> Result<Decisions> {
        self.read(&["decisions", "--limit", &limit.to_string()])
    }

    fn read<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let text = self.ask(&[arguments, &["--format", "json"]].concat())?;
        serde_json::from_str(&text)
            .with_context(|| format!("weir {} printed no such JSON: {text}", arguments.join(" ")))
    }
}

/// The policy of the demo.
#[must_use]
pub fn demo_policy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/demo.yaml")
}

/// The binary that `WEIR_BIN` names, else the one built beside this program: test programs stand in
/// `<profile>/deps`, the lab's own in `<profile>`.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("WEIR_BIN") {
        return Ok(path.into());
    }
    let this = env::current_exe().context("cannot tell where this program is")?;
    for directory in this.ancestors().skip(1).take(2) {
        let binary = directory.join("weir");
        if binary.is_file() {
            return Ok(binary);
        }
    }
    bail!("no `weir` beside {}: build it with `cargo xtask build`, or set WEIR_BIN", this.display())
}
