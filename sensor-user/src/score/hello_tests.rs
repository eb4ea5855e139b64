//! Fingerprints as evidence: who is told from whom, and who is left alone.

use std::{path::Path, sync::Arc};

use weir_common::abi::{Action, Established, SynSignature, flow::FLOW_PROXIED, syn::QUIRK_DF};

use super::{
    Clock, Decision, Engine,
    actors::{MS, SHOP, Stream, merge},
    baseline::Baselines,
    feature::{Evidence, Feature},
    measure::{Around, Measurements},
    registry::Registry,
    reputation::NoReputation,
};
use crate::{
    event::Event,
    policy::{self, CompiledPolicy, ServiceIds},
    profile::source,
    system::address,
};

const POLICY: &str = "
kind: Site
services: {api: {tcp: [1]}, shop: {tcp: [443]}}
ladders:
  default:
    - {at: 30, action: mark, for: 10m}
    - {at: 50, action: limit, connections: 5/s, for: 10m}
    - {at: 70, action: drop, for: 10m}
---
kind: Policy
metadata: {name: looks}
applies: [shop]
rules:
  - name: makes-up-fingerprints
    points: 80
    when: source.fingerprints_1h >= 12 && source.common_fingerprint_share < 0.2
  - name: never-resumes
    points: 40
    when: source.resumption_share < 0.1
  - name: wave
    points: 90
    when: fingerprint.connections_1m >= 500
  - name: two-libraries
    points: 35
    when: source.quic_disagreements >= 1
";

fn policy() -> Arc<CompiledPolicy> {
    policy::parse("test", POLICY, Path::new("."), &ServiceIds::default()).unwrap().into()
}

fn run(events: &[Event]) -> Vec<Decision> {
    let mut engine = Engine::new(policy(), Clock::default()).enforcing();
    events.iter().flat_map(|event| engine.handle(event)).collect()
}

/// Connections of a source, one every `every_ms`, with these looks in turn.
fn visits(from: &str, every_ms: u64, count: u64, looks: &[u64], resumes: bool) -> Stream {
    let mut stream = Stream::new(from, SHOP);
    for (n, look) in (0..count).zip(looks.iter().cycle()) {
        let at_ns = (1000 + n * every_ms) * MS;
        let port = stream.open(at_ns);
        stream.hello(port, at_ns, *look, resumes && n >= looks.len() as u64);
    }
    stream
}

/// Twelve people with four browsers, so that these are common.
fn public() -> Vec<Stream> {
    (1..=12).map(|n| visits(&format!("203.0.113.{n}"), 3000, 20, &[1, 2, 3, 4], true)).collect()
}

fn actions(decisions: &[Decision], from: &str) -> Vec<(Action, Evidence)> {
    let of = decisions.iter().filter(|d| source::net(&d.source).to_string() == from);
    of.map(|decision| (decision.action, decision.evidence)).collect()
}

#[test]
fn a_client_that_makes_up_fingerprints_is_dropped_and_an_office_is_not() {
    let mut streams = public();
    let rotating: Vec<u64> = (1000..1040).collect();
    streams.push(visits("198.51.100.66", 1000, 40, &rotating, false));
    // Forty people: common browsers, and a few tools of their own.
    let office = [1, 2, 3, 4, 1, 2, 3, 4, 70, 1, 2, 71, 3, 4, 72, 1, 73, 2, 3, 4, 74];
    streams.push(visits("198.51.100.40", 500, 100, &office, true));
    let decisions = run(&merge(streams, 120));
    let dropped = actions(&decisions, "198.51.100.66/32");
    assert!(dropped.contains(&(Action::Drop, Evidence::Authentic)), "{decisions:#?}");
    assert_eq!(actions(&decisions, "198.51.100.40/32"), []);
    assert!((1..=12).all(|n| actions(&decisions, &format!("203.0.113.{n}/32")).is_empty()));
}

#[test]
fn who_never_resumes_is_known_only_where_others_do() {
    let tool = || visits("198.51.100.7", 2000, 30, &[50], false);
    assert_eq!(actions(&run(&merge(vec![tool()], 90)), "198.51.100.7/32"), []);
    let mut streams = public();
    streams.push(tool());
    let decisions = run(&merge(streams, 90));
    let marked = actions(&decisions, "198.51.100.7/32");
    assert_eq!(marked, [(Action::Mark, Evidence::Authentic)]);
    let sentence = &decisions[0].score.factors[0].sentence;
    assert_eq!(sentence, "0 % of the connections that could have resumed a TLS session offered to");
}

#[test]
fn a_wave_of_somebody_elses_makes_no_drop_of_those_who_look_the_same() {
    let mut streams = vec![visits("203.0.113.1", 3000, 10, &[1], true)];
    // An imitation of the same browser, from many addresses.
    for n in 0..100 {
        streams.push(visits(&format!("198.51.100.{n}"), 2000, 10, &[1], true));
    }
    let decisions = run(&merge(streams, 60));
    let limits = actions(&decisions, "203.0.113.1/32");
    assert!(limits.iter().all(|it| *it == (Action::Limit, Evidence::Forgeable)), "{limits:?}");
    assert!(!limits.is_empty());
}

