//! `cargo xtask test`: every test there is. Those that need root say loudly when they cannot run,
//! and in CI that is a failure.

mod outcome;
pub(crate) mod runner;

use std::{
    env,
    io::{self, IsTerminal as _, Read, Write},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};

use self::outcome::Outcome;
use crate::{
    build,
    privilege::{can_sudo, is_root},
    process::shown,
    setup,
    workspace::Workspace,
};

/// Set where privileged tests have to run: one that cannot then fails by itself.
const PRIVILEGED_VARIABLE: &str = "WEIR_TEST_PRIVILEGED";

/// Options of `cargo xtask test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask test                 everything
  cargo xtask test framing         tests with `framing` in their name, or in that of their file
  cargo xtask test real_clients    real TLS clients, if `cargo xtask setup --clients` fetched them
  cargo xtask test --pure          only what needs neither root nor the BPF toolchain")]
pub(crate) struct Options {
    /// Run only tests whose names, or whose file's name, contain this
    filter: Option<String>,
    /// Leave out the lab's tests; needs neither root nor the BPF toolchain
    #[arg(long)]
    pure: bool,
    /// Fail if a privileged test cannot run (always so where CI is set)
    #[arg(long)]
    no_skip: bool,
}

/// Builds what the tests need, runs them, and counts.
pub(crate) fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    let must_run = options.no_skip || env::var_os("CI").is_some_and(|value| value != "false");
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--no-fail-fast"]);
    if options.pure {
        cargo.args(["-p", "weir-common", "-p", "weir-sensor", "-p", "xtask"]);
        cargo.args(["--features", "weir-common/host"]);
    } else {
        setup::ensure_lab(workspace)?;
        build::bpf_object(workspace)?;
        let [weir] = build::host_binaries(workspace, ["weir"], false)?;
        cargo.env("WEIR_BIN", weir);
        let mut has_root = is_root();
        if !has_root {
            eprintln!("test: some tests need root: asking sudo");
            has_root = can_sudo();
            if has_root {
                cargo.env(runner::SUDO_VARIABLE, "1");
            }
        }
        if has_root || must_run {
            cargo.env(PRIVILEGED_VARIABLE, "1");
        }
    }
    let xtask = env::current_exe().context("find xtask's own program")?;
    cargo
        .arg("--config")
        .arg(format!("target.'cfg(unix)'.runner=['{}','run-test']", xtask.display()));
    if let Some(filter) = &options.filter {
        cargo.arg(filter).env(runner::FILTER_VARIABLE, filter);
    }

    let (succeeded, outcome) = run_counting(&mut cargo)?;
    conclude(succeeded, &outcome, must_run, options.filter.as_deref())
}

/// Prints the counts, skipped tests by name, and decides.
fn conclude(
    succeeded: bool,
    outcome: &Outcome,
    must_run: bool,
    filter: Option<&str>,
) -> Result<()> {
    let Outcome { passed, failed, skipped, optional } = outcome;
    for (kind, tests) in [("OPTIONAL", optional), ("PRIVILEGED", skipped)] {
        if !tests.is_empty() {
            println!("\n{kind} TESTS THAT DID NOT RUN:");
        }
        for test in tests {
            println!("  {test}");
        }
    }
    let left_out = skipped.len() + optional.len();
    println!("\n{passed} passed, {failed} failed, {left_out} skipped");
    if !succeeded && passed + failed == 0 {
        bail!("no test ran: see cargo's message above");
    }
    if !succeeded || *failed > 0 {
        bail!("tests failed");
    }
    if must_run && !skipped.is_empty() {
        bail!(
            "privileged tests that did not run, where every one has to: {}; run as root, on a kernel with BPF",
            skipped.len()
        );
    }
    if passed + left_out == 0 {
        match filter {
            Some(filter) => bail!("no test has `{filter}` in its name"),
            None => bail!("no test ran"),
        }
    }
    Ok(())
}

/// Runs cargo with its output passed through and counted. `true` if cargo was content.
fn run_counting(cargo: &mut Command) -> Result<(bool, Outcome)> {
    if io::stderr().is_terminal() {
        cargo.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = cargo
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{}`", shown(cargo)))?;
    let errors = child.stderr.take().context("cargo's standard error")?;
    let output = child.stdout.take().context("cargo's standard output")?;
    let of_errors = thread::spawn(move || forward(errors, &mut io::stderr()));
    let mut outcome = forward(output, &mut io::stdout()).context("read the tests' output")?;
    match of_errors.join() {
        Ok(counts) => outcome.add(counts.context("read the tests' errors")?),
        Err(_) => bail!("the reader of the tests' errors panicked"),
    }
    outcome.settle();
    let status = child.wait().context("wait for cargo")?;
    Ok((status.success(), outcome))
}

/// Passes output on as it comes, so that a test's name is there while it runs, and reads its lines.
fn forward(mut from: impl Read, to: &mut impl Write) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let length = from.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..length).filter(|chunk| !chunk.is_empty()) else {
            outcome.read_line(&String::from_utf8_lossy(&line));
            return Ok(outcome);
        };
        to.write_all(chunk)?;
        to.flush()?;
        for &byte in chunk {
            if byte == b'\n' {
                outcome.read_line(&String::from_utf8_lossy(&line));
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Outcome {
        let mut passed_on = Vec::new();
        let outcome = forward(text.as_bytes(), &mut passed_on).expect("memory does not fail");
        assert_eq!(passed_on, text.as_bytes(), "output is passed on unchanged");
        outcome
    }

    const ONE_SKIPPED: &str =
        "SKIPPED-PRIVILEGED: attach: needs root\ntest result: ok. 1 passed; 0 failed; 0 ignored";

    #[test]
    fn a_skipped_privileged_test_fails_where_it_has_to_run() {
        let mut outcome = of(ONE_SKIPPED);
        outcome.settle();
        assert!(conclude(true, &outcome, false, None).is_ok());
        let error = conclude(true, &outcome, true, None).expect_err("has to run");
        assert!(error.to_string().contains("has to: 1"), "{error}");
    }

    #[test]
    fn an_optional_test_may_be_skipped_everywhere() {
        let mut outcome =
            of("SKIPPED-OPTIONAL: a: b\ntest result: ok. 1 passed; 0 failed; 0 ignored");
        outcome.settle();
        assert!(conclude(true, &outcome, true, Some("a")).is_ok());
    }

    #[test]
    fn a_filter_that_no_test_has_in_its_name_is_an_error() {
        let outcome = of("test result: ok. 0 passed; 0 failed; 0 ignored; 9 filtered out");
        let error = conclude(true, &outcome, false, Some("framming")).expect_err("nothing ran");
        assert!(error.to_string().contains("framming"), "{error}");
    }

    #[test]
    fn a_failure_that_cargo_reports_is_one_although_no_test_counted_it() {
        let outcome = of("test result: ok. 5 passed; 0 failed; 0 ignored");
        assert!(conclude(false, &outcome, false, None).is_err());
    }
}
