//! `weir status`

use std::{
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;

use super::{
    Outcome, brake, client,
    format::{self, FormatOption},
    table::Table,
};
use crate::{
    api::message::{self, Count, ModeName},
    system::paths::Paths,
};

/// Show what the daemon and the kernel are doing.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    weir status\n  \
    weir status --format json | jq .latency")]
pub(super) struct Status {
    #[command(flatten)]
    format: FormatOption,
}

impl Status {
    pub(super) fn execute(self, paths: &Paths) -> anyhow::Result<Outcome> {
        let status = client::ask(paths, async |client| client.status().await)?;
        self.format.print(&status, write)?;
        Ok(Outcome::Done)
    }
}

fn write(status: &message::Status, out: &mut dyn Write) -> io::Result<()> {
    head(status, out)?;
    brakes(status, out)?;
    traffic(status, out)?;
    decided(status, out)?;
    memory(status, out)?;
    for warning in &status.warnings {
        writeln!(out, "\nWARNING: {warning}")?;
    }
    Ok(())
}

fn head(status: &message::Status, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "weir {} (ABI {}), process {}, since {}",
        status.version, status.abi, status.pid, status.started_at
    )?;
    let mode = &status.mode;
    let why = match (mode.kill, mode.effective) {
        (true, _) => "the kill switch is on",
        (false, ModeName::Enforce) => "verdicts act",
        (false, ModeName::Observe) if mode.breaker == ModeName::Observe => {
            "the breaker is open: weir brake status"
        }
        (false, ModeName::Observe) => "policy: counts what it would do",
        (false, ModeName::Off) => "policy: passes everything",
    };
    writeln!(out, "mode        {} ({why})", mode.effective)?;
    writeln!(
        out,
        "policy      {}, read {}",
        status.policy.files.join(" "),
        status.policy.loaded_at
    )?;
    let readiness = if status.readiness.ready { "yes" } else { "NO" };
    writeln!(out, "ready       {readiness}")?;
    for reason in &status.readiness.reasons {
        writeln!(out, "            {}: {}", reason.name.name(), reason.text)?;
    }
    for interface in &status.interfaces {
        writeln!(
            out,
            "interface   {} (index {}): {} in, {} out; {}",
            interface.name, interface.index, interface.ingress, interface.egress, interface.why
        )?;
    }
    for program in &status.programs {
        writeln!(out, "program     {} tag {}", program.name, program.tag)?;
    }
    Ok(())
}

fn brakes(status: &message::Status, out: &mut dyn Write) -> io::Result<()> {
    brake::write(&status.brakes, out)?;
    let labels = &status.labels;
    writeln!(
        out,
        "labels      {} human, {} bot; {} false positives among the latest decisions",
        labels.human, labels.bot, labels.false_positives
    )
}

fn traffic(status: &message::Status, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out)?;
    let mut services = Table::new(["SERVICE", "PASSED", "DROPPED", "LIMITED", "WOULD"]);
    for service in &status.services {
        let shown = |count: Count| format!("{} ({})", count.packets, format::bytes(count.bytes));
        services.row([
            service.service.clone(),
            shown(service.passed),
            shown(service.dropped),
            shown(service.limited),
            shown(service.would),
        ]);
    }
    services.write(out)?;
    writeln!(out)?;
    let mut counters = Table::new(["REASON", "PACKETS", "BYTES", "MEANING"]);
    for counter in &status.counters {
        counters.row([
            counter.reason.clone(),
            counter.count.packets.to_string(),
            counter.count.bytes.to_string(),
            counter.explanation.clone(),
        ]);
    }
    counters.write(out)
}

