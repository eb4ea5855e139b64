//! Modes, caps on new drops, guards and the kill switch, on the twin.

use weir_common::abi::{Action, Mode, time::SECOND_NS};

use super::{POLICY, Site, action, ask, block, connections, net, twin};
use crate::{
    api::message::{FailureKind, OperatorAction, SwitchQuery},
    daemon::guards::HostView,
    enforce::guard::AllowedKind,
    event::Event,
    journal::Actor,
    system::{clock, durable},
};

const MODES: &str = "
modes:
  attack: {for: 2h, thresholds: -15, syn_guard: {rate: 50/s, burst: 100}}
  recovery: {mode: observe, for: 30m}
";

/// The usual policy, with something more in its Site.
fn site_with(more: &str) -> String {
    POLICY.replacen("---\n", &format!("{more}---\n"), 1)
}

fn query(name: &str, for_s: Option<u64>) -> SwitchQuery {
    SwitchQuery { name: name.into(), for_s, why: "ticket 4711".into() }
}

#[test]
fn a_mode_changes_thresholds_and_guards_and_goes_back() {
    Site::run("modes", twin(), |site, daemon| {
        site.write_policy(&site_with(MODES));
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        let interval =
            |daemon: &super::Daemon<super::Twin>| daemon.sensor.tables.guards[&1].interval_ns;
        assert_eq!(interval(daemon), 0);

        let report = daemon.switch_mode(&query("attack", Some(60)), &Actor::Daemon).unwrap();
        let on = report.on.unwrap();
        assert_eq!((&*on.name, &*on.why), ("attack", "ticket 4711"));
        assert!((58..=60).contains(&on.left_s), "{on:?}");
        assert_eq!(on.changes, "thresholds -15, SYN guards of all services");
        assert_eq!(daemon.engine.policy().policies[0].ladder.steps[0].at, 35);
        assert_eq!(interval(daemon), SECOND_NS / 50);

        let report = daemon.switch_mode(&query("normal", None), &Actor::Daemon).unwrap();
        assert_eq!(report.on, None);
        assert_eq!(daemon.engine.policy().policies[0].ladder.steps[0].at, 50);
        assert_eq!(interval(daemon), 0);
    });
}

#[test]
fn a_mode_that_observes_stops_everything_at_once() {
    Site::run("recovery", twin(), |site, daemon| {
        site.write_policy(&site_with(MODES));
        daemon.reload();
        ask(daemon, block(&["192.0.2.7/32"], OperatorAction::Drop)).unwrap();
        assert_eq!(daemon.sensor.tables.control.policy_mode, Mode::Enforce as u8);
        daemon.switch_mode(&query("recovery", None), &Actor::Daemon).unwrap();
        assert_eq!(daemon.sensor.tables.control.policy_mode, Mode::Observe as u8);
        assert_eq!(action(daemon, "192.0.2.7", 1), Some(Action::Drop), "nothing is forgotten");
    });
}

#[test]
fn a_mode_survives_a_restart_and_ends_in_time() {
    let site = Site::new("mode-restart");
    site.write_policy(&site_with(MODES));
    super::runtime().block_on(async {
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        daemon.switch_mode(&query("attack", Some(3600)), &Actor::Daemon).unwrap();
        drop(daemon);
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        assert_eq!(daemon.engine.policy().policies[0].ladder.steps[0].at, 35);

        // As if the time were over.
        let file = site.plan.paths.mode_file();
        let text = String::from_utf8(durable::read(&file).unwrap().unwrap()).unwrap();
        let until =
            text.split("\"until_unix_s\":").nth(1).unwrap().split([',', '}']).next().unwrap();
        durable::write(&file, text.replace(until, "7").as_bytes()).unwrap();
        drop(daemon);
        (daemon, ..) = site.prepare(twin()).unwrap();
        assert_eq!(daemon.engine.policy().policies[0].ladder.steps[0].at, 50);
        assert!(durable::read(&file).unwrap().is_none(), "it is not kept any longer");
    });
}

#[test]
fn a_mode_ends_by_itself_and_where_no_file_declares_it() {
    Site::run("mode-ends", twin(), |site, daemon| {
        site.write_policy(&site_with(MODES));
        daemon.reload();
        daemon.switch_mode(&query("attack", Some(1)), &Actor::Daemon).unwrap();
        std::thread::park_timeout(std::time::Duration::from_millis(2100));
        daemon.tick();
        assert_eq!(daemon.mode_report().on, None);
        assert_eq!(daemon.engine.policy().policies[0].ladder.steps[0].at, 50);

        daemon.switch_mode(&query("attack", None), &Actor::Daemon).unwrap();
        site.write_policy(POLICY);
        daemon.reload();
        assert_eq!(daemon.mode_report().on, None);
        assert_eq!(daemon.engine.policy().policies[0].ladder.steps[0].at, 50);
    });
}

