//! `weir gates`

use std::io::{self, Write};

use clap::Args;

use super::{
    Outcome, client,
    format::{FormatOption, seconds},
    table::Table,
};
use crate::{
    api::message::{Gates, GatesQuery, PolicyGates, TimedReading, VersionGates},
    enforce::{
        gate::{Measure, Purpose, State},
        stage::Stage,
    },
    system::paths::Paths,
};

/// Show where policies stand, and what keeps them from going further.
///
/// A policy watches (monitor), acts on a share of all sources (canary), or acts (enforce). Every gate
/// shows its value now, its bound, how much it was measured on, and since when it says the same. Too
/// few means that nothing follows from it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir gates\n  \
    weir gates login\n  \
    weir gates --format json | jq '.policies[] | {policy, stage}'")]
pub(super) struct GatesVerb {
    /// Only this policy.
    #[arg(value_name = "POLICY")]
    policy: Option<String>,
    #[command(flatten)]
    format: FormatOption,
}

impl GatesVerb {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let query = GatesQuery { policy: self.policy };
        let gates = client::ask(paths, async |client| client.gates(&query).await)?;
        self.format.print(&gates, write)?;
        Ok(Outcome::Done)
    }
}

fn write(gates: &Gates, out: &mut dyn Write) -> io::Result<()> {
    for (index, policy) in gates.policies.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write_policy(policy, out)?;
    }
    Ok(())
}

fn write_policy(policy: &PolicyGates, out: &mut dyn Write) -> io::Result<()> {
    let share = match policy.stage {
        Stage::Canary => format!(", {} of sources", Measure::Ppm(policy.canary_ppm).text()),
        _ => String::new(),
    };
    writeln!(out, "{}: {}{share}, since {}", policy.policy, policy.stage, policy.since)?;
    writeln!(out, "  moved by {}: {}", policy.by, policy.why)?;
    let alone = match policy.auto.as_str() {
        "true" => "forward and back by itself",
        "back" => "back by itself, forward by `weir promote`",
        _ => "by hand only",
    };
    writeln!(out, "  up to {}; gates `{}`: {alone}", policy.stage_max, policy.gates)?;
    if let Some(waits_s) = policy.waits_s {
        writeln!(out, "  it went back: not forward by itself for another {}", seconds(waits_s))?;
    }
    write_version(&policy.acting, policy.stage > Stage::Monitor, out)?;
    if let Some(shadow) = &policy.shadow {
        writeln!(out, "  beside it, watching: what its file says now")?;
        write_version(shadow, false, out)?;
    }
    Ok(())
}

fn write_version(version: &VersionGates, acts: bool, out: &mut dyn Write) -> io::Result<()> {
    let counts = version.counts;
    writeln!(
        out,
        "  version {}: held back {} packets, would have held back {}",
        version.version, counts.dropped_packets, counts.would_packets
    )?;
    writeln!(
        out,
        "  decisions: {} enforced, {} observed; connections it would have refused: {}",
        counts.enforced, counts.observed, counts.would_connections
    )?;
    let mut table = Table::new(["  GATE", "NOW", "BOUND", "SAMPLE", "SAYS", "FOR"]);
    let shown = |timed: &&TimedReading| acts || timed.reading.purpose == Purpose::Promote;
    for timed in version.readings.iter().filter(shown) {
        let reading = &timed.reading;
        let relation = if reading.at_least { ">=" } else { "<=" };
        let direction = match reading.purpose {
            Purpose::Promote => "+",
            Purpose::Rollback => "-",
        };
        let says = match (reading.state, reading.purpose) {
            (State::Holds, _) => "holds",
            (State::TooFew, _) => "too few",
            (State::Breaks, Purpose::Promote) => "not yet",
            (State::Breaks, Purpose::Rollback) => "BREAKS",
        };
        table.row([
            format!("{direction} {}", reading.gate.name()),
            reading.value.map_or_else(|| "?".to_owned(), Measure::text),
            format!("{relation} {}", reading.bound.text()),
            if reading.needed == 0 {
                String::new()
            } else {
                format!("{}/{}", reading.sample, reading.needed)
            },
            says.to_owned(),
            short(timed.for_s),
        ]);
    }
    table.write(out)?;
    for timed in version.readings.iter().filter(shown) {
        if let Some(note) = &timed.reading.note {
            writeln!(out, "  {}: {note}", timed.reading.gate.name())?;
        }
    }
    Ok(())
}

/// A time in its two largest units, so that the table stays narrow.
fn short(count: u64) -> String {
    let text = seconds(count);
    text.split(' ').take(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::message::StageCounts,
        enforce::gate::{Figures, GateSet, Health, judge},
    };

    #[test]
    fn a_policy_and_its_gates_fit_eighty_columns() {
        let figures = Figures {
            in_stage_ns: 93_784_000_000_000,
            connections: 1_234_567_890,
            trusted_sources: 123_456,
            trusted_would_ppm: 1_234,
            health: Health { events_lost: 7, ..Health::default() },
            ..Figures::default()
        };
        let judged = judge(&GateSet::default(), &figures);
        let version = |version: &str| VersionGates {
            version: version.into(),
            counts: StageCounts { would_packets: 987_654_321, ..StageCounts::default() },
            readings: judged
                .readings
                .iter()
                .map(|reading| TimedReading {
                    reading: reading.clone(),
                    since: "2026-11-22T13:00:00.000Z".into(),
                    for_s: 987_654,
                })
                .collect(),
            may_promote: judged.may_promote(),
        };
        let policy = PolicyGates {
            policy: "login".into(),
            stage: Stage::Canary,
            stage_max: Stage::Enforce,
            since: "2026-11-22T13:00:00.000Z".into(),
            why: "all gates hold".into(),
            by: "the daemon".into(),
            gates: "standard".into(),
            auto: "true".into(),
            canary_ppm: 50_000,
            waits_s: Some(86_399),
            acting: version("0123456789ab"),
            shadow: Some(version("ba9876543210")),
        };
        let mut out = Vec::new();
        write(&Gates { policies: vec![policy] }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(text.contains("login: canary, 5% of sources"), "{text}");
        assert!(text.contains("- coverage"), "what takes it back is shown where it acts: {text}");
        assert!(text.contains("health: 7 events lost"), "{text}");
    }
}
