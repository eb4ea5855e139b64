//! Floods from sources that nobody has seen, against what Weir remembers: whoever was proven keeps their
//! records and their lane, memory stays as it is, and what was pushed out is counted.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test's setup fails loudly")]

use std::{net::SocketAddr, time::Duration};

use weir_common::{
    abi::{
        Control, Guard, Mode, Protocol, Reason, ServiceSet, SourceKey, Verdict, VerdictClass,
        key::Address, map::capacity, tally::reason_index,
    },
    packet::{Heading, Link},
    pipeline::Decision,
};
use weir_lab::{
    bpf::{Engine, Hook, KernelEngine},
    packet::{Tcp, tcp},
    require_root,
};
use weir_sensor::enforce::dataplane::ServicePort;

const SHOP: u8 = 1;
const SYNS: u32 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const BEGIN_NS: u64 = 1_000 * SECOND_NS;
const CLIENT_ISN: u32 = 7_000;
const SERVER_ISN: u32 = 9_000;

/// Where an IPv4 frame without VLAN has the source's address and port.
const ADDRESS: usize = 26;
const PORT: usize = 34;

#[test]
fn a_million_forged_syns_take_nothing_from_the_proven() {
    require_root!("a_million_forged_syns_take_nothing_from_the_proven");
    for guarded in [false, true] {
        let mut stage = Stage::new();
        let interval_ns = if guarded { SECOND_NS / 100 } else { 0 };
        stage
            .engine
            .set_guard(SHOP, Guard { interval_ns, burst_ns: SECOND_NS, ..Guard::default() })
            .unwrap();
        let known = SocketAddr::from(([203, 0, 113, 7], 40_000));
        stage.connect(known);
        let key = source(known);
        let before = stage.proven(key);
        assert_eq!((before.sources, before.flows, before.connections), (1, 1, 1));

        // A million sources, a SYN each, in a second. The known client goes on meanwhile, and comes again.
        let mut frame = syn(SocketAddr::from(([198, 18, 0, 0], 1))).build();
        let mut served = 0;
        for n in 0..SYNS {
            stage.now_ns += SECOND_NS / u64::from(SYNS);
            let address = 0xc612_0000u32.wrapping_add(n.wrapping_mul(0x9e37_79b1) >> 12);
            frame[ADDRESS..ADDRESS + 4].copy_from_slice(&address.to_be_bytes());
            frame[PORT..PORT + 2].copy_from_slice(&(n as u16 | 1).to_be_bytes());
            stage.arrives(&frame);
            if n % 100_000 == 99_999 {
                let data = data(known, served).build();
                assert_eq!(stage.arrives(&data), Decision::Pass, "its connection was cut");
                served += 1;
            }
        }
        let again = SocketAddr::new(known.ip(), 40_001);
        assert!(stage.connect(again), "guarded {guarded}: its own lane is shut");

        let after = stage.proven(key);
        let held = stage.counted(Reason::LimitGuard);
        println!(
            "guarded {guarded}: {SYNS} SYNs, {held} held back, {} half open of {} that have room; proven: {} \
             sources, {} flows, {} connections of the known one",
            after.handshakes,
            capacity::HANDSHAKES,
            after.sources,
            after.flows,
            after.connections
        );
        assert_eq!((after.sources, after.flows), (1, 2), "guarded {guarded}");
        assert_eq!(after.connections, 2, "guarded {guarded}");
        assert!(after.handshakes <= capacity::HANDSHAKES);
        if guarded {
            assert!(held > u64::from(SYNS) * 9 / 10, "{held}");
            assert!(stage.counted(Reason::PassGuardLane) >= 1);
        }
        // Every segment of its connection counted as its own.
        let flow = stage.flow(known);
        assert_eq!((flow.ingress.payloads, flow.out_of_window), (served, 0));
    }
}

