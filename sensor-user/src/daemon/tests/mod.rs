//! The daemon as a whole, on the in-memory twin of the kernel: what the tests share.

mod brakes;
mod connections;
mod feeds;
mod fingerprints;
mod hellos;
mod keep;
mod life;
mod lookup;
mod modes;
mod readiness;
mod signals;
mod stages;
mod verdicts;

use std::{fs, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use ipnet::IpNet;
use tokio::sync::oneshot;
use weir_common::abi::{Action, Established, EventHeader, FlowKey, Protocol};

use super::{
    Daemon, Plan,
    sensor::{Preference, Streams},
    start,
    state::StateFiles,
    twin::Twin,
};
use crate::{
    api::{
        block_list::{BlockList, ListReader},
        command::{Block, Reply, Unblock},
        message::{Blocked, Failure, OperatorAction, Unblocked},
        thread::Doors,
    },
    event::Event,
    policy,
    system::{address, clock, paths::Paths},
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
                stage: crate::enforce::stage::Stage::Enforce,
                recording: None,
                require_sandbox: false,
            },
        };
        site.write_policy(POLICY);
        site
    }

    fn write_policy(&self, text: &str) {
        fs::write(&self.plan.policy, text).unwrap();
    }

    fn prepare(&self, twin: Twin) -> anyhow::Result<(Daemon<Twin>, Streams<Twin>, Doors)> {
        let files = StateFiles::new(&self.plan.paths, "boot".into());
        let policy = policy::load(&self.plan.policy, &files.service_ids()?)?;
        start::prepare(&self.plan, twin, Arc::new(policy), files)
    }

    /// Runs `test` on a daemon that nobody drives but the test.
    fn run(name: &str, twin: Twin, test: impl FnOnce(&Site, &mut Daemon<Twin>)) {
        let site = Self::new(name);
        runtime().block_on(async {
            let (mut daemon, _streams, _server) = site.prepare(twin).unwrap();
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

/// Addresses and fingerprints as an operator lists them.
fn list(whom: &[&str]) -> BlockList {
    let mut reader = ListReader::default();
    whom.iter().for_each(|text| reader.push(format!("{text}\n").as_bytes()));
    reader.finish().unwrap()
}

fn block(whom: &[&str], action: OperatorAction) -> Block {
    Block {
        list: list(whom),
        stable: false,
        term: Some(Duration::from_secs(600)),
        reason: "ticket 4711".into(),
        action,
        service: None,
        observe: false,
        rate_per_s: 1,
        heartbeat: None,
        operator: None,
    }
}

/// What an operator is answered.
fn ask(daemon: &mut Daemon<Twin>, block: Block) -> Result<Blocked, Failure> {
    let (reply, answer): (Reply<Blocked>, _) = oneshot::channel();
    daemon.block(block, reply);
    std::thread::spawn(|| answer.blocking_recv().unwrap()).join().unwrap()
}

/// Takes verdicts back; what an operator is answered.
fn lift(daemon: &mut Daemon<Twin>, unblock: Unblock) -> Result<Unblocked, Failure> {
    let (reply, answer): (Reply<Unblocked>, _) = oneshot::channel();
    daemon.unblock(unblock, reply);
    std::thread::spawn(|| answer.blocking_recv().unwrap()).join().unwrap()
}

fn action(daemon: &Daemon<Twin>, address: &str, service: u8) -> Option<Action> {
    let now = weir_common::abi::time::tick(clock::monotonic_ns());
    let class = daemon.sensor.tables.judge(address.parse::<IpAddr>().unwrap(), service, now);
    class.map(|class| class.action())
}
