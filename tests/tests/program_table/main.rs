//! Packet in → action, counters, events out: tables of packets and stories of several, played to
//! the host's engine and to the programs that the verifier accepted.
//!
//! Every step names all that it counts and every event that it causes; anything else is a failure.
//! What the host's engine made of a step, down to the bytes of packets, counters and events, the
//! loaded programs must make of it too, and at the end all must remember the same.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::type_complexity,
    clippy::wrong_self_convention,
    reason = "a test's setup fails loudly, its tables are of functions, and its words are a story's"
)]

mod behind_proxy;
mod client_hello;
mod decoys;
mod essential;
mod expect;
mod fingerprints;
mod flows;
mod guard;
mod handshake;
mod heard;
mod hellos;
mod left_to_daemon;
mod limits;
mod names;
mod own_flows;
mod parse;
mod progress;
mod proxied;
mod quic;
mod quic_forged;
mod records;
mod resets;
mod scan;
mod signatures;
mod stage;
mod strangers;
mod synthetic;
mod talk;
mod verdicts;
mod would;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use weir_common::packet::Link;
use weir_lab::{
    bpf::{Engine, Hook, HostEngine, KernelEngine, Place},
    is_root, say_skipped,
};

use crate::stage::{PLAYS_APART, PORTS, Record, Stage, differences};

/// Stories, told to a stage.
type Script = fn(&mut Stage<'_>);

/// Plays stories on devices with an Ethernet header.
fn play(name: &str, script: Script) {
    play_on(name, &[Link::Ethernet], script);
}

/// Plays stories on devices with and without an Ethernet header.
fn play_everywhere(name: &str, script: Script) {
    play_on(name, &[Link::Ethernet, Link::None], script);
}

fn play_on(name: &str, links: &[Link], script: Script) {
    // One after the other, in the order of their times: what arrays keep would lie ahead otherwise.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = begin();
    let mut complaints = Vec::new();
    let on_host: Vec<Record> = links
        .iter()
        .map(|link| {
            let mut engine = HostEngine::new(*link);
            engine.set_services(&PORTS).unwrap();
            perform(&mut engine, begin, script)
        })
        .collect();
    for record in &on_host {
        complaints.extend_from_slice(&record.complaints);
    }
    if is_root() {
        for (link, host) in links.iter().zip(&on_host) {
            for hook in [Hook::Xdp, Hook::Tc] {
                let place = Place { hook, link: *link };
                let record = on_kernel(place, |engine| perform(engine, begin, script));
                complaints.extend_from_slice(&record.complaints);
                let unlike = differences(host, &record);
                complaints.extend(unlike.iter().map(|it| format!("{place} is not as host: {it}")));
                println!(
                    "{name}: {} packets by {place}, {} records; {} packets too short for a test run",
                    record.packets,
                    record.records.len(),
                    record.too_short
                );
            }
        }
    }
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
    if !is_root() {
        say_skipped(name);
    }
}

fn perform(engine: &mut dyn Engine, begin: Duration, script: Script) -> Record {
    let mut stage = Stage::new(engine, begin);
    script(&mut stage);
    stage.finish()
}

/// When the next play begins.
fn begin() -> Duration {
    static PLAYS: AtomicU32 = AtomicU32::new(1);
    PLAYS_APART * PLAYS.fetch_add(1, Relaxed)
}

/// Lends the loaded programs of a place: loading takes longer than a play.
fn on_kernel<R>(place: Place, play: impl FnOnce(&mut KernelEngine) -> R) -> R {
    static ENGINES: Mutex<Vec<KernelEngine>> = Mutex::new(Vec::new());
    // A play that panics takes its engine along; those of other places are whole.
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = engines.iter().position(|engine| engine.place() == place);
    let mut engine = match loaded {
        Some(index) => engines.swap_remove(index),
        None => {
            let mut engine = KernelEngine::replaying(place.hook, place.link).unwrap();
            engine.set_services(&PORTS).unwrap();
            engine
        }
    };
    engine.forget().unwrap();
    let result = play(&mut engine);
    engines.push(engine);
    result
}
