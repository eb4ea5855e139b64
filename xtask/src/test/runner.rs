//! Starts one test program for cargo, which knows them all: those with privileged tests as root,
//! the lab's one test at a time and with their output shown, everybody else's as cargo would.

use std::{env, ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Error, Result};

use crate::{privilege::with_sudo, process::shown};

/// The package whose tests run whole stories: several namespaces, a daemon, loaded programs.
const LAB_PACKAGE: &str = "weir-lab";

/// Packages some of whose tests need root.
const PRIVILEGED_PACKAGES: [&str; 2] = [LAB_PACKAGE, "weir-sensor"];

/// Set for the runner when privileged tests have to go through sudo.
pub(super) const SUDO_VARIABLE: &str = "WEIR_XTASK_SUDO";

/// What cargo wants to be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Program {
    /// The test program
    program: OsString,
    /// Its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Becomes the test program. Returns only if that fails.
pub(crate) fn main(test: &Program) -> Result<()> {
    let package = env::var("CARGO_PKG_NAME").unwrap_or_default();
    let is_privileged = PRIVILEGED_PACKAGES.contains(&package.as_str());
    let mut command = if is_privileged && env::var_os(SUDO_VARIABLE).is_some() {
        with_sudo(&test.program, &[])
    } else {
        Command::new(&test.program)
    };
    command.args(&test.arguments);
    if package == LAB_PACKAGE {
        // Namespaces, pins and the clock are the machine's: two of these tests at a time would
        // disturb each other.
        command.args(["--test-threads=1", "--nocapture"]);
    }
    let line = shown(&command);
    Err(Error::new(command.exec()).context(format!("start `{line}`")))
}
