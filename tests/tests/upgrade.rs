//! From one ABI version to another and back, under traffic, with kills at any moment: nobody who is blocked
//! gets through, nobody who is honest loses a connection, and nothing of the version before stays.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use weir_lab::{
    actors::{Client, Session, visit},
    clock::{sleep, wait_until},
    net::{Captured, Direction, Family, Lab, Recorder, Wire, run},
    packet::{TcpFlags, read, tcp},
    require_root,
    server::Server,
    weir::{Daemon, Weir, demo_policy},
};

const BOT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const PATIENCE: Duration = Duration::from_secs(10);
/// Open connections of honest clients, each from an address of its own.
const OPEN: u8 = 6;
/// Cut-off starts before each version comes to run.
const CUT_OFF: u32 = 4;
/// This version, and one that only a debug build takes for another.
const VERSIONS: [u32; 2] = [3, 4];

#[test]
fn versions_replace_each_other_without_a_gap_whenever_they_are_killed() {
    require_root!("versions_replace_each_other_without_a_gap_whenever_they_are_killed");
    let mut kills = 0;
    println!(
        "{:<12} {:>8} {:>6} {:>9} {:>8} {:>8} {:>8} {:>7} {:>7} {:>7} {:>10}",
        "hook",
        "versions",
        "kills",
        "in swap",
        "blocked",
        "through",
        "asked",
        "broken",
        "visits",
        "failed",
        "slowest ms"
    );
    for mode in ["xdp", "xdp-generic", "tc"] {
        kills += story(mode);
    }
    assert!(kills >= 30, "only {kills} kills");
}

/// Up, down and up again, with starts of both versions cut off before each. Returns the kills.
fn story(mode: &str) -> u32 {
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let weirs = VERSIONS.map(|version| Weir::in_lab(&lab).unwrap().of_version(version));
    let edge = lab.link().edge_interface;
    let options = ["--mode", mode];
    let begin = |weir: &Weir<'_>| -> Child {
        let child = weir
            .command(["run", "--interface", edge, "--policy"])
            .arg(demo_policy())
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        child.unwrap()
    };
    let mut random = Random(0x5eed_cafe ^ mode.len() as u64);
    let began = Instant::now();
    let mut daemon = weirs[0].run_with(&[edge], &demo_policy(), &options).unwrap();
    let whole = began.elapsed();

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let answers =
            Recorder::start(lab.clients(), lab.link().clients_interface, 2_000_000).unwrap();
        let knocking = Knocking::start(&lab);
        wait_until("the bot knocked", PATIENCE, || Ok(knocking.count() > 100)).unwrap();
        weirs[0].ask(&["block", &BOT.to_string(), "--for", "1h", "--reason", "knocks"]).unwrap();
        sleep(Duration::from_millis(200));
        let blocked_at = weir_lab::clock::monotonic_ns();
        let (lab, server, stop) = (&lab, &server, &stop);
        let talks: Vec<_> =
            (0..OPEN).map(|n| scope.spawn(move || talk(lab, server, n, stop))).collect();
        let visits = scope.spawn(move || come_again(lab, server, stop));

        let (mut kills, mut in_swap) = (0, 0);
        for target in [1, 0, 1] {
            let old = 1 - target;
            daemon.kill().unwrap();
            kills += 1;
            let programs = programs_of(lab, VERSIONS[old]);
            let knocks = knocking.count();
            for round in 0..CUT_OFF {
                // Mostly the one that is to come, now and then the one that was.
                let which = if round % 3 == 2 { old } else { target };
                let mut child = begin(&weirs[which]);
                if round % 2 == 0 {
                    sleep(whole.mul_f64(random.unit()));
                } else {
                    // In the short time in which one takes the place of the other.
                    let deadline = Instant::now() + 3 * whole + Duration::from_secs(2);
                    while !is_replacing(lab, VERSIONS[which]) && Instant::now() < deadline {
                        sleep(Duration::from_micros(100));
                    }
                    sleep(Duration::from_micros((random.unit() * 30_000.0) as u64));
                    in_swap += 1;
                }
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
            daemon = weirs[target].run_with(&[edge], &demo_policy(), &options).unwrap();
            wait_until("the bot knocks on", PATIENCE, || Ok(knocking.count() > knocks + 100))
                .unwrap();
            // Nothing is left of the version before.
            assert_eq!(
                folders(lab),
                [format!("v{}", VERSIONS[target])],
                "{mode}: {}",
                daemon.log()
            );
            wait_until("the programs of the version before are gone", PATIENCE, || {
                Ok(!programs.iter().any(|id| is_loaded(lab, *id)))
            })
            .unwrap();
            assert_blocked(&daemon);
        }

        stop.store(true, Relaxed);
        let (mut asked, mut broken) = (0, Vec::new());
        for talk in talks {
            let talked = talk.join().unwrap();
            asked += talked.served;
            broken.extend(talked.broken);
        }
        let visited = visits.join().unwrap();
        let sent = knocking.stop();
        let late = packets_to_bot(&answers.stop().unwrap(), blocked_at);
        println!(
            "{mode:<12} {:>8} {kills:>6} {in_swap:>9} {sent:>8} {:>8} {asked:>8} {:>7} {:>7} {:>7} {:>10}",
            "3-4-3-4",
            late.len(),
            broken.len(),
            visited.served,
            visited.broken.len(),
            visited.slowest.as_millis()
        );
        assert!(asked > 0 && visited.served > 0, "{mode}: nobody honest was there");
        assert_eq!(broken, Vec::<String>::new(), "{mode}: open connections broke");
        assert_eq!(visited.broken, Vec::<String>::new(), "{mode}: visits failed");
        assert_eq!(
            late.len(),
            0,
            "{mode}: {} knocks of a blocked source were answered",
            late.len()
        );
        kills
    })
}

