//! Decisions as a whole: trust, decay, audiences, whole services, shared addresses, campaigns, signals,
//! records, explanations.

use std::{path::Path, sync::Arc};

use weir_common::abi::{Action, Milestone, MilestoneKind, Mode};

use super::{
    Clock, Decision, Engine, FactorKind,
    actors::{MS, SHOP, Stream, Volume, browser, crowd, hoarder, merge, steady, stuffing_bot},
    feature::Evidence,
    record::{DecisionRecord, told},
};
use crate::{
    event::{Event, Signal},
    policy::{self, CompiledPolicy, ServiceIds},
};

const SITE: &str = "
kind: Site
services: {api: {tcp: [1], audience: programs}, shop: {tcp: [443], audience: browsers}}
signals: {login_failed: {per: source, windows: [10m], distinct: account}}
ladders:
  default:
    - {at: 30, action: mark, for: 10m}
    - {at: 50, action: limit, connections: 5/s, for: 1m}
    - {at: 70, action: drop, for: 10m}
---
kind: Policy
metadata: {name: p}
applies: [shop, api]
rules:
";

fn policy(rules: &str) -> Arc<CompiledPolicy> {
    let text = format!("{SITE}{rules}");
    policy::parse("test", &text, Path::new("."), &ServiceIds::default()).unwrap().into()
}

fn run(rules: &str, streams: Vec<Stream>, seconds: u64) -> Vec<Decision> {
    let mut engine = Engine::new(policy(rules), Clock::default()).enforcing();
    merge(streams, seconds).iter().flat_map(|event| engine.handle(event)).collect()
}

fn adds_up(decision: &Decision) {
    let score = &decision.score;
    for evidence in [Evidence::Authentic, Evidence::Forgeable] {
        let sum: i32 = score.factors_on(evidence).map(|factor| factor.points).sum();
        assert_eq!(sum, i32::from(score.on(evidence)), "{decision:#?}");
    }
}

#[test]
fn trust_takes_points_away_and_everything_adds_up() {
    let busy = "  - {name: busy, points: 60, when: source.connections_10s >= 5}\n";
    let known = "  - {name: known, points: -20, when: source.age >= 1}\n";
    let doubts = "  - {name: doubts, points: -90, when: source.connections_1s >= 1}\n";
    let of = |rules: &str| run(rules, vec![steady("203.0.113.50", SHOP, 400, 8)], 8);
    let strongest = |decisions: &[Decision]| decisions.iter().map(|d| d.action).max();
    let trusted = of(&format!("{busy}{known}"));
    trusted.iter().for_each(adds_up);
    let last = trusted.last().unwrap();
    assert_eq!((last.action, last.score.authentic), (Action::Mark, 40));
    let factors: Vec<_> = last.score.factors.iter().map(|it| (it.kind, it.points)).collect();
    assert_eq!(factors, [(FactorKind::Rule, 60), (FactorKind::Trust, -20)]);
    assert_eq!(strongest(&of(busy)), Some(Action::Limit));
    assert_eq!(of(&format!("{busy}{doubts}")).len(), 0, "it never falls below 0");
}

#[test]
fn forgeable_points_and_caps_add_up_beside_trust() {
    let rules = "  - {name: scan, points: 90, when: source.distinct_ports >= 16}
  - {name: busy, points: 80, when: source.connections_10s >= 5}
  - {name: more, points: 45, when: source.connections_10s >= 6}
  - {name: old, points: -10, when: source.age >= 1}
";
    let mut stream = steady("203.0.113.50", SHOP, 300, 8);
    for at_ms in [100, 2000, 7000] {
        stream.milestone(MilestoneKind::Ports, 40_000, at_ms * MS, 16);
    }
    let decisions = run(rules, vec![stream], 8);
    assert!(decisions.len() >= 2);
    decisions.iter().for_each(adds_up);
    let capped = decisions.iter().flat_map(|d| &d.score.factors);
    assert!(capped.clone().any(|factor| factor.kind == FactorKind::Cap));
}

