//! Long lists: in force at once, all of them, and nothing beside them.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use weir_lab::{
    net::{Family, Lab, Wire},
    packet::tcp,
    require_root,
    server::Server,
    weir::{Weir, demo_policy},
};

const ADDRESSES: u32 = 100_000;
const PREFIXES: u32 = 10_000;

/// Addresses that are knocked from, of each kind.
const SAMPLES: u32 = 50;

/// The goal for an optimised build.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The server answers within this time.
const ANSWERED: Duration = Duration::from_millis(500);

/// Every second address from 10.0.0.0 on.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + 2 * number)
}

/// The lower half of every /24 from 100.64.0.0 on, as a /25.
fn prefix(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x6440_0000 + 256 * number)
}

#[test]
fn a_hundred_thousand_addresses_and_ten_thousand_prefixes_are_in_force_at_once() {
    require_root!("a_hundred_thousand_addresses_and_ten_thousand_prefixes_are_in_force_at_once");
    let lab = Lab::new().unwrap();
    let _server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let _daemon = weir.run(&["edge0"], &demo_policy()).unwrap();
    let wire = lab.wire().unwrap();
    let before = weir.status().unwrap();
    let file = lab.directory().join("feed.netset");
    let mut text = String::from("# a feed\n");
    text.extend((0..ADDRESSES).map(|n| format!("{}\n", address(n))));
    text.extend((0..PREFIXES).map(|n| format!("{}/25\n", prefix(n))));
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();

    let began = Instant::now();
    let said = weir.ask(&["block", "--file", file, "--for", "10m", "--reason", "a feed"]).unwrap();
    let blocked = began.elapsed();
    assert!(said.starts_with("110000 verdicts in force"), "{said}");
    let full = weir.status().unwrap();
    let entries = |name: &str| full.map(name).and_then(|map| map.entries).unwrap();
    assert_eq!(entries("V4_EXACT"), u64::from(ADDRESSES));
    assert_eq!(entries("V4_PREFIXES"), u64::from(PREFIXES));

    // What is on the list is not answered, and what stands between is.
    let on_list: Vec<Ipv4Addr> = samples(ADDRESSES)
        .map(address)
        .chain(samples(PREFIXES).flat_map(|n| [prefix(n), within(prefix(n), 127)]))
        .collect();
    let beside: Vec<Ipv4Addr> = samples(ADDRESSES)
        .map(|n| within(address(n), 1))
        .chain(samples(PREFIXES).flat_map(|n| [within(prefix(n), 128), within(prefix(n), 255)]))
        .collect();
    assert_eq!(answered(&lab, &wire, &on_list, 2000), Vec::<Ipv4Addr>::new());
    assert_eq!(answered(&lab, &wire, &beside, 3000), beside);

    let began = Instant::now();
    let said = weir.ask(&["unblock", "--file", file]).unwrap();
    let unblocked = began.elapsed();
    assert!(said.starts_with("110000 verdicts taken back"), "{said}");
    let after = weir.status().unwrap();
    for name in ["V4_EXACT", "V4_PREFIXES"] {
        assert_eq!(after.map(name).unwrap().entries, Some(0), "{name}");
    }
    assert_eq!(answered(&lab, &wire, &on_list, 4000), on_list);

    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "100,000 addresses and 10,000 prefixes from a file: blocked in {} ms, unblocked in {} ms; \
         daemon {:.1} MiB resident (empty {:.1}), maps {:.1} MiB in the kernel (empty {:.1}); {}",
        blocked.as_millis(),
        unblocked.as_millis(),
        mib(full.memory.resident_bytes),
        mib(before.memory.resident_bytes),
        mib(full.memory.kernel_bytes),
        mib(before.memory.kernel_bytes),
        weir.binary().display(),
    );
    if weir.is_optimised() {
        assert!(blocked < AT_ONCE, "blocked in {blocked:?}");
        assert!(unblocked < AT_ONCE, "unblocked in {unblocked:?}");
    }
}

/// Numbers spread over `0..count`, the last one among them.
fn samples(count: u32) -> impl Iterator<Item = u32> {
    (1..=SAMPLES).map(move |n| n * (count / SAMPLES) - 1)
}

fn within(base: Ipv4Addr, host: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(base.to_bits() + host)
}

/// Those of `sources` whose SYN the server answered, in the order of `sources`.
fn answered(lab: &Lab, wire: &Wire, sources: &[Ipv4Addr], port: u16) -> Vec<Ipv4Addr> {
    // A service without a SYN guard.
    let api = lab.link().api(Family::V4);
    wire.forget().unwrap();
    for source in sources {
        let from = SocketAddr::from((*source, port));
        wire.send(&tcp(from, api).syn().seq(1).linux_options().build()).unwrap();
    }
    let heard = wire.collect_tcp(ANSWERED).unwrap();
    let is_answered = |source: &Ipv4Addr| {
        heard.iter().any(|segment| segment.to == SocketAddr::from((*source, port)))
    };
    sources.iter().copied().filter(is_answered).collect()
}
