//! Somebody with root changes what Weir has in the kernel: how soon it is noticed, what becomes of
//! it, and what packets came to meanwhile.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's setup fails loudly")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::Deserialize;
use weir_common::abi::{Action, Mode, control::service_index};
use weir_lab::{
    clock::{sleep, wait_until},
    net::{Family, Lab, Wire},
    packet::tcp,
    require_root,
    saboteur::{self, Map},
    server::Server,
    stranger::{Purpose, Stranger},
    weir::{Daemon, Weir, demo_policy},
};
use weir_sensor::system::paths::Paths;

/// Blocked addresses.
const ADDRESSES: u32 = 100_000;

/// Everything is to be noticed within this time.
const SOON: Duration = Duration::from_secs(5);

/// Nobody waits longer than this for the test to fail.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at what Weir noticed, so that looking takes no processor from it.
const BREATH: Duration = Duration::from_millis(50);

/// Faults are spread over a sweep's two seconds in steps of this.
const MOMENT: Duration = Duration::from_millis(430);

/// What `weir audit` says, as far as it is read here.
#[derive(Debug, Deserialize)]
struct Audit {
    coverage: f64,
    sweeps: u64,
    busy_ms: f64,
    took_ms: f64,
    entries: usize,
    asked: usize,
    answered: usize,
    open: Vec<Found>,
    counts: Vec<Count>,
}

#[derive(Debug, Deserialize)]
struct Found {
    fault: String,
    object: String,
}

#[derive(Debug, Deserialize)]
struct Count {
    fault: String,
    found: u64,
    repaired: u64,
}

impl Audit {
    fn of(weir: &Weir<'_>) -> Self {
        let output = weir.output(["audit", "--format", "json"]).unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn found(&self, fault: &str) -> (u64, u64) {
        let count = self.counts.iter().find(|it| it.fault == fault);
        count.map_or((0, 0), |it| (it.found, it.repaired))
    }

    fn is_open(&self, fault: &str) -> bool {
        self.open.iter().any(|it| it.fault == fault)
    }
}

/// What came of a fault.
struct Row {
    fault: &'static str,
    noticed: Duration,
    outcome: &'static str,
    wrong: String,
}

/// Somebody who knocks, and whether they should be let in.
#[derive(Clone, Copy)]
enum Visitor {
    Blocked(Ipv4Addr),
    Honest(Ipv4Addr),
}

struct Scene<'a> {
    lab: &'a Lab,
    weir: Weir<'a>,
    wire: Wire,
    paths: Paths,
    rows: Vec<Row>,
    port: u16,
}

/// Every second address from 10.0.0.0 on.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + 2 * number)
}

const HONEST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);
const WATCHED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 12);
const BARRED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 13);

impl<'a> Scene<'a> {
    fn new(lab: &'a Lab) -> Self {
        let paths =
            Paths { bpffs: lab.bpffs(), state_dir: lab.state_dir(), run_dir: lab.run_dir() };
        let weir = Weir::in_lab(lab).unwrap();
        Self { lab, weir, wire: lab.wire().unwrap(), paths, rows: Vec::new(), port: 2000 }
    }

    fn map(&self, name: &str, key: usize, value: usize) -> Map {
        Map::open(&self.paths.map(name), key, value).unwrap()
    }

    fn exact(&self) -> Map {
        self.map("V4_EXACT", 4, 16)
    }

    fn link(&self, hook: &str) -> PathBuf {
        let pins = fs::read_dir(self.paths.links()).unwrap();
        pins.map(|it| it.unwrap().path())
            .find(|it| it.to_string_lossy().ends_with(&format!("-{hook}")))
            .unwrap()
    }

    /// The class of an address' verdict.
    fn class_of(&self, address: Ipv4Addr) -> u32 {
        let verdict = self.exact().get(&address.octets()).unwrap();
        u32::from(u16::from_ne_bytes([verdict[0], verdict[1]]))
    }

    /// Does a deed, knocks until it is noticed, and writes down what came of it.
    fn suffer(
        &mut self,
        fault: &'static str,
        kind: &str,
        visitor: Visitor,
        deed: impl FnOnce(&Self),
    ) {
        self.suffer_all(fault, (kind, 1), visitor, deed);
    }

