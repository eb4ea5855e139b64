//! Root, for the verbs that make network namespaces and load BPF programs.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Error, Result, bail};

use crate::process::{find_program, shown};

/// Variables that the lab reads; `sudo` would drop them.
const PASSED_ON: [&str; 7] =
    ["CI", "PATH", "RUST_BACKTRACE", "WEIR_BIN", "WEIR_CORPUS", "WEIR_LOG", "WEIR_TEST_PRIVILEGED"];

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

/// The program as `sudo` runs it, with the variables that the lab reads and `settings`.
pub(crate) fn with_sudo(program: &OsStr, settings: &[(&str, &OsStr)]) -> Command {
    let mut command = Command::new("sudo");
    command.arg("env");
    let inherited: Vec<(&str, OsString)> =
        PASSED_ON.into_iter().filter_map(|name| Some((name, env::var_os(name)?))).collect();
    let inherited = inherited.iter().map(|(name, value)| (*name, &**value));
    for (name, value) in inherited.chain(settings.iter().copied()) {
        let mut setting = OsString::from(name);
        setting.push("=");
        setting.push(value);
        command.arg(setting);
    }
    command.arg(program);
    command
}

/// Becomes the program, as root: its exit code, its signals and its terminal are then xtask's own.
/// Returns only if that fails.
pub(crate) fn become_as_root(
    program: &Path,
    arguments: &[&OsStr],
    settings: &[(&str, &OsStr)],
) -> Result<()> {
    let mut command = if is_root() {
        let mut command = Command::new(program);
        command.envs(settings.iter().copied());
        command
    } else {
        eprintln!("making network namespaces and loading BPF programs needs root: asking sudo");
        if !can_sudo() {
            bail!("sudo is not to be had: run this as root");
        }
        with_sudo(program.as_os_str(), settings)
    };
    command.args(arguments);
    let line = shown(&command);
    Err(Error::new(command.exec()).context(format!("start `{line}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_gets_the_variables_it_would_drop() {
        let command = with_sudo(OsStr::new("/w/weir-lab"), &[("WEIR_BIN", OsStr::new("/w/weir"))]);
        let words: Vec<_> = command.get_args().collect();
        assert_eq!(words.first(), Some(&OsStr::new("env")));
        assert!(words.iter().any(|word| word.to_string_lossy().starts_with("PATH=")));
        // The last setting wins: what is asked for here, not what was inherited.
        assert_eq!(
            words.get(words.len() - 2..),
            Some([OsStr::new("WEIR_BIN=/w/weir"), OsStr::new("/w/weir-lab")].as_slice())
        );
    }
}
