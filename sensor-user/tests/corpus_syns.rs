//! The SYNs of captures, read as the kernel reads them, against what p0f 3.09b says of them.
//!
//! Where the environment variable `WEIR_CORPUS` names a folder with `live-p0f.tsv`, every signature
//! in it must be found as often as p0f found it, at the same client, and no other. p0f looks at one
//! bit of the acknowledgement number for `ack+` (`RD32(tcp->ack) & !(…)` in process.c), where Weir
//! does what p0f documents: the test knows which SYNs these are and expects exactly that.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    collections::BTreeMap,
    env, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use weir_common::{
    abi::key::{Address, V4_MAPPED},
    packet::{
        Headers, Heading, Link, Packet, Syn, Transport, parse, slice::SlicePacket, syn::MAX_STEPS,
    },
    tls::Seed,
};
use weir_sensor::{
    capture::{Capture, LinkType},
    fingerprint::syn::{RawSyn, SynPattern},
};

/// How often which client sent which signature; `None` are all that only seem to be there.
type Found = BTreeMap<(Option<IpAddr>, String), u64>;

/// p0f's rows of one capture.
fn expected(root: &Path) -> BTreeMap<String, Found> {
    let text = fs::read_to_string(root.join("live-p0f.tsv")).unwrap();
    let mut captures: BTreeMap<String, Found> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [file, "syn", client, count, raw, ..] = columns.as_slice() else { continue };
        let found = captures.entry((*file).to_owned()).or_default();
        let client = (*client != "(spoofed)").then(|| client.parse().unwrap());
        *found.entry((client, (*raw).to_owned())).or_default() += count.parse::<u64>().unwrap();
    }
    captures
}

/// What one SYN is in both readings.
struct Reading {
    client: IpAddr,
    raw: String,
    as_p0f: String,
}

fn read(bytes: &[u8], link: LinkType) -> Option<Reading> {
    let link = match link {
        LinkType::Ethernet => Link::Ethernet,
        LinkType::Ip => Link::None,
        _ => return None,
    };
    let packet = SlicePacket::new(bytes);
    let mut headers = Headers::default();
    parse(&packet, link, Heading::Ingress, &mut headers).ok()?;
    if headers.transport != Transport::Tcp || !headers.segment.is_first_syn() {
        return None;
    }
    let mut syn = Syn::default();
    assert!(syn.begin(&packet, &headers));
    let steps = (0..MAX_STEPS).take_while(|_| syn.step(&packet)).count();
    assert!(steps < MAX_STEPS as usize, "the walk ends by itself");
    syn.finish();
    let raw = RawSyn(&syn.signature).to_string();
    let client = address(&headers.key.remote);
    // The bit that p0f 3.09b looks at on a machine that stores the lowest byte first.
    let first = packet.byte(headers.transport_at + 8)?;
    let as_p0f = if first & 1 == 0 { without_ack(&raw) } else { raw.clone() };
    let pattern: SynPattern = raw.parse().unwrap();
    let seed = Seed { add: 1, multiply: 3 };
    assert_eq!(pattern.key(&seed), syn.signature.keys(&seed)[0], "{raw}");
    assert_eq!(pattern, pattern.to_string().parse().unwrap(), "{raw}");
    Some(Reading { client, raw, as_p0f })
}

/// The same signature without `ack+`.
fn without_ack(raw: &str) -> String {
    raw.replace(",ack+", "").replace("ack+,", "").replace("ack+", "")
}

fn address(words: &Address) -> IpAddr {
    let [a, b, c, d] = *words;
    if a | b == 0 && c == V4_MAPPED {
        return Ipv4Addr::from(d.to_ne_bytes()).into();
    }
    let words = words.map(|word| u128::from(u32::from_be(word)));
    Ipv6Addr::from(words.iter().fold(0, |bits, word| bits << 32 | word)).into()
}

#[test]
fn every_syn_reads_as_p0f_prints_it() {
    let Some(root) = env::var_os("WEIR_CORPUS").map(PathBuf::from) else {
        println!("SYN signatures: WEIR_CORPUS is not set: 0 cases");
        return;
    };
    let (mut cases, mut syns, mut meant_to_differ) = (0, 0, 0);
    let mut differences = Vec::new();
    for (file, expected) in expected(&root) {
        let is_spoofed = expected.keys().any(|(client, _)| client.is_none());
        let mut found = Found::new();
        let mut capture = Capture::open(&root.join(&file)).unwrap();
        while let Some(frame) = capture.next_frame().unwrap() {
            if let Some(reading) = read(frame.bytes, frame.link) {
                syns += 1;
                meant_to_differ += u64::from(reading.raw != reading.as_p0f);
                let client = (!is_spoofed).then_some(reading.client);
                *found.entry((client, reading.as_p0f)).or_default() += 1;
            }
        }
        cases += expected.len();
        for (who, count) in &expected {
            let times = found.remove(who).unwrap_or(0);
            if times != *count {
                differences.push(format!("{file}: {who:?}: {times} times, expected {count}"));
            }
        }
        // Of a flood, the table lists the most frequent signatures only.
        let unlisted = if is_spoofed { expected.values().min().copied().unwrap_or(0) } else { 0 };
        let others = found.into_iter().filter(|(_, count)| *count > unlisted);
        let others =
            others.map(|(who, count)| format!("{file}: {who:?}: {count} times, p0f has none"));
        differences.extend(others);
    }
    println!(
        "SYN signatures: {cases} cases, {syns} SYNs, {meant_to_differ} of them meant to differ (ack+), \
         {} differences",
        differences.len()
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(cases > 0, "live-p0f.tsv has no SYNs");
}
