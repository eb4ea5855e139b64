//! What the engine costs: from an event to its decision, with a hundred rules and a million sources that
//! it knows, and how much memory they take.
//!
//! Not next to a peer: goals are absolute. Of every mix, the time of each single event is measured
//! (the clock's own 20 to 30 ns included), and the events a second of a run without looking at the
//! clock.

mod events;
mod rules;

use std::{
    fs,
    hint::black_box,
    io::{Write, stdout},
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use serde::Serialize;
use weir_sensor::{
    event::Event,
    policy::{self, ServiceIds},
    score::{Clock, Engine},
};

use self::events::Mix;
use super::Format;

/// Name of the benchmark.
pub(super) const ID: &str = "engine";

/// Sources that are known before anything is measured.
const SOURCES: u32 = 1_000_000;
/// Events of a mix.
const EVENTS: u32 = 200_000;
/// Longest that 99 of 100 events may take, microseconds.
const GOAL_P99_US: f64 = 20.0;
/// Milestones a second.
const GOAL_MILESTONES: f64 = 300_000.0;

/// One mix of events.
#[derive(Debug, Serialize)]
struct Row {
    id: &'static str,
    p50_us: f64,
    p99_us: f64,
    worst_us: f64,
    events_per_s: f64,
    met: bool,
}

/// What the sources take.
#[derive(Debug, Serialize)]
struct Memory {
    id: &'static str,
    sources: u64,
    mib: u64,
    bytes_per_source: u64,
}

/// Measures and prints.
pub(super) fn run(format: Format) -> Result<()> {
    let text = rules::policy(SOURCES);
    let compiled = policy::parse("bench", &text, Path::new("."), &ServiceIds::default())?;
    let mut engine = Engine::new(Arc::new(compiled), Clock::default());
    let before = resident_bytes()?;
    for event in events::acquaintance(SOURCES) {
        black_box(engine.handle(&event));
    }
    let taken = resident_bytes()?.saturating_sub(before);
    let sources = engine.counters().sources;
    let memory = Memory {
        id: "engine-memory",
        sources,
        mib: taken >> 20,
        bytes_per_source: taken / sources.max(1),
    };
    let mut rows = Vec::new();
    let mut at_ns = events::AFTER_NS;
    for mix in [Mix::Hellos, Mix::Closes, Mix::Milestones] {
        let single: Vec<Event> = events::of(mix, SOURCES, EVENTS, &mut at_ns).collect();
        let mut took: Vec<u64> = Vec::with_capacity(single.len());
        for event in &single {
            let begin = Instant::now();
            black_box(engine.handle(event));
            took.push(u64::try_from(begin.elapsed().as_nanos())?);
        }
        took.sort_unstable();
        let many: Vec<Event> = events::of(mix, SOURCES, EVENTS, &mut at_ns).collect();
        let begin = Instant::now();
        for event in &many {
            black_box(engine.handle(event));
        }
        let events_per_s = many.len() as f64 / begin.elapsed().as_secs_f64();
        let us = |rank: usize| took.get(rank).map_or(f64::NAN, |ns| *ns as f64 / 1000.0);
        let p99_us = us(took.len() * 99 / 100);
        let is_fast = mix != Mix::Milestones || events_per_s >= GOAL_MILESTONES;
        rows.push(Row {
            id: mix.name(),
            p50_us: us(took.len() / 2),
            p99_us,
            worst_us: us(took.len() - 1),
            events_per_s: events_per_s.round(),
            met: p99_us <= GOAL_P99_US && is_fast,
        });
    }
    print(&rows, &memory, format)
}

fn print(rows: &[Row], memory: &Memory, format: Format) -> Result<()> {
    let mut out = stdout().lock();
    if format == Format::Json {
        for row in rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
        writeln!(out, "{}", serde_json::to_string(memory)?)?;
        return Ok(());
    }
    writeln!(out, "id                   p50 µs  p99 µs  worst µs   events/s  met")?;
    for Row { id, p50_us, p99_us, worst_us, events_per_s, met } in rows {
        let met = if *met { "yes" } else { "NO" };
        writeln!(
            out,
            "{id:<19} {p50_us:>7.2} {p99_us:>7.2} {worst_us:>9.0} {events_per_s:>10.0}  {met}"
        )?;
    }
    let Memory { sources, mib, bytes_per_source, .. } = memory;
    writeln!(
        out,
        "\n{sources} sources with a connection each: {mib} MiB, {bytes_per_source} bytes a source"
    )?;
    writeln!(
        out,
        "goals: p99 of {GOAL_P99_US} µs with 100 rules of which 10 are touched; {GOAL_MILESTONES} milestones/s"
    )?;
    Ok(())
}

/// Memory of this process that is in use.
fn resident_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/statm").context("cannot read /proc/self/statm")?;
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    Ok(pages.context("/proc/self/statm has another form")? * 4096)
}
