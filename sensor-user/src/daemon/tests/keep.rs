//! What outlives the daemon and the boot, and what the operator is told when something does not.

use std::sync::Arc;

use super::*;
use crate::{api::message::Cause, enforce::ledger::Origin};

/// The same directories in another boot, with new maps.
fn after_reboot(site: &Site) -> Daemon<Twin> {
    let files = StateFiles::new(&site.plan.paths, "another boot".into());
    let policy = policy::load(&site.plan.policy, &files.service_ids().unwrap()).unwrap();
    start::prepare(&site.plan, twin(), Arc::new(policy), files).unwrap().0
}

fn stop(mut daemon: Daemon<Twin>) {
    daemon.finish_store();
    let Daemon { chores, .. } = daemon;
    chores.finish();
}

#[test]
fn after_a_reboot_verdicts_are_in_force_again_and_offences_known() {
    let site = Site::new("reboot");
    runtime().block_on(async {
        let (mut daemon, _events, doors) = site.prepare(twin()).unwrap();
        daemon.handle(&connections("192.0.2.7", 25));
        ask(&mut daemon, block(&["198.51.100.0/24", "203.0.113.9"], OperatorAction::Drop)).unwrap();
        lift(&mut daemon, Unblock::These { list: list(&["203.0.113.9"]), stable: false }).unwrap();
        stop(daemon);
        drop(doors);

        let mut daemon = after_reboot(&site);
        assert_eq!(action(&daemon, "192.0.2.7", 1), Some(Action::Drop));
        assert_eq!(action(&daemon, "198.51.100.9", 1), Some(Action::Drop));
        assert_eq!(action(&daemon, "203.0.113.9", 1), None, "it was lifted");
        daemon.handle(&connections("192.0.2.7", 25));
        assert_eq!(daemon.history.made(), 0, "what is in force is not decided again");
        let entries: Vec<_> = daemon.ledger.list(clock::monotonic_ns()).collect();
        let rule = entries.iter().find(|it| it.entry.meaning.origin != Origin::Operator).unwrap();
        assert_eq!(rule.entry.meaning.rule.as_deref(), Some("shop/hammering"));
    });
}

#[test]
fn while_nothing_can_be_stored_verdicts_are_in_force_and_everybody_is_told() {
    let site = Site::new("unstored");
    // A directory stands where the database should.
    fs::create_dir_all(site.plan.paths.store_file()).unwrap();
    runtime().block_on(async {
        let (mut daemon, streams, _doors) = site.prepare(twin()).unwrap();
        let blocked = ask(&mut daemon, block(&["192.0.2.7"], OperatorAction::Drop)).unwrap();
        assert_eq!(action(&daemon, "192.0.2.7", 1), Some(Action::Drop));
        let [note] = &blocked.notes[..] else { panic!("{blocked:?}") };
        assert!(note.contains("in force, but not stored") && note.contains("weir.db"), "{note}");
        let unblocked = lift(&mut daemon, Unblock::All).unwrap();
        assert_eq!((unblocked.removed, unblocked.notes.len()), (1, 1), "{unblocked:?}");
        ask(&mut daemon, block(&["192.0.2.8"], OperatorAction::Drop)).unwrap();
        let status = daemon.status(&streams).unwrap();
        assert!(status.warnings.iter().any(|it| it.contains("weir.db")), "{:?}", status.warnings);
        let readiness = daemon.readiness();
        assert!(readiness.ready, "it enforces");
        assert!(readiness.reasons.iter().any(|it| it.name == Cause::StoreFails), "{readiness:?}");

        // What waited in the ledger is stored when there is a place for it.
        fs::remove_dir(site.plan.paths.store_file()).unwrap();
        for _ in 0..1000 {
            if daemon.keeper.store.health().is_writable() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        daemon.tick();
        let blocked = ask(&mut daemon, block(&["192.0.2.9"], OperatorAction::Drop)).unwrap();
        assert_eq!(blocked.notes, [""; 0]);
        stop(daemon);
        drop((streams, _doors));
        let daemon = after_reboot(&site);
        assert_eq!(action(&daemon, "192.0.2.7", 1), None);
        assert_eq!(action(&daemon, "192.0.2.8", 1), Some(Action::Drop));
        assert_eq!(action(&daemon, "192.0.2.9", 1), Some(Action::Drop));
    });
}