/// What became of honest clients.
#[derive(Default)]
struct Served {
    served: u64,
    broken: Vec<String>,
    slowest: Duration,
}

/// A connection that stays open, and asks again and again.
fn talk(lab: &Lab, server: &Server, n: u8, stop: &AtomicBool) -> Served {
    let mut served = Served::default();
    let from = IpAddr::from([203, 0, 113, 100 + n]);
    let client = Client::new(server.trust(), from, PATIENCE).unwrap();
    let mut session = Session::of(lab, &client, lab.link().shop(Family::V4)).unwrap();
    while !stop.load(Relaxed) {
        match session.ask() {
            Ok(()) => served.served += 1,
            Err(error) => {
                served.broken.push(format!("{from}: {error:#}"));
                break;
            }
        }
        sleep(Duration::from_millis(if n.is_multiple_of(2) { 150 } else { 900 }));
    }
    served
}

/// Visits one after the other, by turns from two addresses.
fn come_again(lab: &Lab, server: &Server, stop: &AtomicBool) -> Served {
    let mut served = Served::default();
    while !stop.load(Relaxed) {
        let from = IpAddr::from([203, 0, 113, 120 + (served.served % 2) as u8]);
        match visit(lab, server, from, PATIENCE) {
            Ok(took) => {
                served.served += 1;
                served.slowest = served.slowest.max(took);
            }
            Err(error) => served.broken.push(format!("{error:#}")),
        }
        sleep(Duration::from_millis(300));
    }
    served
}

fn assert_blocked(daemon: &Daemon<'_>) {
    let verdicts = daemon.weir().verdicts().unwrap();
    let actions: Vec<_> =
        verdicts.of(BOT.into()).map(|it| (it.action.as_str(), it.reason.as_str())).collect();
    assert_eq!(actions, [("drop", "knocks")], "{}", daemon.log());
}

fn root(lab: &Lab) -> PathBuf {
    lab.bpffs().join("weir")
}

/// Folders of versions.
fn folders(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(root(lab)).unwrap().map(|it| it.unwrap().file_name());
    let names: BTreeSet<String> = entries.map(|it| it.to_string_lossy().into_owned()).collect();
    names.into_iter().filter(|name| name.starts_with('v')).collect()
}

/// Ids of a version's pinned programs.
fn programs_of(lab: &Lab, version: u32) -> Vec<u64> {
    let folder = root(lab).join(format!("v{version}/programs"));
    let pins = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    pins.map(|pin| {
        let mut command = lab.edge().command("bpftool");
        let text = run(command.args(["-j", "prog", "show", "pinned"]).arg(pin), "").unwrap();
        let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
        shown.get("id").and_then(serde_json::Value::as_u64).unwrap()
    })
    .collect()
}

fn is_loaded(lab: &Lab, program: u64) -> bool {
    let mut command = lab.edge().command("bpftool");
    command.args(["prog", "show", "id", &program.to_string()]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

/// Whether a start of this version has a program pinned that is about to take another's place.
fn is_replacing(lab: &Lab, version: u32) -> bool {
    let Ok(mut pins) = fs::read_dir(root(lab).join(format!("v{version}/programs"))) else {
        return false;
    };
    pins.any(|pin| pin.is_ok_and(|it| it.file_name().to_string_lossy().contains('-')))
}

/// The server's first answers to the bot's ports after a moment.
fn packets_to_bot(capture: &[Captured], from_ns: u64) -> Vec<u64> {
    let mut ports = BTreeSet::new();
    let answers = capture.iter().filter(|frame| frame.direction == Direction::In);
    let first = answers.filter_map(|frame| {
        let segment = read(&frame.bytes)?.tcp?;
        let is_answer =
            segment.to.ip() == IpAddr::from(BOT) && segment.is(TcpFlags::SYN.union(TcpFlags::ACK));
        (is_answer && ports.insert(segment.to.port())).then_some(frame.at_ns)
    });
    first.filter(|at_ns| *at_ns >= from_ns).collect()
}

/// Numbers without a pattern: xorshift.
struct Random(u64);

impl Random {
    /// In 0..1.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// SYNs of the bot, some hundred a second, until it is stopped.
struct Knocking {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Knocking {
    fn start(lab: &Lab) -> Self {
        let wire = lab.wire().unwrap();
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = std::thread::spawn(move || knock_until(&wire, &stopped, &count));
        Self { stop, sent, thread }
    }

    fn count(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap().unwrap();
        self.sent.load(Relaxed)
    }
}

fn knock_until(wire: &Wire, stop: &AtomicBool, count: &AtomicU64) -> anyhow::Result<()> {
    let mut port = 1024u16;
    while !stop.load(Relaxed) {
        for _ in 0..2 {
            port = port.checked_add(1).unwrap_or(1024);
            wire.send(&knock(port))?;
            count.fetch_add(1, Relaxed);
        }
        sleep(Duration::from_millis(3));
    }
    Ok(())
}

/// A SYN to a service without a SYN guard, which the server answers at once.
fn knock(port: u16) -> Vec<u8> {
    let api = weir_lab::net::LINKS[0].api(Family::V4);
    let bot = SocketAddr::from((BOT, port));
    tcp(bot, api).syn().seq(u32::from(port)).linux_options().build()
}
