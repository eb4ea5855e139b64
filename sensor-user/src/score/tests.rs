//! The demo's policy against the actors: who is dropped or limited, how soon, and who is not.

use std::{path::Path, sync::Arc};

use weir_common::abi::{Action, MilestoneKind, Mode};

use super::{
    Clock, Decision, Engine,
    actors::{
        API, MS, SHOP, Stream, Volume, browser, crowd, hoarder, merge, person, scanner,
        slow_uploader, steady, stuffing_bot,
    },
    feature::Evidence,
};
use crate::{
    event::Event,
    policy::{self, CompiledPolicy, ServiceIds},
    profile::source,
};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/demo.yaml");
const DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/default");

fn load(path: &str) -> Arc<CompiledPolicy> {
    policy::load(Path::new(path), &ServiceIds::default()).unwrap().into()
}

fn compile(text: &str) -> Arc<CompiledPolicy> {
    policy::parse("test", text, Path::new("."), &ServiceIds::default()).unwrap().into()
}

fn run(policy: &Arc<CompiledPolicy>, events: &[Event]) -> Vec<Decision> {
    let mut engine = Engine::new(Arc::clone(policy), Clock::default()).enforcing();
    events.iter().flat_map(|event| engine.handle(event)).collect()
}

fn of<'a>(decisions: &'a [Decision], from: &str) -> Vec<&'a Decision> {
    decisions.iter().filter(|d| source::net(&d.source).to_string() == from).collect()
}

fn play(streams: Vec<Stream>) -> Vec<Decision> {
    run(&load(DEMO), &merge(streams, 60))
}

#[test]
fn the_stuffing_bot_is_dropped_within_three_seconds() {
    for (rate, within) in [(40, 3000), (20, 5000), (100, 2000)] {
        let decisions = play(vec![stuffing_bot("203.0.113.66", rate, 20)]);
        let drop = decisions.iter().find(|d| d.action == Action::Drop).expect("a drop");
        assert!(drop.at_ns <= (1000 + within) * MS, "{rate}/s: {} ms", drop.at_ns / MS);
        assert_eq!((drop.mode, drop.evidence), (Mode::Enforce, Evidence::Authentic));
        assert!(drop.score.factors.iter().any(|f| f.owasp.contains(&"OAT-008".to_owned())));
    }
}

#[test]
fn the_hoarder_is_dropped() {
    let decisions = play(vec![hoarder("203.0.113.77", 80)]);
    let drop = decisions.iter().find(|d| d.action == Action::Drop).expect("a drop");
    assert!(drop.at_ns < 8_000 * MS);
    assert_eq!(drop.evidence, Evidence::Authentic);
    let rules: Vec<&str> = drop.rules.iter().map(|rule| &**rule).collect();
    assert_eq!(rules, ["unfinished-requests", "hoarded-connections"]);
}

#[test]
fn the_scanner_gets_a_limit_on_unproven_syns_and_nothing_else() {
    let decisions = play(vec![scanner("203.0.113.88")]);
    assert_eq!(decisions.len(), 1);
    let limit = &decisions[0];
    assert_eq!((limit.action, limit.evidence), (Action::Limit, Evidence::Forgeable));
    assert!(limit.unproven_only() && limit.limit.is_some());
    assert_eq!((limit.score.authentic, limit.score.total), (0, 60));
}

#[test]
fn nobody_honest_is_dropped_or_limited() {
    let mut people = Stream::new("203.0.113.10", SHOP);
    person(&mut people, 7, 60);
    let streams = vec![
        people,
        browser("203.0.113.20", 3, 60),
        browser("203.0.113.21", 4, 60),
        browser("2001:db8:113:1::1", 5, 60),
        crowd("203.0.113.40", 60),
        steady("203.0.113.50", SHOP, 1000, 60),
        steady("203.0.113.200", API, 50, 60),
        slow_uploader("203.0.113.60"),
    ];
    let decisions = play(streams);
    let harmful: Vec<_> = decisions.iter().filter(|d| d.action >= Action::Limit).collect();
    assert!(harmful.is_empty(), "{harmful:#?}");
}

#[test]
fn the_same_holds_for_the_default_policy_which_only_watches() {
    // Its one service has another number than the demo's shop.
    let policy = load(DEFAULT);
    let mut events = merge(
        vec![
            stuffing_bot("203.0.113.66", 40, 20),
            hoarder("203.0.113.77", 80),
            browser("203.0.113.20", 3, 60),
            crowd("203.0.113.40", 60),
            steady("203.0.113.50", SHOP, 1000, 60),
        ],
        60,
    );
    for event in &mut events {
        match event {
            Event::Established(event) => event.header.service = 1,
            Event::Closed(event) => event.header.service = 1,
            Event::Milestone(event) => event.header.service = 1,
            Event::Hello(event) => event.service = 1,
            Event::Progress(event) => event.header.service = 1,
            Event::Signal(_) | Event::Hit(_) | Event::Tick { .. } => {}
        }
    }
    let decisions = run(&policy, &events);
    let refused: Vec<String> = decisions
        .iter()
        .filter(|d| d.action >= Action::Limit)
        .map(|d| source::net(&d.source).to_string())
        .collect();
    assert!(refused.contains(&"203.0.113.66/32".to_owned()));
    assert!(refused.iter().all(|s| s == "203.0.113.66/32" || s == "203.0.113.77/32"));
}

