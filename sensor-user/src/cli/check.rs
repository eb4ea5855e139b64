//! `weir check`

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;

use super::{Outcome, format::FormatOption};
use crate::policy::{self, CompiledPolicy, Diagnostic, PolicyErrors, ServiceIds, Severity};

/// Find every mistake in policy files.
///
/// Each is shown with its file, line and column, and with what would be right. Warnings are for what
/// is allowed and probably not meant. Nothing is changed, and no privileges are needed. A folder is
/// read as one: all its policy files, without those of tests.
#[derive(Args, Debug)]
#[command(after_help = "Exit codes: 0 no mistake; 1 mistakes, or with --deny-warnings a warning; \
                        2 not understood.\n\n\
    Examples:\n  \
    weir check /etc/weir/policy.yaml\n  \
    weir check policies/\n  \
    weir check --deny-warnings --format json site/ staging.yaml | jq -r '.[].message'")]
pub(super) struct Check {
    /// Policy files and folders; each is checked by itself.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Count warnings as mistakes.
    #[arg(long)]
    deny_warnings: bool,
    #[command(flatten)]
    format: FormatOption,
}

impl Check {
    pub(super) fn execute(&self) -> anyhow::Result<Outcome> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_unix_s = since.map_or(0, |since| since.as_secs());
        let results: Vec<(&PathBuf, Result<CompiledPolicy, PolicyErrors>)> = self
            .paths
            .iter()
            .map(|path| (path, policy::load(path, &ServiceIds::default())))
            .collect();
        let found: Vec<&Diagnostic> =
            results.iter().flat_map(|(_, result)| found(result, now_unix_s)).collect();
        let is_bad =
            |diagnostic: &&Diagnostic| self.deny_warnings || diagnostic.severity == Severity::Error;
        let outcome = if found.iter().any(is_bad) { Outcome::Unfit } else { Outcome::Done };
        self.format.print(&found, |found, out| {
            for diagnostic in found {
                writeln!(out, "{diagnostic}\n")?;
            }
            for (path, result) in &results {
                if let Ok(policy) = result {
                    let rules: usize = policy.policies.iter().map(|it| it.rules.len()).sum();
                    let services = policy.services.iter().filter(|it| !it.is_remainder).count();
                    let policies = policy.policies.len();
                    writeln!(
                        out,
                        "{}: services: {services}, policies: {policies}, rules: {rules}",
                        path.display()
                    )?;
                }
            }
            let count = |severity| found.iter().filter(|it| it.severity == severity).count();
            let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
            writeln!(out, "mistakes: {errors}, warnings: {warnings}")
        })?;
        Ok(outcome)
    }
}

/// What was found: mistakes first.
fn found(result: &Result<CompiledPolicy, PolicyErrors>, now_unix_s: u64) -> Vec<&Diagnostic> {
    match result {
        Ok(policy) => policy.warnings.iter().chain(policy.ended(now_unix_s)).collect(),
        Err(errors) => errors.diagnostics.iter().chain(&errors.warnings).collect(),
    }
}
