//! A policy from watching to enforcing by its own gates, and back again when it begins to hurt those
//! who were here before.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use serde_json::Value;
use weir_lab::{
    actors::visit,
    clock::sleep,
    net::Lab,
    require_root,
    server::Server,
    weir::{Daemon, Weir},
};

/// How long a visitor waits for what it should get.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long somebody waits who may be refused.
const IN_VAIN: Duration = Duration::from_secs(1);
/// How long before a policy acts the trusted had their sessions.
const BEFORE: Duration = Duration::from_secs(17);
/// How long a policy may take to be promoted once its gates hold.
const SOON: Duration = Duration::from_secs(60);

/// Connections in ten seconds from which the policy drops a source.
const MANY: usize = 6;

const POLICY: &str = "
kind: Site
services: {shop: {tcp: [443]}}
brakes:
  trusted: {before: 15s, sessions: 3, gap: 2s}
  breaker: {min_sources: 1000}
gates:
  standard:
    canary: 50%
    auto: true
    promote:
      after: 5s
      min_connections: 20
      min_trusted_sources: 8
      trusted_would_drop_max: 1%
      coverage_min: 99%
    rollback:
      min_connections: 20
      min_trusted_sources: 8
      min_trusted_dropped: 3
      trusted_dropped_max: 1%
ladders: {default: [{at: 50, action: drop, for: 10m}]}
---
kind: Policy
metadata: {name: shop}
applies: [shop]
rules:
  - {name: hammering, points: 60, when: source.connections_10s >= 6}
";

/// A lab whose clients have 10.0.0.0/8 to live in, with Weir on its edge. A macro, because the daemon
/// borrows the lab.
macro_rules! scene {
    ($lab:ident, $server:ident, $weir:ident, $daemon:ident) => {
        let $lab = Lab::new().unwrap();
        $lab.clients().ip("route add local 10.0.0.0/8 dev lo\n").unwrap();
        let $server = Server::start(&$lab).unwrap();
        let $weir = Weir::in_lab(&$lab).unwrap();
        let file = $weir.policy(POLICY).unwrap();
        let $daemon: Daemon<'_> =
            $weir.run_with(&["edge0"], &file, &["--stage", "monitor"]).unwrap();
    };
}

/// What the gates of the only policy say.
fn gates(weir: &Weir<'_>) -> Value {
    let all: Value =
        serde_json::from_str(&weir.ask(&["gates", "--format", "json"]).unwrap()).unwrap();
    all["policies"][0].clone()
}

fn stage(weir: &Weir<'_>) -> String {
    gates(weir)["stage"].as_str().unwrap().to_owned()
}

/// Everybody comes once; how many were not served.
fn round(lab: &Lab, server: &Server, who: &[IpAddr], patience: Duration) -> usize {
    who.iter().filter(|address| visit(lab, server, **address, patience).is_err()).count()
}

/// People come now and then, until the policy has moved on.
fn live_until(weir: &Weir<'_>, lab: &Lab, server: &Server, who: &[IpAddr], wanted: &str) {
    let began = Instant::now();
    while stage(weir) != wanted {
        let said = || weir.ask(&["gates"]).unwrap_or_default();
        assert!(began.elapsed() < SOON, "not promoted to {wanted}:\n{}", said());
        assert_eq!(round(lab, server, who, PATIENCE), 0, "people are served meanwhile");
        sleep(Duration::from_secs(4));
    }
}

