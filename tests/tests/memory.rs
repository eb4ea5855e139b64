//! docs/memory.md says what Weir takes from a host: kept true here.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's setup fails loudly"
)]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use nix::sys::signal::Signal;
use weir_common::abi::map::{self, MapKind};
use weir_lab::{
    clock::wait_until,
    net::Lab,
    require_root,
    weir::{Status, Weir, demo_policy},
};

/// How far the page may be off.
const TOLERANCE: f64 = 0.05;

/// CPUs of the page's figures.
const PAGE_CPUS: u64 = 2;

/// Entries written to see what one costs.
const ENTRIES: u64 = 10_000;
/// The same for the tables that a policy fills.
const DECLARED: u64 = 4_000;

/// A row of the page.
#[derive(Debug)]
struct Row {
    kind: String,
    entries: u64,
    key_bytes: u64,
    value_bytes: u64,
    loaded_bytes: u64,
    entry_bytes: Option<u64>,
    full_bytes: Option<u64>,
}

#[test]
fn the_page_on_memory_is_true() {
    require_root!("the_page_on_memory_is_true");
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/memory.md"));
    let page = page.unwrap();
    let rows = rows(&page);
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let demo = fs::read_to_string(demo_policy()).unwrap();
    let daemon = weir.run(&["edge0"], &weir.policy(&demo).unwrap()).unwrap();
    let loaded = weir.status().unwrap();

    // Every map is there, in the shape that the page says.
    for spec in std::iter::once(&map::KILL).chain(map::VERSIONED) {
        let row = rows.get(spec.name).unwrap_or_else(|| panic!("{} is not on the page", spec.name));
        let shape = (u64::from(spec.max_entries), spec.key_size, spec.value_size);
        let said = (row.entries, row.key_bytes as u32, row.value_bytes as u32);
        assert_eq!((kind(spec.kind), shape), (row.kind.as_str(), said), "{}", spec.name);
        assert_eq!(loaded.map(spec.name).unwrap().max_entries, row.entries, "{}", spec.name);
    }
    assert_eq!(rows.len(), map::VERSIONED.len() + 1, "the page has maps that there are not");

    // Each takes what the page says.
    for (name, row) in &rows {
        let scale =
            if row.kind == "per-CPU array" { cpus() as f64 / PAGE_CPUS as f64 } else { 1.0 };
        assert_near(name, bytes(&loaded, name) as f64, row.loaded_bytes as f64 * scale);
    }

    // What grows does so by what the page says of an entry.
    let list = lab.directory().join("list");
    fs::write(&list, (0..ENTRIES).map(blocked).collect::<String>()).unwrap();
    weir.ask(&["block", "--file", list.to_str().unwrap(), "--reason", "a list"]).unwrap();
    weir.policy(&declaring(&demo)).unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    wait_until("names and proxies are in the kernel", Duration::from_secs(10), || {
        let names = weir.status()?.map("SNI_SERVICES").and_then(|map| map.entries);
        Ok(names == Some(DECLARED))
    })
    .unwrap();
    let grown = weir.status().unwrap();
    for (name, row) in &rows {
        let entries =
            if matches!(name.as_str(), "SNI_SERVICES" | "PROXIES") { DECLARED } else { ENTRIES };
        let each = (bytes(&grown, name) - bytes(&loaded, name)) as f64 / entries as f64;
        let said = row.entry_bytes.unwrap_or_default() as f64;
        assert_near(&format!("an entry of {name}"), each, said);
        let full = row.loaded_bytes + row.entry_bytes.unwrap_or_default() * row.entries;
        let said = row.full_bytes.unwrap_or(row.loaded_bytes);
        assert_near(&format!("{name} when full"), full as f64, said as f64);
    }

    // And so do the sums.
    let full: u64 = rows.values().map(|row| row.full_bytes.unwrap_or(row.loaded_bytes)).sum();
    let said: Vec<u64> = page.lines().filter_map(sums).flatten().collect();
    let [said_loaded, said_full] = said[..] else { panic!("no sums on the page: {said:?}") };
    assert_near("all maps when loaded", loaded.memory.kernel_bytes as f64, said_loaded as f64);
    assert_near("all maps when full", full as f64, said_full as f64);

    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "maps {:.1} MiB when loaded; with {} verdicts {:.1} MiB, daemon {:.1} MiB resident ({})",
        mib(loaded.memory.kernel_bytes),
        6 * ENTRIES,
        mib(grown.memory.kernel_bytes),
        mib(grown.memory.resident_bytes),
        weir.binary().display()
    );
}