#[test]
fn a_forged_hello_over_quic_limits_at_most() {
    let mut stream = visits("203.0.113.1", 3000, 10, &[1], true);
    for event in visits("203.0.113.1", 3000, 10, &[1], true).events {
        if let Event::Hello(mut hello) = event {
            hello.key.protocol = 17;
            hello.suites = crate::fingerprint::agreement::SuiteOrder::of(&[0x1303, 0x1301]);
            stream.events.push(Event::Hello(hello));
        }
    }
    let decisions = run(&merge(vec![stream], 60));
    let actions = actions(&decisions, "203.0.113.1/32");
    assert_eq!(actions, [], "35 points of forgeable evidence limit nobody");
}

#[test]
fn the_same_stream_gives_the_same_bytes() {
    let decisions = || {
        let mut streams = public();
        let rotating: Vec<u64> = (1000..1040).collect();
        streams.push(visits("198.51.100.66", 1000, 40, &rotating, false));
        serde_json::to_string(&run(&merge(streams, 120))).unwrap()
    };
    let first = decisions();
    assert!(first.len() > 200);
    assert_eq!(first, decisions());
}

/// What is measured of a source at the end of a stream.
fn measured(events: &[Event], from: &str, features: &[Feature]) -> Vec<Option<f64>> {
    let mut profiles = crate::profile::Profiles::new(
        crate::profile::ProfileLimits::default(),
        vec![weir_common::abi::ServiceSet::ALL],
        &Registry::default(),
    );
    let mut subjects = crate::profile::subject::Subjects::new(16);
    for event in events {
        let about = subjects.of(event, &crate::policy::Proxies::default());
        let Some(source) = about else { continue };
        match event {
            Event::Established(event) => profiles.established(&source, event),
            Event::Closed(event) => profiles.closed(&source, event),
            Event::Milestone(event) => profiles.milestone(&source, event),
            Event::Hello(event) => profiles.hello(&source, event),
            Event::Progress(event) => profiles.progress(&source, event),
            Event::Signal(event) => profiles.signal(&source, event),
            Event::Hit(_) | Event::Tick { .. } => {}
        }
    }
    let now_ns = events.last().unwrap().at_ns();
    let words = address::words(from.parse().unwrap());
    let source = weir_common::abi::SourceKey::from_address(&words);
    let registry = Registry::default();
    let baselines = Baselines::new(0);
    let around =
        Around { registry: &registry, reputation: &NoReputation, baselines: &baselines, hour: 0 };
    let mut measured = Measurements::new(around, profiles.view(&source, 0, None, now_ns), now_ns);
    features.iter().map(|feature| measured.get((*feature).into())).collect()
}

#[test]
fn features_have_the_values_that_were_worked_out_by_hand() {
    // Ten senders with look 1; the last one has looks 2 and 3 of its own.
    let mut streams: Vec<Stream> =
        (1..=9).map(|n| visits(&format!("203.0.113.{n}"), 1000, 10, &[1], true)).collect();
    streams.push(visits("203.0.113.10", 1000, 30, &[1, 2, 3], true));
    let events = merge(streams, 31);
    let of_last = measured(
        &events,
        "203.0.113.10",
        &[
            Feature::Fingerprints,
            Feature::Fingerprints1h,
            Feature::CommonFingerprintShare,
            Feature::FingerprintSenders,
            Feature::FingerprintConnections,
            Feature::FingerprintShare,
            Feature::HelloDelayP50,
            Feature::ConflictingHellos,
            Feature::QuicDisagreements,
        ],
    );
    // Its latest look is 3: 10 of 120 connections.
    let expected = [3.0, 3.0, 1.0 / 3.0, 1.0, 10.0, 10.0 / 120.0, 0.002, 0.0].map(Some);
    assert_eq!(of_last[..8], expected);
    assert_eq!(of_last[8], None, "it never used QUIC");
    let of_first = measured(
        &events,
        "203.0.113.1",
        &[Feature::FingerprintSenders, Feature::FingerprintConnections, Feature::FingerprintAge],
    );
    // First seen at 1.002 s; the stream ends at 31 s.
    assert_eq!(of_first, [Some(10.0), Some(100.0), Some(29.998)]);
    let of_nobody = measured(
        &events,
        "203.0.113.99",
        &[Feature::Fingerprints1h, Feature::FingerprintSenders, Feature::SynSystems1h],
    );
    assert_eq!(of_nobody, [Some(0.0), None, Some(0.0)]);
}

#[test]
fn systems_are_told_by_syns_and_not_through_a_proxy() {
    let mut stream = visits("203.0.113.1", 1000, 3, &[1], true);
    let looks = [(64, 7), (128, 8), (57, 7)];
    let mut looks = looks.iter();
    for event in &mut stream.events {
        if let Event::Established(Established { syn, .. }) = event {
            let (ttl, scale) = *looks.next().unwrap();
            let quirks = QUIRK_DF;
            *syn = SynSignature { version: 4, ttl, scale, quirks, ..SynSignature::UNKNOWN };
        }
    }
    let events = merge(vec![stream], 5);
    let systems = |events: &[Event]| measured(events, "203.0.113.1", &[Feature::SynSystems1h]);
    assert_eq!(systems(&events), [Some(2.0)]);
    let proxied: Vec<Event> = events
        .into_iter()
        .map(|event| match event {
            Event::Established(mut event) => {
                (event.flags, event.client) = (FLOW_PROXIED, event.key.remote);
                Event::Established(event)
            }
            other => other,
        })
        .collect();
    assert_eq!(systems(&proxied), [Some(0.0)]);
}
