//! The daemon as a whole, on the in-memory twin of the kernel.

use std::{
    fs,
    io::{ErrorKind, Read},
    net::{IpAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ipnet::IpNet;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use tokio::sync::oneshot;
use weir_common::abi::{Action, Established, EventHeader, FlowKey, Mode, Protocol};

use super::{
    Daemon, Plan, kill,
    sensor::Preference,
    serve, start,
    state::StateFiles,
    twin::{Twin, TwinStream},
};
use crate::{
    api::{
        client::Client,
        command::{Block, Reply, Unblock},
        message::{
            BlockQuery, Blocked, DecisionsQuery, Failure, FailureKind, ModeName, OperatorAction,
            VerdictsQuery,
        },
        server::Server,
    },
    enforce::memory::Capacities,
    event::Event,
    policy,
    system::{address, clock, netns::private, paths::Paths},
};

const POLICY: &str = "
kind: Site
services: {shop: {tcp: [8080, 8443]}, ssh: {tcp: [22]}}
ladders:
  default:
    - {at: 50, action: drop, for: 10m}
---
kind: Policy
metadata: {name: shop}
applies: [shop]
mode: enforce
rules:
  - name: hammering
    owasp: [OAT-008]
    points: 60
    when: source.connections_10s >= 20
";

/// A daemon's directories and policy file; removed when it goes.
struct Site {
    root: PathBuf,
    plan: Plan,
}

impl Site {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("weir-daemon-{name}-{}", std::process::id()));
        let paths = Paths {
            bpffs: root.join("bpf"),
            state_dir: root.join("state"),
            run_dir: root.join("run"),
        };
        let policy = root.join("policy.yaml");
        fs::create_dir_all(&root).unwrap();
        let site = Self {
            root,
            plan: Plan {
                paths,
                interfaces: vec!["lo".into()],
                preference: Preference::Auto,
                policy,
            },
        };
        site.write_policy(POLICY);
        site
    }

    fn write_policy(&self, text: &str) {
        fs::write(&self.plan.policy, text).unwrap();
    }

    fn prepare(&self, twin: Twin) -> anyhow::Result<(Daemon<Twin>, TwinStream, Server)> {
        let files = StateFiles::new(&self.plan.paths, "boot".into());
        let policy = policy::load(&self.plan.policy, &files.service_ids()?)?;
        start::prepare(&self.plan, twin, Arc::new(policy), files)
    }

    /// Runs `test` on a daemon that nobody drives but the test.
    fn run(name: &str, twin: Twin, test: impl FnOnce(&Site, &mut Daemon<Twin>)) {
        let site = Self::new(name);
        runtime().block_on(async {
            let (mut daemon, _events, _server) = site.prepare(twin).unwrap();
            test(&site, &mut daemon);
        });
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn twin() -> Twin {
    Twin::with_events().0
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// So many connections of one source at once, to a port of the service `shop`.
fn connections(address: &str, count: u16) -> Vec<Event> {
    let at_ns = clock::monotonic_ns();
    (1..=count)
        .map(|number| {
            Event::Established(Established {
                header: EventHeader { at_ns, service: 1, ..EventHeader::default() },
                key: FlowKey {
                    remote: address::words(address.parse().unwrap()),
                    local: address::words("198.51.100.1".parse().unwrap()),
                    remote_port: number.to_be(),
                    local_port: 8080u16.to_be(),
                    protocol: Protocol::Tcp as u32,
                },
                connections: u32::from(number),
                connections_10s: u32::from(number),
                ..Established::default()
            })
        })
        .collect()
}

fn block(prefixes: &[&str], action: OperatorAction) -> Block {
    Block {
        prefixes: prefixes.iter().map(|text| net(text)).collect(),
        term: Some(Duration::from_secs(600)),
        reason: "ticket 4711".into(),
        action,
        service: None,
        observe: false,
        rate_per_s: 1,
        operator: None,
    }
}

/// What an operator is answered.
fn ask(daemon: &mut Daemon<Twin>, block: Block) -> Result<Blocked, Failure> {
    let (reply, answer): (Reply<Blocked>, _) = oneshot::channel();
    daemon.block(block, reply);
    std::thread::spawn(|| answer.blocking_recv().unwrap()).join().unwrap()
}

fn action(daemon: &Daemon<Twin>, address: &str, service: u8) -> Option<Action> {
    let now = weir_common::abi::time::tick(clock::monotonic_ns());
    let class = daemon.sensor.tables.judge(address.parse::<IpAddr>().unwrap(), service, now);
    class.map(|class| class.action())
}

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
        assert_eq!((decision.prefix, decision.score), (net("192.0.2.7/32"), 60));
        assert_eq!((decision.services.as_slice(), decision.for_s), (&["shop".into()][..], 600.0));
        assert_eq!(decision.owasp, ["OAT-008"]);
        assert_eq!(decision.factors.iter().map(|factor| factor.points).sum::<i32>(), 60);
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
        assert_eq!((&*listed[0].reason, &*listed[0].state), ("ticket 4711", "active"));
        assert!((599..=600).contains(&listed[0].expires_in_s.unwrap()));

        let again = ask(daemon, block(&["192.0.2.7/32"], OperatorAction::Reject)).unwrap();
        assert_eq!(again.replaced, 1);
        let lists = vec![net("192.0.2.7/32"), net("203.0.113.1/32")];
        let unblocked = daemon.unblock(Unblock::Prefixes(lists)).unwrap();
        assert_eq!((unblocked.removed, unblocked.unknown), (1, 1));
        assert_eq!(action(daemon, "192.0.2.7", 0), None);
        assert_eq!(daemon.unblock(Unblock::All).unwrap().removed, 2);
        assert_eq!(daemon.verdicts(None).unwrap().verdicts, []);
    });
}

