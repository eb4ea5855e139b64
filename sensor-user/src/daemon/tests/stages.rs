//! How far policies go: what promotions, rollbacks and changed files do to verdicts, and what is
//! remembered of it.

use std::net::IpAddr;

use ipnet::IpNet;
use weir_common::abi::{
    CloseReason, Closed, Direction, EventHeader, Flow, FlowKey, Mode, Protocol, time::SECOND_NS,
};

use super::{POLICY, Site, address, clock, connections, runtime, twin};
use crate::{
    api::message::{FailureKind, GatesQuery, PromoteQuery, RollbackQuery},
    daemon::{Daemon, twin::Twin},
    enforce::{breaker::State, dataplane::Dataplane as _, stage::Stage},
    event::Event,
    journal::Actor,
};

const BOT: &str = "192.0.2.7";

/// Whether the kernel's verdict on an address acts.
fn mode(daemon: &Daemon<Twin>, address: &str) -> Option<Mode> {
    let net = IpNet::from(address.parse::<IpAddr>().unwrap());
    let tables = &daemon.sensor.tables;
    let verdicts = tables.read_verdicts().unwrap();
    let class = verdicts.iter().find(|(prefix, _)| *prefix == net)?.1.class;
    tables.read_classes().unwrap().iter().find(|(id, _)| *id == class).map(|(_, it)| it.mode())
}

fn promote(to: Option<Stage>, force: bool) -> PromoteQuery {
    let why = force.then(|| "a test".to_owned());
    PromoteQuery { policy: "shop".into(), to, force, why }
}

fn back() -> RollbackQuery {
    RollbackQuery { policy: "shop".into(), why: None }
}

fn stage(daemon: &mut Daemon<Twin>) -> Stage {
    daemon.gates(&GatesQuery::default()).unwrap().policies[0].stage
}

#[test]
fn verdicts_act_or_watch_as_their_policy_moves() {
    Site::run("stages", twin(), |_, daemon| {
        daemon.handle(&connections(BOT, 25));
        assert_eq!(mode(daemon, BOT), Some(Mode::Enforce));
        let moved = daemon.roll_back(&back(), &Actor::User(0)).unwrap();
        assert_eq!((moved.from, moved.to, moved.verdicts), (Stage::Enforce, Stage::Monitor, 1));
        assert_eq!(mode(daemon, BOT), Some(Mode::Observe));
        assert!(daemon.gates(&GatesQuery::default()).unwrap().policies[0].waits_s.is_some());
        let refused = daemon.promote(&promote(None, false), &Actor::User(0)).unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        assert!(refused.message.contains("time-in-stage"), "{}", refused.message);
        assert_eq!(mode(daemon, BOT), Some(Mode::Observe));
        let forced = promote(Some(Stage::Enforce), true);
        daemon.promote(&forced, &Actor::User(0)).unwrap();
        assert_eq!(mode(daemon, BOT), Some(Mode::Enforce));
        let nowhere = daemon.promote(&forced, &Actor::User(0)).unwrap_err();
        assert!(nowhere.message.contains("already"), "{}", nowhere.message);
    });
}

#[test]
fn a_stage_outlives_the_daemon() {
    let site = Site::new("stages-kept");
    runtime().block_on(async {
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        assert_eq!(stage(&mut daemon), Stage::Enforce);
        daemon.roll_back(&back(), &Actor::Daemon).unwrap();
        daemon.finish();
        // The plan says that what was never here enforces; this one was here.
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        assert_eq!(stage(&mut daemon), Stage::Monitor);
        daemon.handle(&connections(BOT, 25));
        assert_eq!(mode(&daemon, BOT), Some(Mode::Observe));
    });
}

#[test]
fn a_changed_policy_watches_beside_the_one_that_acts_also_after_a_restart() {
    let site = Site::new("stages-shadow");
    runtime().block_on(async {
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        site.write_policy(&POLICY.replace(">= 20", ">= 5"));
        daemon.reload();
        for restarted in [false, true] {
            if restarted {
                daemon.finish();
                daemon = site.prepare(twin()).unwrap().0;
            }
            let whom = if restarted { "192.0.2.8" } else { BOT };
            daemon.handle(&connections(whom, 10));
            assert_eq!(mode(&daemon, whom), Some(Mode::Observe), "the new one watches");
            daemon.handle(&connections(whom, 25));
            assert_eq!(mode(&daemon, whom), Some(Mode::Enforce), "the old one acts");
            let gates = daemon.gates(&GatesQuery::default()).unwrap();
            let shadow = gates.policies[0].shadow.clone().unwrap();
            assert_eq!((shadow.counts.observed, shadow.counts.enforced), (1, 0));
            assert_eq!(gates.policies[0].acting.counts.enforced, 1);
            assert_ne!(gates.policies[0].acting.version, shadow.version);
        }
        daemon.promote(&promote(None, true), &Actor::User(0)).unwrap();
        daemon.handle(&connections("192.0.2.9", 10));
        assert_eq!(mode(&daemon, "192.0.2.9"), Some(Mode::Enforce), "the new one acts");
        let gates = daemon.gates(&GatesQuery::default()).unwrap();
        assert_eq!(
            (gates.policies[0].stage, gates.policies[0].shadow.is_none()),
            (Stage::Enforce, true)
        );
    });
}

