//! `weir decisions`

use clap::Args;

use super::{Outcome, client, format::FormatOption};
use crate::{api::message::DecisionsQuery, label::Verdict, system::paths::Paths};

/// List the latest decisions, newest first, and what added up to them.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir decisions --limit 5\n  \
    weir decisions --format json | jq '.decisions[] | {prefix, score, to_verdict_ms}'")]
pub(super) struct Decisions {
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    format: FormatOption,
}

impl Decisions {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let query = DecisionsQuery { limit: Some(self.limit) };
        let decisions = client::ask(paths, async |client| client.decisions(&query).await)?;
        self.format.print(&decisions, |decisions, out| {
            if decisions.decisions.is_empty() {
                return writeln!(out, "no decisions yet");
            }
            for decision in &decisions.decisions {
                let record = &decision.record;
                let observed = if record.mode == "observe" { " (observed only)" } else { "" };
                let label = decision.label.map_or_else(String::new, |label| {
                    let wrong = if label == Verdict::Human { ": a false positive" } else { "" };
                    format!(", labelled {}{wrong}", label.name())
                });
                let speed = decision
                    .to_verdict_ms
                    .map_or(String::new(), |ms| format!(", in the kernel after {ms:.2} ms"));
                writeln!(
                    out,
                    "{} {} {}{observed} for {} s ({}): score {} of policy {}{speed}{}{label} — decision {}",
                    record.time,
                    record.source,
                    record.action,
                    decision.for_s,
                    services(&decision.services),
                    record.score,
                    record.policy,
                    if record.owasp.is_empty() {
                        String::new()
                    } else {
                        format!(" [{}]", record.owasp.join(" "))
                    },
                    record.id,
                )?;
                for factor in &record.factors {
                    writeln!(
                        out,
                        "    {:+4}  {} ({}): {}",
                        factor.points, factor.name, factor.kind, factor.text
                    )?;
                }
            }
            Ok(())
        })?;
        Ok(Outcome::Done)
    }
}

fn services(names: &[String]) -> String {
    if names.is_empty() { "all services".into() } else { names.join(", ") }
}