#[test]
fn a_policy_is_promoted_by_its_gates_and_taken_back_before_twenty_connections_are_lost() {
    require_root!(
        "a_policy_is_promoted_by_its_gates_and_taken_back_before_twenty_connections_are_lost"
    );
    scene!(lab, server, weir, daemon);
    // People, each at home in a network of its own, and a bot.
    let people: Vec<IpAddr> =
        (0..12).map(|network| Ipv4Addr::new(10, 1, network, 5).into()).collect();
    let bot: IpAddr = Ipv4Addr::new(10, 7, 7, 7).into();
    for _ in 0..3 {
        assert_eq!(round(&lab, &server, &people, PATIENCE), 0);
        sleep(Duration::from_millis(2200));
    }
    // It watches: the bot is found and served.
    for _ in 0..MANY + 2 {
        visit(&lab, &server, bot, PATIENCE).unwrap();
    }
    assert_eq!(stage(&weir), "monitor");
    let refusal = weir.refusal(&["promote", "shop"]).unwrap();
    assert!(refusal.said.contains("do not hold"), "{}", refusal.said);
    sleep(BEFORE);

    let began = Instant::now();
    live_until(&weir, &lab, &server, &people, "canary");
    println!("canary after {:.1} s of visits", began.elapsed().as_secs_f64());
    println!("{}", weir.ask(&["gates"]).unwrap());
    live_until(&weir, &lab, &server, &people, "enforce");
    println!("enforce after {:.1} s of visits", began.elapsed().as_secs_f64());
    println!("{}", weir.ask(&["gates"]).unwrap());

    // The verdict that only watched acts now.
    assert!(visit(&lab, &server, bot, IN_VAIN).is_err(), "the bot is refused");
    assert_eq!(round(&lab, &server, &people, PATIENCE), 0, "and nobody else is");
    sleep(Duration::from_secs(10));

    // A new version of the people's app makes more connections, and the rule catches them.
    let (mut lost, mut made) = (0, 0);
    let began = Instant::now();
    let mut back = None;
    for _ in 0..MANY + 2 {
        for person in &people {
            made += 1;
            lost += usize::from(visit(&lab, &server, *person, IN_VAIN).is_err());
            if lost > 0 && back.is_none() && stage(&weir) == "monitor" {
                back = Some((lost, began.elapsed()));
            }
        }
    }
    let (lost_by_then, took) = back.expect("it was never taken back");
    println!(
        "{made} connections of people, {lost} lost, {lost_by_then} of them by when it was seen back \
         in monitor, {:.1} s after they began",
        took.as_secs_f64()
    );
    println!("{}", weir.ask(&["gates"]).unwrap());
    assert!((1..20).contains(&lost), "{lost} connections were lost");
    assert_eq!(round(&lab, &server, &people, PATIENCE), 0, "everybody is served again");
    visit(&lab, &server, bot, PATIENCE).unwrap();

    // It stays back for a while, although nothing breaks any more.
    sleep(Duration::from_secs(6));
    let after = gates(&weir);
    assert_eq!(after["stage"], "monitor");
    assert!(after["waits_s"].as_u64().unwrap() > 3600, "{after}");
    assert!(after["why"].as_str().unwrap().contains("trusted-dropped"), "{after}");

    // The journal tells it all, in order, with the figures that decided, and verifies.
    let journal = weir.ask(&["journal", "show", "--kind", "stage", "--format", "json"]).unwrap();
    let moves: Vec<(String, String)> = moves(&journal);
    println!("{}", weir.ask(&["journal", "show", "--kind", "stage"]).unwrap());
    let told: Vec<(&str, &str)> = moves.iter().map(|(what, to)| (&**what, &**to)).collect();
    assert_eq!(
        told,
        [("began", "monitor"), ("forward", "canary"), ("forward", "enforce"), ("back", "monitor")]
    );
    println!("{}", weir.ask(&["journal", "verify"]).unwrap());
    drop(daemon);
}

/// What the journal's records of stages say: what happened, and where the policy was then.
fn moves(journal: &str) -> Vec<(String, String)> {
    let records: Vec<Value> = serde_json::from_str(journal).unwrap();
    records
        .iter()
        .map(|record| {
            let body = &record["body"];
            if body["what"] != "began" {
                assert!(!body["figures"].as_array().unwrap().is_empty(), "{body}");
            }
            if body["what"] == "back" {
                assert!(body["why"].as_str().unwrap().contains("trusted-dropped"), "{body}");
            }
            let text = |field: &str| body[field].as_str().unwrap().to_owned();
            (text("what"), text("to"))
        })
        .collect()
}
