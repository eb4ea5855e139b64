//! Parity: the same capture through the host's engine and through the loaded programs leaves the
//! same flows, sources, half-open connections, events and counters, byte for byte; the capture's own
//! time is the clock.
//!
//! The captures are the lab's own traffic, recorded anew at each run; a small recording of it that
//! is kept beside the tests; and, where the environment variable `WEIR_CORPUS` names a folder, every
//! capture in it.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    collections::BTreeSet,
    env, fs,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use weir_common::{
    abi::{
        Action, Control, Guard, Mode, Protocol, Reason, ServiceSet, Verdict, VerdictClass,
        flow::FLOW_APPROXIMATE,
    },
    packet::{Heading, Link},
};
use weir_lab::{
    actors::{Browser, HealthChecker, Hoarder, Person, StuffingBot, SynScanner, Troupe},
    bpf::{
        Engine, Hook, HostEngine, KernelEngine, Passed, Replayed, difference, moved, read_frames,
        replay,
    },
    forgery::Forgery,
    net::{Capture, Direction, Family, Lab, Recorder, read_pcap, write_pcap},
    require_root,
    server::Server,
};
use weir_sensor::{enforce::dataplane::ServicePort, event::Event};

/// Where a small recording of the lab's traffic is kept. The recorded test writes a new one where
/// the environment variable `WEIR_RECORD` says.
const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/visitors.pcap");

/// A capture of the corpus is replayed up to here.
const CORPUS_PACKETS: usize = 4000;

/// The stuffing bot's address.
const BOT: &str = "203.0.113.66";
/// The scanner's.
const SCANNER: &str = "203.0.113.67";

const CONTROL: Control = Control {
    policy_mode: Mode::Enforce as u8,
    breaker_mode: Mode::Enforce as u8,
    flags: 0,
    generation: 0,
    seed: 0x1234_5678_9abc_def0,
    stall_ns: 700_000_000,
    heartbeat_limit_ticks: 0,
    mark: 0x80,
    lane_interval_ns: 100_000_000,
    lane_burst_ns: 400_000_000,
    strays_from_ns: 0,
};

fn tcp(port: u16, service: u8) -> ServicePort {
    ServicePort { protocol: Protocol::Tcp, port, service, flags: 0 }
}

fn class(action: Action) -> VerdictClass {
    VerdictClass {
        action: action as u8,
        mode: Mode::Enforce as u8,
        reason: Reason::DropOperator as u8,
        services: ServiceSet::ALL,
        limit_interval_ns: 2_000_000_000,
        ..VerdictClass::default()
    }
}

/// An engine that knows these ports.
fn ready(engine: &mut dyn Engine, ports: &[ServicePort]) {
    engine.set_control(&CONTROL).unwrap();
    engine.set_services(ports).unwrap();
    engine.set_guard(1, Guard::default()).unwrap();
}

/// From now on the bot is dropped, the scanner limited, one service guarded, and IPv6 rejected.
fn enforce(engine: &mut dyn Engine) {
    for (id, net, action) in [
        (1, format!("{BOT}/32"), Action::Drop),
        (2, format!("{SCANNER}/32"), Action::Limit),
        (3, "2001:db8:113::/48".to_owned(), Action::Reject),
    ] {
        let net: ipnet::IpNet = net.parse().unwrap();
        engine.set_class(id, &class(action)).unwrap();
        let prefix_len = net.prefix_len();
        engine.set_verdict(net, Verdict { class: id, prefix_len, ..Verdict::default() }).unwrap();
    }
    let guard = Guard { interval_ns: 300_000_000, burst_ns: 600_000_000, ..Guard::default() };
    engine.set_guard(1, guard).unwrap();
}

/// The lab's traffic, first only measured, then with verdicts.
fn perform(engine: &mut dyn Engine, capture: &[Passed]) -> [Replayed; 2] {
    ready(engine, &[tcp(443, 1), tcp(8443, 2)]);
    let (before, after) = capture.split_at(capture.len() / 2);
    let first = replay(engine, before).unwrap();
    enforce(engine);
    [first, replay(engine, after).unwrap()]
}

