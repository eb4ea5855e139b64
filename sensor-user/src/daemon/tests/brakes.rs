//! The breaker and labels in the daemon, on the twin.

use weir_common::abi::{CloseReason, Closed, Direction, Flow, Mode, SourceKey, time::SECOND_NS};

use super::*;
use crate::{
    api::message::{Cause, Labelled},
    enforce::{breaker::State, cohort::Standing},
    journal::Actor,
    label::{self, Verdict},
};

const HOUR_NS: u64 = 3600 * SECOND_NS;

fn source(address: &str) -> SourceKey {
    SourceKey::from_address(&address::words(address.parse().unwrap()))
}

fn home(number: usize) -> String {
    format!("10.1.{number}.5")
}

/// Two sessions of each of so many people, three and two hours ago.
fn season(daemon: &mut Daemon<Twin>, people: usize) {
    let now_ns = clock::monotonic_ns() + 4 * HOUR_NS;
    for ago_ns in [3 * HOUR_NS, 2 * HOUR_NS] {
        for number in 0..people {
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
            daemon.cohort.note(&Event::Closed(closed), &crate::policy::Proxies::default(), None);
        }
    }
}

/// Connections of one of them, some hours from now.
fn later(address: &str, count: u16) -> Vec<Event> {
    let mut events = connections(address, count);
    for event in &mut events {
        if let Event::Established(event) = event {
            event.header.at_ns += 4 * HOUR_NS;
        }
    }
    events
}

fn say(daemon: &mut Daemon<Twin>, text: &str) -> Result<Labelled, Failure> {
    let list = label::parse(text)?;
    let (reply, answer) = oneshot::channel();
    daemon.label(list, &Actor::Daemon, reply);
    std::thread::spawn(|| answer.blocking_recv().unwrap()).join().unwrap()
}

#[test]
fn the_breaker_opens_when_the_trusted_are_refused_and_closes_when_told() {
    Site::run("breaker", twin(), |_, daemon| {
        season(daemon, 30);
        for number in 0..30 {
            daemon.handle(&later(&home(number), 1));
        }
        assert_eq!(daemon.cohort.host_harm().sources.seen, 30);
        for number in 0..4 {
            daemon.handle(&later(&home(number), 25));
        }
        assert_eq!(daemon.effective_mode(), Mode::Enforce, "of too few networks");
        daemon.handle(&later(&home(4), 25));
        assert_eq!(daemon.brakes.breaker.state().0, State::Open);
        assert_eq!(daemon.effective_mode(), Mode::Observe);
        assert_eq!(daemon.sensor.tables.control.breaker_mode, Mode::Observe as u8);
        let readiness = daemon.readiness();
        assert!(!readiness.ready && readiness.reasons[0].name == Cause::BreakerOpen);

        // A reload does not close it.
        daemon.reload();
        assert_eq!(daemon.sensor.tables.control.breaker_mode, Mode::Observe as u8);

        assert_eq!(action(daemon, &home(0), 1), Some(Action::Drop));
        let status = daemon.reset_breaker(&Actor::User(0)).unwrap();
        assert_eq!((status.state, status.trips), (State::Closed, 1));
        assert_eq!(daemon.sensor.tables.control.breaker_mode, Mode::Enforce as u8);
        assert_eq!(action(daemon, &home(0), 1), None, "what was decided about them is lifted");
        let again = daemon.reset_breaker(&Actor::User(0)).unwrap_err();
        assert_eq!(again.message, "the breaker is closed: there is nothing to reset");
    });
}

#[test]
fn an_operators_block_moves_no_brake() {
    Site::run("breaker-block", twin(), |_, daemon| {
        season(daemon, 30);
        for number in 0..30 {
            daemon.handle(&later(&home(number), 1));
        }
        ask(daemon, block(&["10.1.0.0/16"], OperatorAction::Drop)).unwrap();
        daemon.tick();
        assert_eq!(daemon.cohort.host_harm().sources.dropped, 0);
        assert_eq!(daemon.brakes.breaker.state().0, State::Closed);
    });
}