#[test]
fn the_partner_is_spared_because_an_operator_vouches_for_it() {
    let elsewhere = play(vec![steady("203.0.113.99", API, 50, 30)]);
    assert!(elsewhere.iter().any(|d| d.action == Action::Drop), "by its traffic it is a bot");
    let partner = play(vec![steady("203.0.113.200", API, 50, 30)]);
    assert!(partner.iter().all(|d| d.action < Action::Limit), "{partner:#?}");
}

#[test]
fn forged_scans_neither_replace_nor_delay_what_a_source_earned() {
    let mut framed = browser("203.0.113.20", 3, 30);
    framed.events.extend(scanner("203.0.113.20").events);
    let decisions = run(&load(DEMO), &merge(vec![framed], 30));
    let limits: Vec<_> = decisions.iter().filter(|d| d.action >= Action::Limit).collect();
    assert!(limits.iter().all(|d| d.unproven_only()), "a visitor's own SYNs are proven");

    let alone = play(vec![stuffing_bot("203.0.113.66", 40, 10)]);
    let mut both = stuffing_bot("203.0.113.66", 40, 10);
    both.events.extend(scanner("203.0.113.66").events);
    let together = play(vec![both]);
    let when = |decisions: &[Decision]| {
        decisions.iter().find(|d| d.action == Action::Drop).map(|d| d.at_ns)
    };
    assert_eq!(when(&alone), when(&together));
}

#[test]
fn factors_add_up_to_the_score() {
    let decisions = play(vec![
        stuffing_bot("203.0.113.66", 40, 20),
        hoarder("203.0.113.77", 80),
        scanner("203.0.113.77"),
    ]);
    assert!(!decisions.is_empty());
    for decision in &decisions {
        let sum = |authentic_only: bool| -> i32 {
            let factors = decision.score.factors.iter();
            factors
                .filter(|f| !authentic_only || f.evidence == Evidence::Authentic)
                .map(|f| f.points)
                .sum()
        };
        assert_eq!(sum(false), i32::from(decision.score.total), "{decision:#?}");
        assert_eq!(sum(true), i32::from(decision.score.authentic), "{decision:#?}");
    }
    let capped = decisions.iter().find(|d| d.score.factors.iter().any(|f| &*f.rule == "cap"));
    assert_eq!(capped.expect("90 and 60 points exceed 100").score.total, 100);
}

#[test]
fn an_explanation_names_what_was_measured() {
    let decisions = play(vec![hoarder("203.0.113.77", 80)]);
    let drop = decisions.iter().find(|d| d.action == Action::Drop).unwrap();
    assert_eq!(
        drop.score.factors[1].sentence,
        "40 open connections with a request that trickles in and never ends; \
         50 % of the open connections carry a request that never ends"
    );
    assert_eq!(drop.reason(), "unfinished-requests, hoarded-connections");
    assert_eq!(drop.rule(), "shop/unfinished-requests");
}

#[test]
fn the_same_stream_gives_the_same_bytes() {
    let stream = || {
        merge(
            vec![
                stuffing_bot("203.0.113.66", 40, 20),
                hoarder("203.0.113.77", 80),
                scanner("203.0.113.88"),
                browser("203.0.113.20", 3, 60),
                crowd("203.0.113.40", 60),
            ],
            60,
        )
    };
    let bytes = || serde_json::to_string(&run(&load(DEMO), &stream())).unwrap();
    let first = bytes();
    assert!(first.len() > 1000);
    assert_eq!(first, bytes());
}

#[test]
fn lost_doubled_and_swapped_events_change_no_outcome() {
    let streams = || {
        vec![
            stuffing_bot("203.0.113.66", 40, 20),
            browser("203.0.113.20", 3, 60),
            crowd("203.0.113.40", 60),
        ]
    };
    let mut events = Vec::new();
    for (n, event) in merge(streams(), 60).into_iter().enumerate() {
        if n % 11 != 0 {
            events.push(event);
        }
        if n % 7 == 0 {
            events.push(event);
        }
    }
    for pair in events.chunks_exact_mut(2).step_by(5) {
        pair.swap(0, 1);
    }
    let decisions = run(&load(DEMO), &events);
    assert!(of(&decisions, "203.0.113.66/32").iter().any(|d| d.action == Action::Drop));
    for honest in ["203.0.113.20/32", "203.0.113.40/32"] {
        assert!(of(&decisions, honest).iter().all(|d| d.action < Action::Limit), "{honest}");
    }
}