/// What two engines made otherwise of the same. `whole`: one of them counts whole buffers, and marks
/// its flows as approximate.
fn unlike(one: &Replayed, other: &Replayed, whole: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, (one, other)) in one.fates.iter().zip(&other.fates).enumerate() {
        if one != other {
            lines.push(format!("packet {number}: {one:?}\n  {other:?}"));
        }
    }
    let strip = |events: &[Event]| -> Vec<Event> { events.iter().map(precise).collect() };
    let (events, others) = (strip(&one.events), strip(&other.events));
    if events.len() != others.len() {
        lines.push(format!("{} events and {}", events.len(), others.len()));
    }
    for (one, other) in events.iter().zip(&others).filter(|(one, other)| one != other) {
        lines.push(format!("event {one:?}\n  {other:?}"));
    }
    let (mut records, mut others) = (one.records.clone(), other.records.clone());
    records.forget_approximation();
    others.forget_approximation();
    lines.extend(difference(&records, &others));
    for (counter, by) in moved(&one.tally, &other.tally) {
        if by.packets != 0 || !whole {
            lines.push(format!("{counter:?} differs by {by:?}"));
        }
    }
    lines
}

/// The event without the mark of a hook that may see super-packets.
fn precise(event: &Event) -> Event {
    let mut event = *event;
    if let Event::Closed(closed) | Event::Progress(closed) = &mut event {
        closed.flow.flags &= !FLOW_APPROXIMATE;
    }
    event
}

fn assert_alike(name: &str, lines: &[String]) {
    let shown: Vec<&str> = lines.iter().take(10).map(String::as_str).collect();
    assert!(lines.is_empty(), "{name}: {} differences:\n{}", lines.len(), shown.join("\n"));
}

/// Plays the lab's traffic to all engines.
fn compare_everywhere(name: &str, capture: &Capture) {
    let capture: Vec<Passed> = capture.iter().map(passed).collect();
    let [measured, enforced] = perform(&mut HostEngine::new(Link::Ethernet), &capture);
    for hook in [Hook::Xdp, Hook::Tc] {
        let mut engine = KernelEngine::replaying(hook, Link::Ethernet).unwrap();
        let place = engine.place();
        let [first, second] = perform(&mut engine, &capture);
        let whole = hook == Hook::Tc;
        assert_alike(&format!("{name} by {place}, measured"), &unlike(&measured, &first, whole));
        assert_alike(&format!("{name} by {place}, enforced"), &unlike(&enforced, &second, whole));
        let replayed = [&first, &second];
        println!(
            "{name} by {place}: {} packets, {} flows, {} sources, {} half-open, {} events: the same as on the host",
            capture.len(),
            replayed.map(|it| it.records.flows.len()).iter().sum::<usize>(),
            second.records.sources.len(),
            replayed.map(|it| it.records.handshakes.len()).iter().sum::<usize>(),
            replayed.map(|it| it.events.len()).iter().sum::<usize>(),
        );
    }
    let told: BTreeSet<&str> = measured.events.iter().chain(&enforced.events).map(kind).collect();
    let wanted = ["closed", "established", "hit", "milestone"];
    assert!(
        wanted.iter().all(|it| told.contains(it)),
        "the traffic of {name} told only of {told:?}"
    );
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Established(_) => "established",
        Event::Closed(_) => "closed",
        Event::Milestone(_) => "milestone",
        Event::Hit(_) => "hit",
        Event::Progress(_) => "progress",
        Event::Hello(_) => "hello",
        Event::Signal(_) => "signal",
        Event::Tick { .. } => "tick",
    }
}

