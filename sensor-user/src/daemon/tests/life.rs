//! Start, loop, reload, restart and end.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use weir_common::abi::{Action, Mode};

use super::{POLICY, Site, action, ask, block, connections, net, runtime, twin};
use crate::{
    api::{
        client::Client,
        message::{
            BlockQuery, DecisionsQuery, ModeName, OperatorAction, VerdictEntry, VerdictsQuery,
        },
    },
    daemon::{Daemon, kill, serve, twin::Twin},
};

#[test]
fn a_policy_with_a_mistake_leaves_the_last_good_one_in_force() {
    Site::run("reload", twin(), |site, daemon| {
        site.write_policy(&POLICY.replace("connections_10s", "conections_10s"));
        daemon.reload();
        let error = daemon.reload_error.clone().unwrap();
        assert!(error.contains("conections_10s"), "{error}");
        daemon.handle(&connections("192.0.2.7", 25));
        assert_eq!(action(daemon, "192.0.2.7", 1), Some(Action::Drop));

        let other = POLICY
            .replace(">= 20", ">= 3")
            .replace("ssh: {tcp: [22]}", "api: {tcp: [9]}")
            .replace("kind: Site\n", "kind: Site\nchanges: at-once\n");
        site.write_policy(&other);
        daemon.reload();
        assert_eq!(daemon.reload_error, None);
        daemon.handle(&connections("192.0.2.8", 4));
        assert_eq!(action(daemon, "192.0.2.8", 1), Some(Action::Drop), "`shop` is still 1");
        let ports: Vec<(u16, u8)> =
            daemon.sensor.tables.services.iter().map(|port| (port.port, port.service)).collect();
        assert!(ports.contains(&(8080, 1)) && ports.contains(&(9, 3)), "{ports:?}");
    });
}

#[test]
fn a_restart_takes_up_verdicts_and_their_reasons() {
    let site = Site::new("restart");
    let runtime = runtime();
    runtime.block_on(async {
        let (mut daemon, _events, server) = site.prepare(twin()).unwrap();
        daemon.handle(&connections("192.0.2.7", 25));
        ask(&mut daemon, block(&["198.51.100.0/24"], OperatorAction::Drop)).unwrap();
        let before = daemon.verdicts(None).unwrap().verdicts;
        daemon.finish_store();
        let Daemon { sensor, chores, .. } = daemon;
        chores.finish();
        drop(server);

        let restarted = Twin { tables: sensor.tables, ..twin() };
        let (mut daemon, _events, _server) = site.prepare(restarted).unwrap();
        let after = daemon.verdicts(None).unwrap().verdicts;
        let told = |verdicts: &[VerdictEntry]| -> Vec<(String, String)> {
            let told = verdicts.iter();
            told.map(|verdict| (verdict.prefix.to_string(), verdict.standing.reason.clone()))
                .collect()
        };
        assert_eq!(told(&before), told(&after));
        assert_eq!(before.len(), 2);
        daemon.handle(&connections("192.0.2.7", 25));
        assert_eq!(daemon.history.made(), 0, "what is in force is not decided again");
    });
}

#[test]
fn a_start_that_fails_half_way_is_rolled_back() {
    let mut site = Site::new("half-way");
    site.plan.interfaces = vec!["lo".into(), "eth9".into()];
    runtime().block_on(async {
        let broken = Twin { refuses: Some("eth9".into()), ..twin() };
        let rolled_back = Arc::clone(&broken.rolled_back);
        let error = site.prepare(broken).err().unwrap().to_string();
        assert!(error.contains("cannot attach to eth9"), "{error}");
        assert!(rolled_back.load(Ordering::Relaxed));
        assert!(!site.plan.paths.control_socket().exists());

        let mut broken = twin();
        broken.tables.fails_after = Some(0);
        let rolled_back = Arc::clone(&broken.rolled_back);
        assert!(site.prepare(broken).is_err());
        assert!(rolled_back.load(Ordering::Relaxed));
    });
}

#[test]
fn a_kill_switch_that_was_turned_on_is_on_after_a_start() {
    let site = Site::new("killed");
    kill::set(&site.plan.paths, true).unwrap();
    runtime().block_on(async {
        let (daemon, ..) = site.prepare(twin()).unwrap();
        assert!(daemon.sensor.is_killed);
        assert_eq!(daemon.effective_mode(), Mode::Off);
    });
}

/// The loop as it runs: events in, questions over the socket, reload and end by signal.
#[test]
fn the_loop_serves_until_it_is_told_to_end() {
    let site = Site::new("loop");
    runtime().block_on(async {
        let (twin, events) = Twin::with_events();
        let signals = serve::Signals::listen().unwrap();
        let (daemon, stream, server) = site.prepare(twin).unwrap();
        let socket = site.plan.paths.control_socket();
        let client = async {
            events.send(connections("192.0.2.7", 25)).await.unwrap();
            converse(&site, &Client::new(&socket)).await;
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        };
        let (ended, ()) = tokio::join!(serve::serve(daemon, stream, server, signals), client);
        ended.unwrap();
        assert!(!socket.exists());
        assert!(site.plan.paths.store_file().exists(), "for the next start");
    });
}

async fn converse(site: &Site, client: &Client) {
    let decisions = wait_for(async || {
        let decisions = client.decisions(&DecisionsQuery::default()).await.unwrap();
        (decisions.made > 0).then_some(decisions)
    })
    .await;
    assert_eq!(decisions.decisions[0].prefix, net("192.0.2.7/32"));
    let query = BlockQuery { for_s: Some(60), reason: "by hand".into(), ..BlockQuery::default() };
    let blocked = client.block(&query, "203.0.113.0/24\n".into()).await.unwrap();
    assert_eq!(blocked.entries, 1);
    let verdicts = client.verdicts(&VerdictsQuery::default()).await.unwrap().verdicts;
    assert_eq!(verdicts.len(), 2);

    let status = client.status().await.unwrap();
    assert_eq!((status.mode.effective, status.pid), (ModeName::Enforce, std::process::id()));
    assert_eq!((status.events.established, status.events.unreadable), (25, 3));
    assert_eq!((status.decisions, status.latency.samples), (1, 1));
    assert_eq!(status.programs[0].tag, "00ff123456789abc");
    assert_eq!(status.interfaces[0].ingress, "xdp-native");
    assert!(status.memory.resident_bytes > 0);
    let services: Vec<&str> =
        status.services.iter().map(|service| service.service.as_str()).collect();
    assert_eq!(services, ["shop", "ssh", "(unprotected)"]);

    site.write_policy("kind: Sight\n");
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).unwrap();
    wait_for(async || {
        let status = client.status().await.unwrap();
        status.policy.reload_error.filter(|error| error.contains("Sight"))
    })
    .await;
}

async fn wait_for<T>(mut question: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(answer) = question().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to pass in five seconds");
}
