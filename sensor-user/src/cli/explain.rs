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
    // What is zero is nothing that was seen; programs get it all the same.
    let mut seen = explanation.seen.iter().filter(|seen| seen.value != 0.0).peekable();
    if seen.peek().is_some() {
        writeln!(out, "\nWhat was seen:")?;
    }
    for seen in seen {
        writeln!(out, "  {}", seen.text)?;
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
    let mode = match (policy.mode.as_str(), policy.stage.as_str()) {
        ("observe", "canary") => ", canary: not drawn, observed only",
        ("observe", _) => ", observed only",
        (_, "canary") => ", canary: drawn",
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
                let value = (value * 1e4).round() / 1e4;
                format!("{} {} (is {value})", comparison.feature, comparison.needed)
            }
            None => format!("{} {} (is unknown)", comparison.feature, comparison.needed),
        })
        .collect();
    format!("{} would take {} away with {}", rule.rule, -rule.points, open.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::message::{ComparisonState, Seen},
        score::record::FactorRecord,
    };

    fn policy() -> PolicyExplanation {
        let factor = |name: &str, kind: &str, points| FactorRecord {
            name: name.into(),
            kind: kind.into(),
            points,
            text: "25 new connections in 10 s".into(),
        };
        PolicyExplanation {
            policy: "shop".into(),
            version: "0123456789ab".into(),
            mode: "enforce".into(),
            stage: "enforce".into(),
            services: vec!["shop".into()],
            score: 45,
            authentic_score: 40,
            action: "mark".into(),
            factors: vec![factor("hammering", "rule", 40), factor("scan", "rule", 5)],
            unmet: vec![UnmetRule {
                rule: "passed".into(),
                points: -40,
                other_audience: false,
                comparisons: vec![ComparisonState {
                    feature: "source.challenge_passed_1h".into(),
                    value: Some(0.0),
                    needed: ">= 1".into(),
                    holds: Some(false),
                }],
            }],
            spared: vec!["drop".into()],
            otherwise: vec!["limit needs 15 more points (55 in all)".into()],
        }
    }

    #[test]
    fn a_person_reads_what_counts_what_is_missing_and_what_would_change_it() {
        let seen = |feature: &str, value, text: &str| Seen {
            feature: feature.into(),
            value,
            text: text.into(),
        };
        let explanation = Explanation {
            source: "192.0.2.7".into(),
            at: "2026-01-02T03:04:05.678Z".into(),
            decision: None,
            verdicts: Vec::new(),
            seen: vec![
                seen("source.connections_10s", 25.0, "25 new connections in 10 s"),
                seen("source.open_connections", 0.0, "0 open connections"),
            ],
            unknown: vec!["source.request_bytes_cv".into()],
            policies: vec![policy()],
            decisions: Vec::new(),
        };
        let mut out = Vec::new();
        write(&explanation, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "192.0.2.7, as of 2026-01-02T03:04:05.678Z\n\
             no verdict is in force\n\
             \n\
             policy shop (0123456789ab) for shop: score 45, now mark\n  \
             \u{20}+40  hammering (rule): 25 new connections in 10 s\n  \
             \u{20}\u{20}+5  scan (rule): 25 new connections in 10 s\n  \
             of that 40 nobody else can have caused: the ladder goes by it\n  \
             spared: drop\n  \
             otherwise: limit needs 15 more points (55 in all)\n  \
             otherwise: passed would take 40 away with source.challenge_passed_1h >= 1 (is 0)\n\
             \n\
             What was seen:\n  \
             25 new connections in 10 s\n\
             \n\
             Unknown, and counted for nothing: source.request_bytes_cv\n"
        );
    }
}