    /// The same for a deed that is noticed when so many of a kind are found: a sweep that is under
    /// way meets some of them.
    fn suffer_all(
        &mut self,
        fault: &'static str,
        (kind, count): (&str, u64),
        visitor: Visitor,
        deed: impl FnOnce(&Self),
    ) {
        // Each at another moment of a sweep's period.
        sleep(MOMENT * (self.rows.len() as u32 % 5));
        let before = Audit::of(&self.weir).found(kind);
        self.wire.forget().unwrap();
        let mut knocks = Vec::new();
        deed(self);
        let began = Instant::now();
        let after = loop {
            knocks.push(self.knock(visitor));
            let audit = Audit::of(&self.weir);
            if audit.found(kind).0 >= before.0 + count {
                break audit;
            }
            assert!(began.elapsed() < PATIENCE, "{fault}: not noticed; {audit:?}");
            sleep(BREATH);
        };
        let noticed = began.elapsed();
        let is_repaired = after.found(kind).1 - before.1 == after.found(kind).0 - before.0;
        let wrong = self.wrong(visitor, &knocks);
        if is_repaired {
            self.expect_right(fault, visitor);
        }
        println!(
            "{fault}: {noticed:?}, repaired {is_repaired}, {wrong} wrong; the sweep took {:.0} ms, {:.0} \
             ms of them the loop's",
            after.took_ms, after.busy_ms
        );
        self.rows.push(Row {
            fault,
            noticed,
            outcome: if is_repaired { "repaired" } else { "alarmed" },
            wrong: match visitor {
                Visitor::Blocked(_) => format!("{wrong} of {} passed", knocks.len()),
                Visitor::Honest(_) => format!("{wrong} of {} dropped", knocks.len()),
            },
        });
        assert!(noticed < SOON, "{fault} was noticed after {noticed:?}");
    }

    /// A SYN from a port of its own, which it returns.
    fn knock(&mut self, visitor: Visitor) -> u16 {
        let (Visitor::Blocked(address) | Visitor::Honest(address)) = visitor;
        self.port += 1;
        let from = SocketAddr::from((address, self.port));
        // A service without a SYN guard.
        let api = self.lab.link().api(Family::V4);
        self.wire.send(&tcp(from, api).syn().seq(1).linux_options().build()).unwrap();
        self.port
    }

    /// How many of these knocks were treated otherwise than they should have been.
    fn wrong(&self, visitor: Visitor, ports: &[u16]) -> usize {
        let heard = self.wire.collect_tcp(Duration::from_millis(300)).unwrap();
        let answered = |port: &&u16| heard.iter().any(|segment| segment.to.port() == **port);
        let answered = ports.iter().filter(answered).count();
        match visitor {
            Visitor::Blocked(_) => answered,
            Visitor::Honest(_) => ports.len() - answered,
        }
    }

    fn expect_right(&mut self, fault: &str, visitor: Visitor) {
        self.wire.forget().unwrap();
        let knocks: Vec<u16> = (0..5).map(|_| self.knock(visitor)).collect();
        assert_eq!(self.wrong(visitor, &knocks), 0, "{fault}: repaired, they said");
    }

    /// Waits until nothing is amiss.
    fn recover(&self, kind: &str) {
        wait_until("the alarm is over", PATIENCE, || {
            let audit = Audit::of(&self.weir);
            Ok(!audit.is_open(kind) && audit.coverage > 0.999)
        })
        .unwrap();
    }

    fn table(&self) {
        println!(
            "| fault | noticed after | outcome | packets meanwhile |\n| --- | --- | --- | --- |"
        );
        for row in &self.rows {
            let Row { fault, noticed, outcome, wrong } = row;
            println!("| {fault} | {:.1} s | {outcome} | {wrong} |", noticed.as_secs_f64());
        }
    }

    fn outcome(&self, fault: &str) -> &'static str {
        self.rows.iter().find(|row| row.fault == fault).unwrap().outcome
    }
}

