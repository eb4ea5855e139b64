//! Verdicts on fingerprints, from the operator's words to the kernel's tables; services by name and
//! proxies, from the policy file.

use weir_common::abi::{Action, Mode, Reason, SourceKey, VerdictClass};

use super::{POLICY, Site, action, ask, block, lift, list, runtime, twin};
use crate::{
    api::{
        command::{Block, Unblock},
        message::{FailureKind, OperatorAction},
    },
    daemon::{Daemon, twin::Twin},
    enforce::{dataplane::Subject, memory::Capacities},
    fingerprint::{ja4::Ja4Raw, syn::SynPattern},
    system::clock,
};

/// A client's first hello, and a later one that resumes: of one stable form.
const RAW: &str = "t13d0205h2_1301,1302_000a,0023,002b_0403,0804";
const RESUMED: &str = "t13d0206h2_1301,1302_000a,0023,0029,002b_0403,0804";

fn raw(text: &str) -> Ja4Raw {
    text.parse().unwrap()
}

fn named(text: &str) -> String {
    format!("ja4:{}", raw(text).ja4())
}

/// What the kernel does with a hello to a service.
fn judged(daemon: &Daemon<Twin>, text: &str, service: u8) -> Option<VerdictClass> {
    let tables = &daemon.sensor.tables;
    let now = weir_common::abi::time::tick(clock::monotonic_ns());
    let keys = raw(text).keys(tables.seed);
    [keys.matching, keys.stable]
        .into_iter()
        .find_map(|key| tables.judge_subject(&Subject::Fingerprint(key), service, now).copied())
}

fn states(daemon: &Daemon<Twin>) -> Vec<(String, String)> {
    let listed = daemon.verdicts(None).unwrap().fingerprints.into_iter();
    listed.map(|entry| (entry.fingerprint, entry.standing.state)).collect()
}

/// As if a hello had been seen.
fn see(daemon: &mut Daemon<Twin>, text: &str, senders: u32) {
    let raw = raw(text);
    for sender in 0..senders {
        let source = SourceKey { words: [u32::MAX, sender.to_be()] };
        daemon.known.learn(&raw.ja4(), &raw, &source, 1);
    }
    if daemon.ledger.learned(&raw.ja4(), &raw.stable(), &raw) {
        daemon.apply();
    }
}

#[test]
fn what_is_known_of_a_hello_is_in_force_at_once_and_taken_back() {
    Site::run("ja4-raw", twin(), |_, daemon| {
        let lists = [format!("ja4_r:{RAW}"), named(RAW), "192.0.2.7".into()];
        let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
        let blocked = ask(daemon, block(&lists, OperatorAction::Drop)).unwrap();
        assert_eq!((blocked.entries, blocked.waiting, blocked.replaced), (2, 0, 0));
        assert_eq!(blocked.notes, [""; 0]);
        let class = judged(daemon, RAW, 1).unwrap();
        assert_eq!((class.action(), class.mode()), (Action::Drop, Mode::Enforce));
        assert_eq!(class.reason(), Reason::DropFingerprint);
        assert_eq!(judged(daemon, RESUMED, 1), None, "another JA4");
        assert_eq!(action(daemon, "192.0.2.7", 1), Some(Action::Drop));
        assert_eq!(states(daemon), [(named(RAW), "active".into())]);

        let observed = Block {
            observe: true,
            service: Some("ssh".into()),
            ..block(&[&named(RAW)], OperatorAction::Reject)
        };
        assert_eq!(ask(daemon, observed).unwrap().replaced, 1);
        let class = judged(daemon, RAW, 2).unwrap();
        assert_eq!((class.action(), class.mode()), (Action::Reject, Mode::Observe));
        assert_eq!(judged(daemon, RAW, 1), None);

        let these = list(&[&format!("ja4_r:{RAW}"), &named(RESUMED)]);
        let unblocked = lift(daemon, Unblock::These { list: these, stable: false }).unwrap();
        assert_eq!((unblocked.removed, unblocked.unknown), (1, 1));
        assert_eq!(judged(daemon, RAW, 2), None);
        assert_eq!(lift(daemon, Unblock::All).unwrap().removed, 1, "the address");
    });
}

