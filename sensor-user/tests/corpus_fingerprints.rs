//! `weir fingerprint --format json` against published and cross-checked values: every row of the
//! tables in the folder that the environment variable `WEIR_CORPUS` names is a case. Without it
//! nothing is compared here, which the tests say; see `fingerprint_command.rs` for our own recording.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails loudly")]

use std::{
    collections::{BTreeMap, HashMap},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// A difference from the tables that is meant.
struct Allowed {
    capture: &'static str,
    /// A column; `hellos` is their number, `row` a row that no hello was found for.
    column: &'static str,
    /// What is found instead.
    found: &'static str,
    reason: &'static str,
}

const fn allowed(
    capture: &'static str,
    column: &'static str,
    found: &'static str,
    reason: &'static str,
) -> Allowed {
    Allowed { capture, column, found, reason }
}

const CAPWAP: &str = "Wi-Fi frames inside UDP: tunnels are captured behind their end, not unpacked";
const BROKEN: &str = "a list that ends inside an element, and no server would go on with: the table takes any value or none";
const NO_NAME: &str = "nDPI always writes `d`; these hellos have no server name";
const UNDERSCORE: &str = "no signature algorithms: the specification has no underscore then";

const ALLOWED: [Allowed; 7] = [
    allowed("ndpi/capwap_data.pcapng", "hellos", "0", CAPWAP),
    allowed("ndpi/capwap_data.pcapng", "row", "10.1.3.68:47025", CAPWAP),
    allowed("ndpi/tls_cipher_lens.pcap", "hellos", "2", BROKEN),
    allowed("ndpi/tls_cipher_lens.pcap", "row", "192.168.11.11:51591", BROKEN),
    allowed(
        "ndpi/dtls_certificate_fragments.pcap",
        "published_ja4",
        "dd2i800500_9cedc1f1428b_a1e935682795",
        NO_NAME,
    ),
    allowed(
        "ndpi/dtls_certificate_fragments.pcap",
        "published_ja4",
        "dd2i120700_7c0e62f61317_d9dd6182da81",
        NO_NAME,
    ),
    allowed(
        "suricata/bug-5713-01.pcap",
        "tls.ja4",
        "t10i070600_c50f5591e341_c39ab67fec8e",
        UNDERSCORE,
    ),
];

/// A table's rows by column name.
fn table(path: &Path) -> Vec<HashMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split('\t').collect();
    lines
        .map(|line| {
            let cells = line.split('\t').map(str::to_owned);
            names.iter().map(|name| (*name).to_owned()).zip(cells).collect()
        })
        .collect()
}

/// The lines of JSON about each capture, in order.
fn fingerprint(captures: &[PathBuf]) -> BTreeMap<String, Vec<Value>> {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["fingerprint", "--format", "json"])
        .args(captures)
        .output()
        .unwrap();
    let problems = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{problems}");
    let mut lines: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let file = line["file"].as_str().unwrap().to_owned();
        lines.entry(file).or_default().push(line);
    }
    lines
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_default()
}

