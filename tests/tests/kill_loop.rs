//! The daemon is killed again and again under load, at any moment, and sometimes the host goes down
//! with it: what was acknowledged is in force afterwards, what was lifted is not, and nothing that ended
//! is.
//!
//! `WEIR_KILLS` says how often (200 if it does not), `WEIR_KILLS_SEED` with which dice.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's setup fails loudly"
)]

use std::{
    collections::{BTreeMap, HashSet},
    env, fs,
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::Value;
use weir_common::abi::time;
use weir_lab::{
    clock::{monotonic_ns, sleep},
    net::{Family, Lab, Wire, run},
    packet::tcp,
    require_root,
    server::Server,
    weir::{Weir, demo_policy},
};
use weir_sensor::api::{
    client::Client,
    message::{BlockQuery, UnblockQuery},
};

/// Clients that block and unblock at the same time, each with addresses of its own.
const CLIENTS: u32 = 4;

/// One in so many kills takes the host down: the kernel's maps are gone, and the boot is another.
const REBOOT_EVERY: u32 = 8;

/// One in so many restarts is followed by a look at what packets really meet.
const KNOCK_EVERY: u32 = 10;

/// A start, on a machine that does much else.
const START: Duration = Duration::from_secs(60);

/// Ends in the kernel are rounded up to ticks, and clocks are read one after the other.
const SLACK_NS: u64 = 3 * time::TICK_NS;

#[test]
fn no_kill_loses_what_was_acknowledged_or_brings_back_what_was_lifted() {
    require_root!("no_kill_loses_what_was_acknowledged_or_brings_back_what_was_lifted");
    let number = |name: &str, usual: u32| -> u32 {
        env::var(name).map_or(usual, |text| text.parse().unwrap())
    };
    let kills = number("WEIR_KILLS", 200);
    let seed = number("WEIR_KILLS_SEED", 1);
    let lab = Lab::new().unwrap();
    let _server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let mut dice = Dice(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let clients: Vec<Operator> = (0..CLIENTS).map(|n| Operator::start(&lab, n, seed)).collect();
    let scanners = Scanners::start(&lab);
    let wire = lab.wire().unwrap();
    let mut boot = 0;
    let mut score = Score::default();
    let mut daemon = Daemon::start(&weir, boot);
    for kill in 1..=kills {
        daemon.wait(&weir);
        let at_work = dice.below(500);
        resume(&clients, true);
        sleep(Duration::from_millis(at_work));
        // Now and then in the middle of a start, too.
        daemon.kill();
        if dice.below(5) == 0 {
            daemon = Daemon::start(&weir, boot);
            sleep(Duration::from_millis(dice.below(400)));
            daemon.kill();
            score.kills += 1;
        }
        resume(&clients, false);
        score.kills += 1;
        let before = exact(&lab);
        // A release build believes no pretended boot.
        let goes_down = kill % REBOOT_EVERY == 0 && !weir.is_optimised();
        if goes_down {
            boot += 1;
            score.reboots += 1;
            weir.ask(&["detach"]).unwrap();
        }
        daemon = Daemon::start(&weir, boot);
        daemon.wait(&weir);
        let told: Vec<Told> = clients.iter().flat_map(Operator::settled).collect();
        score.check(&lab, &told, if goes_down { &[] } else { &before });
        if kill % KNOCK_EVERY == 0 {
            score.knock(&lab, &wire, &told);
        }
        score.print_if(kill % 25 == 0);
    }
    daemon.kill();
    let (rules, acknowledged): (u64, (u64, u64)) = (
        scanners.stop(),
        clients
            .into_iter()
            .map(Operator::stop)
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)),
    );
    (score.blocks, score.lifts) = acknowledged;
    score.print();
    println!("scans that rules decided about while it went on: {rules}");
    assert!(score.kills >= kills && score.blocks > u64::from(kills), "too little happened");
    assert!(score.lifts > u64::from(kills) / 4, "too little was lifted");
    assert!(score.rules_seen > 0, "no rule's verdict was ever in the kernel");
    assert_eq!((score.lost, score.resurrected, score.expired), (0, 0, 0), "{:?}", score.examples);
    assert_eq!(score.rules_lost, 0, "{:?}", score.examples);
}