#[test]
fn what_is_no_mode_is_told_with_those_there_are() {
    Site::run("no-mode", twin(), |site, daemon| {
        let failure = daemon.switch_mode(&query("attack", None), &Actor::Daemon).unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadRequest);
        assert!(failure.message.contains("declares no mode"), "{failure}");
        site.write_policy(&site_with(MODES));
        daemon.reload();
        let failure = daemon.switch_mode(&query("atack", None), &Actor::Daemon).unwrap_err();
        assert_eq!(
            failure.message,
            "there is no mode `atack`; there are: normal, attack, recovery"
        );
        let month = query("attack", Some(31 * 24 * 3600));
        assert!(daemon.switch_mode(&month, &Actor::Daemon).is_err());
    });
}

#[test]
fn drops_beyond_the_cap_are_limits_and_become_drops_when_there_is_room() {
    Site::run("cap", twin(), |site, daemon| {
        site.write_policy(&site_with("brakes: {new_drops: 2/m}\n"));
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        for last in 11..=14 {
            daemon.handle(&connections(&format!("192.0.2.{last}"), 25));
        }
        let actions: Vec<_> =
            (11..=14).map(|last| action(daemon, &format!("192.0.2.{last}"), 1)).collect();
        let (drop, limit) = (Some(Action::Drop), Some(Action::Limit));
        assert_eq!(actions, [drop, drop, limit, limit]);
        assert_eq!(daemon.engine.counters().capped, 2);
        let made = daemon.history.newest(None).decisions;
        assert_eq!(made.len(), 4, "who waits is decided once");
        let factor = made[0].record.factors.iter().find(|it| it.name == "new-drops").unwrap();
        assert_eq!(factor.points, 0);
        assert_eq!(
            factor.text,
            "limited and not refused yet: hammering made 2 new drops within a minute, and that is its cap"
        );
        let points: i32 = made[0].record.factors.iter().map(|it| it.points).sum();
        assert_eq!(points, i32::from(made[0].record.score), "factors add up");

        // The sources go on, a minute later.
        let later = clock::monotonic_ns() + 70 * SECOND_NS;
        for last in 13..=14 {
            let events = connections(&format!("192.0.2.{last}"), 25).into_iter().map(|event| {
                let Event::Established(mut event) = event else { unreachable!() };
                event.header.at_ns = later;
                event.key.remote_port += 1000;
                Event::Established(event)
            });
            daemon.handle(&events.collect::<Vec<_>>());
        }
        assert_eq!(action(daemon, "192.0.2.13", 1), limit, "others might wait with more");
        daemon.handle(&[Event::Tick { at_ns: later + SECOND_NS }]);
        for last in 13..=14 {
            assert_eq!(action(daemon, &format!("192.0.2.{last}"), 1), drop);
        }
    });
}

#[test]
fn an_operators_allow_ends_what_policies_decided_for_good() {
    Site::run("allow", twin(), |_, daemon| {
        daemon.handle(&connections("192.0.2.7", 25));
        assert_eq!(action(daemon, "192.0.2.7", 1), Some(Action::Drop));
        ask(daemon, block(&["192.0.2.0/24"], OperatorAction::Allow)).unwrap();
        assert_eq!(action(daemon, "192.0.2.7", 1), Some(Action::Allow));
        let now_ns = clock::monotonic_ns();
        assert_eq!(daemon.ledger.entries(&net("192.0.2.7/32"), now_ns).count(), 0);
        assert_eq!(daemon.guard_status().lifted, 1);
    });
}

#[test]
fn a_group_that_is_spared_from_now_on_is_free_at_once() {
    Site::run("spared", twin(), |site, daemon| {
        daemon.handle(&connections("192.0.2.7", 25));
        daemon.handle(&connections("192.0.2.8", 25));
        let spared = POLICY
            .replacen(
                "---\n",
                "changes: at-once\ngroups: {partners: {addresses: [192.0.2.7]}}\n---\n",
                1,
            )
            .replacen("rules:", "exempt: [{group: partners, from: [drop]}]\nrules:", 1);
        site.write_policy(&spared);
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        assert_eq!(action(daemon, "192.0.2.7", 1), None);
        assert_eq!(action(daemon, "192.0.2.8", 1), Some(Action::Drop));
    });
}

#[test]
fn somebody_logs_in_and_stays_at_the_management_port_only() {
    Site::run("session", twin(), |_, daemon| {
        let admin = "192.0.2.7";
        ask(daemon, block(&["192.0.2.0/24"], OperatorAction::Drop)).unwrap();
        let mut view: HostView = daemon.guard_desk.view().clone();
        view.log_in(admin.parse().unwrap(), 2222);
        daemon.take_view(view.clone());
        // 22 is the service `ssh` of this policy, 2222 is nobody's.
        let is_management = |daemon: &super::Daemon<super::Twin>| {
            daemon.sensor.tables.services.iter().any(|it| it.port == 2222 && it.service == 255)
        };
        assert!(is_management(daemon));
        assert_eq!(action(daemon, admin, 255), Some(Action::Allow));
        for service in [0, 1, 2] {
            assert_eq!(action(daemon, admin, service), Some(Action::Drop), "{service}");
        }
        assert_eq!(action(daemon, "192.0.2.8", 255), Some(Action::Drop));
        assert_eq!(daemon.guards.count(AllowedKind::Session), 1);

        view.log_out();
        daemon.take_view(view);
        assert_eq!(action(daemon, admin, 255), Some(Action::Drop));
        assert!(is_management(daemon), "the port stays what it is");
    });
}