/// Two sessions of each of so many people, a few seconds ago, and a connection of each now.
fn people(daemon: &mut Daemon<Twin>, count: usize) {
    let now_ns = clock::monotonic_ns();
    for ago_ns in [10 * SECOND_NS, 5 * SECOND_NS] {
        for number in 0..count {
            let once = Direction { payloads: 1, ..Direction::default() };
            let closed = Closed {
                header: EventHeader {
                    at_ns: now_ns - ago_ns,
                    detail: CloseReason::Fin as u8,
                    service: 1,
                    ..EventHeader::default()
                },
                key: FlowKey {
                    remote: address::words(home(number).parse().unwrap()),
                    protocol: Protocol::Tcp as u32,
                    ..FlowKey::default()
                },
                flow: Flow { service: 1, ingress: once, egress: once, ..Flow::default() },
            };
            daemon.handle(&[Event::Closed(closed)]);
        }
    }
    for number in 0..count {
        daemon.handle(&connections(&home(number), 1));
    }
}

fn home(number: usize) -> String {
    format!("10.1.{number}.5")
}

/// A daemon whose policy watches, thirty people, and six of them in whom it finds bots.
fn wronged(name: &str, brakes: &str, test: impl FnOnce(&mut Daemon<Twin>)) {
    let mut site = Site::new(name);
    site.plan.stage = Stage::Monitor;
    let brakes = format!("{brakes}\nladders:");
    site.write_policy(&POLICY.replacen("ladders:", &brakes, 1));
    runtime().block_on(async {
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        people(&mut daemon, 30);
        for number in 0..6 {
            daemon.handle(&connections(&home(number), 25));
            assert_eq!(mode(&daemon, &home(number)), Some(Mode::Observe));
        }
        assert_eq!(daemon.cohort.host_harm().sources.dropped, 0);
        test(&mut daemon);
    });
}

#[test]
fn whom_a_verdict_refuses_since_its_policy_moved_on_counts_for_gates_at_once() {
    let rules = "
brakes: {trusted: {before: 1s, sessions: 2, gap: 1s}, breaker: {min_sources: 1000}}
gates: {standard: {rollback: {min_connections: 20, min_trusted_sources: 20}}}";
    wronged("stages-awoken", rules, |daemon| {
        let forced = promote(Some(Stage::Enforce), true);
        let moved = daemon.promote(&forced, &Actor::User(0)).unwrap();
        assert_eq!(moved.to, Stage::Monitor);
        let told = moved.notes.join("; ");
        assert!(told.contains("trusted-dropped 20%") && told.contains("of 30"), "{told}");
        assert_eq!(mode(daemon, &home(0)), Some(Mode::Observe), "nobody is refused any more");
        let gates = &daemon.gates(&GatesQuery::default()).unwrap().policies[0];
        assert!(gates.waits_s.is_some());
        assert_eq!(daemon.cohort.host_harm().sources.dropped, 0, "and it is forgiven for");
    });
}

#[test]
fn whom_a_verdict_refuses_since_its_policy_moved_on_counts_for_the_breaker_at_once() {
    // Too small a sample for its gates.
    let rules = "
brakes: {trusted: {before: 1s, sessions: 2, gap: 1s}}
gates: {standard: {rollback: {min_connections: 1000}}}";
    wronged("stages-awoken-breaker", rules, |daemon| {
        let forced = promote(Some(Stage::Enforce), true);
        let moved = daemon.promote(&forced, &Actor::User(0)).unwrap();
        assert_eq!(moved.to, Stage::Enforce);
        let harm = daemon.cohort.host_harm();
        assert_eq!((harm.sources.seen, harm.sources.dropped), (30, 6));
        assert_eq!(daemon.brakes.breaker.state().0, State::Open);
        assert_eq!(daemon.effective_mode(), Mode::Observe);
    });
}
