//! `weir fingerprint` as its users meet it, on the recording that is kept beside the lab's tests.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

/// Eleven connections of rustls, which shuffles its extensions, over IPv4 and IPv6.
const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/visitors.pcap");

fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("fingerprint").stdin(Stdio::null());
    command
}

/// The exit code, what was printed, and what was said.
fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    told(&weir().args(arguments).output().unwrap())
}

/// A file of a test's own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, contents: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("weir-{}-{name}", std::process::id()));
        fs::write(&path, contents).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn json_has_one_object_for_every_hello() {
    let (code, lines, said) = run(&["--format", "json", RECORDING]);
    assert_eq!(code, 0, "{said}");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 11);
    // The lists were read out of the bytes by hand, their hashes made with sha256sum and md5sum.
    let first = serde_json::json!({
        "file": RECORDING,
        "time": "1970-01-01T02:03:31.661123443Z",
        "transport": "tcp",
        "src": "[2001:db8:113:d::1]:55979",
        "dst": "[2001:db8:51::10]:443",
        "sni": "shop.test",
        "alpn": null,
        "version": "TLS 1.3",
        "ja3": "e6633fad58cc80c6b00d793b6ad7b83c",
        "ja3_string": "771,4866-4865-4867-49196-49195-52393-49200-49199-52392-255,\
                       51-43-23-10-13-45-5-11-0,29-23-24,0",
        "ja4": "t13d100900_61a7ad8aa9b6_6a7d638fc319",
        "ja4_r": "t13d100900_00ff,1301,1302,1303,c02b,c02c,c02f,c030,cca8,cca9_\
                  0005,000a,000b,000d,0017,002b,002d,0033_\
                  0503,0403,0807,0806,0805,0804,0601,0501,0401",
        "stable": "t13d100900_61a7ad8aa9b6_6a7d638fc319",
        "segments": 1,
    });
    assert_eq!(lines[0], first);
    assert!(lines.iter().all(|line| line["ja4"] == first["ja4"]), "order does not matter to JA4");
    let ja3: HashSet<&str> = lines.iter().filter_map(|line| line["ja3"].as_str()).collect();
    assert_eq!(ja3.len(), 11, "it does to JA3");
}

#[test]
fn a_compressed_capture_from_a_pipe_gives_the_same() {
    let (_, expected, _) = run(&["--format", "json", RECORDING]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&fs::read(RECORDING).unwrap()).unwrap();
    let packed = gzip.finish().unwrap();
    let mut child = weir()
        .args(["--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&packed).unwrap();
    let (code, lines, said) = told(&child.wait_with_output().unwrap());
    assert_eq!((code, lines), (0, expected.replace(RECORDING, "-")), "{said}");
}

#[test]
fn a_bad_file_does_not_stop_the_others() {
    let whole = fs::read(RECORDING).unwrap();
    let cut = Place::new("cut.pcap", &whole[..whole.len() - 1]);
    let other = Place::new("other.pcap", b"no capture at all");
    let (code, table, said) = run(&[other.path(), cut.path(), "/nonexistent.pcap", RECORDING]);
    assert_eq!(code, 1);
    assert_eq!(table.matches("t13d100900_61a7ad8aa9b6_6a7d638fc319").count(), 22, "{table}");
    for words in [
        "other.pcap is neither pcap nor pcapng",
        "begins with 6e 6f 20 63",
        "cut.pcap is cut off: it ends inside the packet that begins at byte",
        "cut.pcap: 327 packets, 11 hellos",
        "cannot open /nonexistent.pcap: No such file",
        "visitors.pcap: 328 packets, 11 hellos",
        "no hello from: packets with neither TCP nor UDP (2)",
    ] {
        assert!(said.contains(words), "no {words:?} in: {said}");
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let mut child = weir()
        .args([RECORDING; 300])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.ends_with("visitors.pcap:\n"));
    let (code, _, said) = told(&child.wait_with_output().unwrap());
    assert_eq!(code, 0);
    assert!(!said.contains("weir:"), "{said}");
}

#[test]
fn what_is_not_understood_exits_with_2() {
    let says = |arguments: &[&str], words: &str| {
        let (code, _, said) = run(arguments);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(words), "no {words:?} in: {said}");
    };
    says(&[], "<FILE>");
    says(&["--count", "3", RECORDING], "cannot be used with");
    says(&["--interface", "lo", RECORDING], "cannot be used with");
    says(&["--interface", "lo", "--duration", "5"], "--duration");
}

#[test]
fn an_interface_that_is_not_there_is_answered_with_those_there_are() {
    let (code, _, said) = run(&["--interface", "weir-none"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("no interface \"weir-none\"") && said.contains("there are: lo"),
        "{said}"
    );
}