#[test]
fn a_verdict_ends_the_connections_that_it_is_for_and_no_others() {
    private(|| {
        Site::run("ends", twin(), |_, daemon| {
            let shop = TcpListener::bind("127.0.0.1:8080").unwrap();
            let ssh = TcpListener::bind("127.0.0.1:22").unwrap();
            let (_c1, mut bot_at_shop) = connection(&shop, [127, 0, 0, 2]);
            let (_c2, mut bot_at_ssh) = connection(&ssh, [127, 0, 0, 2]);
            let (_c3, mut other) = connection(&shop, [127, 0, 0, 3]);

            daemon.handle(&connections("127.0.0.2", 25));
            assert!(is_ended(&mut bot_at_shop));
            assert!(!is_ended(&mut bot_at_ssh), "the policy is for another service");
            assert!(!is_ended(&mut other));

            ask(daemon, block(&["127.0.0.3/32"], OperatorAction::Allow)).unwrap();
            let observed = Block { observe: true, ..block(&["127.0.0.0/8"], OperatorAction::Drop) };
            assert_eq!(ask(daemon, observed).unwrap().connections_ended, 0);
            let blocked = ask(daemon, block(&["127.0.0.0/8"], OperatorAction::Drop)).unwrap();
            assert_eq!(blocked.connections_ended, 1);
            assert!(is_ended(&mut bot_at_ssh));
            assert!(!is_ended(&mut other), "an allow spares it");
        });
    });
}

/// A connection to a listener from an address of this host's choice, both ends.
fn connection(listener: &TcpListener, from: [u8; 4]) -> (TcpStream, TcpStream) {
    let flags = SockFlag::SOCK_CLOEXEC;
    let client = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    let [a, b, c, d] = from;
    bind(client.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    connect(client.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
    let (server, _) = listener.accept().unwrap();
    (TcpStream::from(client), server)
}

/// Whether the server's end of a connection is ended within half a second.
fn is_ended(server: &mut TcpStream) -> bool {
    server.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let error = server.read(&mut [0; 1]).unwrap_err();
    error.kind() == ErrorKind::ConnectionAborted
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
    full.tables.capacities = Capacities { exact: 2, prefixes: 10 };
    Site::run("full", full, |_, daemon| {
        let four = ["203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32", "203.0.113.4/32"];
        let failure = ask(daemon, block(&four, OperatorAction::Drop)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Full);
        assert!(failure.message.starts_with("V4_EXACT is full after 2 of 4 entries"), "{failure}");
        let status = daemon.status(&Twin::with_events().0.stream.unwrap()).unwrap();
        assert!(status.warnings.iter().any(|warning| warning.contains("V4_EXACT is full")));
        daemon.sensor.tables.capacities.exact = 10;
        daemon.tick();
        assert_eq!(action(daemon, "203.0.113.4", 0), Some(Action::Drop));
        assert_eq!(daemon.kernel_error, None);
    });
}

#[test]
fn a_policy_with_a_mistake_leaves_the_last_good_one_in_force() {
    Site::run("reload", twin(), |site, daemon| {
        site.write_policy(&POLICY.replace("connections_10s", "conections_10s"));
        daemon.reload();
        let error = daemon.reload_error.clone().unwrap();
        assert!(error.contains("conections_10s"), "{error}");
        daemon.handle(&connections("192.0.2.7", 25));
        assert_eq!(action(daemon, "192.0.2.7", 1), Some(Action::Drop));

        let other = POLICY.replace(">= 20", ">= 3").replace("ssh: {tcp: [22]}", "api: {tcp: [9]}");
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
        daemon.keep_memo();
        let Daemon { sensor, chores, .. } = daemon;
        chores.finish();
        drop(server);

        let restarted = Twin { tables: sensor.tables, ..twin() };
        let (mut daemon, _events, _server) = site.prepare(restarted).unwrap();
        let after = daemon.verdicts(None).unwrap().verdicts;
        let told = |verdicts: &[crate::api::message::VerdictEntry]| -> Vec<(String, String)> {
            let told = verdicts.iter();
            told.map(|verdict| (verdict.prefix.to_string(), verdict.reason.clone())).collect()
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
        assert!(site.plan.paths.ledger_file().exists(), "for the next start");
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
