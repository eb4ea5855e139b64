//! Running other programs: every failure names the command line, and a step that takes long says
//! so while it runs.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// How often a logged step says that it is still running.
const STILL_RUNNING_EVERY: Duration = Duration::from_secs(15);

/// Lines of a failed step's log that are shown.
const LOG_TAIL_LINES: usize = 40;

/// Runs to the end with the terminal's own input and output; an exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start `{}`", shown(command)))?;
    check(command, status)
}

/// Runs to the end and returns what was written to standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!(
            "`{}` ended with {}: {}",
            shown(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a long step with its output in `log`, says every few seconds that it is still running, and
/// shows the end of the log if it fails.
pub(crate) fn run_logged(command: &mut Command, step: &str, log: &Path) -> Result<()> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let errors = file.try_clone().context("duplicate the log's handle")?;
    eprintln!("setup: {step} …");
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("start `{}`", shown(command)))?;
    let (ended, end) = mpsc::sync_channel(1);
    let waiter = thread::spawn(move || ended.send(child.wait()));
    let status = loop {
        match end.recv_timeout(STILL_RUNNING_EVERY) {
            Ok(status) => break status.context("wait for the step to end")?,
            Err(mpsc::RecvTimeoutError::Timeout) => eprintln!(
                "setup:   {} s so far (log: {})",
                started.elapsed().as_secs(),
                log.display()
            ),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("{step}: lost the child process"),
        }
    };
    drop(waiter.join());
    if !status.success() {
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.len().saturating_sub(LOG_TAIL_LINES);
        for line in lines.iter().skip(tail) {
            eprintln!("  | {line}");
        }
        return check(command, status).with_context(|| format!("{step} (log: {})", log.display()));
    }
    eprintln!("setup:   done in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Turns an exit code other than 0 into an error.
pub(crate) fn check(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        return Ok(());
    }
    bail!("`{}` ended with {status}", shown(command))
}

/// The command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![quoted(command.get_program())];
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Where a program is: on `PATH`, or in the folders of system tools that an ordinary user's `PATH`
/// often lacks.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_shown_as_one_would_type_it() {
        let mut command = Command::new("cargo");
        command.args(["test", "-p", "weir-common", "it's here", ""]);
        assert_eq!(shown(&command), r"cargo test -p weir-common 'it'\''s here' ''");
    }

    #[test]
    fn a_failing_program_is_an_error_that_names_it_and_what_it_said() {
        let error = capture(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"]))
            .expect_err("exit code 3");
        let text = error.to_string();
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.contains("no such thing"), "{text}");
    }
}
