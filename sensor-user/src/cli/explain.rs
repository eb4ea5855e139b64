//! `weir explain`

use std::{
    io::{self, Write},
    net::IpAddr,
};

use clap::Args;

use super::{
    Outcome, client,
    format::{self, FormatOption},
};
use crate::{
    api::message::{
        Decision, ExplainQuery, Explanation, PolicyExplanation, UnmetRule, VerdictEntry,
    },
    system::paths::Paths,
};

/// Rules that do not count, of which it is told how far they are from it.
const NEAREST: usize = 12;

/// Show why a client is treated as it is, and what would change it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir explain 192.0.2.7\n  \
    weir explain 8c1f3b0a5e7d9246       # a decision, by the id that `weir decisions` shows\n  \
    weir explain 192.0.2.7 --format json | jq '.policies[] | {policy, score, action}'")]
pub(super) struct Explain {
    /// An address, or the id of a decision.
    #[arg(value_name = "ADDR|DECISION")]
    whom: String,
    #[command(flatten)]
    format: FormatOption,
}

impl Explain {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let query = match self.whom.parse::<IpAddr>() {
            Ok(address) => ExplainQuery { address: Some(address), decision: None },
            Err(_) => ExplainQuery { address: None, decision: Some(self.whom) },
        };
        let explanation = client::ask(paths, async |client| client.explain(&query).await)?;
        self.format.print(&explanation, write)?;
        Ok(Outcome::Done)
    }
}

fn write(explanation: &Explanation, out: &mut dyn Write) -> io::Result<()> {
    if let Some(decision) = &explanation.decision {
        decided(decision, out)?;
        writeln!(out)?;
    }
    if explanation.source == "*" {
        return writeln!(out, "It is about the service as a whole, and names nobody.");
    }
    writeln!(out, "{}, as of {}", explanation.source, explanation.at)?;
    in_force(&explanation.verdicts, out)?;
    for policy in &explanation.policies {
        writeln!(out)?;
        judged(policy, out)?;
    }
    if !explanation.seen.is_empty() {
        writeln!(out, "\nWhat was seen:")?;
        for seen in &explanation.seen {
            writeln!(out, "  {}", seen.text)?;
        }
    }
    if !explanation.unknown.is_empty() {
        writeln!(out, "\nUnknown, and counted for nothing: {}", explanation.unknown.join(", "))?;
    }
    if !explanation.decisions.is_empty() {
        writeln!(out, "\nLatest decisions:")?;
        for decision in &explanation.decisions {
            writeln!(out, "  {}", line(decision))?;
        }
    }
    Ok(())
}

fn decided(decision: &Decision, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "decision {}", line(decision))?;
    for factor in &decision.record.factors {
        writeln!(
            out,
            "  {:+4}  {} ({}): {}",
            factor.points, factor.name, factor.kind, factor.text
        )?;
    }
    writeln!(out, "  {:4}  in all; in force until {}", decision.record.score, decision.record.until)
}

fn line(decision: &Decision) -> String {
    let record = &decision.record;
    let observed = if record.mode == "observe" { " (observed only)" } else { "" };
    let owasp = if record.owasp.is_empty() {
        String::new()
    } else {
        format!(" [{}]", record.owasp.join(" "))
    };
    format!(
        "{} {}: {} {}{observed} at {}, score {} of policy {} ({}){owasp}",
        record.id,
        record.time,
        record.action,
        record.source,
        record.service,
        record.score,
        record.policy,
        record.version
    )
}

fn in_force(verdicts: &[VerdictEntry], out: &mut dyn Write) -> io::Result<()> {
    if verdicts.is_empty() {
        return writeln!(out, "no verdict is in force");
    }
    for verdict in verdicts {
        let standing = &verdict.standing;
        let observed = if standing.mode == "observe" { " (observed only)" } else { "" };
        let end = standing.expires_in_s.map_or_else(
            || "until it is taken back".to_owned(),
            |s| format!("for another {}", format::seconds(s)),
        );
        let by = standing.rule.as_deref().unwrap_or(&standing.origin);
        writeln!(
            out,
            "in force: {}{observed} on {} by {by} {end}: {}",
            standing.action, verdict.prefix, standing.reason
        )?;
    }
    Ok(())
}

fn judged(policy: &PolicyExplanation, out: &mut dyn Write) -> io::Result<()> {
    let mode = match policy.mode.as_str() {
        "observe" => ", observed only",
        "off" => ", off",
        _ => "",
    };
    let services =
        if policy.services.is_empty() { "all".to_owned() } else { policy.services.join(", ") };
    writeln!(
        out,
        "policy {} ({}{mode}) for {services}: score {}, now {}",
        policy.policy, policy.version, policy.score, policy.action
    )?;
    for factor in &policy.factors {
        writeln!(
            out,
            "  {:+4}  {} ({}): {}",
            factor.points, factor.name, factor.kind, factor.text
        )?;
    }
    if policy.authentic_score != policy.score {
        writeln!(
            out,
            "  of that {} nobody else can have caused: the ladder goes by it",
            policy.authentic_score
        )?;
    }
    if !policy.spared.is_empty() {
        writeln!(out, "  spared: {}", policy.spared.join(", "))?;
    }
    for sentence in policy.otherwise.iter().take(NEAREST) {
        writeln!(out, "  otherwise: {sentence}")?;
    }
    let trust = policy.unmet.iter().filter(|rule| rule.points < 0 && !rule.other_audience);
    for rule in trust.take(NEAREST) {
        writeln!(out, "  otherwise: {}", missing(rule))?;
    }
    Ok(())
}

/// What a rule still asks for.
fn missing(rule: &UnmetRule) -> String {
    let open: Vec<String> = rule
        .comparisons
        .iter()
        .filter(|comparison| comparison.holds != Some(true))
        .map(|comparison| match comparison.value {
            Some(value) => {
                format!("{} {} (is {value:.4})", comparison.feature, comparison.needed)
            }
            None => format!("{} {} (is unknown)", comparison.feature, comparison.needed),
        })
        .collect();
    format!("{} would take {} away with {}", rule.rule, -rule.points, open.join(", "))
}
