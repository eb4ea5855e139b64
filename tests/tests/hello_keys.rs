//! The kernel reads every ClientHello as the host does, however it is cut, and its keys tell apart
//! what JA4 tells apart.
//!
//! Hellos come from the project's own recordings, and from the captures in `WEIR_CORPUS` where that
//! is set. Hellos of one shape (all that the keys and the walk depend on) are read once.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use weir_common::{
    abi::{Control, HelloKind, Mode, Protocol, hello::HELLO_LEN},
    packet::{Heading, Link},
    tls::{KeyBuilder, Keys, Seed, keys::Transport, walk},
};
use weir_lab::{
    bpf::{Engine, Hook, HostEngine, KernelEngine},
    is_root,
    packet::tcp,
    say_skipped,
};
use weir_sensor::{
    capture::{Capture, Hellos},
    enforce::dataplane::ServicePort,
    fingerprint::ja4::Ja4,
};

const PORT: u16 = 443;
const CLIENT_ISN: u32 = 0xffff_fe00;
const SERVER_ISN: u32 = 0x7fff_fff0;
/// Connections between two cleanings of the tables.
const BATCH: u32 = 20_000;

/// Every distinct shape of hello, with its JA4.
fn hellos() -> Vec<(Ja4, Vec<u8>)> {
    let mut files = Vec::new();
    captures(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"), &mut files);
    match env::var_os("WEIR_CORPUS").filter(|folder| folder != "none") {
        Some(folder) => captures(&PathBuf::from(folder), &mut files),
        None => println!("WEIR_CORPUS is not set: only the project's own recordings are read"),
    }
    let mut shapes = BTreeMap::new();
    let mut seen = 0;
    for file in files {
        let Ok(mut capture) = Capture::open(&file) else { continue };
        let mut hellos = Hellos::new();
        while let Ok(Some(frame)) = capture.next_frame() {
            let Some(hello) = hellos.frame(&frame) else { continue };
            if hello.transport != Transport::Tcp {
                continue;
            }
            if let Ok(ja4) = Ja4::read(&hello.message, Transport::Tcp) {
                seen += 1;
                // The keys do not depend on contents, but the walk does on lengths.
                let shape = (ja4.as_str().to_owned(), hello.message.len());
                shapes.entry(shape).or_insert((ja4, hello.message));
            }
        }
    }
    println!("{seen} hellos over TCP, of {} shapes", shapes.len());
    shapes.into_values().collect()
}

fn captures(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            captures(&path, files);
        } else if path.extension().is_some_and(|it| it == "pcap" || it == "pcapng") {
            files.push(path);
        }
    }
}

fn host_keys(seed: Seed, message: &[u8]) -> Keys {
    let mut builder = KeyBuilder::new(seed);
    walk(message, &mut builder).unwrap();
    builder.finish(Transport::Tcp)
}

/// The message in records of at most `most` bytes.
fn records(message: &[u8], most: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for piece in message.chunks(most) {
        stream.extend([22, 3, 1]);
        stream.extend((piece.len() as u16).to_be_bytes());
        stream.extend(piece);
    }
    stream
}

/// An engine, and the connections that it has seen.
struct Reader<'a> {
    engine: &'a mut dyn Engine,
    connections: u32,
    forget: &'a dyn Fn(&mut dyn Engine),
}

