//! Visitors and attackers as streams of events, in the image of the lab's actors.
//!
//! A stream is a list of events of one source; streams are merged by time. Chance comes from a
//! small generator with a seed, so that every run is the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_common::abi::{
    Closed, Established, EventHeader, EventKind, Flow, FlowKey, Milestone, MilestoneKind, Protocol,
    key::{Address, V4_MAPPED},
};

use crate::{
    event::{Event, Hello},
    fingerprint::ja4::Ja4,
};

/// A millisecond in nanoseconds.
pub(super) const MS: u64 = 1_000_000;

/// Service numbers of the demo's policy: names in order, `api` and `shop`.
pub(super) const API: u8 = 1;
pub(super) const SHOP: u8 = 2;

/// Knuth's multiplicative generator: enough for shapes, and the same everywhere.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number in `low..high`.
    pub(super) fn roll(&mut self, low: u64, high: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (self.0 >> 33) % (high - low)
    }
}

fn address(text: &str) -> Address {
    let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap());
    match text.parse().unwrap() {
        IpAddr::V4(v4) => [0, 0, V4_MAPPED, word(&Ipv4Addr::octets(&v4))],
        IpAddr::V6(v6) => {
            let octets = Ipv6Addr::octets(&v6);
            [word(&octets[..4]), word(&octets[4..8]), word(&octets[8..12]), word(&octets[12..])]
        }
    }
}

/// One source's events.
pub(super) struct Stream {
    from: Address,
    service: u8,
    port: u16,
    pub(super) events: Vec<Event>,
}

/// One connection's volume.
#[derive(Clone, Copy)]
pub(super) struct Volume {
    pub(super) request: u64,
    pub(super) response: u64,
}

impl Stream {
    pub(super) fn new(from: &str, service: u8) -> Self {
        Self { from: address(from), service, port: 10_000, events: Vec::new() }
    }

    fn header(&self, kind: EventKind, at_ns: u64) -> EventHeader {
        EventHeader { at_ns, kind: kind as u8, service: self.service, ..EventHeader::default() }
    }

    fn key(&self, port: u16) -> FlowKey {
        FlowKey {
            remote: self.from,
            local: address("198.51.100.10"),
            remote_port: port,
            local_port: 443,
            protocol: Protocol::Tcp as u32,
        }
    }

    /// A connection is opened; its port, to name it by.
    pub(super) fn open(&mut self, at_ns: u64) -> u16 {
        self.port = self.port.wrapping_add(1);
        self.events.push(Event::Established(Established {
            header: self.header(EventKind::Established, at_ns),
            key: self.key(self.port),
            ..Established::default()
        }));
        self.port
    }

    /// A ClientHello on a connection that was just opened. `look` stands for its fingerprint.
    pub(super) fn hello(&mut self, port: u16, opened_ns: u64, look: u64, resumes: bool) {
        let ja4: Ja4 = format!("t13d1516h2_8daaf6152771_{look:012x}").parse().unwrap();
        self.events.push(Event::Hello(Hello {
            at_ns: opened_ns + 2 * MS,
            key: self.key(port),
            client: self.from,
            service: self.service,
            delay_ns: Some(2 * MS),
            ja4,
            stable: ja4,
            offers_resumption: resumes,
            ..Hello::test()
        }));
    }

    pub(super) fn close(&mut self, port: u16, opened_ns: u64, at_ns: u64, volume: Volume) {
        let mut flow = Flow { proven_ns: opened_ns, service: self.service, ..Flow::default() };
        flow.exchanges = 1;
        flow.ingress.bytes = volume.request;
        flow.egress.bytes = volume.response;
        let header = self.header(EventKind::Closed, at_ns);
        self.events.push(Event::Closed(Closed { header, key: self.key(port), flow }));
    }

    pub(super) fn connection(&mut self, at_ns: u64, lasting_ns: u64, volume: Volume) {
        let port = self.open(at_ns);
        self.close(port, at_ns, at_ns + lasting_ns, volume);
    }

    pub(super) fn milestone(&mut self, kind: MilestoneKind, port: u16, at_ns: u64, value: u64) {
        let mut header = self.header(EventKind::Milestone, at_ns);
        header.detail = kind as u8;
        if kind == MilestoneKind::Ports {
            header.service = 0;
        }
        self.events.push(Event::Milestone(Milestone { header, key: self.key(port), value }));
    }
}

/// All streams in order of time, with a tick every second, as the daemon sees them.
pub(super) fn merge(streams: Vec<Stream>, seconds: u64) -> Vec<Event> {
    let mut events: Vec<Event> = streams.into_iter().flat_map(|stream| stream.events).collect();
    events.extend((1..=seconds).map(|n| Event::Tick { at_ns: n * 1000 * MS }));
    events.sort_by_key(Event::at_ns);
    events
}