#[test]
fn points_that_decay_go_on_for_a_while() {
    let rules = "  - {name: burst, points: 60, decay: 60s, when: source.connections_1s >= 8}
  - {name: slow, points: 25, when: source.connections_10m >= 12}
";
    let mut stream = Stream::new("203.0.113.50", SHOP);
    let volume = Volume { request: 700, response: 1900 };
    for n in 0..10 {
        stream.connection((1000 + n * 20) * MS, MS, volume);
    }
    for at_s in [20, 31, 50, 90] {
        stream.connection(at_s * 1000 * MS, MS, volume);
    }
    let mut engine = Engine::new(policy(rules), Clock::default()).enforcing();
    let mut scores = Vec::new();
    for event in merge(vec![stream], 100) {
        engine.handle(&event);
        if let Event::Established(event) = event
            && event.header.at_ns > 10_000 * MS
        {
            let score = engine.score(&event.key.source(), "p").unwrap();
            let faded = score.factors.iter().find(|factor| &*factor.rule == "burst");
            scores.push((score.authentic, faded.map(|factor| factor.sentence.clone())));
        }
    }
    let authentic: Vec<u8> = scores.iter().map(|(score, _)| *score).collect();
    assert_eq!(authentic, [41, 25 + 30, 25 + 11, 25]);
    let text = scores[1].1.as_deref();
    assert_eq!(text, Some("was met 29 s ago: 30 of 60 points are left"));
}

#[test]
fn a_rule_for_an_audience_counts_only_where_it_comes() {
    let rules =
        "  - {name: tool, points: 60, audience: browsers, when: source.connections_10s >= 5}\n";
    let shop = run(rules, vec![steady("203.0.113.50", SHOP, 400, 5)], 5);
    assert_eq!(shop.first().map(|d| (d.action, d.service)), Some((Action::Limit, Some(SHOP))));
    let api = run(rules, vec![steady("203.0.113.50", super::actors::API, 400, 5)], 5);
    assert!(api.is_empty(), "{api:#?}");
}

#[test]
fn a_pressed_service_gets_a_guard_and_nobody_is_named() {
    let rules = "  - {name: flood, points: 80, owasp: [OAT-015], when: service.syns_10s >= 1000}\n";
    let mut milestone = Milestone { value: 3 << 32 | 700, ..Milestone::default() };
    milestone.header.detail = MilestoneKind::Pressure as u8;
    milestone.header.service = SHOP;
    let mut engine = Engine::new(policy(rules), Clock::default()).enforcing();
    let mut decisions = Vec::new();
    for n in 1..=10 {
        milestone.header.at_ns = n * 1000 * MS;
        decisions.extend(engine.handle(&Event::Milestone(milestone)));
    }
    assert_eq!(decisions.len(), 1, "{decisions:#?}");
    let guard = &decisions[0];
    assert_eq!((guard.action, guard.evidence), (Action::Limit, Evidence::Forgeable));
    assert_eq!((guard.whole_service, guard.limit.is_some()), (Some(SHOP), true));
    adds_up(guard);
    let record = DecisionRecord::of(guard, engine.policy(), engine.clock());
    assert_eq!((record.source.as_str(), record.service.as_str()), ("*", "shop"));
    assert_eq!(record.factors[0].text, "1400 first SYNs to the service in the last 10 seconds");
}

/// Connections of one source with these looks in turn.
fn office(from: &str, looks: &[u64], count: u64) -> Stream {
    let mut stream = Stream::new(from, SHOP);
    for (n, look) in (0..count).zip(looks.iter().cycle()) {
        let at_ns = (1000 + n * 100) * MS;
        let port = stream.open(at_ns);
        stream.hello(port, at_ns, *look, false);
    }
    stream
}

#[test]
fn an_address_that_several_share_is_limited_at_most() {
    let rules = "  - {name: busy, points: 90, when: source.handshakes_10s >= 30}\n";
    let public = (1..=9).map(|n| office(&format!("203.0.113.{n}"), &[1, 2, 3, 4, 5], 10));
    let mut streams: Vec<Stream> = public.collect();
    streams.push(office("198.51.100.40", &[1, 2, 3, 4, 5], 60));
    streams.push(office("198.51.100.66", &[90, 91, 92, 93, 94], 60));
    let decisions = run(rules, streams, 10);
    let of = |from: &str| -> Vec<Action> {
        decisions.iter().filter(|d| told(&d.source) == from).map(|d| d.action).collect()
    };
    assert_eq!(of("198.51.100.40"), [Action::Limit]);
    assert_eq!(of("198.51.100.66"), [Action::Drop], "nobody else has these");
    let held = decisions.iter().find(|d| d.action == Action::Limit).unwrap();
    adds_up(held);
    let cap = held.score.factors.iter().find(|it| &*it.rule == "shared-address").unwrap();
    assert_eq!((cap.kind, cap.points, held.score.authentic), (FactorKind::Cap, -21, 69));
}