#[test]
fn a_verdict_is_decided_once_and_again_when_it_did_not_help() {
    let policy = compile(
        "kind: Site
services: {shop: {tcp: [443]}, a: {tcp: [1]}}
ladders: {default: [{at: 50, action: limit, connections: 5/s, for: 20s, repeat: double, max: 60s}]}
---
kind: Policy
metadata: {name: p}
applies: [shop]
rules: [{name: busy, points: 60, when: source.connections_10s >= 5}]
",
    );
    let events = merge(vec![steady("203.0.113.50", SHOP, 500, 100)], 100);
    let decisions = run(&policy, &events);
    let terms: Vec<_> = decisions.iter().map(|d| (d.offence, d.term_ns / (1000 * MS))).collect();
    assert_eq!(terms, [(1, 20), (2, 40), (3, 60)]);
    for pair in decisions.windows(2) {
        assert!(pair[1].at_ns < pair[0].until_ns(), "renewed before it ends");
        assert!(pair[1].at_ns + 3000 * MS > pair[0].until_ns(), "and not long before");
    }
}

#[test]
fn a_drop_is_not_renewed_without_new_evidence() {
    let decisions = run(&load(DEMO), &merge(vec![hoarder("203.0.113.77", 80)], 1300));
    let drops = decisions.iter().filter(|d| d.action == Action::Drop).count();
    assert_eq!(drops, 1, "its connections were ended, and nothing came since");
}

#[test]
fn only_traffic_to_a_policys_services_counts() {
    let mut api_only = steady("203.0.113.99", API, 20, 20);
    for event in &mut api_only.events {
        if let Event::Established(event) = event {
            event.header.service = 77;
        }
    }
    let decisions = play(vec![api_only]);
    assert!(decisions.is_empty(), "{decisions:#?}");
}

#[test]
fn a_group_spares_no_longer_than_it_says() {
    let text = "kind: Site
services: {shop: {tcp: [443]}, a: {tcp: [1]}}
groups: {g: {addresses: [203.0.113.50], expires: 1970-01-01}}
ladders: {default: [{at: 50, action: drop, for: 20s}]}
---
kind: Policy
metadata: {name: p}
applies: [shop]
exempt: [{group: g, from: [drop]}]
rules: [{name: busy, points: 60, when: source.connections_10s >= 5}]
";
    let policy = compile(text);
    let events = merge(vec![steady("203.0.113.50", SHOP, 500, 20)], 20);
    for (unix_s_at_zero, expected) in [(0, 0), (86_400, 1)] {
        let mut engine = Engine::new(Arc::clone(&policy), Clock { unix_s_at_zero }).enforcing();
        let decisions: usize = events.iter().map(|event| engine.handle(event).len()).sum();
        assert_eq!(decisions, expected, "from {unix_s_at_zero} s on");
        assert_eq!(engine.counters().exempted > 0, expected == 0);
    }
}

#[test]
fn another_policy_keeps_what_is_known_of_sources() {
    let before = load(DEMO);
    let mut engine = Engine::new(Arc::clone(&before), Clock::default()).enforcing();
    let events = merge(vec![steady("203.0.113.50", SHOP, 500, 20)], 20);
    for event in &events {
        engine.handle(event);
    }
    let strict = std::fs::read_to_string(DEMO).unwrap().replace(">= 60\n", ">= 15\n");
    engine.replace_policy(compile(&strict));
    let mut again = Stream::new("203.0.113.50", SHOP);
    again.connection(20_600 * MS, 15 * MS, Volume { request: 700, response: 1900 });
    let decisions: Vec<Decision> =
        again.events.iter().flat_map(|event| engine.handle(event)).collect();
    assert!(decisions.iter().any(|d| d.action == Action::Limit), "{decisions:#?}");
}

#[test]
fn adopted_verdicts_are_not_decided_again() {
    let bot = stuffing_bot("203.0.113.66", 40, 20);
    let Event::Established(first) = bot.events[0] else { panic!() };
    let mut engine = Engine::new(load(DEMO), Clock::default()).enforcing();
    let source = first.key.source();
    let until_ns = 600_000 * MS;
    engine.assume(&source, "shop", Evidence::Authentic, Action::Drop, 0, until_ns);
    let decisions: usize =
        merge(vec![bot], 20).iter().map(|event| engine.handle(event).len()).sum();
    assert_eq!(decisions, 0);
    let score = engine.score(&source, "shop").unwrap();
    assert_eq!(score.authentic, 85);
}

#[test]
fn memory_is_bounded_and_forged_scans_push_nobody_out() {
    let text = std::fs::read_to_string(DEMO).unwrap();
    let policy = compile(&text.replace("  stall: 2s", "  stall: 2s\n  profiles: 16"));
    let mut engine = Engine::new(policy, Clock::default()).enforcing();
    for n in 0..100_u64 {
        let from = format!("198.18.{}.{}", n / 250, n % 250);
        let mut scan = Stream::new(&from, SHOP);
        scan.milestone(MilestoneKind::Ports, 1, n * MS, 16);
        for event in scan.events {
            engine.handle(&event);
        }
    }
    assert_eq!(engine.counters().sources, 0);
    for n in 0..100_u64 {
        let mut visitor = Stream::new(&format!("203.0.113.{n}"), SHOP);
        visitor.open((1000 + n) * MS);
        for event in visitor.events {
            engine.handle(&event);
        }
    }
    let counters = engine.counters();
    assert_eq!((counters.sources, counters.profiles.evicted_sources), (16, 84));
}