fn decided(status: &message::Status, out: &mut dyn Write) -> io::Result<()> {
    let events = &status.events;
    writeln!(
        out,
        "\nevents      {} established, {} closed, {} milestones, {} hits; {} lost, {} unreadable",
        events.established,
        events.closed,
        events.milestones,
        events.hits,
        events.lost,
        events.unreadable
    )?;
    let hellos = &status.hellos;
    writeln!(
        out,
        "hellos      {} read, {} over QUIC; {} lost, {} malformed, {} conflicting, {} skipped, {} unreadable",
        hellos.read + hellos.pieced,
        hellos.quic,
        hellos.lost,
        hellos.malformed,
        hellos.conflicts,
        hellos.skipped,
        hellos.unreadable
    )?;
    signals(status, out)?;
    feeds(status, out)?;
    writeln!(
        out,
        "profiles    {} sources, {} fingerprints",
        status.profiles, hellos.known_fingerprints
    )?;
    let lookups = &status.lookups;
    if lookups.answered + lookups.misunderstood + lookups.malformed > 0 {
        writeln!(
            out,
            "lookups     {} answered: {} challenged, {} limited, {} refused, {} only observed; {} \
             misunderstood, {} malformed, {} slow, {} turned away",
            lookups.answered,
            lookups.challenged,
            lookups.limited,
            lookups.refused,
            lookups.would,
            lookups.misunderstood,
            lookups.malformed,
            lookups.slow,
            lookups.turned_away
        )?;
    }
    let verdicts: Vec<String> = status
        .verdicts
        .iter()
        .map(|v| {
            let observed = if v.mode == "observe" { " (observe)" } else { "" };
            format!("{} {}{observed} by {}", v.count, v.action, v.origin)
        })
        .collect();
    let verdicts = if verdicts.is_empty() { "none".into() } else { verdicts.join(", ") };
    writeln!(out, "verdicts    {verdicts}")?;
    writeln!(
        out,
        "decisions   {}; {} open connections ended",
        status.decisions, status.connections_ended
    )?;
    let latency = &status.latency;
    if latency.samples > 0 {
        writeln!(
            out,
            "latency     packet to verdict in the kernel: median {:.2} ms, p99 {:.2} ms (of {})",
            latency.median_ms, latency.p99_ms, latency.samples
        )?;
    }
    Ok(())
}

fn feeds(status: &message::Status, out: &mut dyn Write) -> io::Result<()> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let ago = |then: Option<u64>| match then {
        Some(then) => format!("{} ago", format::seconds(now_s.saturating_sub(then))),
        None => "never".into(),
    };
    for feed in &status.reputation.feeds {
        writeln!(
            out,
            "feed        {}: {} prefixes, read {}, changed {}; {} refused, {} failed; {}",
            feed.name,
            feed.prefixes,
            ago(feed.read_at_unix_s),
            ago(feed.changed_at_unix_s),
            feed.refusals,
            feed.errors,
            feed.source
        )?;
    }
    for geo in &status.reputation.geo {
        writeln!(out, "{:<11} made {}; {}", geo.tells, ago(geo.built_at_unix_s), geo.file)?;
    }
    Ok(())
}

fn signals(status: &message::Status, out: &mut dyn Write) -> io::Result<()> {
    let signals = &status.signals;
    let refused: u64 = signals.refused.iter().map(|refusal| refusal.count).sum();
    writeln!(
        out,
        "signals     {} from {} messages and {} log lines; {refused} refused, {} without a connection",
        signals.heard, signals.messages, signals.lines, signals.unjoined
    )?;
    for count in signals.by_signal.iter().filter(|count| count.count > 0) {
        writeln!(out, "            {} {}", count.count, count.signal)?;
    }
    for refusal in &signals.refused {
        writeln!(
            out,
            "            refused {}: {} ({})",
            refusal.count, refusal.reason, refusal.explanation
        )?;
    }
    for log in &signals.logs {
        let problem = log.problem.as_ref().map_or_else(String::new, |it| format!("; {it}"));
        writeln!(
            out,
            "log         {} ({}): {} lines, {} signals, {} behind{problem}",
            log.name,
            log.file,
            log.lines,
            log.signals,
            format::bytes(log.behind_bytes)
        )?;
    }
    Ok(())
}

fn memory(status: &message::Status, out: &mut dyn Write) -> io::Result<()> {
    let memory = &status.memory;
    writeln!(
        out,
        "memory      daemon {} resident, maps {} in the kernel\n",
        format::bytes(memory.resident_bytes),
        format::bytes(memory.kernel_bytes)
    )?;
    let mut maps = Table::new(["MAP", "ENTRIES", "CAPACITY", "KERNEL MEMORY"]);
    for map in &memory.maps {
        maps.row([
            map.name.clone(),
            map.entries.map_or_else(|| "-".into(), |entries| entries.to_string()),
            map.max_entries.to_string(),
            format::bytes(map.bytes),
        ]);
    }
    maps.write(out)
}
