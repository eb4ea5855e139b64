//! What replay says is what the daemon did: visitors come to a server with Weir, whose packets and
//! events are recorded, and both recordings are judged again.
//!
//! Events give the same decisions to the nanosecond. Packets, which were timed by another clock on
//! another interface, give the same about the same sources; the policy's thresholds are not near to
//! what these visitors do.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's setup fails loudly")]

use std::{collections::BTreeSet, path::Path, time::Duration};

use serde_json::Value;
use weir_lab::{
    actors::{Browser, HealthChecker, Hoarder, Person, StuffingBot, SynScanner, Troupe},
    clock::{sleep, wait_until},
    net::{Lab, Recorder, write_pcap},
    require_root,
    server::Server,
    weir::{Decisions, Weir},
};

/// Observes, so that what is decided changes nothing of what comes.
const POLICY: &str = "
kind: Site
services: {shop: {tcp: [443]}, api: {tcp: [8443]}}
ladders:
  ladder:
    - {at: 30, action: mark, for: 10m}
    - {at: 55, action: limit, connections: 5/s, burst: 10, for: 5m}
    - {at: 80, action: drop, for: 10m}
defaults: {ladder: ladder}
sensor: {stall: 1s}
---
kind: Policy
metadata: {name: shop}
applies: [shop, api]
rules:
  - name: same-again
    owasp: [OAT-008]
    points: 60
    when: source.connections_10s >= 25 && source.request_bytes_cv < 0.1 && source.response_bytes_cv < 0.1
  - {name: short, owasp: [OAT-008], points: 25, when: source.connections_10s >= 25 && source.connection_duration_p50 < 2}
  - {name: unfinished, owasp: [OAT-015], points: 90, when: source.stalled_connections >= 10}
  - {name: scan, owasp: [OAT-018], points: 60, when: source.distinct_ports >= 16}
";

/// Frames that are kept.
const MOST_FRAMES: usize = 400_000;

/// What is said of whom: source, policy, action, strongest factor.
type Said = (String, String, String, String);

/// What was decided, as `weir decisions` tells it; and when, with the score.
fn live(decisions: &Decisions) -> Vec<(Said, u64, u64)> {
    let mut said: Vec<(Said, u64, u64)> = decisions
        .decisions
        .iter()
        .map(|decision| {
            let net = decision.prefix;
            let is_host = net.prefix_len() == net.max_prefix_len();
            let source = if is_host { net.addr().to_string() } else { net.to_string() };
            let factor = decision.factors.first().map_or("", |factor| &factor.name);
            let said = (source, decision.policy.clone(), decision.action.clone(), factor.into());
            (said, decision.at_ns, decision.score as u64)
        })
        .collect();
    said.sort_by_key(|(_, at_ns, _)| *at_ns);
    said
}

/// What `weir replay` says, with the times of the day as nanoseconds.
fn replayed(weir: &Weir<'_>, policy: &Path, file: &Path) -> Vec<(Said, u64, u64)> {
    let [policy, file] = [policy, file].map(|path| path.to_str().unwrap());
    let told = weir.ask(&["replay", "--policy", policy, "--format", "json", file]).unwrap();
    let decisions = told.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| value[field].as_str().unwrap().to_owned();
        let factor = value["factors"][0]["name"].as_str().unwrap_or_default().to_owned();
        let said = (text("source"), text("policy"), text("action"), factor);
        (said, of_the_day(&text("time")), value["score"].as_u64().unwrap())
    });
    decisions.collect()
}

/// Nanoseconds since midnight, of `2025-01-01T12:34:56.123456789Z`.
fn of_the_day(time: &str) -> u64 {
    let (clock, fraction) = time[11..].trim_end_matches('Z').split_once('.').unwrap();
    let seconds = clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap());
    seconds * 1_000_000_000 + fraction.parse::<u64>().unwrap()
}

fn said(decisions: &[(Said, u64, u64)]) -> BTreeSet<&Said> {
    decisions.iter().map(|(said, _, _)| said).collect()
}

#[test]
fn packets_and_events_are_judged_as_they_were_live() {
    require_root!("packets_and_events_are_judged_as_they_were_live");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let policy = weir.policy(POLICY).unwrap();
    let events = lab.directory().join("events");
    let record = ["--record", events.to_str().unwrap(), "--stage", "monitor"];
    let daemon = weir.run_with(&["edge0"], &policy, &record).unwrap();
    // Where the edge's own programs have no part in what is heard.
    let recorder =
        Recorder::start(lab.clients(), lab.link().clients_interface, MOST_FRAMES).unwrap();

    let link = lab.link();
    let lasting = Duration::from_secs(8);
    let troupe = Troupe::new()
        .with(Person { address: link.client_v4(11).into(), lasting })
        .with(Person { address: link.client_v6(12).into(), lasting })
        .with(Browser { address: link.client_v4(21).into(), lasting })
        .with(HealthChecker { address: link.client_v6(13).into(), lasting })
        .with(StuffingBot { address: link.client_v4(66).into(), per_second: 10, lasting })
        .with(SynScanner { address: link.client_v4(67).into(), per_second: 20, lasting })
        .with(Hoarder { address: link.client_v4(68).into(), connections: 30, lasting });
    troupe.play(&lab, &server).unwrap().finish().unwrap();
    wait_until("the daemon has decided", Duration::from_secs(20), || {
        Ok(weir.decisions(1000)?.decisions.len() >= 3)
    })
    .unwrap();
    // What the last packets led to has been handled by then.
    sleep(Duration::from_secs(2));
    let capture = lab.directory().join("packets.pcap");
    let packets = recorder.stop().unwrap();
    write_pcap(&capture, &packets).unwrap();
    let decided = live(&weir.decisions(1000).unwrap());
    let status = daemon.terminate().unwrap();
    assert!(status.success(), "{status}");

    let sources: BTreeSet<&str> =
        decided.iter().map(|((source, ..), _, _)| source.as_str()).collect();
    for found in [66, 67, 68].map(|host| link.client_v4(host).to_string()) {
        assert!(sources.contains(found.as_str()), "{found} was not found: {decided:?}");
    }

    // Events: every decision, in its order, to the nanosecond after the first.
    let of_events = replayed(&weir, &policy, &events);
    let relative = |decisions: &[(Said, u64, u64)]| -> Vec<(Said, u64, u64)> {
        let first_ns = decisions.first().map_or(0, |(_, at_ns, _)| *at_ns);
        let day_ns = 86_400_000_000_000;
        let since = |at_ns: u64| (at_ns + day_ns - first_ns % day_ns) % day_ns;
        decisions.iter().map(|(said, at_ns, score)| (said.clone(), since(*at_ns), *score)).collect()
    };
    let mut live_relative = relative(&decided);
    let mut of_events_relative = relative(&of_events);
    live_relative.sort();
    of_events_relative.sort();
    assert_eq!(of_events_relative, live_relative);

    // Packets: the same of the same.
    let of_packets = replayed(&weir, &policy, &capture);
    assert_eq!(said(&of_packets), said(&decided), "{of_packets:?}\nand live\n{decided:?}");
    println!(
        "{} packets and the recorded events: {} decisions about {} sources, as live",
        packets.len(),
        decided.len(),
        sources.len()
    );
}