/// What an operator was told of an address, and when.
#[derive(Clone, Debug)]
enum Told {
    /// It is blocked: surely until then, and surely not after that; ns of this clock.
    Blocked { address: Ipv4Addr, until_ns: Option<(u64, u64)> },
    /// It is lifted.
    Lifted { address: Ipv4Addr },
}

#[derive(Default)]
struct Score {
    kills: u32,
    reboots: u32,
    blocks: u64,
    lifts: u64,
    checked: u64,
    knocked: u64,
    rules_seen: u64,
    lost: u64,
    resurrected: u64,
    expired: u64,
    rules_lost: u64,
    examples: Vec<String>,
}

impl Score {
    /// Looks at the kernel's own map, not at what the daemon says of it.
    fn check(&mut self, lab: &Lab, told: &[Told], before: &[(Ipv4Addr, u32)]) {
        let began_ns = monotonic_ns();
        let now: BTreeMap<Ipv4Addr, u32> = exact(lab).into_iter().collect();
        let ended_ns = monotonic_ns();
        let is_live = |address: &Ipv4Addr| {
            let end = now.get(address);
            end.is_some_and(|end| *end == 0 || *end > time::tick(ended_ns))
        };
        for told in told {
            self.checked += 1;
            match told {
                Told::Lifted { address } if is_live(address) => {
                    self.resurrected += 1;
                    self.examples.push(format!("resurrected: {address}"));
                }
                Told::Lifted { .. } => {}
                Told::Blocked { address, until_ns } => {
                    let surely = until_ns.is_none_or(|(early, _)| ended_ns + SLACK_NS < early);
                    let no_more = until_ns.is_some_and(|(_, late)| began_ns > late + SLACK_NS);
                    if surely && !is_live(address) {
                        self.lost += 1;
                        self.examples.push(format!("lost: {told:?} {:?}", now.get(address)));
                    }
                    if no_more && is_live(address) {
                        self.expired += 1;
                        self.examples.push(format!("expired: {told:?} {:?}", now.get(address)));
                    }
                }
            }
        }
        // A rule's verdict that was in the kernel when the daemon died is in it still.
        for (address, end) in before.iter().filter(|(address, _)| is_scanner(*address)) {
            self.rules_seen += 1;
            if *end > time::tick(ended_ns) + 3 && !is_live(address) {
                self.rules_lost += 1;
                self.examples.push(format!("a rule's verdict is lost: {address} until {end}"));
            }
        }
        self.examples.truncate(20);
    }

    /// What is blocked is not answered, and what is lifted is.
    fn knock(&mut self, lab: &Lab, wire: &Wire, told: &[Told]) {
        let (mut blocked, mut lifted) = (Vec::new(), Vec::new());
        for told in told.iter().rev() {
            match told {
                Told::Blocked { address, until_ns: None } if blocked.len() < 30 => {
                    blocked.push(*address);
                }
                Told::Lifted { address } if lifted.len() < 10 => lifted.push(*address),
                _ => {}
            }
        }
        let port = 1024 + u16::try_from(self.kills % 30_000).unwrap();
        let api = lab.link().api(Family::V4);
        wire.forget().unwrap();
        for source in blocked.iter().chain(&lifted) {
            let from = SocketAddr::from((*source, port));
            wire.send(&tcp(from, api).syn().seq(1).linux_options().build()).unwrap();
        }
        let heard = wire.collect_tcp(Duration::from_millis(400)).unwrap();
        let answered: HashSet<IpAddr> = heard.iter().map(|segment| segment.to.ip()).collect();
        self.knocked += (blocked.len() + lifted.len()) as u64;
        for address in blocked.iter().filter(|it| answered.contains(&IpAddr::from(**it))) {
            self.lost += 1;
            self.examples.push(format!("{address} is blocked, and answered"));
        }
        for address in lifted.iter().filter(|it| !answered.contains(&IpAddr::from(**it))) {
            self.resurrected += 1;
            self.examples.push(format!("{address} is lifted, and not answered"));
        }
    }

    fn print_if(&self, is_time: bool) {
        if is_time {
            let Self { kills, checked, lost, resurrected, expired, .. } = self;
            println!(
                "{kills} kills, {checked} checks: {lost} lost, {resurrected} resurrected, {expired} \
                 expired and enforced"
            );
        }
    }

