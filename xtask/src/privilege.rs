//! Root, for the verbs that make network namespaces and load BPF programs.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Error, Result, bail};

use crate::process::{find_program, shown};

/// Variables that the lab reads; `sudo` would drop them.
const PASSED_ON: [&str; 7] = [
    "CI",
    "PATH",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "WEIR_BIN",
    "WEIR_CORPUS",
    "WEIR_TEST_PRIVILEGED",
];

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Whether `sudo` can be used: it asks for a password where it needs one and there is a terminal.
pub(crate) fn can_sudo() -> bool {
    let asks_nothing = |mut sudo: Command| {
        sudo.args(["-n", "true"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let asks = |mut sudo: Command| sudo.arg("-v").status().is_ok_and(|status| status.success());
    find_program("sudo").is_some_and(|sudo| {
        asks_nothing(Command::new(&sudo))
            || (std::io::IsTerminal::is_terminal(&std::io::stdin()) && asks(Command::new(&sudo)))
    })
}

/// The program as `sudo` runs it, with the variables that the lab reads.
pub(crate) fn with_sudo(program: &OsStr) -> Command {
    let mut command = Command::new("sudo");
    command.arg("env");
    for name in PASSED_ON {
        if let Some(value) = env::var_os(name) {
            let mut setting = std::ffi::OsString::from(name);
            setting.push("=");
            setting.push(value);
            command.arg(setting);
        }
    }
    command.arg(program);
    command
}

/// Becomes the program, as root: its exit code, its signals and its terminal are then xtask's own.
/// Returns only if that fails.
pub(crate) fn become_as_root(
    program: &Path,
    arguments: &[&OsStr],
    weir_bin: Option<&Path>,
) -> Result<()> {
    let mut command = if is_root() {
        Command::new(program)
    } else {
        eprintln!("making network namespaces and loading BPF programs needs root: asking sudo");
        if !can_sudo() {
            bail!("sudo is not to be had: run this as root");
        }
        with_sudo_and_binary(program, weir_bin)
    };
    if let Some(binary) = weir_bin {
        command.env("WEIR_BIN", binary);
    }
    command.args(arguments);
    let line = shown(&command);
    Err(Error::new(command.exec()).context(format!("start `{line}`")))
}

fn with_sudo_and_binary(program: &Path, weir_bin: Option<&Path>) -> Command {
    match weir_bin {
        None => with_sudo(program.as_os_str()),
        Some(binary) => {
            let mut command = with_sudo(OsStr::new("env"));
            let mut setting = std::ffi::OsString::from("WEIR_BIN=");
            setting.push(binary);
            command.arg(setting).arg(program);
            command
        }
    }
}
