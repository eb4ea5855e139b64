//! A command that must fail: with which code, and what it said.

use std::{
    io::Read,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::clock::wait_until;

/// A daemon that was refused ends within this time; one that was not would run for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a command failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Exit code.
    pub code: i32,
    /// What it wrote to standard error.
    pub said: String,
}

impl Refusal {
    /// Runs `command`, which must end by itself and not with 0.
    pub fn of(command: &mut Command) -> Result<Self> {
        let shown = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {shown}"))?;
        let mut status = None;
        let ended = wait_until("the command ends", PATIENCE, || {
            status = child.try_wait()?;
            Ok(status.is_some())
        });
        if ended.is_err() {
            child.kill()?;
            child.wait()?;
        }
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut said)?;
        }
        match status.and_then(|status| status.code()) {
            None => bail!("{shown} was not refused; it said:\n{said}"),
            Some(0) => bail!("{shown} succeeded; it said:\n{said}"),
            Some(code) => Ok(Self { code, said }),
        }
    }

    /// Fails unless every one of `words` was said.
    pub fn mentions(&self, words: &[&str]) -> Result<()> {
        let missing: Vec<&&str> = words.iter().filter(|word| !self.said.contains(**word)).collect();
        if !missing.is_empty() {
            bail!("{missing:?} are missing in: {}", self.said);
        }
        Ok(())
    }
}