/// CPU time that a process has used.
fn cpu(daemon: &Daemon<'_>) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// The share of a CPU that a daemon takes while nothing happens, in per cent.
fn share(daemon: &Daemon<'_>) -> f64 {
    const WATCHED: Duration = Duration::from_secs(12);
    let before = cpu(daemon);
    sleep(WATCHED);
    (cpu(daemon) - before).as_secs_f64() / WATCHED.as_secs_f64() * 100.0
}

#[test]
fn whatever_is_changed_behind_its_back_is_noticed_within_five_seconds() {
    require_root!("whatever_is_changed_behind_its_back_is_noticed_within_five_seconds");
    let lab = Lab::new().unwrap();
    let _server = Server::start(&lab).unwrap();
    let mut scene = Scene::new(&lab);
    let daemon = scene.weir.run(&["edge0"], &demo_policy()).unwrap();
    let idle = share(&daemon);
    let file = lab.directory().join("feed.netset");
    let text: String = (0..ADDRESSES).map(|n| format!("{}\n", address(n))).collect();
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    scene.weir.ask(&["block", "--file", file, "--for", "1h", "--reason", "a feed"]).unwrap();
    let watched = WATCHED.to_string();
    scene.weir.ask(&["block", &watched, "--observe", "--reason", "watched"]).unwrap();
    let barred = BARRED.to_string();
    scene.weir.ask(&["block", &barred, "--service", "api", "--reason", "barred"]).unwrap();
    let steady = share(&daemon);

    let bot = Visitor::Blocked(address(77));
    let key = address(77).octets();
    scene.suffer("1 of 100,000 verdicts deleted", "verdict-missing", bot, |it| {
        it.exact().remove(&key).unwrap();
    });
    scene.suffer_all("1,000 of 100,000 verdicts deleted", ("verdict-missing", 1000), bot, |it| {
        let exact = it.exact();
        for number in 0..1000 {
            exact.remove(&address(77 + 97 * number).octets()).unwrap();
        }
    });
    scene.suffer("a verdict's class set to none", "verdict-changed", bot, |it| {
        it.exact().patch(&key, 0, &[0, 0]).unwrap();
    });
    scene.suffer("a verdict's end put into the past", "verdict-changed", bot, |it| {
        it.exact().patch(&key, 4, &1u32.to_ne_bytes()).unwrap();
    });
    scene.suffer(
        "a drop on an honest address added",
        "verdict-foreign",
        Visitor::Honest(HONEST),
        |it| {
            let drop = it.exact().get(&key).unwrap();
            it.exact().put(&HONEST.octets(), &drop).unwrap();
        },
    );
    scene.suffer(
        "the same as a /32 in the trie",
        "verdict-foreign",
        Visitor::Honest(HONEST),
        |it| {
            let drop = it.exact().get(&key).unwrap();
            let [a, b, c, d] = HONEST.octets();
            let length = 32u32.to_ne_bytes();
            let stray = [length[0], length[1], length[2], length[3], a, b, c, d];
            it.map("V4_PREFIXES", 8, 16).put(&stray, &drop).unwrap();
        },
    );
    scene.suffer("a class overwritten: drop → allow", "class-overwritten", bot, |it| {
        let class = it.class_of(address(77));
        let classes = it.map("VERDICT_CLASSES", 4, 64);
        classes.patch(&class.to_ne_bytes(), 0, &[Action::Allow as u8]).unwrap();
    });
    let watched = Visitor::Honest(WATCHED);
    scene.suffer("a class overwritten: observe → enforce", "class-overwritten", watched, |it| {
        let class = it.class_of(WATCHED);
        let classes = it.map("VERDICT_CLASSES", 4, 64);
        classes.patch(&class.to_ne_bytes(), 1, &[Mode::Enforce as u8]).unwrap();
    });
    scene.suffer("CONTROL overwritten: off", "setting-overwritten", bot, |it| {
        let control = it.map("CONTROL", 4, size_of::<weir_common::abi::Control>());
        control.patch(&[0; 4], 0, &[0, 0]).unwrap();
    });
    scene.suffer(
        "the table of services zeroed",
        "setting-overwritten",
        Visitor::Blocked(BARRED),
        |it| {
            let services = it.map("SERVICES", 4, 4);
            for port in 0..=u16::MAX {
                let index = service_index(false, port).to_ne_bytes();
                services.put(&index, &[0; 4]).unwrap();
            }
        },
    );
    scene.suffer_all("pins removed from the BPF file system", ("pin", 3), bot, |it| {
        fs::remove_file(it.paths.map("V4_EXACT")).unwrap();
        fs::remove_file(it.link("xdp")).unwrap();
        fs::remove_file(it.paths.programs().join("weir_ingress")).unwrap();
    });
    assert!(scene.paths.map("V4_EXACT").exists() && scene.link("xdp").exists());
    scene.suffer("the XDP link detached", "detached", bot, |it| {
        saboteur::detach(&it.link("xdp")).unwrap();
    });
    scene.suffer("the XDP program replaced", "foreign-program", bot, |it| {
        let stranger = Stranger::program(Purpose::XdpPass).unwrap();
        saboteur::replace(&it.link("xdp"), &stranger).unwrap();
    });
    let ready = scene.weir.output(["ready"]).unwrap();
    assert!(!ready.status.success(), "not ready while a stranger's program runs");
    saboteur::restore(&scene.link("xdp"), &scene.paths.programs().join("weir_ingress")).unwrap();
    scene.recover("foreign-program");

    scene.table();
    let last = Audit::of(&scene.weir);
    println!(
        "\nsteady cost: {steady:.1} % of a CPU with 100,000 verdicts, {idle:.1} % with none; sweep {} \
         of {} entries in {:.0} ms, {:.0} ms of them the loop's; {} of {} synthetic packets answered as \
         wanted; {}",
        last.sweeps,
        last.entries,
        last.took_ms,
        last.busy_ms,
        last.answered,
        last.asked,
        scene.weir.binary().display()
    );
    assert!(last.asked > 0 && last.answered == last.asked, "{last:?}");
    assert!(last.coverage > 0.999, "{last:?}");
    let alarmed: Vec<&str> =
        scene.rows.iter().filter(|row| row.outcome == "alarmed").map(|row| row.fault).collect();
    assert_eq!(alarmed, ["the XDP program replaced"]);
    drop(daemon);
}

#[test]
fn on_tc_a_detached_link_comes_back_and_a_strangers_program_is_left_and_told() {
    require_root!("on_tc_a_detached_link_comes_back_and_a_strangers_program_is_left_and_told");
    let lab = Lab::new().unwrap();
    let _server = Server::start(&lab).unwrap();
    let mut scene = Scene::new(&lab);
    let _daemon = scene.weir.run_with(&["edge0"], &demo_policy(), &["--mode", "tc"]).unwrap();
    let bot = Ipv4Addr::new(203, 0, 113, 66);
    scene.weir.ask(&["block", &bot.to_string(), "--reason", "a bot"]).unwrap();
    wait_until("the first look is over", PATIENCE, || Ok(Audit::of(&scene.weir).sweeps > 0))
        .unwrap();
    scene.suffer("the TC ingress link detached", "detached", Visitor::Blocked(bot), |it| {
        saboteur::detach(&it.link("tc-ingress")).unwrap();
    });
    scene.suffer("the TC egress link detached", "detached", Visitor::Honest(HONEST), |it| {
        saboteur::detach(&it.link("tc-egress")).unwrap();
    });
    scene.suffer("the TC program replaced", "foreign-program", Visitor::Honest(HONEST), |it| {
        let stranger = Stranger::program(Purpose::TcDrop).unwrap();
        saboteur::replace(&it.link("tc-ingress"), &stranger).unwrap();
    });
    let link = scene.link("tc-ingress");
    saboteur::restore(&link, &scene.paths.programs().join("weir_ingress_tc")).unwrap();
    scene.recover("foreign-program");
    scene.table();
    assert_eq!(scene.outcome("the TC ingress link detached"), "repaired");
    assert_eq!(scene.outcome("the TC program replaced"), "alarmed");
}

#[test]
fn a_full_map_is_an_alarm_until_there_is_room() {
    require_root!("a_full_map_is_an_alarm_until_there_is_room");
    let lab = Lab::new().unwrap();
    let _server = Server::start(&lab).unwrap();
    let mut scene = Scene::new(&lab);
    let text = fs::read_to_string(demo_policy()).unwrap();
    let text = text.replace("sensor:\n", "sensor:\n  capacities: {v4_exact: 64}\n");
    let policy = scene.weir.policy(&text).unwrap();
    let _daemon = scene.weir.run(&["edge0"], &policy).unwrap();
    let list = lab.directory().join("feed.netset");
    let all: String = (0..100).map(|n| format!("{}\n", address(n))).collect();
    fs::write(&list, all).unwrap();
    let last = Visitor::Blocked(address(99));
    let file = list.to_str().unwrap().to_owned();
    scene.suffer("the map full", "unwritten", last, |it| {
        let refused = it.weir.output(["block", "--file", &file, "--reason", "too many"]).unwrap();
        assert!(!refused.status.success());
    });
    let audit = Audit::of(&scene.weir);
    assert!((0.60..0.68).contains(&audit.coverage), "{audit:?}");
    let ready = scene.weir.output(["ready"]).unwrap();
    assert!(!ready.status.success(), "{}", String::from_utf8_lossy(&ready.stdout));
    scene.table();
    scene.weir.ask(&["unblock", "--file", &file]).unwrap();
    scene.recover("unwritten");
}

#[test]
fn an_interface_that_comes_back_is_attached_to_again() {
    require_root!("an_interface_that_comes_back_is_attached_to_again");
    let lab = Lab::new().unwrap();
    let mut scene = Scene::new(&lab);
    let ip = |arguments: &str| {
        let mut command = lab.edge().command("ip");
        assert!(command.args(arguments.split(' ')).status().unwrap().success(), "{arguments}");
    };
    let make = || {
        ip("link add spare0 type veth peer name spare1");
        ip("link set spare0 up");
    };
    make();
    let _daemon = scene.weir.run(&["edge0", "spare0"], &demo_policy()).unwrap();
    wait_until("the first look is over", PATIENCE, || Ok(Audit::of(&scene.weir).sweeps > 0))
        .unwrap();
    let honest = Visitor::Honest(HONEST);
    let _server = Server::start(&lab).unwrap();
    scene.suffer("an interface gone", "interface-gone", honest, |_| {
        ip("link del spare0");
    });
    let gone = Audit::of(&scene.weir);
    assert!((gone.coverage - 0.5).abs() < 1e-9, "{gone:?}");
    assert_eq!(gone.open[0].object, "spare0");
    scene.suffer("the interface back, with another index", "detached", honest, |_| {
        make();
    });
    scene.recover("interface-gone");
    assert_eq!(scene.outcome("the interface back, with another index"), "repaired");
    scene.table();
}