fn end_point(row: &HashMap<String, String>, address: &str, port: &str) -> String {
    let (address, port) = (&row[address], &row[port]);
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// What was compared, and what differed.
#[derive(Default)]
struct Tally {
    cases: usize,
    compared: usize,
    differences: Vec<String>,
    allowed: Vec<&'static str>,
}

impl Tally {
    /// An empty value is one that nobody published.
    fn compare(&mut self, capture: &str, column: &str, expected: &str, found: &str) {
        if !expected.is_empty() {
            self.compared += 1;
            if expected != found {
                let message = format!("{column} is {found}, expected {expected}");
                self.differs(capture, column, found, &message);
            }
        }
    }

    fn differs(&mut self, capture: &str, column: &str, found: &str, message: &str) {
        let is_it = |known: &&Allowed| {
            (known.capture, known.column, known.found) == (capture, column, found)
        };
        match ALLOWED.iter().find(is_it) {
            Some(known) => self.allowed.push(known.reason),
            None => self.differences.push(format!("{capture}: {message}")),
        }
    }

    fn finish(self, what: &str) {
        println!(
            "{what}: {} cases, {} values, {} of them meant to differ, {} differences",
            self.cases,
            self.compared,
            self.allowed.len(),
            self.differences.len()
        );
        assert!(self.differences.is_empty(), "{}", self.differences.join("\n"));
        assert!(self.cases > 0, "{what}: nothing was compared");
    }
}

/// The corpus's folder, and the lines of every capture in it by the capture's name.
fn corpus(test: &str) -> Option<(PathBuf, BTreeMap<String, Vec<Value>>)> {
    let Some(root) = env::var_os("WEIR_CORPUS").map(PathBuf::from) else {
        println!("{test}: WEIR_CORPUS is not set: 0 cases");
        return None;
    };
    let index = table(&root.join("index.tsv"));
    let paths: Vec<PathBuf> = index.iter().map(|row| root.join(&row["file"])).collect();
    let mut lines = fingerprint(&paths);
    let named = index.iter().map(|row| {
        let path = root.join(&row["file"]).display().to_string();
        (row["file"].clone(), lines.remove(&path).unwrap_or_default())
    });
    let named = named.collect();
    Some((root, named))
}

#[test]
fn every_expected_hello_is_found_and_no_other() {
    let Some((root, mut lines)) = corpus("expected hellos") else { return };
    let mut tally = Tally::default();
    for row in table(&root.join("index.tsv")) {
        let capture = &row["file"];
        let is_counted = |line: &&Value| text(line, "transport") != "dtls";
        let found = lines[capture].iter().filter(is_counted).count();
        tally.compare(capture, "hellos", &row["hellos"], &found.to_string());
        if row["kinds"].split(',').any(|kind| kind == "negative") && !lines[capture].is_empty() {
            tally.differs(capture, "negative", "", "a negative capture gave a hello");
        }
    }
    for row in table(&root.join("ja4-expected.tsv")) {
        tally.cases += 1;
        let capture = row["file"].as_str();
        let (source, destination) =
            (end_point(&row, "src", "sport"), end_point(&row, "dst", "dport"));
        let is_it = |line: &Value| {
            text(line, "src") == source
                && text(line, "dst") == destination
                && text(line, "transport") == row["transport"]
        };
        let Some(place) = lines[capture].iter().position(is_it) else {
            let message = format!("no hello from {source} to {destination}");
            tally.differs(capture, "row", &source, &message);
            continue;
        };
        let line = lines.get_mut(capture).unwrap().remove(place);
        for column in ["ja4", "ja4_r", "ja3", "ja3_string", "sni"] {
            tally.compare(capture, column, &row[column], text(&line, column));
        }
        tally.compare(capture, "segs", &row["segs"], &line["segments"].to_string());
        if row["transport"] == "dtls" {
            // Nothing else stands in their rows.
            tally.compare(capture, "published_ja4", &row["published_ja4"], text(&line, "ja4"));
            tally.compare(capture, "published_ja3", &row["published_ja3"], text(&line, "ja3"));
        }
    }
    for (capture, rest) in lines {
        // The table has a few of DTLS's hellos, not all.
        for line in rest.iter().filter(|line| text(line, "transport") != "dtls") {
            tally.differs(&capture, "line", "", &format!("an unexpected hello: {line}"));
        }
    }
    tally.finish("expected hellos");
}

/// A decimal list of a JA3, or a hexadecimal one of a JA4_r, as JSON prints a list.
fn list(values: &str, separator: char, radix: u32) -> String {
    let values: Vec<u16> = values
        .split(separator)
        .filter(|value| !value.is_empty())
        .map(|value| u16::from_str_radix(value, radix).unwrap())
        .collect();
    format!("{values:?}")
}

#[test]
fn what_another_sensor_says_of_a_hello_holds() {
    let Some((root, lines)) = corpus("another sensor's facts") else { return };
    let mut tally = Tally::default();
    for row in table(&root.join("suricata-expected.tsv")) {
        let field = row["field"].as_str();
        let ja3 = |line: &Value, part| {
            list(text(line, "ja3_string").split(',').nth(part).unwrap(), '-', 10)
        };
        let fact = |line: &Value| match field {
            "tls.ja4" | "quic.ja4" => Some(text(line, "ja4").to_owned()),
            "tls.sni" => Some(text(line, "sni").to_owned()),
            "tls.ja3.hash" => Some(text(line, "ja3").to_owned()),
            "tls.ja3.string" => Some(text(line, "ja3_string").to_owned()),
            "tls.client_handshake.version" => Some(text(line, "version").to_owned()),
            "tls.client_handshake.ciphers" => Some(ja3(line, 1)),
            "tls.client_handshake.exts" => Some(ja3(line, 2)),
            "tls.client_handshake.sig_algs" => {
                Some(list(text(line, "ja4_r").split('_').nth(3).unwrap_or_default(), ',', 16))
            }
            // The version that the server chose, and extensions with their GREASE: not of a hello, or
            // not told.
            _ => None,
        };
        let facts: Vec<String> = lines[&row["file"]].iter().filter_map(fact).collect();
        if facts.is_empty() {
            continue;
        }
        tally.cases += 1;
        let found = facts.iter().filter(|fact| **fact == row["value"]).count();
        let is_enough = found >= row["count"].parse().unwrap();
        let found = if is_enough { row["value"].clone() } else { facts.join(" ") };
        tally.compare(&row["file"], field, &row["value"], &found);
    }
    tally.finish("another sensor's facts");
}