/// Forty short TLS connections a second without a pause: a password each, the same answer each.
pub(super) fn stuffing_bot(from: &str, per_second: u64, seconds: u64) -> Stream {
    let mut stream = Stream::new(from, SHOP);
    let mut dice = Dice::new(1);
    for n in 0..per_second * seconds {
        // Passwords differ by a few bytes. The first handshakes are full, later ones resumed.
        let handshake = if n < 4 { 2900 } else { 1400 };
        let volume = Volume { request: 980 + dice.roll(0, 14), response: handshake + 230 };
        let at_ns = 1000 * MS + n * 1000 * MS / per_second + dice.roll(0, 8) * MS;
        stream.connection(at_ns, (20 + dice.roll(0, 30)) * MS, volume);
    }
    stream
}

/// Slowloris: connections whose requests never end.
pub(super) fn hoarder(from: &str, connections: u64) -> Stream {
    let mut stream = Stream::new(from, SHOP);
    for n in 0..connections {
        let at_ns = 1000 * MS + n * 40 * MS;
        let port = stream.open(at_ns);
        stream.milestone(MilestoneKind::Stalled, port, at_ns + 2400 * MS, 2400);
    }
    stream
}

/// Distinct ports tried, as the kernel reports them.
pub(super) fn scanner(from: &str) -> Stream {
    let mut stream = Stream::new(from, SHOP);
    for (n, ports) in [16, 32, 64, 128].into_iter().enumerate() {
        stream.milestone(MilestoneKind::Ports, 40_000, 2000 * MS + n as u64 * 200 * MS, ports);
    }
    stream
}

/// A browser over HTTP/1.1: six connections in parallel, a new one for each of a hundred objects
/// a visit, then a pause.
pub(super) fn browser(from: &str, seed: u64, seconds: u64) -> Stream {
    let mut stream = Stream::new(from, SHOP);
    let mut dice = Dice::new(seed);
    let mut at_ns = dice.roll(0, 2000) * MS;
    while at_ns < seconds * 1000 * MS {
        let mut lanes = [at_ns; 6];
        for _ in 0..100 {
            let lane = lanes.iter_mut().min().unwrap();
            let lasting_ns = dice.roll(80, 600) * MS;
            // Most objects are small, some are large; requests differ by cookies and paths.
            let response = match dice.roll(0, 10) {
                0 => dice.roll(100_000, 200_000),
                1..4 => dice.roll(20_000, 80_000),
                _ => dice.roll(1_000, 16_000),
            };
            let volume = Volume { request: 800 + dice.roll(0, 300), response: 1400 + response };
            stream.connection(*lane, lasting_ns, volume);
            *lane += lasting_ns + dice.roll(1, 20) * MS;
        }
        at_ns = lanes.into_iter().max().unwrap() + dice.roll(4000, 7000) * MS;
    }
    stream
}

/// A person: some pages over one connection, a pause, another connection.
pub(super) fn person(stream: &mut Stream, seed: u64, seconds: u64) {
    let mut dice = Dice::new(seed);
    let mut at_ns = dice.roll(0, 4000) * MS;
    while at_ns < seconds * 1000 * MS {
        let lasting_ns = dice.roll(2_000, 12_000) * MS;
        let volume =
            Volume { request: dice.roll(1_500, 9_000), response: dice.roll(20_000, 900_000) };
        stream.connection(at_ns, lasting_ns, volume);
        at_ns += lasting_ns + dice.roll(800, 2_500) * MS;
    }
}

/// Forty people behind one address, whose browsers also keep connections open for later.
pub(super) fn crowd(from: &str, seconds: u64) -> Stream {
    let mut stream = Stream::new(from, SHOP);
    for n in 0..40 {
        person(&mut stream, 100 + n, seconds);
        for idle in 0..3 {
            stream.open((n * 97 + idle * 13) * MS);
        }
        // A lunch break: all reload within seconds.
        let mut dice = Dice::new(500 + n);
        for _ in 0..8 {
            let volume =
                Volume { request: dice.roll(700, 1200), response: dice.roll(2_000, 120_000) };
            stream.connection(dice.roll(15_000, 21_000) * MS, dice.roll(50, 900) * MS, volume);
        }
    }
    stream
}

/// The same question every so often, the same answer.
pub(super) fn steady(from: &str, service: u8, every_ms: u64, seconds: u64) -> Stream {
    let mut stream = Stream::new(from, service);
    for n in 0..seconds * 1000 / every_ms {
        let volume = Volume { request: 700, response: 1900 };
        stream.connection((500 + n * every_ms) * MS, 15 * MS, volume);
    }
    stream
}

/// Someone on a bad line who sends large files: every upload trickles.
pub(super) fn slow_uploader(from: &str) -> Stream {
    let mut stream = Stream::new(from, SHOP);
    for n in 0..6 {
        let at_ns = (500 + n * 100) * MS;
        let port = stream.open(at_ns);
        stream.milestone(MilestoneKind::Stalled, port, at_ns + 2500 * MS, 2500);
        let volume = Volume { request: 5_000_000, response: 2_000 };
        stream.close(port, at_ns, at_ns + 50_000 * MS, volume);
    }
    stream
}
