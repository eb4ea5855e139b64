//! What is said over the sockets and in logs becomes events.

use std::{fs, io::Write, os::unix::net::UnixDatagram, time::Duration};

use weir_common::abi::{Action, FlowKey};

use super::{POLICY, Site, action, connections, runtime, twin};
use crate::{
    daemon::{Daemon, twin::Twin},
    event::{Event, Signal},
    signal::entity::Pseudonyms,
    system::{address, clock},
};

const SIGNALS: &str = "
logs: {access: {file: access.log, format: combined, service: ssh}}
signals:
  login_failed: {per: source, windows: [10m], distinct: account, match: {status: 401}}
  other: {per: [source, entity], windows: [1m]}
";

fn policy() -> String {
    POLICY.replacen("kind: Site\n", &format!("kind: Site{SIGNALS}"), 1)
}

fn say(site: &Site, message: &str) {
    let socket = UnixDatagram::unbound().unwrap();
    socket.send_to(message.as_bytes(), site.plan.paths.signal_datagrams()).unwrap();
}

/// The next signals, as the loop makes events of them.
async fn events(daemon: &mut Daemon<Twin>, count: usize) -> Vec<Signal> {
    let mut heard = Vec::new();
    while heard.len() < count {
        tokio::time::timeout(Duration::from_secs(10), daemon.signals.next(&mut heard))
            .await
            .expect("a signal within ten seconds");
    }
    let policy = std::sync::Arc::clone(daemon.engine.policy());
    let events = heard.iter().filter_map(|heard| daemon.signals.event(heard, &policy));
    events
        .map(|event| match event {
            Event::Signal(signal) => signal,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_declared_signal_is_an_event_with_client_kind_entity_and_service() {
    let site = Site::new("signal");
    site.write_policy(&policy());
    runtime().block_on(async {
        let (mut daemon, _streams, _server) = site.prepare(twin()).unwrap();
        daemon.handle(&connections("203.0.113.7", 2));
        let before_ns = clock::monotonic_ns();
        say(
            &site,
            r#"{"signal":"login_failed","address":"203.0.113.7","port":2,"account":"Ada","endpoint":"/login"}"#,
        );
        let pseudonyms = Pseudonyms::open(&site.plan.paths.entity_key()).unwrap();
        let found = events(&mut daemon, 1).await;
        let [signal] = found[..] else { panic!("{found:?}") };
        assert_eq!(
            signal,
            Signal {
                at_ns: signal.at_ns,
                client: address::words("203.0.113.7".parse().unwrap()),
                client_port: 2u16.to_be(),
                // Its connection was for `shop`.
                service: 1,
                // Behind the two that are built in.
                kind: 2,
                entity: pseudonyms.entity("ada"),
                endpoint: pseudonyms.endpoint("/login"),
            }
        );
        assert!((before_ns..=clock::monotonic_ns()).contains(&signal.at_ns));

        // A client whose connection nobody saw: the server says so, and no flow does.
        say(&site, r#"{"signal":"other","address":"203.0.113.8"}"#);
        say(&site, r#"{"signal":"lgin_failed","address":"203.0.113.8"}"#);
        say(&site, r#"{"signal":"challenge_failed","address":"203.0.113.8","service":"ssh"}"#);
        let found = events(&mut daemon, 2).await;
        let told: Vec<(u16, u8)> = found.iter().map(|it| (it.kind, it.service)).collect();
        assert_eq!(told, [(3, 0), (1, 2)]);
        let status = daemon.signals.status(daemon.engine.policy());
        assert_eq!((status.messages, status.heard, status.unjoined), (4, 3, 2));
        assert_eq!(status.refused.len(), 1);
        assert_eq!((status.refused[0].reason.as_str(), status.refused[0].count), ("undeclared", 1));
        let counts: Vec<(&str, u64)> =
            status.by_signal.iter().map(|it| (it.signal.as_str(), it.count)).collect();
        let expected =
            [("challenge_passed", 0), ("challenge_failed", 1), ("login_failed", 1), ("other", 1)];
        assert_eq!(counts, expected);
    });
}

#[test]
fn lines_of_a_log_are_events_and_a_reload_takes_names_and_logs_anew() {
    let site = Site::new("signal-log");
    site.write_policy(&policy());
    let log = site.root.join("access.log");
    fs::write(&log, "").unwrap();
    let append = |address: &str| {
        let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
        let time = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
        // Any line whose time can be read: the log is JSON after the reload.
        writeln!(file, r#"{{"remote_addr":"{address}","status":401,"time_iso8601":"{time}"}}"#)
            .unwrap();
    };
    runtime().block_on(async {
        let (mut daemon, _streams, _server) = site.prepare(twin()).unwrap();
        let refused = |daemon: &Daemon<Twin>| -> u64 {
            let status = daemon.signals.status(daemon.engine.policy());
            status.refused.iter().map(|refusal| refusal.count).sum()
        };
        wait(|| !daemon.signals.status(daemon.engine.policy()).logs.is_empty()).await;
        append("203.0.113.7");
        wait(|| refused(&daemon) == 1).await;
        let warnings = daemon.signals.status(daemon.engine.policy()).warnings();
        assert!(warnings[0].contains("compare its `format`"), "{warnings:?}");

        let json = policy().replace("combined", "json").replace("  other: {", "  a: {");
        let earlier =
            json.replacen("signals:\n", "signals:\n  new: {per: source, windows: [1m]}\n", 1);
        site.write_policy(&earlier);
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        append("203.0.113.9");
        let found = events(&mut daemon, 1).await;
        let [signal] = found[..] else { panic!("{found:?}") };
        assert_eq!(address::ip(&signal.client).to_string(), "203.0.113.9");
        assert_eq!((signal.kind, signal.service), (3, 2), "`new` stands before it now");

        // Whoever is heard of by a name that is gone meanwhile is passed over.
        say(&site, r#"{"signal":"new","address":"203.0.113.9"}"#);
        let mut heard = Vec::new();
        daemon.signals.next(&mut heard).await;
        site.write_policy(&json);
        daemon.reload();
        daemon.hear(&mut heard);
        let status = daemon.signals.status(daemon.engine.policy());
        assert!(status.refused.iter().any(|refusal| refusal.reason == "undeclared"), "{status:?}");
    });
}

#[test]
fn a_key_that_others_can_read_stops_the_start_and_not_a_reload() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::new("signal-key");
    let key = site.plan.paths.entity_key();
    runtime().block_on(async {
        let (mut daemon, _streams, _server) = site.prepare(twin()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        drop((daemon, _streams, _server));
        let error = site.prepare(twin()).err().unwrap().to_string();
        assert!(error.contains("others can read the key of pseudonyms"), "{error}");
    });
}

#[test]
fn the_state_directory_and_the_events_have_no_clear_text() {
    let site = Site::new("signal-clear");
    site.write_policy(&policy());
    runtime().block_on(async {
        let (mut daemon, _streams, _server) = site.prepare(twin()).unwrap();
        say(&site, r#"{"signal":"other","address":"203.0.113.7","account":"ada.lovelace"}"#);
        let mut heard = Vec::new();
        daemon.signals.next(&mut heard).await;
        assert!(!format!("{heard:?}").contains("lovelace"));
        daemon.hear(&mut heard);
        daemon.finish();
        for entry in fs::read_dir(&site.plan.paths.state_dir).unwrap() {
            let contents = fs::read(entry.unwrap().path()).unwrap();
            assert!(!String::from_utf8_lossy(&contents).contains("lovelace"));
        }
    });
}

async fn wait(mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain");
}

#[test]
fn a_flow_of_another_client_says_nothing() {
    let site = Site::new("signal-other");
    site.write_policy(&policy());
    runtime().block_on(async {
        let (mut daemon, _streams, _server) = site.prepare(twin()).unwrap();
        let established = connections("203.0.113.7", 1);
        let Event::Established(event) = established[0] else { panic!() };
        assert_ne!(event.key, FlowKey::default());
        daemon.handle(&established);
        say(&site, r#"{"signal":"other","address":"203.0.113.70","port":1}"#);
        assert_eq!(events(&mut daemon, 1).await[0].service, 0);
    });
}

#[test]
fn who_tries_many_accounts_is_dropped() {
    let site = Site::new("signal-stuffing");
    let rule = "source.login_failed_accounts_10m >= 5 && source.login_failed_10m >= 6";
    site.write_policy(&policy().replace("source.connections_10s >= 20", rule));
    runtime().block_on(async {
        let (mut daemon, _streams, _doors) = site.prepare(twin()).unwrap();
        for address in ["203.0.113.7", "203.0.113.8"] {
            daemon.handle(&connections(address, 1));
        }
        let mut heard = Vec::new();
        for turn in 0..8 {
            // One tries an account after the other, somebody else has forgotten a password.
            for (address, account) in [("203.0.113.7", turn), ("203.0.113.8", 0)] {
                let message = format!(
                    r#"{{"signal":"login_failed","address":"{address}","account":"user{account}"}}"#
                );
                say(&site, &message);
                daemon.signals.next(&mut heard).await;
                daemon.hear(&mut heard);
            }
        }
        assert_eq!(action(&daemon, "203.0.113.7", 1), Some(Action::Drop));
        assert_eq!(action(&daemon, "203.0.113.8", 1), None);
    });
}