#[test]
fn two_hundred_addresses_with_three_tries_each_are_one_campaign() {
    let rules = "  - name: campaign
    points: 60
    when: campaign.sources_1h >= 30 && campaign.exclusive_share > 0.9
";
    let mut streams: Vec<Stream> = (0..200)
        .map(|n| {
            let mut stream = Stream::new(&format!("198.51.{}.{}", n / 100, n % 100 + 1), SHOP);
            for tries in 0..3 {
                let at_ns = (1000 + n * 250 + tries * 60) * MS;
                let volume = Volume { request: 980 + (n + tries) % 14, response: 2900 };
                stream.connection(at_ns, 20 * MS, volume);
            }
            stream
        })
        .collect();
    streams.extend((0..10).map(|n| browser(&format!("203.0.113.{}", n + 1), n, 60)));
    let decisions = run(rules, streams, 70);
    let found: std::collections::BTreeSet<String> =
        decisions.iter().map(|d| told(&d.source)).collect();
    assert!(found.len() > 150, "{}", found.len());
    assert!(found.iter().all(|source| source.starts_with("198.51.")));
    let forgeable = |d: &Decision| d.evidence == Evidence::Forgeable && d.action == Action::Limit;
    assert!(decisions.iter().all(forgeable), "an app's users can be imitated");
}

#[test]
fn what_applications_say_counts() {
    let rules = "  - name: stuffing
    owasp: [OAT-008, API2:2023]
    points: 80
    when: source.login_failed_10m >= 8 && source.login_failed_accounts_10m >= 5
";
    let compiled = policy(rules);
    let kind = compiled.signals.kind("login_failed");
    let mut engine = Engine::new(Arc::clone(&compiled), Clock::default()).enforcing();
    let signal = |n: u64| Signal {
        at_ns: (1000 + n * 100) * MS,
        client: [0, 0, weir_common::abi::key::V4_MAPPED, 7],
        service: SHOP,
        kind: kind.unwrap(),
        entity: n % 6 + 1,
        ..Signal::default()
    };
    let decisions: Vec<Decision> =
        (0..8).flat_map(|n| engine.handle(&Event::Signal(signal(n)))).collect();
    assert_eq!(decisions.len(), 1);
    assert_eq!((decisions[0].action, decisions[0].evidence), (Action::Drop, Evidence::Authentic));
    let record = DecisionRecord::of(&decisions[0], &compiled, Clock { unix_s_at_zero: 86_400 });
    assert_eq!(record.owasp, ["OAT-008", "API2:2023"]);
    assert_eq!(record.time, "1970-01-02T00:00:01.700000000Z");
    assert_eq!(record.version.len(), 12);
}

#[test]
fn a_record_has_its_fields_in_order_and_an_id_of_its_own() {
    let rules = "  - {name: busy, points: 60, when: source.connections_10s >= 5}\n";
    let records = || -> Vec<String> {
        let compiled = policy(rules);
        let mut engine = Engine::new(Arc::clone(&compiled), Clock::default()).enforcing();
        let streams =
            vec![steady("203.0.113.50", SHOP, 400, 200), stuffing_bot("203.0.113.66", 9, 9)];
        let decisions = merge(streams, 200).into_iter().flat_map(|event| engine.handle(&event));
        decisions
            .map(|d| serde_json::to_string(&DecisionRecord::of(&d, &compiled, Clock::default())))
            .collect::<Result<_, _>>()
            .unwrap()
    };
    let first = records();
    assert!(first.len() > 3);
    for line in &first {
        let places: Vec<usize> = [
            "id", "time", "source", "service", "action", "mode", "score", "factors", "owasp",
            "policy", "version", "until",
        ]
        .iter()
        .map(|field| line.find(&format!("\"{field}\":")).unwrap())
        .collect();
        assert!(places.is_sorted(), "{line}");
    }
    let ids: std::collections::BTreeSet<&str> = first.iter().map(|line| &line[7..23]).collect();
    assert_eq!(ids.len(), first.len());
    for _ in 0..9 {
        assert_eq!(records(), first, "ten runs, the same bytes");
    }
}

