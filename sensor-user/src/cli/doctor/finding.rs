//! One thing that was looked at, how it stands, and what to do.

use std::io::{self, Write};

use serde::Serialize;

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Weir works, but not as well as it could.
    Warn,
    /// Weir does not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// `host` or an interface's name.
    pub(super) subject: String,
    /// What was looked at.
    pub(super) check: &'static str,
    /// How it stands.
    pub(super) level: Level,
    /// What was found.
    pub(super) found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
}

/// Findings about one subject, as they come.
pub(super) struct Findings {
    subject: String,
    list: Vec<Finding>,
}

impl Findings {
    /// About this subject.
    pub(super) fn about(subject: &str) -> Self {
        Self { subject: subject.into(), list: Vec::new() }
    }

    /// As it should be.
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.push(check, Level::Ok, found.into(), None);
    }

    /// Not as good as it could be.
    pub(super) fn warn(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(check, Level::Warn, found.into(), Some(advice.into()));
    }

    /// Does not work.
    pub(super) fn fail(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.push(check, Level::Fail, found.into(), Some(advice.into()));
    }

    /// All of them.
    pub(super) fn into_list(self) -> Vec<Finding> {
        self.list
    }

    fn push(&mut self, check: &'static str, level: Level, found: String, advice: Option<String>) {
        self.list.push(Finding { subject: self.subject.clone(), check, level, found, advice });
    }
}

/// Writes findings for people: a line each, and what to do below it.
pub(super) fn write(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    let width = |of: fn(&Finding) -> &str| {
        findings.iter().map(|finding| of(finding).chars().count()).max().unwrap_or_default()
    };
    let subject_width = width(|finding| &finding.subject);
    let check_width = width(|finding| finding.check);
    for finding in findings {
        let level = match finding.level {
            Level::Ok => "ok  ",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        writeln!(
            out,
            "{level}  {:<subject_width$}  {:<check_width$}  {}",
            finding.subject, finding.check, finding.found
        )?;
        if let Some(advice) = &finding.advice {
            writeln!(out, "      {:<subject_width$}  {:<check_width$}  → {advice}", "", "")?;
        }
    }
    Ok(())
}