#[test]
fn limiters_that_an_attacker_fills_forget_the_oldest_and_hold_nobody_else() {
    require_root!("limiters_that_an_attacker_fills_forget_the_oldest_and_hold_nobody_else");
    let mut stage = Stage::new();
    let limit = VerdictClass {
        action: weir_common::abi::Action::Limit as u8,
        mode: Mode::Enforce as u8,
        reason: Reason::LimitVerdict as u8,
        services: ServiceSet::ALL,
        limit_interval_ns: 10 * SECOND_NS,
        ..VerdictClass::default()
    };
    stage.engine.set_class(9, &limit).unwrap();
    let verdict = Verdict { class: 9, prefix_len: 15, ..Verdict::default() };
    stage.engine.set_verdict("198.18.0.0/15".parse().unwrap(), verdict).unwrap();
    let known = SocketAddr::from(([203, 0, 113, 7], 40_000));
    stage.connect(known);

    // Four times as many sources as there are limiters: each has its first connection.
    let sources = 4 * capacity::BUCKETS as u32;
    let mut frame = syn(SocketAddr::from(([198, 18, 0, 0], 1))).build();
    let mut passed = 0;
    for n in 0..sources {
        frame[ADDRESS..ADDRESS + 4].copy_from_slice(&(0xc612_0000 + n % 0x2_0000).to_be_bytes());
        passed += u32::from(stage.arrives(&frame) == Decision::Pass);
    }
    let held = stage.counted(Reason::LimitVerdict);
    println!(
        "{sources} limited sources, room for {}: {passed} passed, {held} held back, {} found no room",
        capacity::BUCKETS,
        stage.counted(Reason::FullBuckets)
    );
    assert_eq!(u64::from(sources), u64::from(passed) + held);
    // One that was just seen is held back; whoever is not limited is not.
    assert_eq!(stage.arrives(&frame), Decision::Drop);
    assert!(stage.connect(SocketAddr::new(known.ip(), 40_001)));
}

#[test]
fn connections_that_an_attacker_opens_push_idle_ones_out_which_are_taken_up_again() {
    require_root!("connections_that_an_attacker_opens_push_idle_ones_out_which_are_taken_up_again");
    let mut stage = Stage::new();
    let (idle, busy) = (
        SocketAddr::from(([203, 0, 113, 7], 40_000)),
        SocketAddr::from(([203, 0, 113, 8], 40_000)),
    );
    stage.connect(idle);
    stage.connect(busy);
    // An attacker who exists opens twice as many connections as there is room for.
    let flows = 2 * capacity::FLOWS as u32;
    let mut served = 0;
    for n in 0..flows {
        let from = SocketAddr::from(([198, 18, 0, (n >> 16) as u8], n as u16));
        if from.port() != 0 {
            stage.connect(from);
        }
        if n % 500 == 0 {
            assert_eq!(stage.arrives(&data(busy, served).build()), Decision::Pass);
            served += 1;
        }
        stage.drain(n);
    }
    let records = stage.engine.records().unwrap();
    println!(
        "{flows} connections of {} addresses: {} flows remembered of {}, the busy one with {served} segments",
        flows >> 16,
        records.flows.len(),
        capacity::FLOWS
    );
    assert!(records.flows.len() <= capacity::FLOWS);
    let flow = stage.flow(busy);
    assert_eq!((flow.ingress.payloads, flow.out_of_window), (served, 0), "what is in use stays");

    // The idle one was forgotten. It goes on all the same, and is proven anew by what it acknowledges.
    let proofs = stage.counted(Reason::ProvenHandshake);
    assert_eq!(stage.arrives(&data(idle, 0).build()), Decision::Pass);
    let reply = tcp(server(), idle).psh().seq(SERVER_ISN + 1).ack(CLIENT_ISN + 6).payload(b"page");
    stage.leaves(&reply.build());
    let thanks = tcp(idle, server()).seq(CLIENT_ISN + 6).ack(SERVER_ISN + 5);
    assert_eq!(stage.arrives(&thanks.build()), Decision::Pass);
    assert_eq!(stage.counted(Reason::ProvenHandshake), proofs + 1);
    assert_eq!(stage.flow(idle).client_next, CLIENT_ISN + 6);
}