#[test]
fn a_hash_waits_until_somebody_is_seen_with_it() {
    Site::run("ja4-hash", twin(), |_, daemon| {
        let blocked = ask(daemon, block(&[&named(RAW)], OperatorAction::Drop)).unwrap();
        assert_eq!((blocked.entries, blocked.waiting), (1, 1));
        assert!(blocked.notes[0].contains("was not seen yet"), "{:?}", blocked.notes);
        assert_eq!(states(daemon), [(named(RAW), "waiting".into())]);
        see(daemon, RESUMED, 1);
        assert_eq!(judged(daemon, RESUMED, 1), None);
        see(daemon, RAW, 9);
        assert_eq!(judged(daemon, RAW, 1).unwrap().action(), Action::Drop);
        assert_eq!(states(daemon), [(named(RAW), "active".into())]);

        // What was seen before needs no waiting, and what many have is told to be many people's.
        lift(daemon, Unblock::All).unwrap();
        let blocked = ask(daemon, block(&[&named(RAW)], OperatorAction::Drop)).unwrap();
        assert_eq!(blocked.waiting, 0);
        assert!(blocked.notes[0].contains("was seen from 9 or more networks"), "{blocked:?}");
        assert_eq!(judged(daemon, RAW, 1).unwrap().action(), Action::Drop);
    });
}

#[test]
fn the_stable_form_holds_for_first_and_later_hellos() {
    Site::run("ja4-stable", twin(), |_, daemon| {
        let stable = |text: &str| Block { stable: true, ..block(&[text], OperatorAction::Drop) };
        let failure = ask(daemon, stable(&named(RAW))).unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadRequest);
        assert!(failure.message.contains("give its JA4_r"), "{failure}");
        see(daemon, RAW, 1);
        ask(daemon, stable(&named(RAW))).unwrap();
        for text in [RAW, RESUMED] {
            assert_eq!(judged(daemon, text, 1).unwrap().action(), Action::Drop, "{text}");
        }
        let name = format!("stable:{}", raw(RESUMED).stable());
        assert_eq!(states(daemon), [(name.clone(), "active".into())]);
        assert_eq!(ask(daemon, stable(&format!("ja4_r:{RESUMED}"))).unwrap().replaced, 1);
        let by_hash = block(&[&name], OperatorAction::Allow);
        assert_eq!(ask(daemon, by_hash).unwrap().replaced, 1);
        assert_eq!(judged(daemon, RESUMED, 1).unwrap().action(), Action::Allow);
    });
}

#[test]
fn quic_is_the_daemons_business() {
    Site::run("ja4-quic", twin(), |_, daemon| {
        let text = RAW.replacen('t', "q", 1);
        let blocked = ask(daemon, block(&[&format!("ja4_r:{text}")], OperatorAction::Drop));
        assert!(blocked.unwrap().notes[0].contains("only the daemon can read"));
        assert_eq!(states(daemon)[0].1, "daemon");
        assert!(daemon.sensor.tables.is_empty());
        let now_ns = clock::monotonic_ns();
        let (ja4, stable) = (raw(&text).ja4(), raw(&text).stable());
        let found = daemon.ledger.lookup_fingerprint(&ja4, &stable, 1, now_ns);
        assert_eq!(found.unwrap().1.meaning.action, Action::Drop);
    });
}

#[test]
fn what_cannot_be_done_with_a_fingerprint_changes_nothing() {
    Site::run("ja4-wrong", twin(), |_, daemon| {
        let limited = block(&["192.0.2.7", &named(RAW)], OperatorAction::Limit);
        let failure = ask(daemon, limited).unwrap_err();
        assert!(failure.message.contains("known when its hello is complete"), "{failure}");
        let found = block(&["ja4-key:00000000000000ff"], OperatorAction::Drop);
        assert!(ask(daemon, found).unwrap_err().message.contains("it can be taken back"));
        assert!(daemon.ledger.list(clock::monotonic_ns()).next().is_none());
        assert!(daemon.sensor.tables.is_empty());
    });
}