#[test]
fn an_explanation_says_what_is_missing_and_changes_nothing() {
    let rules = "  - {name: busy, points: 60, when: source.connections_10s >= 5}
  - {name: same, points: 30, when: source.request_bytes_cv < 0.1 && !(source.age < 100)}
";
    let mut engine = Engine::new(policy(rules), Clock::default()).enforcing();
    let stream = steady("203.0.113.50", SHOP, 900, 6);
    let Event::Established(first) = stream.events[0] else { panic!() };
    let source = first.key.source();
    for event in merge(vec![stream], 6) {
        engine.handle(&event);
    }
    let explained = engine.explain(&source, "p").unwrap();
    assert_eq!((explained.score, explained.action), (60, Action::Limit));
    assert_eq!(explained.unknown, ["source.request_bytes_cv"]);
    let same = &explained.unmet[0];
    let needs: Vec<_> = same.comparisons.iter().map(|it| (it.needed.as_str(), it.holds)).collect();
    assert_eq!(needs, [("< 0.1", None), (">= 100", Some(false))]);
    let verdict = explained.verdicts[0];
    assert_eq!((verdict.action, verdict.evidence), (Action::Limit, Evidence::Authentic));
    assert_eq!(verdict.until_ns - verdict.since_ns, 60_000 * MS);
    assert_eq!(
        explained.otherwise,
        [
            "drop needs 10 more points (70 in all)",
            "same would add 30 with source.request_bytes_cv < 0.1 (is unknown), \
             source.age >= 100 (is 5.5000)",
            "without busy the score would be 0, below the 50 of limit",
        ]
    );
    assert_eq!(engine.explain(&source, "p"), Some(explained), "asking changes nothing");
    assert_eq!(engine.explain(&source, "q"), None);
}

#[test]
fn asking_only_rules_that_may_have_changed_decides_the_same() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/demo.yaml");
    let demo = policy::load(Path::new(demo), &ServiceIds::default()).unwrap().into();
    for policy in [
        demo,
        policy(
            "  - {name: new, points: -30, when: source.connections_10s < 20}
  - {name: repeats, points: 75, when: source.request_bytes_cv < 0.3}
",
        ),
    ] {
        let decisions = |thorough: bool| {
            let mut engine = Engine::new(Arc::clone(&policy), Clock::default()).enforcing();
            engine.thorough = thorough;
            let streams = vec![
                stuffing_bot("203.0.113.66", 40, 20),
                hoarder("203.0.113.77", 80),
                browser("203.0.113.20", 3, 60),
                crowd("203.0.113.40", 60),
                steady("203.0.113.50", SHOP, 300, 60),
            ];
            let decisions = merge(streams, 60).into_iter().flat_map(|e| engine.handle(&e));
            serde_json::to_string(&decisions.collect::<Vec<_>>()).unwrap()
        };
        assert!(decisions(false).len() > 100);
        assert_eq!(decisions(false), decisions(true));
    }
}

#[test]
fn what_only_watches_says_so() {
    let rules = "  - {name: busy, points: 90, when: source.connections_10s >= 5}\n";
    let mut engine = Engine::new(policy(rules), Clock::default());
    let events = merge(vec![steady("203.0.113.50", SHOP, 400, 5)], 5);
    let decisions: Vec<Decision> = events.iter().flat_map(|e| engine.handle(e)).collect();
    assert_eq!(decisions.first().map(|d| (d.action, d.mode)), Some((Action::Drop, Mode::Observe)));
}

#[test]
fn ranks_are_known_once_the_baseline_is_warm_and_judged_sources_teach_nothing() {
    let rules = "  - {name: unusual, points: 60, when: source.connections_10m_rank > 0.99}
  - {name: loud, points: 40, when: source.connections_10m >= 100}
";
    let mut engine = Engine::new(policy(rules), Clock::default()).enforcing();
    let visit = |n: u64, at_ms: u64, connections: u64| {
        let from = format!("10.{}.{}.{}", n / 200, n % 200, at_ms % 200 + 1);
        let mut stream = Stream::new(&from, SHOP);
        for count in 0..connections {
            let volume = Volume { request: 900, response: 4000 };
            stream.connection((at_ms + count * 50) * MS, 20 * MS, volume);
        }
        stream.events
    };
    let day_ms = 24 * 3600 * 1000;
    let mut decisions = 0;
    for hour in 0..60 {
        for n in 0..240 {
            let events = visit(n, hour * 3_600_000 + n * 100, 2 + n % 7);
            decisions += events.iter().map(|event| engine.handle(event).len()).sum::<usize>();
        }
        engine.handle(&Event::Tick { at_ns: (hour * 3_600_000 + 3_500_000) * MS });
    }
    assert_eq!(decisions, 0, "everybody is usual");
    assert!(engine.baselines().counters().believed > 1000);
    let loud = visit(777, 3 * day_ms, 150);
    let found: Vec<Decision> = loud.iter().flat_map(|event| engine.handle(event)).collect();
    let last = found.last().unwrap();
    assert_eq!(last.score.authentic, 100, "{found:#?}");
    let kinds: Vec<FactorKind> = last.score.factors.iter().map(|factor| factor.kind).collect();
    assert_eq!(kinds, [FactorKind::Anomaly, FactorKind::Rule]);
    assert!(engine.baselines().counters().withdrawn > 0 || found.len() == 1);
}