    fn print(&self) {
        println!(
            "| kills | of these with a reboot | acknowledged verdicts | acknowledged lifts | checks in the kernel's map | packets | lost | resurrected | expired but enforced |"
        );
        println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.kills,
            self.reboots,
            self.blocks,
            self.lifts,
            self.checked,
            self.knocked,
            self.lost,
            self.resurrected,
            self.expired
        );
        println!(
            "rules' verdicts that were in the kernel at a kill: {}, lost: {}",
            self.rules_seen, self.rules_lost
        );
    }
}

/// Addresses with a verdict of their own in the kernel, and the tick that each ends at.
fn exact(lab: &Lab) -> Vec<(Ipv4Addr, u32)> {
    let pin = pinned(&lab.bpffs().join("weir"));
    let mut command = lab.edge().command("bpftool");
    let text = run(command.args(["-j", "map", "dump", "pinned"]).arg(pin), "").unwrap();
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
    let bytes = |value: &Value| -> Vec<u8> {
        let bytes = value.as_array().unwrap().iter();
        let hex = |byte: &Value| byte.as_str().unwrap().trim_start_matches("0x").to_owned();
        bytes.map(|byte| u8::from_str_radix(&hex(byte), 16).unwrap()).collect()
    };
    let entry = |entry: &Value| {
        let key: [u8; 4] = bytes(&entry["key"]).try_into().unwrap();
        let value = bytes(&entry["value"]);
        let end: [u8; 4] = value[4..8].try_into().unwrap();
        (Ipv4Addr::from(key), u32::from_ne_bytes(end))
    };
    entries.iter().map(entry).collect()
}

/// The map of exact IPv4 verdicts, of whatever version.
fn pinned(root: &Path) -> PathBuf {
    let versions = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let maps = versions.map(|version| version.join("maps/V4_EXACT"));
    maps.into_iter().find(|map| map.exists()).unwrap_or_else(|| panic!("no V4_EXACT in {root:?}"))
}

/// A daemon that is killed before it can say goodbye.
struct Daemon(Child);

