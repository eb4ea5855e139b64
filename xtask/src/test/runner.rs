//! Starts one test program for cargo, which knows them all: those with privileged tests as root,
//! the lab's one test at a time and with their output shown, everybody else's as cargo would.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::Path,
    process::Command,
};

use anyhow::{Error, Result};

use crate::{privilege::with_sudo, process::shown};

/// The package whose tests run whole stories: several namespaces, a daemon, loaded programs.
const LAB_PACKAGE: &str = "weir-lab";

/// Packages some of whose tests need root.
const PRIVILEGED_PACKAGES: [&str; 2] = [LAB_PACKAGE, "weir-sensor"];

/// Set for the runner when privileged tests have to go through sudo.
pub(super) const SUDO_VARIABLE: &str = "WEIR_XTASK_SUDO";

/// Set for the runner to what the names of tests are filtered by: in a test file whose own name
/// contains it, every test runs.
pub(super) const FILTER_VARIABLE: &str = "WEIR_XTASK_FILTER";

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
    let filter = env::var_os(FILTER_VARIABLE).filter(|filter| is_named(&test.program, filter));
    command.args(test.arguments.iter().filter(|argument| Some(*argument) != filter.as_ref()));
    if package == LAB_PACKAGE {
        // Namespaces, pins and the clock are the machine's: two of these tests at a time would
        // disturb each other.
        command.args(["--test-threads=1", "--nocapture"]);
    }
    let line = shown(&command);
    Err(Error::new(command.exec()).context(format!("start `{line}`")))
}

/// Whether a test program's file, without the hash that cargo adds, has this in its name.
fn is_named(program: &OsStr, filter: &OsStr) -> bool {
    let name = Path::new(program).file_stem().unwrap_or_default().to_string_lossy();
    let name = name.rsplit_once('-').map_or(&*name, |(name, _hash)| name);
    name.contains(&*filter.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_without_its_hash() {
        let named = |program: &str, filter: &str| is_named(program.as_ref(), filter.as_ref());
        assert!(named("target/debug/deps/program_table-00ab", "program_table"));
        assert!(named("target/debug/deps/framing-00ab", "fram"));
        assert!(!named("target/debug/deps/framing-00ab", "00ab"));
        assert!(!named("target/framing/deps/lab-00ab", "framing"));
    }
}
