//! How far policies go: what promotions, rollbacks and changed files do to verdicts, and what is
//! remembered of it.

use weir_common::abi::Mode;

use super::{POLICY, Site, clock, connections, runtime, twin};
use crate::{
    api::message::{FailureKind, GatesQuery, PromoteQuery, RollbackQuery},
    daemon::{Daemon, twin::Twin},
    enforce::stage::Stage,
    journal::Actor,
};

const BOT: &str = "192.0.2.7";

/// Whether what holds for an address acts.
fn mode(daemon: &Daemon<Twin>, address: &str) -> Option<Mode> {
    let now = weir_common::abi::time::tick(clock::monotonic_ns());
    daemon.sensor.tables.judge(address.parse().unwrap(), 1, now).map(|class| class.mode())
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
