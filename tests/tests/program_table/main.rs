//! Packet in → action, counters, events out: tables of packets and stories of several, played to
//! the host's engine and to the programs that the verifier accepted.
//!
//! Every step names all that it counts and every event that it causes; anything else is a failure.
//! What the host's engine made of a step, down to the bytes of packets, counters and events, the
//! loaded programs must make of it too, and at the end all must remember the same.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

mod essential;
mod expect;
mod flows;
mod guard;
mod handshake;
mod limits;
mod parse;
mod resets;
mod scan;
mod stage;
mod talk;
mod verdicts;

use weir_common::packet::Link;
use weir_lab::{
    bpf::{Engine, Hook, HostEngine, KernelEngine},
    is_root, say_skipped,
};

use crate::stage::{Record, Stage, differences};

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
    let mut complaints = Vec::new();
    let on_host: Vec<Record> =
        links.iter().map(|link| perform(&mut HostEngine::new(*link), script)).collect();
    for record in &on_host {
        complaints.extend_from_slice(&record.complaints);
    }
    if is_root() {
        for (link, host) in links.iter().zip(&on_host) {
            for hook in [Hook::Xdp, Hook::Tc] {
                let mut engine = KernelEngine::replaying(hook, *link).unwrap();
                let record = perform(&mut engine, script);
                complaints.extend_from_slice(&record.complaints);
                let place = engine.place();
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

fn perform(engine: &mut dyn Engine, script: Script) -> Record {
    let mut stage = Stage::new(engine);
    script(&mut stage);
    stage.finish()
}