impl Reader<'_> {
    /// Opens a connection and sends the stream in these pieces; the keys that come of it.
    fn read(&mut self, stream: &[u8], pieces: &[(usize, usize)]) -> Option<Keys> {
        self.connections += 1;
        if self.connections.is_multiple_of(BATCH) {
            (self.forget)(self.engine);
        }
        let number = self.connections;
        let now = Duration::from_secs(1000) + Duration::from_millis(20) * number;
        self.engine.set_now_ns(now.as_nanos() as u64).unwrap();
        let [_, high, middle, low] = number.to_be_bytes();
        let client = SocketAddr::from(([100, high, middle, low], 40_000));
        let server = SocketAddr::from(([198, 51, 100, 10], PORT));
        let syn = tcp(client, server).syn().seq(CLIENT_ISN).build();
        let syn_ack = tcp(server, client).syn().seq(SERVER_ISN).ack(CLIENT_ISN + 1).build();
        self.engine.run(Heading::Ingress, &syn).unwrap();
        self.engine.run(Heading::Egress, &syn_ack).unwrap();
        // Data with the right number proves the connection; otherwise the third packet comes first.
        if pieces.first().is_none_or(|(from, _)| *from != 0) {
            let third = tcp(client, server).seq(CLIENT_ISN + 1).ack(SERVER_ISN + 1).build();
            self.engine.run(Heading::Ingress, &third).unwrap();
        }
        for (from, until) in pieces {
            let seq = CLIENT_ISN.wrapping_add(1).wrapping_add(*from as u32);
            let segment = tcp(client, server).seq(seq).ack(SERVER_ISN + 1);
            let segment = segment.payload(stream.get(*from..*until).unwrap()).build();
            self.engine.run(Heading::Ingress, &segment).unwrap();
        }
        let records = self.engine.take_hellos().unwrap();
        let whole = records.iter().find(|it| it.header.kind == HelloKind::Whole as u8)?;
        assert_eq!(records.len(), 1, "one record a hello");
        Some(whole.header.keys)
    }

    /// Reads a hello in every way of cutting it; how many connections that were.
    fn read_all_ways(&mut self, name: &str, message: &[u8]) -> u32 {
        let before = self.connections;
        let expected = Some(host_keys(self.engine.key_seed(), message));
        let stream = records(message, 1 << 14);
        let end = stream.len();
        assert_eq!(self.read(&stream, &[(0, end)]), expected, "{name}: whole");
        for cut in 1..end {
            let pieces = [(0, cut), (cut, end)];
            assert_eq!(self.read(&stream, &pieces), expected, "{name}: cut at {cut}");
            let middle = cut + (end - cut) / 2;
            if middle > cut && middle < end {
                let pieces = [(middle, end), (0, cut), (cut, middle)];
                assert_eq!(self.read(&stream, &pieces), expected, "{name}: {pieces:?}");
            }
        }
        let reversed: Vec<_> = (0..end).rev().map(|at| (at, at + 1)).collect();
        assert_eq!(self.read(&stream, &reversed), expected, "{name}: reversed bytes");
        for most in [message.len().div_ceil(2), 100, 4] {
            let stream = records(message, most);
            if stream.len() <= HELLO_LEN {
                let end = stream.len();
                for pieces in [vec![(0, end)], vec![(end / 3, end), (0, end / 3)]] {
                    let read = self.read(&stream, &pieces);
                    assert_eq!(read, expected, "{name}: in records of {most}, {pieces:?}");
                }
            }
        }
        self.connections - before
    }
}

fn ready(engine: &mut dyn Engine) {
    let mode = Mode::Enforce as u8;
    let control = Control { policy_mode: mode, breaker_mode: mode, seed: 77, ..Control::default() };
    let port = ServicePort { protocol: Protocol::Tcp, port: PORT, service: 1, flags: 0 };
    engine.set_control(&control).unwrap();
    engine.set_services(&[port]).unwrap();
}

fn read_corpus(place: &str, hellos: &[(Ja4, Vec<u8>)], mut reader: Reader<'_>) {
    let (mut read, mut long, mut connections) = (0, 0, 0);
    for (ja4, message) in hellos {
        if message.len() + 5 > HELLO_LEN {
            long += 1;
            continue;
        }
        connections += reader.read_all_ways(ja4.as_str(), message);
        read += 1;
    }
    println!(
        "{place}: {read} hellos read in {connections} ways; {long} are longer than is collected"
    );
    assert!(read > 0, "there are hellos to read");
}

#[test]
fn the_host_engine_reads_them_however_they_are_cut() {
    let hellos = hellos();
    // The host's engine is the kernel's code: a part of the shapes will do.
    let some: Vec<_> = hellos.into_iter().step_by(8).collect();
    let mut engine = HostEngine::new(Link::Ethernet);
    ready(&mut engine);
    let reader = Reader { engine: &mut engine, connections: 0, forget: &|_| {} };
    read_corpus("host", &some, reader);
}

#[test]
fn the_loaded_programs_read_them_however_they_are_cut() {
    if !is_root() {
        return say_skipped("the_loaded_programs_read_them_however_they_are_cut");
    }
    let hellos = hellos();
    for (hook, step) in [(Hook::Xdp, 1), (Hook::Tc, 16)] {
        let some: Vec<_> = hellos.iter().step_by(step).cloned().collect();
        let mut engine = KernelEngine::replaying(hook, Link::Ethernet).unwrap();
        ready(&mut engine);
        let reader = Reader { engine: &mut engine, connections: 0, forget: &|_| {} };
        read_corpus(&format!("{hook:?}"), &some, reader);
    }
}

#[test]
fn keys_are_equal_exactly_where_ja4_is() {
    let seed = Seed { add: 0x1234_5678_9abc_def1, multiply: 0x0fed_cba9_8765_4321 };
    let mut by_key: HashMap<u64, String> = HashMap::new();
    let mut by_ja4: HashMap<String, u64> = HashMap::new();
    for (ja4, message) in hellos() {
        let key = host_keys(seed, &message).matching;
        let ja4 = ja4.as_str().to_owned();
        let known = by_key.entry(key).or_insert_with(|| ja4.clone());
        assert_eq!(*known, ja4, "one key for two fingerprints");
        assert_eq!(*by_ja4.entry(ja4.clone()).or_insert(key), key, "two keys for {ja4}");
    }
    println!("{} fingerprints, {} keys", by_ja4.len(), by_key.len());
    assert_eq!(by_ja4.len(), by_key.len());
}
