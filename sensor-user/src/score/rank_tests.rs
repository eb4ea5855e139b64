//! Ranks in the engine: learned from visitors, asked by rules, kept over a restart, and not to be
//! moved by who is judged.

use std::{path::Path, sync::Arc};

use weir_common::abi::{
    Action, Closed, Established, EventHeader, FlowKey, Protocol, time::SECOND_NS,
};

use super::{Clock, Decision, Engine, baseline::Baselines, factor::FactorKind};
use crate::{
    event::Event,
    policy::{self, ServiceIds},
    system::address,
};

const POLICY: &str = "\
kind: Site
services: {shop: {tcp: [443]}}
ladders: {usual: [{at: 30, action: mark, for: 10m}]}
---
kind: Policy
metadata: {name: unusual}
applies: [shop]
ladder: usual
rules:
  - {name: busiest, points: 40, when: source.connections_10m_rank >= 0.99}
";

const HOUR_NS: u64 = 3600 * SECOND_NS;

fn engine() -> Engine {
    let compiled = policy::parse("p.yaml", POLICY, Path::new(""), &ServiceIds::default());
    Engine::new(Arc::new(compiled.unwrap()), Clock::default()).enforcing()
}

/// So many connections of the network `network`, a second apart.
fn visit(engine: &mut Engine, network: u16, connections: u16, at_ns: u64) -> Vec<Decision> {
    let [high, low] = network.to_be_bytes();
    let remote = address::words([203, high, low, 7].into());
    let mut decisions = Vec::new();
    for number in 1..=connections {
        let at_ns = at_ns + u64::from(number) * SECOND_NS;
        let key = FlowKey {
            remote,
            local: address::words([198, 51, 100, 1].into()),
            remote_port: number.to_be(),
            local_port: 443u16.to_be(),
            protocol: Protocol::Tcp as u32,
        };
        let header = EventHeader { at_ns, service: 1, ..EventHeader::default() };
        let established = Established { header, key, client: remote, ..Established::default() };
        decisions.extend(engine.handle(&Event::Established(established)));
        let mut closed = Closed { header, key, ..Closed::default() };
        closed.flow.proven_ns = at_ns;
        decisions.extend(engine.handle(&Event::Closed(closed)));
    }
    decisions
}

/// A day and a bit on which 250 networks an hour make one to four connections each.
fn some_days(engine: &mut Engine) {
    for hour in 1..28u64 {
        for network in 0..250u16 {
            let at_ns = hour * HOUR_NS + u64::from(network) * SECOND_NS;
            let decisions = visit(engine, network, 1 + (network + hour as u16) % 4, at_ns);
            assert!(decisions.is_empty(), "hour {hour}: {decisions:?}");
        }
        engine.handle(&Event::Tick { at_ns: hour * HOUR_NS + HOUR_NS / 2 });
    }
}

const THIRD_DAY_NS: u64 = 50 * HOUR_NS;

#[test]
fn the_busiest_are_found_once_the_service_is_known() {
    let mut engine = engine();
    assert!(visit(&mut engine, 999, 60, 0).is_empty(), "nothing is known yet");
    some_days(&mut engine);
    assert!(visit(&mut engine, 1000, 4, THIRD_DAY_NS).is_empty(), "as many as others");
    let decisions = visit(&mut engine, 1001, 30, THIRD_DAY_NS);
    let decision = &decisions[0];
    assert_eq!((decision.action, decision.sequence), (Action::Mark, 1));
    let factor = &decision.score.factors[0];
    assert_eq!(factor.kind, FactorKind::Anomaly);
}

#[test]
fn what_was_learned_outlives_a_restart() {
    let mut before = engine();
    some_days(&mut before);
    let saved = before.baselines().save(&before.policy().features).write().unwrap();
    let mut after = engine();
    after.set_baselines(Baselines::load(&saved, &after.policy().features, 0).unwrap());
    assert_eq!(visit(&mut after, 1001, 30, HOUR_NS).len(), 1);
}

#[test]
fn who_is_judged_does_not_teach_and_who_is_patient_is_one_among_many() {
    let mut engine = engine();
    some_days(&mut engine);
    // A day of a bot that is judged each time.
    for hour in 50..74 {
        visit(&mut engine, 2000, 60, hour * HOUR_NS);
    }
    let counters = engine.baselines().counters();
    assert!(counters.withdrawn >= 20, "{counters:?}");
    assert!(!visit(&mut engine, 1001, 30, 75 * HOUR_NS).is_empty());
}