/// Lines of a list: one entry of each table of verdicts.
fn blocked(n: u64) -> String {
    let (a, b) = (n >> 8, n & 255);
    format!(
        "10.0.{a}.{b}\n100.{a}.{b}.0/24\n2001:db8:0:{n:x}::/64\n2001:db9:{n:x}::/48\n\
         ja4_r:t13i010100_1301_000d_08{a:02x},04{b:02x}\n\
         tcp:4:64:0:{}:1024,7:mss,nop,ws:df,id+:0\n",
        1000 + n
    )
}

/// A policy with many names and proxies.
fn declaring(demo: &str) -> String {
    let names: String = (0..DECLARED).map(|n| format!("w{n}.example.com, ")).collect();
    // Every second address, so that they do not join into prefixes.
    let proxies: String =
        (0..DECLARED).map(|n| format!("198.18.{}.{}, ", n >> 7, (n & 127) << 1)).collect();
    demo.replacen(
        "services:\n",
        &format!(
            "proxies: {{lb: {{from: [{proxies}], client: proxy-protocol}}}}\n\
             services:\n  named: {{tcp: [443], sni: [{names}], behind: [lb]}}\n"
        ),
        1,
    )
    .replacen("shop: {tcp: [443],", "shop: {tcp: [443], behind: [lb],", 1)
}

fn bytes(status: &Status, name: &str) -> u64 {
    status.map(name).unwrap_or_else(|| panic!("there is no map {name}")).bytes
}

fn assert_near(what: &str, is: f64, said: f64) {
    assert!((is - said).abs() <= said * TOLERANCE, "{what}: {is} bytes, the page says {said}");
}

fn cpus() -> usize {
    let list = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap();
    list.trim().rsplit(['-', ',']).next().unwrap().parse::<usize>().unwrap() + 1
}

const fn kind(kind: MapKind) -> &'static str {
    match kind {
        MapKind::Hash => "hash",
        MapKind::Array => "array",
        MapKind::PerCpuArray => "per-CPU array",
        MapKind::LruHash => "LRU hash",
        MapKind::LpmTrie => "LPM trie",
        MapKind::RingBuf => "ring buffer",
    }
}

/// The table's rows, by the name of the map.
fn rows(page: &str) -> BTreeMap<String, Row> {
    page.lines().filter(|line| line.starts_with("| `")).map(row).collect()
}

fn row(line: &str) -> (String, Row) {
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    let [_, name, kind, entries, key, value, loaded, entry, full, _] = cells[..] else {
        panic!("not a row of eight cells: {line}")
    };
    let row = Row {
        kind: kind.to_owned(),
        entries: entries.parse().unwrap(),
        key_bytes: amount(key).unwrap(),
        value_bytes: amount(value).unwrap(),
        loaded_bytes: amount(loaded).unwrap(),
        entry_bytes: amount(entry),
        full_bytes: amount(full),
    };
    (name.trim_matches('`').to_owned(), row)
}

/// `Together 82 MiB when loaded, and 267 MiB …`
fn sums(line: &str) -> Option<[u64; 2]> {
    let words: Vec<&str> = line.strip_prefix("Together ")?.split(' ').collect();
    let mib = |at: usize| amount(&format!("{} {}", words[at], words[at + 1])).unwrap();
    Some([mib(0), mib(5)])
}

/// `16.0 MiB` in bytes.
fn amount(text: &str) -> Option<u64> {
    let (number, unit) = text.split_once(' ')?;
    let number: f64 = number.parse().unwrap();
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => panic!("{text} has no unit"),
    };
    Some((number * f64::from(factor)).round() as u64)
}