#[test]
fn a_full_map_of_fingerprints_is_an_error_and_filled_when_there_is_room() {
    let mut full = twin();
    full.tables.capacities = Capacities { fingerprints: 1, ..Capacities::default() };
    Site::run("ja4-full", full, |_, daemon| {
        let lists = [format!("ja4_r:{RAW}"), format!("ja4_r:{RESUMED}")];
        let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
        let failure = ask(daemon, block(&lists, OperatorAction::Drop)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Full);
        assert!(
            failure.message.starts_with("FINGERPRINT_VERDICTS is full after 1 of 2 entries"),
            "{failure}"
        );
        let due = states(daemon).into_iter().filter(|(_, state)| state == "due").count();
        assert_eq!(due, 1);
        daemon.sensor.tables.capacities.fingerprints = 2;
        daemon.tick();
        assert!(judged(daemon, RAW, 1).is_some() && judged(daemon, RESUMED, 1).is_some());
    });
}

#[test]
fn a_restart_knows_fingerprints_by_name_and_new_maps_get_them() {
    let site = Site::new("ja4-restart");
    runtime().block_on(async {
        let (mut daemon, _streams, server) = site.prepare(twin()).unwrap();
        let waiting = named(RESUMED);
        let lists = [format!("ja4_r:{RAW}"), waiting.clone()];
        let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
        ask(&mut daemon, block(&lists, OperatorAction::Drop)).unwrap();
        let before = daemon.verdicts(None).unwrap().fingerprints;
        daemon.finish_store();
        let Daemon { sensor, chores, .. } = daemon;
        chores.finish();
        drop(server);

        let writes = sensor.tables.writes;
        let restarted = Twin { tables: sensor.tables, ..twin() };
        let (mut daemon, _streams, server) = site.prepare(restarted).unwrap();
        assert_eq!(daemon.sensor.tables.writes, writes, "nothing changed, so nothing is written");
        let told = |entries: &[crate::api::message::FingerprintEntry]| -> Vec<(String, String)> {
            let told = entries.iter();
            told.map(|e| (e.fingerprint.clone(), e.standing.reason.clone())).collect()
        };
        let after = daemon.verdicts(None).unwrap().fingerprints;
        assert_eq!(told(&before), told(&after));
        see(&mut daemon, RESUMED, 1);
        assert_eq!(judged(&daemon, RESUMED, 1).unwrap().action(), Action::Drop);
        daemon.finish_store();
        let Daemon { sensor, chores, .. } = daemon;
        chores.finish();
        drop(server);

        // Without the store, what is in the kernel stays there, and can be taken back.
        std::fs::remove_file(site.plan.paths.store_file()).unwrap();
        let restarted = Twin { tables: sensor.tables, ..twin() };
        let (mut daemon, _streams, server) = site.prepare(restarted).unwrap();
        let found = states(&daemon);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|(name, _)| name.starts_with("ja4-key:")), "{found:?}");
        ask(&mut daemon, block(&[&format!("ja4_r:{RAW}")], OperatorAction::Drop)).unwrap();
        assert_eq!(states(&daemon).len(), 2, "its name takes the place of its key");
        let these = list(&[&states(&daemon)[1].0, &states(&daemon)[0].0]);
        let unblocked = lift(&mut daemon, Unblock::These { list: these, stable: false }).unwrap();
        assert_eq!(unblocked.removed, 2);
        assert!(daemon.sensor.tables.is_empty());

        // Maps that are new, as after a reboot, have another secret: they get what was stored.
        ask(&mut daemon, block(&[&format!("ja4_r:{RAW}"), &waiting], OperatorAction::Drop))
            .unwrap();
        daemon.finish_store();
        let Daemon { chores, .. } = daemon;
        chores.finish();
        drop(server);
        let mut new = twin();
        new.tables.seed.add = 7;
        let (daemon, _streams, _server) = site.prepare(new).unwrap();
        assert_eq!(states(&daemon).len(), 2);
        assert_eq!(judged(&daemon, RAW, 1).unwrap().action(), Action::Drop);
    });
}

