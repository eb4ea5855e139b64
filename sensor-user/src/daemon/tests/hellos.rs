//! ClientHellos as the kernel sends them: learned from, scored, and refused late.

use std::sync::Arc;

use weir_common::{
    abi::{
        Action, Established, EventHeader, FlowKey, HelloHeader, HelloKind, Protocol, ServiceSet,
        hello::HELLO_MALFORMED,
    },
    host::HelloRecord,
};

use super::{Site, Twin, block, net, twin};
use crate::{
    api::message::{HelloStatus, OperatorAction},
    daemon::Daemon,
    enforce::{
        dataplane::{Dataplane, Subject},
        fingerprint::Fingerprint,
        ledger::Meaning,
    },
    event::Event,
    fingerprint::{
        hello::{ClientHello, tests::message},
        ja4::{Ja4Raw, Transport},
        quic::forge::{Forge, crypto},
    },
    system::{address, clock},
};

const RECORD: u32 = 5;

/// A hello with one extension of this number.
fn hello(extension: u16) -> Vec<u8> {
    message(0x0303, &[0x1301, 0x1302], &[(extension, &[0; 3]), (0x000d, &[0, 2, 8, 4])])
}

fn raw(message: &[u8], transport: Transport) -> Ja4Raw {
    Ja4Raw::of(&ClientHello::read(message).unwrap(), transport)
}

fn key(from: &str, port: u16, protocol: Protocol) -> FlowKey {
    FlowKey {
        remote: address::words(from.parse().unwrap()),
        local: address::words("198.51.100.1".parse().unwrap()),
        remote_port: port.to_be(),
        local_port: 8080u16.to_be(),
        protocol: protocol as u32,
    }
}

