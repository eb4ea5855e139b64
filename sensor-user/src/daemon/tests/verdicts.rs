//! Decisions and operators' requests, and what the kernel is told of them.

use weir_common::abi::Action;

use super::{Site, action, ask, block, connections, lift, list, net, twin};
use crate::{
    api::{
        command::{Block, Unblock},
        message::{FailureKind, OperatorAction},
    },
    daemon::{
        sensor::Streams,
        twin::{Twin, TwinHellos},
    },
    enforce::memory::Capacities,
};

#[test]
fn a_source_that_crosses_the_threshold_is_dropped_explained_and_timed() {
    Site::run("decide", twin(), |_, daemon| {
        daemon.handle(&connections("192.0.2.7", 19));
        assert_eq!(action(daemon, "192.0.2.7", 1), None);
        daemon.handle(&connections("192.0.2.7", 25));
        assert_eq!(action(daemon, "192.0.2.7", 1), Some(Action::Drop));
        assert_eq!(action(daemon, "192.0.2.7", 2), None, "only for the policy's services");
        assert_eq!(action(daemon, "192.0.2.8", 1), None);

        let decisions = daemon.history.newest(None);
        assert_eq!(decisions.made, 1, "and not one for every connection after it");
        let decision = &decisions.decisions[0];
        assert_eq!((decision.prefix, decision.record.score), (net("192.0.2.7/32"), 60));
        assert_eq!((decision.services.as_slice(), decision.for_s), (&["shop".into()][..], 600.0));
        assert_eq!(decision.record.owasp, ["OAT-008"]);
        assert_eq!(decision.record.factors.iter().map(|factor| factor.points).sum::<i32>(), 60);
        assert!(decision.to_verdict_ms.is_some_and(|ms| (0.0..1000.0).contains(&ms)));
        assert_eq!(daemon.latencies.summary().samples, 1);
    });
}

#[test]
fn an_operators_list_is_set_whole_and_taken_back() {
    Site::run("operate", twin(), |_, daemon| {
        let prefixes = ["192.0.2.7/32", "198.51.100.0/24", "192.0.2.7/32", "2001:db8:7::/64"];
        let blocked = ask(daemon, block(&prefixes, OperatorAction::Drop)).unwrap();
        assert_eq!((blocked.entries, blocked.replaced), (3, 0));
        for (address, service) in [("192.0.2.7", 0), ("198.51.100.9", 1), ("2001:db8:7::9", 2)] {
            assert_eq!(action(daemon, address, service), Some(Action::Drop), "{address}");
        }
        let listed = daemon.verdicts(Some("198.51.100.9".parse().unwrap())).unwrap().verdicts;
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (&*listed[0].standing.reason, &*listed[0].standing.state),
            ("ticket 4711", "active")
        );
        assert!((599..=600).contains(&listed[0].standing.expires_in_s.unwrap()));

        let again = ask(daemon, block(&["192.0.2.7/32"], OperatorAction::Reject)).unwrap();
        assert_eq!(again.replaced, 1);
        let list = list(&["192.0.2.7/32", "203.0.113.1/32"]);
        let unblocked = lift(daemon, Unblock::These { list, stable: false }).unwrap();
        assert_eq!((unblocked.removed, unblocked.unknown), (1, 1));
        assert_eq!(action(daemon, "192.0.2.7", 0), None);
        assert_eq!(lift(daemon, Unblock::All).unwrap().removed, 2);
        assert_eq!(daemon.verdicts(None).unwrap().verdicts, []);
    });
}

#[test]
fn nobody_cuts_off_this_host_or_himself() {
    Site::run("cut-off", twin(), |_, daemon| {
        let own = block(&["192.0.2.7/32", "127.0.0.1/32"], OperatorAction::Drop);
        let failure = ask(daemon, own).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("127.0.0.1/32 is this host's own"), "{failure}");
        assert_eq!(action(daemon, "192.0.2.7", 0), None, "nothing was changed");

        let operator = "192.0.2.99".parse().ok();
        let around = Block { operator, ..block(&["192.0.2.0/24"], OperatorAction::Drop) };
        let failure = ask(daemon, around.clone()).unwrap_err();
        assert!(failure.message.contains("192.0.2.0/24 covers 192.0.2.99"), "{failure}");
        // What the message says helps.
        ask(daemon, block(&["192.0.2.99/32"], OperatorAction::Allow)).unwrap();
        ask(daemon, around).unwrap();
        assert_eq!(action(daemon, "192.0.2.99", 1), Some(Action::Allow));
        assert_eq!(action(daemon, "192.0.2.98", 1), Some(Action::Drop));
        assert_eq!(daemon.allowed, [net("192.0.2.99/32")], "whose connections are never ended");
    });
}

#[test]
fn requests_that_mean_nothing_are_told_why() {
    Site::run("requests", twin(), |_, daemon| {
        let unknown = Block {
            service: Some("shoop".into()),
            ..block(&["192.0.2.7/32"], OperatorAction::Drop)
        };
        let failure = ask(daemon, unknown).unwrap_err();
        assert_eq!(failure.message, "the policy has no service `shoop`; it has: shop, ssh");

        ask(daemon, block(&["192.0.2.0/24"], OperatorAction::Allow)).unwrap();
        let covered = ask(daemon, block(&["192.0.2.7/32"], OperatorAction::Drop)).unwrap();
        assert_eq!(
            covered.notes,
            ["192.0.2.7/32 is covered by something that counts more: allow on 192.0.2.0/24 \
              (ticket 4711)"]
        );
        daemon.sensor.is_killed = true;
        let killed = ask(daemon, block(&["203.0.113.1/32"], OperatorAction::Drop)).unwrap();
        assert_eq!(killed.notes, ["the kill switch is on: nothing acts until `weir kill off`"]);
    });
}

#[test]
fn a_full_map_is_an_error_that_says_so_and_is_filled_when_there_is_room() {
    let mut full = twin();
    full.tables.capacities = Capacities { exact: 2, prefixes: 10, ..Capacities::default() };
    Site::run("full", full, |_, daemon| {
        let four = ["203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32", "203.0.113.4/32"];
        let failure = ask(daemon, block(&four, OperatorAction::Drop)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Full);
        assert!(failure.message.starts_with("V4_EXACT is full after 2 of 4 entries"), "{failure}");
        let events = Twin::with_events().0.stream.unwrap();
        let status = daemon.status(&Streams { events, hellos: TwinHellos(None) }).unwrap();
        assert!(status.warnings.iter().any(|warning| warning.contains("V4_EXACT is full")));
        daemon.sensor.tables.capacities.exact = 10;
        daemon.tick();
        assert_eq!(action(daemon, "203.0.113.4", 0), Some(Action::Drop));
        assert_eq!(daemon.kernel_error, None);
    });
}