#[test]
fn human_lifts_what_policies_decided_holds_them_off_and_leaves_operators_blocks() {
    Site::run("label", twin(), |site, daemon| {
        // The policy's own gates would take it back for what it does here.
        let gates = "gates: {standard: {auto: false}}\nladders:";
        site.write_policy(&POLICY.replacen("ladders:", gates, 1));
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        daemon.handle(&connections("192.0.2.7", 25));
        let id = daemon.decisions(None).decisions[0].record.id.clone();
        ask(daemon, block(&["192.0.2.0/24"], OperatorAction::Reject)).unwrap();
        assert_eq!(action(daemon, "192.0.2.7", 1), Some(Action::Drop));

        let labelled = say(daemon, &format!("{id} human ticket 4711")).unwrap();
        assert_eq!((labelled.labels, labelled.changed, labelled.lifted), (1, 1, 1));
        assert_eq!(labelled.false_positives, 1);
        assert_eq!(
            labelled.notes,
            [
                "192.0.2.7/32 is still under reject on 192.0.2.0/24 (ticket 4711), which is no policy's: \
              weir unblock 192.0.2.0/24"
            ]
        );
        assert_eq!(action(daemon, "192.0.2.7", 1), Some(Action::Reject));
        assert_eq!(daemon.decisions(None).decisions[0].label, Some(Verdict::Human));
        let harm = daemon.cohort.host_harm();
        assert_eq!((harm.named.seen, harm.named.dropped), (1, 1), "and it counts as harm");

        let list = list(&["192.0.2.0/24"]);
        lift(daemon, crate::api::command::Unblock::These { list, stable: false }).unwrap();
        daemon.handle(&connections("192.0.2.7", 25));
        assert_eq!(daemon.decisions(None).made, 2, "it is decided");
        assert_eq!(action(daemon, "192.0.2.7", 1), None, "and not enforced");
        assert_eq!(daemon.label_status().false_positives, 2);

        say(daemon, "192.0.2.7 bot").unwrap();
        daemon.handle(&connections("192.0.2.7", 25));
        assert_eq!(action(daemon, "192.0.2.7", 1), Some(Action::Drop), "the latest label counts");
        assert_eq!(daemon.label_status().false_positives, 0);
    });
}

#[test]
fn a_list_with_a_decision_that_nobody_knows_labels_nobody() {
    Site::run("label-list", twin(), |_, daemon| {
        let failure = say(daemon, "192.0.2.7 human\n0000000000000000 bot").unwrap_err();
        assert_eq!((failure.lines.len(), failure.lines[0].line), (1, 2));
        let standing = daemon.cohort.standing(&source("192.0.2.7"), clock::monotonic_ns());
        assert_eq!(standing, Standing::Stranger);
    });
}

#[test]
fn labels_trust_and_an_open_breaker_outlive_the_daemon() {
    let site = Site::new("remembered");
    runtime().block_on(async {
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        season(&mut daemon, 30);
        say(&mut daemon, "192.0.2.7 human\n192.0.2.8 bot").unwrap();
        for number in 0..30 {
            daemon.handle(&later(&home(number), 1));
        }
        for number in 0..5 {
            daemon.handle(&later(&home(number), 25));
        }
        assert_eq!(daemon.brakes.breaker.state().0, State::Open);
        daemon.finish();
        let (daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        let now_ns = clock::monotonic_ns() + 4 * HOUR_NS;
        assert_eq!(daemon.cohort.standing(&source("192.0.2.7"), now_ns), Standing::Human);
        assert_eq!(daemon.cohort.label_of(&source("192.0.2.8")), Some(Verdict::Bot));
        assert_eq!(daemon.cohort.standing(&source(&home(20)), now_ns), Standing::Earned);
        assert_eq!(daemon.effective_mode(), Mode::Observe);
        assert_eq!(daemon.sensor.tables.control.breaker_mode, Mode::Observe as u8);
    });
}
