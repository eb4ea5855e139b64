//! Frames of anybody's making: nothing crashes a replay, and it ends.

use std::{path::Path, sync::Arc};

use proptest::prelude::*;

use super::{
    Player, Servers, Witness,
    server::{Census, Ports},
};
use crate::{
    capture::{Frame, LinkType},
    event::Event,
    policy::{self, CompiledPolicy, ServiceIds},
    score::{Decision, Engine},
};

const POLICY: &str = "
kind: Site
services: {shop: {tcp: [443], udp: [443]}}
ladders: {default: [{at: 50, action: mark, for: 1m}]}
---
kind: Policy
metadata: {name: p}
applies: [shop]
rules: [{name: r, points: 60, when: source.connections_10s > 1}]
";

fn site() -> Arc<CompiledPolicy> {
    Arc::new(policy::parse("test", POLICY, Path::new("."), &ServiceIds::default()).unwrap())
}

#[derive(Default)]
struct Count {
    ticks: u64,
    latest_ns: u64,
}

impl Witness for Count {
    fn event(&mut self, event: &Event) {
        self.ticks += u64::from(matches!(event, Event::Tick { .. }));
        assert!(event.at_ns() >= self.latest_ns, "time goes back");
        self.latest_ns = event.at_ns();
    }

    fn judged(&mut self, _: &Event, _: Vec<Decision>, _: &mut Engine) {}
}

/// IPv4.
fn ip(from: [u8; 4], to: [u8; 4], protocol: u8, transport: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend((20 + transport.len() as u16).to_be_bytes());
    packet.extend([0, 7, 0, 0, 64, protocol, 0, 0]);
    packet.extend(from);
    packet.extend(to);
    packet.extend(transport);
    packet
}

fn tcp(from: u16, to: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    segment.extend([0, 0, 0, 7, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

fn frame(time_ns: u64, bytes: &[u8]) -> Frame<'_> {
    Frame { time_ns, link: LinkType::Ip, bytes, original_len: bytes.len() as u32 }
}

fn found(packets: &[Vec<u8>]) -> Vec<String> {
    let mut census = Census::new(Ports::of(&site()));
    packets.iter().for_each(|packet| census.frame(&frame(1, packet)));
    census.servers().names()
}

const CLIENT: [u8; 4] = [203, 0, 113, 7];
const HOST: [u8; 4] = [198, 51, 100, 10];

#[test]
fn who_is_asked_is_the_server() {
    let syn = ip(CLIENT, HOST, 6, &tcp(5000, 443, 2, b""));
    assert_eq!(found(std::slice::from_ref(&syn)), ["198.51.100.10"]);
    // It also asks others, at other ports; and once somebody at a service's port.
    let asks = ip(HOST, [198, 51, 100, 53], 17, &[0x13, 0x88, 0, 53, 0, 8, 0, 0]);
    let upstream = ip(HOST, [198, 51, 100, 80], 6, &tcp(5001, 443, 2, b""));
    assert_eq!(
        found(&[asks, syn.clone(), upstream, syn]),
        ["198.51.100.10", "198.51.100.53", "198.51.100.80"]
    );
    // A scan that opens nothing, and is answered.
    let fin = |port| ip(CLIENT, HOST, 6, &tcp(5000, port, 1, b""));
    let reset = |port| ip(HOST, CLIENT, 6, &tcp(port, 5000, 4, b""));
    assert_eq!(found(&[fin(22), reset(22), fin(23), reset(23)]), ["198.51.100.10"]);
    // Begun in the middle: the service's port is the server's.
    let answer = ip(HOST, CLIENT, 6, &tcp(443, 5000, 0x18, b"answer"));
    assert_eq!(found(&[answer]), ["198.51.100.10"]);
    assert_eq!(found(&[vec![0; 40]]), Vec::<String>::new());
}

#[test]
fn a_wrong_clock_ends() {
    let syn = ip(CLIENT, HOST, 6, &tcp(5000, 443, 2, b""));
    let servers = Servers::Named(vec!["198.51.100.10/32".parse().unwrap()]);
    let mut player = Player::new(site(), servers, 0);
    let mut count = Count::default();
    for time_ns in [0, 1, u64::MAX, 5, u64::MAX - 1] {
        player.frame(&frame(time_ns, &syn), &mut count);
    }
    player.finish(&mut count);
    assert!(count.ticks < 10_000, "{} ticks", count.ticks);
}

proptest! {
    // Each has a host's tables of its own, and hours of ticks.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_frame_crashes_it(
        frames in prop::collection::vec(
            (
                any::<u64>(),
                0u16..300,
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..120),
                    (any::<[u8; 4]>(), any::<u16>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..90))
                        .prop_map(|(from, port, flags, payload)| {
                            ip(from, HOST, 6, &tcp(port, 443, flags, &payload))
                        }),
                    prop::collection::vec(any::<u8>(), 8..90).prop_map(|mut datagram| {
                        datagram[2..4].copy_from_slice(&[1, 0xbb]);
                        ip(CLIENT, HOST, 17, &datagram)
                    }),
                ],
                any::<u32>(),
            ),
            0..40,
        ),
        step_ns in 0u64..5_000_000_000,
    ) {
        let mut census = Census::new(Ports::of(&site()));
        let servers = Servers::Named(vec!["198.51.100.0/24".parse().unwrap()]);
        let mut player = Player::new(site(), servers, 1_700_000_000_000_000_000);
        let mut count = Count::default();
        let mut at_ns = 1_700_000_000_000_000_000;
        for (odd_ns, link, bytes, original_len) in &frames {
            at_ns += step_ns;
            let time_ns = if odd_ns % 9 == 0 { *odd_ns } else { at_ns };
            let link = LinkType::from_number(if *link < 200 { 101 } else { *link });
            let frame = Frame { time_ns, link, bytes, original_len: *original_len };
            census.frame(&frame);
            player.frame(&frame, &mut count);
        }
        player.finish(&mut count);
        prop_assert_eq!(player.summary().packets, frames.len() as u64);
        census.servers();
    }
}