#[test]
fn a_syn_signature_cuts_nobody_off_by_accident() {
    const LINUX: &str = "tcp:4:64:0:*:mss*44,10:mss,sok,ts,nop,ws:df,id+:0";
    Site::run("syn", twin(), |_, daemon| {
        let operator = "203.0.113.9".parse().ok();
        let everywhere = Block { operator, ..block(&[LINUX], OperatorAction::Drop) };
        let failure = ask(daemon, everywhere.clone()).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("Name a service with --service, or first: weir block"));
        assert!(daemon.sensor.tables.is_empty());
        let shop = Block { service: Some("shop".into()), ..everywhere.clone() };
        ask(daemon, shop).unwrap();
        ask(daemon, block(&["203.0.113.9"], OperatorAction::Allow)).unwrap();
        assert_eq!(ask(daemon, everywhere).unwrap().replaced, 1);

        let limited = Block { rate_per_s: 5, ..block(&[LINUX], OperatorAction::Limit) };
        ask(daemon, limited).unwrap();
        let tables = &daemon.sensor.tables;
        let key = LINUX.trim_start_matches("tcp:").parse::<SynPattern>().unwrap().key(&tables.seed);
        let now = weir_common::abi::time::tick(clock::monotonic_ns());
        let class = tables.judge_subject(&Subject::Syn(key), 2, now).unwrap();
        assert_eq!((class.action(), class.reason()), (Action::Limit, Reason::LimitVerdict));
        assert_eq!(class.limit_interval_ns, 200_000_000);
        assert_eq!(states(daemon), [(LINUX.into(), "active".into())]);
        assert_eq!(lift(daemon, Unblock::All).unwrap().removed, 2);
        assert!(daemon.sensor.tables.is_empty());
    });
}

#[test]
fn a_declared_proxy_is_never_a_target() {
    let policy = POLICY.replace(
        "services: {shop: {tcp: [8080, 8443]},",
        "proxies: {lb: {from: [198.51.100.0/28], client: proxy-protocol}}\n\
         services: {shop: {tcp: [8080, 8443], behind: [lb]},",
    );
    Site::run("proxy", twin(), |site, daemon| {
        ask(daemon, block(&["198.51.100.7"], OperatorAction::Drop)).unwrap();
        assert_eq!(action(daemon, "198.51.100.7", 1), Some(Action::Drop));
        site.write_policy(&policy);
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        let proxies: Vec<String> =
            daemon.sensor.tables.proxies.iter().map(ToString::to_string).collect();
        assert_eq!(proxies, ["198.51.100.0/28"]);
        assert_ne!(action(daemon, "198.51.100.7", 1), Some(Action::Drop), "since it is a proxy");

        let failure = ask(daemon, block(&["198.51.100.8"], OperatorAction::Limit)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(
            failure.message.starts_with("198.51.100.8/32 belongs to the proxy `lb`, which many"),
            "{failure}"
        );
        ask(daemon, block(&["198.51.100.0/24"], OperatorAction::Drop)).unwrap();
        assert_eq!(action(daemon, "198.51.100.9", 1), Some(Action::Allow));
        assert_eq!(action(daemon, "198.51.100.16", 1), Some(Action::Drop));
        site.write_policy(POLICY);
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        assert_eq!(action(daemon, "198.51.100.9", 1), Some(Action::Drop), "it is none any more");
        assert!(daemon.sensor.tables.proxies.is_empty());
    });
}

#[test]
fn names_are_there_before_ports_refer_to_them_and_go_after() {
    let policy = POLICY.replace(
        "services: {shop: {tcp: [8080, 8443]},",
        "services: {shop: {tcp: [8080, 8443]}, login: {tcp: [8443], sni: [login.example.com]},",
    );
    Site::run("names", twin(), |site, daemon| {
        site.write_policy(&policy);
        // Guards, names, proxies, then services: the third write after the guards fails.
        daemon.sensor.tables.fails_after = Some(3);
        daemon.reload();
        assert!(daemon.reload_error.is_some());
        assert_eq!(daemon.sensor.tables.names.len(), 1, "names came first");
        assert!(daemon.sensor.tables.services.iter().all(|port| port.flags == 0));
        daemon.sensor.tables.fails_after = None;
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        let named: Vec<u16> = daemon
            .sensor
            .tables
            .services
            .iter()
            .filter(|port| port.flags != 0)
            .map(|port| port.port)
            .collect();
        assert_eq!(named, [8443]);
        site.write_policy(POLICY);
        // Names again before the services, so the same write fails.
        daemon.sensor.tables.fails_after = Some(4);
        daemon.reload();
        assert!(daemon.reload_error.is_some());
        assert_eq!(daemon.sensor.tables.names.len(), 1, "names go last");
        daemon.sensor.tables.fails_after = None;
        daemon.reload();
        assert_eq!(daemon.sensor.tables.names.len(), 0);
    });
}