/// A record as the kernel makes it, without its bytes.
fn header(kind: HelloKind, from: &str, port: u16) -> HelloHeader {
    let protocol = if kind == HelloKind::Quic { Protocol::Udp } else { Protocol::Tcp };
    HelloHeader {
        at_ns: clock::monotonic_ns(),
        kind: kind as u8,
        service: 1,
        key: key(from, port, protocol),
        client: address::words(from.parse().unwrap()),
        segments: 1,
        delay: 10,
        ..HelloHeader::default()
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![22, 3, 1];
    bytes.extend((message.len() as u16).to_be_bytes());
    bytes.extend(message);
    bytes
}

fn whole(daemon: &Daemon<Twin>, message: &[u8], from: &str, port: u16) -> HelloRecord {
    let bytes = framed(message);
    let header = HelloHeader {
        offset: RECORD,
        length: bytes.len() as u32,
        keys: raw(message, Transport::Tcp).keys(daemon.sensor.key_seed()),
        ..header(HelloKind::Whole, from, port)
    };
    HelloRecord { header, bytes, coverage: None }
}

fn piece(message: &[u8], from: &str, port: u16) -> HelloRecord {
    let bytes = framed(message);
    let header = HelloHeader { length: bytes.len() as u32, ..header(HelloKind::Piece, from, port) };
    HelloRecord { header, bytes, coverage: None }
}

fn quic(message: &[u8], id: u8, from: &str, port: u16) -> HelloRecord {
    let bytes =
        Forge { destination: vec![id; 8], ..Forge::default() }.datagram(&crypto(0, message));
    let header = HelloHeader { length: bytes.len() as u32, ..header(HelloKind::Quic, from, port) };
    HelloRecord { header, bytes, coverage: None }
}

fn proven(from: &str, port: u16) -> Event {
    let header = EventHeader { at_ns: clock::monotonic_ns(), ..EventHeader::default() };
    let key = key(from, port, Protocol::Udp);
    Event::Established(Established { header, key, ..Established::default() })
}

/// Has an operator refuse a fingerprint at the service `shop`.
fn refuse(daemon: &mut Daemon<Twin>, fingerprint: &str) {
    let fingerprint: Fingerprint = fingerprint.parse().unwrap();
    let meaning = Arc::new(Meaning::operator(Action::Drop, ServiceSet::one(1), "a tool"));
    let now_ns = clock::monotonic_ns();
    daemon.ledger.block_fingerprint(&fingerprint, &meaning, None, now_ns).unwrap();
    daemon.apply().unwrap();
}

fn status(daemon: &Daemon<Twin>) -> HelloStatus {
    daemon.hello_status(0, 0)
}

/// The flows that the kernel was told to end.
fn ended(daemon: &Daemon<Twin>) -> Vec<FlowKey> {
    let subjects = daemon.sensor.tables.read_subjects().unwrap();
    let mut flows: Vec<FlowKey> = subjects
        .into_iter()
        .filter_map(|(subject, _)| match subject {
            Subject::Flow(key) => Some(key),
            _ => None,
        })
        .collect();
    flows.sort_by_key(|key| u16::from_be(key.remote_port));
    flows
}

#[test]
fn a_hello_is_learned_scored_and_kept_over_a_restart() {
    let site = Site::new("learn");
    let first = hello(0x0017);
    let ja4 = raw(&first, Transport::Tcp).ja4();
    super::runtime().block_on(async {
        let (mut daemon, _streams, _server) = site.prepare(twin()).unwrap();
        let records = [
            whole(&daemon, &first, "203.0.113.1", 1),
            whole(&daemon, &first, "203.0.113.2", 1),
            whole(&daemon, &hello(0x0023), "203.0.113.1", 2),
        ];
        daemon.handle_hellos(&records);
        let known = daemon.known.get(&ja4).unwrap();
        assert_eq!((known.connections(), known.senders()), (2, 2));
        let HelloStatus { read, mismatched, known_fingerprints, .. } = status(&daemon);
        assert_eq!((read, mismatched, known_fingerprints), (3, 0, 2));
        assert_eq!(daemon.engine.counters().sources, 2, "a hello on a proven flow is enough");
        daemon.finish();
    });
    super::runtime().block_on(async {
        let (daemon, _streams, _server) = site.prepare(twin()).unwrap();
        assert_eq!(daemon.known.get(&ja4).unwrap().connections(), 2);
    });
}

#[test]
fn what_kernel_and_daemon_know_differently_is_counted_and_warned_of() {
    Site::run("mismatch", twin(), |_, daemon| {
        let mut record = whole(daemon, &hello(0x0017), "203.0.113.1", 1);
        record.header.keys.stable ^= 1;
        daemon.handle_hellos(&[record.clone(), record]);
        let HelloStatus { read, mismatched, .. } = status(daemon);
        assert_eq!((read, mismatched), (2, 2));
    });
}

#[test]
fn what_does_not_hold_together_is_counted_and_harmless() {
    Site::run("malformed", twin(), |_, daemon| {
        let good = whole(daemon, &hello(0x0017), "203.0.113.1", 1);
        let mut said = good.clone();
        said.header.flags = HELLO_MALFORMED;
        let mut cut = good.clone();
        cut.bytes.truncate(30);
        let mut beyond = good.clone();
        beyond.header.offset = u32::MAX;
        let mut strange = good;
        strange.header.kind = 77;
        daemon.handle_hellos(&[said, cut, beyond, strange]);
        let HelloStatus { read, malformed, .. } = status(daemon);
        assert_eq!((read, malformed, daemon.known.len()), (0, 3, 0));
    });
}

#[test]
fn a_refused_fingerprint_that_came_in_pieces_ends_its_flow() {
    Site::run("late", twin(), |_, daemon| {
        let (bad, good) = (hello(0x0017), hello(0x0023));
        refuse(daemon, &format!("ja4:{}", raw(&bad, Transport::Tcp).ja4()));
        let allowed = block(&["203.0.113.3/32"], OperatorAction::Allow);
        super::ask(daemon, allowed).unwrap();
        let whole = whole(daemon, &bad, "203.0.113.4", 4);
        daemon.handle_hellos(&[
            piece(&bad, "203.0.113.1", 1),
            piece(&good, "203.0.113.1", 2),
            piece(&bad, "203.0.113.3", 3),
            // The kernel has judged this one.
            whole,
        ]);
        assert_eq!(ended(daemon), [key("203.0.113.1", 1, Protocol::Tcp)]);
        let HelloStatus { pieced, refused_late, .. } = status(daemon);
        assert_eq!((pieced, refused_late), (3, 1));
    });
}

#[test]
fn a_hash_takes_effect_in_the_kernel_once_it_was_seen() {
    Site::run("hash", twin(), |_, daemon| {
        let bad = hello(0x0017);
        let stands = raw(&bad, Transport::Tcp);
        refuse(daemon, &format!("ja4:{}", stands.ja4()));
        assert!(daemon.sensor.tables.read_subjects().unwrap().is_empty());
        let record = whole(daemon, &bad, "203.0.113.4", 4);
        daemon.handle_hellos(&[record]);
        let key = stands.keys(daemon.sensor.key_seed()).matching;
        let subjects = daemon.sensor.tables.read_subjects().unwrap();
        assert_eq!(subjects.first().unwrap().0, Subject::Fingerprint(key));
    });
}

#[test]
fn over_quic_a_client_is_refused_when_it_is_proven_and_nobody_else_is() {
    Site::run("quic", twin(), |_, daemon| {
        let (bad, good) = (hello(0x0039), hello(0x0017));
        refuse(daemon, &format!("ja4:{}", raw(&bad, Transport::Quic).ja4()));
        daemon.handle_hellos(&[
            quic(&bad, 1, "203.0.113.1", 1),
            quic(&bad, 1, "203.0.113.2", 2),
            quic(&good, 2, "203.0.113.2", 2),
            quic(&bad, 1, "203.0.113.3", 3),
        ]);
        assert_eq!((ended(daemon), daemon.known.len()), (Vec::new(), 0), "nothing is proven");
        assert_eq!(daemon.engine.counters().sources, 0);
        daemon.handle(&[proven("203.0.113.1", 1), proven("203.0.113.2", 2)]);
        assert_eq!(ended(daemon), [key("203.0.113.1", 1, Protocol::Udp)]);
        assert_eq!(status(daemon).quic, 4);
        assert_eq!(daemon.events.established, 2);
    });
}

#[test]
fn a_flood_of_hellos_costs_a_bounded_time_a_second() {
    Site::run("flood", twin(), |_, daemon| {
        let record = whole(daemon, &hello(0x0017), "203.0.113.1", 1);
        let flood = vec![record; 20_100];
        daemon.handle_hellos(&flood);
        let HelloStatus { read, skipped, .. } = status(daemon);
        assert_eq!((read, skipped), (20_000, 100));
        daemon.tick();
        daemon.handle_hellos(&flood[..5]);
        assert_eq!(status(daemon).read, 20_005);
    });
}

#[test]
fn a_proxys_connections_are_its_clients_and_the_proxy_is_never_scored() {
    let site = Site::new("proxied");
    let policy = super::POLICY
        .replace(
            "kind: Site",
            "kind: Site\nproxies: {lb: {from: [10.0.0.0/24], client: proxy-protocol}}",
        )
        .replace("shop: {tcp: [8080, 8443]}", "shop: {tcp: [8080, 8443], behind: [lb]}");
    site.write_policy(&policy);
    super::runtime().block_on(async {
        let (mut daemon, _streams, _server) = site.prepare(twin()).unwrap();
        let mut events = super::connections("10.0.0.7", 25);
        daemon.handle(&events);
        assert_eq!(daemon.engine.counters().sources, 0);
        for event in &mut events {
            let Event::Established(event) = event else { panic!("{event:?}") };
            event.flags = weir_common::abi::flow::FLOW_PROXIED;
            event.client = address::words("192.0.2.9".parse().unwrap());
        }
        daemon.handle(&events);
        let decisions = daemon.history.newest(None).decisions;
        assert_eq!(decisions[0].prefix, net("192.0.2.9/32"));
        assert_eq!(super::action(&daemon, "10.0.0.7", 1), None);
    });
}