/// The loaded programs, with a clock that the test turns.
struct Stage {
    engine: KernelEngine,
    now_ns: u64,
}

/// What is remembered of the proven, and of one of them.
struct Proven {
    sources: usize,
    flows: usize,
    handshakes: usize,
    connections: u32,
}

impl Stage {
    fn new() -> Self {
        let mut engine = KernelEngine::replaying(Hook::Xdp, Link::Ethernet).unwrap();
        let port = ServicePort { protocol: Protocol::Tcp, port: 443, service: SHOP, flags: 0 };
        engine.set_services(&[port]).unwrap();
        engine
            .set_control(&Control {
                policy_mode: Mode::Enforce as u8,
                breaker_mode: Mode::Enforce as u8,
                seed: 0x5eed,
                lane_interval_ns: SECOND_NS,
                lane_burst_ns: 10 * SECOND_NS,
                ..Control::default()
            })
            .unwrap();
        let mut stage = Self { engine, now_ns: BEGIN_NS };
        stage.tick(Duration::from_secs(1));
        stage
    }

    fn tick(&mut self, time: Duration) {
        self.now_ns += time.as_nanos() as u64;
        self.engine.set_now_ns(self.now_ns).unwrap();
    }

    fn arrives(&mut self, frame: &[u8]) -> Decision {
        self.engine.set_now_ns(self.now_ns).unwrap();
        self.engine.run(Heading::Ingress, frame).unwrap().decision
    }

    fn leaves(&mut self, frame: &[u8]) {
        self.engine.run(Heading::Egress, frame).unwrap();
    }

    /// A handshake, if its SYN passes.
    fn connect(&mut self, from: SocketAddr) -> bool {
        if self.arrives(&syn(from).build()) != Decision::Pass {
            return false;
        }
        let answer = tcp(server(), from).syn().seq(SERVER_ISN).ack(CLIENT_ISN + 1).linux_options();
        self.leaves(&answer.build());
        let third = tcp(from, server()).seq(CLIENT_ISN + 1).ack(SERVER_ISN + 1);
        self.arrives(&third.build()) == Decision::Pass
    }

    /// Nobody reads events here: what waits is thrown away now and then.
    fn drain(&mut self, n: u32) {
        if n.is_multiple_of(4096) {
            self.engine.take_events().unwrap();
        }
    }

    fn counted(&self, reason: Reason) -> u64 {
        self.engine.tally().unwrap()[reason_index(reason) as usize].packets
    }

    fn proven(&self, key: SourceKey) -> Proven {
        let records = self.engine.records().unwrap();
        let of = records.sources.iter().find(|(it, _)| *it == key);
        Proven {
            sources: records.sources.len(),
            flows: records.flows.len(),
            handshakes: records.handshakes.len(),
            connections: of.map_or(0, |(_, source)| source.connections),
        }
    }

    fn flow(&self, from: SocketAddr) -> weir_common::abi::Flow {
        let records = self.engine.records().unwrap();
        let is_its = |key: &weir_common::abi::FlowKey| {
            key.source() == source(from) && key.remote_port == from.port().to_be()
        };
        records.flows.into_iter().find(|(key, _)| is_its(key)).unwrap().1
    }
}

fn server() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 10], 443))
}

fn syn(from: SocketAddr) -> Tcp {
    tcp(from, server()).syn().seq(CLIENT_ISN).linux_options()
}

/// The `n`-th piece of five bytes that a client sends.
fn data(from: SocketAddr, n: u32) -> Tcp {
    tcp(from, server()).psh().seq(CLIENT_ISN + 1 + 5 * n).ack(SERVER_ISN + 1).payload(b"GET /")
}

fn source(from: SocketAddr) -> SourceKey {
    let std::net::IpAddr::V4(address) = from.ip() else { return SourceKey::default() };
    let words: Address = [0, 0, 0xffff_u32.to_be(), u32::from(address).to_be()];
    SourceKey::from_address(&words)
}