impl Daemon {
    fn start(weir: &Weir<'_>, boot: u32) -> Self {
        let log = weir.lab().directory().join("weir.log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = weir.command(["run", "--stage", "enforce", "--interface"]);
        command.arg(weir.lab().link().edge_interface).arg("--policy").arg(demo_policy());
        command.env("WEIR_BOOT_ID", format!("boot-{boot}"));
        command.stdout(Stdio::null()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// Waits until it answers.
    fn wait(&mut self, weir: &Weir<'_>) {
        let client = Client::new(&weir.lab().run_dir().join("control.sock"));
        let runtime = runtime();
        let deadline = Instant::now() + START;
        loop {
            let status = runtime.block_on(client.status());
            if status.is_ok_and(|status| status.pid == self.0.id()) {
                return;
            }
            let log = || fs::read_to_string(weir.lab().directory().join("weir.log")).unwrap();
            if let Some(ended) = self.0.try_wait().unwrap() {
                panic!("weir run ended with {ended}: {}", log());
            }
            assert!(Instant::now() < deadline, "it does not answer: {}", log());
            sleep(Duration::from_millis(5));
        }
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An operator who blocks and unblocks all the time, and notes what he is told.
struct Operator {
    state: Arc<State>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    // What he was told last of each address; nothing of those whose answer never came.
    told: Mutex<BTreeMap<Ipv4Addr, Told>>,
    blocks: AtomicU64,
    lifts: AtomicU64,
    works: AtomicBool,
    is_idle: AtomicBool,
    ends: AtomicBool,
}

fn resume(clients: &[Operator], works: bool) {
    for client in clients {
        client.state.works.store(works, Relaxed);
        client.state.is_idle.store(false, Relaxed);
    }
    // What is under way ends with the daemon, and is settled then.
    while !works && !clients.iter().all(|client| client.state.is_idle.load(Relaxed)) {
        sleep(Duration::from_millis(1));
    }
}

impl Operator {
    fn start(lab: &Lab, number: u32, seed: u32) -> Self {
        let state = Arc::<State>::default();
        let of_thread = Arc::clone(&state);
        let socket = lab.run_dir().join("control.sock");
        let dice = Dice(u64::from(seed ^ 0x5bd1_e995).wrapping_mul(u64::from(number) * 2 + 1) | 1);
        let thread = std::thread::spawn(move || {
            let runtime = runtime();
            runtime.block_on(work(&of_thread, &Client::new(&socket), number, dice));
        });
        Self { state, thread }
    }

    fn settled(&self) -> Vec<Told> {
        self.state.told.lock().unwrap().values().cloned().collect()
    }

    fn stop(self) -> (u64, u64) {
        self.state.ends.store(true, Relaxed);
        self.thread.join().unwrap();
        (self.state.blocks.load(Relaxed), self.state.lifts.load(Relaxed))
    }
}

async fn work(state: &State, client: &Client, number: u32, mut dice: Dice) {
    let mut next = 0;
    while !state.ends.load(Relaxed) {
        if !state.works.load(Relaxed) {
            state.is_idle.store(true, Relaxed);
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        let known: Vec<Ipv4Addr> = {
            let told = state.told.lock().unwrap();
            let blocked = told.values().filter_map(|told| match told {
                Told::Blocked { address, .. } => Some(*address),
                Told::Lifted { .. } => None,
            });
            blocked.collect()
        };
        let is_lift = !known.is_empty() && dice.below(100) < 40;
        let done = if is_lift {
            let address = known[usize::try_from(dice.below(known.len() as u64)).unwrap()];
            unblock(state, client, address).await
        } else {
            next += 1;
            // 10.<client>.x.y; now and then one that was lifted or replaced before.
            let host = if next > 50 && dice.below(4) == 0 { next - 40 } else { next };
            let address = Ipv4Addr::from_bits(0x0a00_0000 + (number << 16) + host);
            let term_s = [None, Some(1), Some(2), Some(600)][dice.below(4) as usize];
            block(state, client, address, term_s).await
        };
        if !done {
            // Nobody is there.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }
}

async fn block(state: &State, client: &Client, address: Ipv4Addr, for_s: Option<u64>) -> bool {
    // Until the answer comes, nothing is known of it.
    state.told.lock().unwrap().remove(&address);
    let query = BlockQuery { for_s, reason: "kill loop".into(), ..BlockQuery::default() };
    let asked_ns = monotonic_ns();
    let answer = client.block(&query, format!("{address}\n").into()).await;
    let answered_ns = monotonic_ns();
    let Ok(blocked) = answer else { return false };
    assert_eq!(blocked.notes, Vec::<String>::new(), "it is stored");
    let until_ns = for_s.map(|s| {
        let term_ns = s * time::SECOND_NS;
        (asked_ns + term_ns, answered_ns + term_ns)
    });
    let told = Told::Blocked { address, until_ns };
    state.told.lock().unwrap().insert(address, told);
    state.blocks.fetch_add(1, Relaxed);
    true
}

async fn unblock(state: &State, client: &Client, address: Ipv4Addr) -> bool {
    state.told.lock().unwrap().remove(&address);
    let answer = client.unblock(&UnblockQuery::default(), format!("{address}\n").into()).await;
    if answer.is_err() {
        return false;
    }
    state.told.lock().unwrap().insert(address, Told::Lifted { address });
    state.lifts.fetch_add(1, Relaxed);
    true
}

/// Sources that scan ports, about which a rule decides.
struct Scanners {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

/// 172.16.0.0/12 is theirs.
fn is_scanner(address: Ipv4Addr) -> bool {
    address.octets()[0] == 172
}

impl Scanners {
    fn start(lab: &Lab) -> Self {
        let wire = lab.wire().unwrap();
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let IpAddr::V4(target) = lab.link().api(Family::V4).ip() else { panic!("not IPv4") };
        let thread = std::thread::spawn(move || {
            let mut scans = 0_u64;
            while !stopped.load(Relaxed) {
                let source = Ipv4Addr::from_bits(0xac10_0000 + u32::try_from(scans).unwrap());
                for port in 0..24_u16 {
                    let (from, to) = ((source, 40_000 + port), (target, 2000 + port));
                    let syn = tcp(SocketAddr::from(from), SocketAddr::from(to)).syn().seq(1);
                    wire.send(&syn.linux_options().build()).unwrap();
                }
                scans += 1;
                sleep(Duration::from_millis(20));
            }
            scans
        });
        Self { stop, thread }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

/// The same numbers for the same seed (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
