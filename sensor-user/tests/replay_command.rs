//! `weir replay` as its users meet it: on the recording of the lab's traffic that is kept beside its
//! tests, and, where the environment variable `WEIR_CORPUS` names one, on the corpus' busiest capture.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails loudly"
)]

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use weir_sensor::{
    capture::Capture,
    event::Event,
    policy::{self, ServiceIds},
    replay::{
        Files, Player, Witness,
        recording::{Head, Writer},
    },
    score::{Decision, Engine},
};

/// A health checker, a stuffing bot, a hoarder and a scanner at one server, over IPv4 and IPv6.
const VISITORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/visitors.pcap");

/// Finds something in a few seconds of a few visitors.
const POLICY: &str = "
kind: Site
services: {shop: {tcp: [443]}}
ladders:
  short:
    - {at: 30, action: mark, for: 1s}
    - {at: 60, action: drop, for: 10m}
defaults: {ladder: short}
---
kind: Policy
metadata: {name: shop}
applies: [shop]
rules:
  - {name: again, points: 40, owasp: [OAT-008], when: source.connections_10s >= 2}
  - {name: and-again, points: 40, owasp: [OAT-015], when: source.connections_10s >= 4}
";

/// A folder of a test's own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("weir-replay-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("policy.yaml"), POLICY).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, contents: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The exit code, what was printed, and what was said.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["replay", "--policy"]).arg(self.0.join("policy.yaml")).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_decision_is_a_line_and_what_was_read_is_summed_up() {
    let place = Place::new("lines");
    let (code, lines, said) = place.run(&[VISITORS]);
    assert_eq!(code, 0, "{said}");
    let drop =
        lines.lines().find(|line| line.contains(" drop 203.0.113.66 at shop: 80 points by shop"));
    let drop = drop.unwrap_or_else(|| panic!("{lines}"));
    assert!(drop.contains("OAT-008 OAT-015: +40 again (4 new connections"), "{drop}");
    assert!(said.contains("connections") && said.contains("drop"), "{said}");

    let (code, objects, _) = place.run(&["--format", "json", VISITORS]);
    assert_eq!(code, 0);
    assert_eq!(objects.lines().count(), lines.lines().count());
    for object in objects.lines() {
        let value: Value = serde_json::from_str(object).unwrap();
        let mut at = 0;
        for field in [
            "id", "time", "source", "service", "action", "mode", "score", "factors", "owasp",
            "policy", "version", "until",
        ] {
            let found = object.find(&format!("\"{field}\":")).unwrap_or_else(|| panic!("{object}"));
            assert!(found >= at, "{field} comes too early: {object}");
            at = found;
        }
        assert_eq!(value["mode"], "observe");
        let points: i64 = value["factors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["points"].as_i64().unwrap())
            .sum();
        assert_eq!(value["score"], points);
    }
}

#[test]
fn packing_tags_and_the_number_of_files_and_threads_change_nothing() {
    let place = Place::new("same");
    let (_, plain, _) = place.run(&["--format", "json", VISITORS]);
    assert!(!plain.is_empty());
    let bytes = fs::read(VISITORS).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&bytes).unwrap();
    let packed = place.file("packed.pcap.gz", &gzip.finish().unwrap());
    let tagged = place.file("tagged.pcap", &rewritten(&bytes, |frame| tag(&frame)));
    for file in [&packed, &tagged] {
        assert_eq!(place.run(&["--format", "json", file]).1, plain, "{file}");
    }
    // Twice, on its own each time; as many threads as one likes.
    let twice = ["--format", "json", &packed, VISITORS, &tagged, "--threads"];
    let thrice = plain.repeat(3);
    for threads in ["1", "2", "7"] {
        assert_eq!(place.run(&[&twice[..], &[threads]].concat()).1, thrice, "{threads} threads");
    }
    // Every second packet in another file.
    let half = |wanted: usize| {
        let mut number = 0;
        rewritten(&bytes, |frame| {
            number += 1;
            if number % 2 == wanted { frame } else { Vec::new() }
        })
    };
    let (even, odd) = (place.file("even.pcap", &half(0)), place.file("odd.pcap", &half(1)));
    let (code, joined, said) = place.run(&["--format", "json", "--join", &even, &odd]);
    assert_eq!((code, joined), (0, plain), "{said}");
}

#[test]
fn who_the_server_is_can_be_said() {
    let place = Place::new("server");
    let (_, found, _) = place.run(&[VISITORS]);
    let named = ["--server", "198.51.100.10", "--server", "2001:db8:51::/64", VISITORS];
    assert_eq!(place.run(&named).1, found);
    let (code, none, said) = place.run(&["--server", "192.0.2.1", VISITORS]);
    assert_eq!((code, none.as_str()), (0, ""));
    assert!(said.contains("0 connections"), "{said}");
    let (code, _, said) = place.run(&["--server", "here", VISITORS]);
    assert!(code == 2 && said.contains("is no address and no prefix"), "{said}");
    let (code, _, said) = place.run(&["-"]);
    assert!(code == 1 && said.contains("--server"), "{said}");
}