fn passed(captured: &weir_lab::net::Captured) -> Passed {
    let heading = match captured.direction {
        Direction::In => Heading::Ingress,
        Direction::Out => Heading::Egress,
    };
    Passed { at_ns: captured.at_ns, heading, frame: captured.bytes.clone() }
}

/// People, a browser, a bot, a hoarder, a scanner and a forger come to a server without Weir.
fn everyone(lab: &Lab) -> Troupe {
    let link = lab.link();
    let lasting = Duration::from_secs(3);
    few(lab, 6, lasting)
        .with(Person { address: link.client_v4(11).into(), lasting })
        .with(Person { address: link.client_v6(12).into(), lasting })
        .with(Browser { address: link.client_v4(21).into(), lasting })
}

/// Those who say little: a health checker over IPv6, the bot, the hoarder and the scanner.
fn few(lab: &Lab, per_second: u32, lasting: Duration) -> Troupe {
    let link = lab.link();
    Troupe::new()
        .with(HealthChecker { address: link.client_v6(13).into(), lasting })
        .with(StuffingBot { address: BOT.parse().unwrap(), per_second, lasting })
        .with(Hoarder { address: link.client_v4(68).into(), connections: 2, lasting })
        .with(SynScanner { address: SCANNER.parse().unwrap(), per_second: 20, lasting })
}

/// Records what they, and a forger in two visitors' names, say to a server without Weir.
fn record(troupe: impl FnOnce(&Lab) -> Troupe) -> Capture {
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let recorder = Recorder::start(lab.edge(), lab.link().edge_interface, 200_000).unwrap();
    let link = lab.link();
    let playing = troupe(&lab).play(&lab, &server).unwrap();
    let wire = lab.wire().unwrap();
    for (round, forgery) in (0..).zip(Forgery::ALL) {
        for (family, victim) in [
            (Family::V4, IpAddr::from(link.client_v4(11))),
            (Family::V6, link.client_v6(13).into()),
        ] {
            forgery.commit(&wire, victim, link.shop(family), round).unwrap();
        }
    }
    playing.finish().unwrap();
    recorder.stop().unwrap()
}

#[test]
fn the_labs_own_traffic_leaves_the_same_records() {
    require_root!("the_labs_own_traffic_leaves_the_same_records");
    let capture = record(everyone);
    compare_everywhere("the lab's traffic", &capture);
}

#[test]
fn a_kept_recording_leaves_the_same_records() {
    require_root!("a_kept_recording_leaves_the_same_records");
    if let Some(path) = env::var_os("WEIR_RECORD") {
        let capture = record(|lab| few(lab, 3, Duration::from_secs(2)));
        write_pcap(Path::new(&path), &capture).unwrap();
    }
    let capture = read_pcap(Path::new(RECORDING)).unwrap();
    compare_everywhere("the recording", &capture);
}

#[test]
fn every_capture_of_the_corpus_leaves_the_same_records() {
    require_root!("every_capture_of_the_corpus_leaves_the_same_records");
    let Some(corpus) = env::var_os("WEIR_CORPUS") else {
        println!("WEIR_CORPUS is not set: 0 captures");
        return;
    };
    let mut engines =
        [Link::Ethernet, Link::None].map(|link| KernelEngine::replaying(Hook::Xdp, link).unwrap());
    let mut clock = Duration::ZERO;
    let (mut captures, mut packets, mut left_out, mut records) = (0, 0, 0, 0);
    for path in captures_below(Path::new(&corpus)) {
        let found = read_frames(&path, CORPUS_PACKETS).unwrap();
        let [ethernet, bare] = &mut engines;
        let engine = match found.link {
            Some(Link::Ethernet) => ethernet,
            Some(Link::None) => bare,
            None => continue,
        };
        // The kernel's clock must not go back from one capture to the next.
        clock += Duration::from_secs(1_000_000);
        let site = Site::of(&found.frames, found.link == Some(Link::Ethernet));
        let capture = site.see(&found.frames, clock.as_nanos() as u64);
        let (capture, others): (Vec<Passed>, Vec<Passed>) =
            capture.into_iter().partition(|it| engine.takes(it.heading, &it.frame));
        engine.forget().unwrap();
        let before = engine.tally().unwrap();
        ready(engine, &site.ports);
        let mut kernel = replay(engine, &capture).unwrap();
        for (after, before) in kernel.tally.iter_mut().zip(&before) {
            after.packets -= before.packets;
            after.bytes -= before.bytes;
        }
        let mut host = HostEngine::new(engine.place().link);
        ready(&mut host, &site.ports);
        let host = replay(&mut host, &capture).unwrap();
        assert_alike(&path.display().to_string(), &unlike(&host, &kernel, false));
        captures += 1;
        packets += capture.len();
        left_out += others.len();
        records += host.records.len() + host.events.len();
    }
    println!(
        "{captures} captures, {packets} packets, {records} records and events: the same; {left_out} packets too short or too long for a test run"
    );
    assert!(captures > 0, "WEIR_CORPUS names a folder without captures");
}

