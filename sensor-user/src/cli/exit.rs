//! Exit codes, as a policy: 0 done, 1 failed, 2 not understood.

use std::process::ExitCode;

use clap::error::ErrorKind;

/// How a verb ended that did not fail to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// It ran, and what it found is not good (`doctor`, `check`).
    Unfit,
}

impl Outcome {
    /// The exit code of a verb's result; an error is printed.
    #[must_use]
    pub fn exit_code(result: anyhow::Result<Self>) -> ExitCode {
        match result {
            Ok(Self::Done) => ExitCode::SUCCESS,
            Ok(Self::Unfit) => ExitCode::from(1),
            Err(error) => match error.downcast::<clap::Error>() {
                // Found by a verb and not by the parser, but the same mistake.
                Ok(usage) => Self::usage(&usage),
                Err(error) => {
                    eprintln!("weir: {}", explain(&error));
                    ExitCode::from(1)
                }
            },
        }
    }

    /// The exit code of a command line that was not understood, or that asked for help.
    #[must_use]
    pub fn usage(error: &clap::Error) -> ExitCode {
        // A closed terminal cannot be told anything.
        let _ = error.print();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
            _ => ExitCode::from(2),
        }
    }
}

/// An error and its causes, each once: our own errors already name their cause in their sentence.
fn explain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_named_once() {
        let said = anyhow::anyhow!("no such file").context("cannot open x: no such file");
        assert_eq!(explain(&said), "cannot open x: no such file");
        let unsaid = anyhow::anyhow!("no such file").context("cannot open x");
        assert_eq!(explain(&unsaid), "cannot open x: no such file");
    }
}