#[test]
fn damaged_files_are_judged_up_to_the_damage_and_the_others_to_their_end() {
    let place = Place::new("damage");
    let (_, whole, _) = place.run(&[VISITORS]);
    let bytes = fs::read(VISITORS).unwrap();
    let cut = place.file("cut.pcap", &bytes[..bytes.len() - 7]);
    let garbage = place.file("garbage", b"anything but a capture");
    let empty = place.file("empty.pcap", b"");
    let (code, lines, said) = place.run(&[&cut, &garbage, &empty, "/nonexistent", VISITORS]);
    assert_eq!(code, 1);
    assert_eq!(lines, whole.repeat(2), "the last packet decides nothing");
    for told in [
        "cut.pcap is cut off: it ends inside the packet",
        "garbage is neither pcap nor pcapng",
        "empty.pcap is neither",
        "cannot open /nonexistent",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let policy = place.file("broken.yaml", b"kind: Sight");
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["replay", "--policy", &policy, VISITORS])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("broken.yaml:1:7"), "{said}");
}

#[test]
fn features_are_told_for_every_source() {
    let place = Place::new("features");
    let (code, lines, said) = place.run(&["--features", VISITORS]);
    assert_eq!(code, 0, "{said}");
    let known: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bot = known.iter().find(|it| it["source"] == "203.0.113.66").unwrap();
    assert_eq!(bot["policies"], serde_json::json!(["shop"]));
    let peak = bot["peak"]["source.connections_10s"].as_f64().unwrap();
    assert!(peak >= 4.0 && bot["features"]["source.connections_10s"].as_f64().unwrap() <= peak);
}

#[test]
fn a_recording_is_decided_the_same_ten_times_on_any_number_of_threads() {
    let place = Place::new("determinism");
    let mut captures = vec![PathBuf::from(VISITORS)];
    if let Some(corpus) = env::var_os("WEIR_CORPUS") {
        captures.push(Path::new(&corpus).join("live/mixed-a.pcap"));
    }
    for capture in captures {
        let capture = capture.to_str().unwrap();
        let recording = place.0.join("events").to_str().unwrap().to_owned();
        let events = record(capture, &place.0.join("policy.yaml"), Path::new(&recording));
        let (_, of_packets, _) = place.run(&["--format", "json", capture]);
        assert!(of_packets.lines().count() >= 3, "{capture}: {of_packets}");
        for threads in ["1", "2"] {
            for _ in 0..10 {
                let arguments = ["--format", "json", "--threads", threads, &recording];
                let (code, of_events, said) = place.run(&arguments);
                assert_eq!(code, 0, "{said}");
                assert!(said.contains(&format!("{events} events")), "{said}");
                assert_eq!(of_events, of_packets, "{capture} on {threads} threads");
            }
        }
        println!("{capture}: {events} events, {} decisions", of_packets.lines().count());
        // Cut anywhere, it is judged up to there.
        let bytes = fs::read(&recording).unwrap();
        let cut = place.file("cut", &bytes[..bytes.len() / 2]);
        for threads in ["1", "2"] {
            let (code, part, said) = place.run(&["--format", "json", "--threads", threads, &cut]);
            assert!(code == 1 && said.contains("cut is cut off"), "{said}");
            assert!(of_packets.starts_with(&part));
        }
        let (code, _, said) = place.run(&["--join", &recording, capture]);
        assert!(code == 1 && said.contains("cannot be judged as one"), "{said}");
    }
}

/// Records the events that a capture leads to; how many there were.
fn record(capture: &str, policy: &Path, into: &Path) -> u64 {
    struct Recorder {
        writer: Writer,
        events: u64,
    }
    impl Witness for Recorder {
        fn event(&mut self, event: &Event) {
            self.writer.event(event).unwrap();
            self.events += 1;
        }

        fn judged(&mut self, _: &Event, _: Vec<Decision>, _: &mut Engine) {}
    }
    let policy = Arc::new(policy::load(policy, &ServiceIds::default()).unwrap());
    let servers = Files::servers(&[capture.into()], &policy);
    let mut trouble = |error| panic!("{error}");
    let mut files = Files::new(vec![Capture::open(Path::new(capture)).unwrap()], &mut trouble);
    let mut player = Player::new(Arc::clone(&policy), servers, files.first_ns().unwrap());
    let head = Head::new(&policy, player.clock().unix_s_at_zero);
    let mut recorder = Recorder { writer: Writer::create(into, 1 << 30, head).unwrap(), events: 0 };
    while let Some(frame) = files.next_frame(&mut trouble) {
        player.frame(&frame, &mut recorder);
    }
    player.finish(&mut recorder);
    recorder.writer.finish().unwrap();
    recorder.events
}

/// A pcap file with every frame changed; those without bytes are left out.
fn rewritten(pcap: &[u8], mut change: impl FnMut(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let (header, mut rest) = pcap.split_at(24);
    let mut file = header.to_vec();
    while let Some((record, behind)) = rest.split_at_checked(16) {
        let length = u32::from_le_bytes(record[8..12].try_into().unwrap()) as usize;
        let frame = change(behind[..length].to_vec());
        if !frame.is_empty() {
            file.extend(&record[..8]);
            file.extend((frame.len() as u32).to_le_bytes());
            file.extend((frame.len() as u32).to_le_bytes());
            file.extend(frame);
        }
        rest = &behind[length..];
    }
    file
}

/// An Ethernet frame with an 802.1Q tag.
fn tag(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0, 100], &frame[12..]].concat()
}