/// Every capture file below a folder, in order.
fn captures_below(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths.extend(captures_below(&path));
        } else if path
            .extension()
            .is_some_and(|it| ["pcap", "pcapng", "cap"].iter().any(|c| it == *c))
        {
            paths.push(path);
        }
    }
    paths.sort();
    paths
}

/// Who is the server in a capture, and which of its ports are asked for.
struct Site {
    server: Option<Vec<u8>>,
    ports: Vec<ServicePort>,
    network_at: usize,
}

impl Site {
    /// The server is whom the first SYN, else the first packet, is for.
    fn of(frames: &[(u64, Vec<u8>)], ethernet: bool) -> Self {
        let network_at = if ethernet { 14 } else { 0 };
        let ends = |frame: &'_ Vec<u8>| destination(frame, network_at);
        let syn = frames.iter().find(|(_, frame)| syn_port(frame, network_at).is_some());
        let server = syn.or(frames.first()).and_then(|(_, frame)| ends(frame));
        let asked: BTreeSet<u16> =
            frames.iter().filter_map(|(_, frame)| syn_port(frame, network_at)).collect();
        let ports = asked.into_iter().zip(1..=200).map(|(port, id)| tcp(port, id)).collect();
        Self { server, ports, network_at }
    }

    /// The packets as the server's host sees them, from `begin_ns` on.
    fn see(&self, frames: &[(u64, Vec<u8>)], begin_ns: u64) -> Vec<Passed> {
        let first = frames.iter().map(|(at_ns, _)| *at_ns).min().unwrap_or(0);
        frames
            .iter()
            .map(|(at_ns, frame)| {
                let to_server = destination(frame, self.network_at) == self.server;
                let heading = if to_server { Heading::Ingress } else { Heading::Egress };
                Passed { at_ns: begin_ns + (at_ns - first), heading, frame: frame.clone() }
            })
            .collect()
    }
}

/// The destination address of an IP packet without tags.
fn destination(frame: &[u8], network_at: usize) -> Option<Vec<u8>> {
    let packet = frame.get(network_at..)?;
    let address = match packet.first()? >> 4 {
        4 => packet.get(16..20)?,
        6 => packet.get(24..40)?,
        _ => return None,
    };
    Some(address.to_vec())
}

/// The port that a first SYN asks for.
fn syn_port(frame: &[u8], network_at: usize) -> Option<u16> {
    let packet = frame.get(network_at..)?;
    let (protocol, at) = match packet.first()? >> 4 {
        4 => (*packet.get(9)?, usize::from(packet.first()? & 0xf) * 4),
        6 => (*packet.get(6)?, 40),
        _ => return None,
    };
    let segment = packet.get(at..)?;
    let is_syn = protocol == 6 && segment.get(13)? & 0x17 == 0x02;
    is_syn.then_some(u16::from_be_bytes([*segment.get(2)?, *segment.get(3)?]))
}
