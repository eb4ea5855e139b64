//! The benchmarks: which packet, which peer, which goal.

use std::net::Ipv4Addr;

use crate::packet::{Tcp, ipv4};

/// `XDP_DROP`.
const DROP: u32 = 1;
/// `XDP_PASS`.
const PASS: u32 = 2;

/// Who is blocked by an exact entry.
pub(super) const BLOCKED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// Who is blocked by one of many prefixes.
pub(super) const BLOCKED_BY_PREFIX: Ipv4Addr = Ipv4Addr::new(10, 77, 33, 7);
/// Who has an established connection.
pub(super) const VISITOR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 8);
/// The server.
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
/// Its protected port.
pub(super) const PORT: u16 = 443;

/// The visitor's first sequence number.
const CLIENT_ISN: u32 = 1_000_000;
/// The server's.
const SERVER_ISN: u32 = 9_000_000;

/// Next to whom it is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    /// xdp-filter with all features (`-p allow -f all`).
    XdpFilter,
    /// A program that drops everything and does nothing else.
    Bare,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// One packet over and over.
    Repeated(fn() -> Vec<u8>),
    /// The same, not so often that what it reports fills a ring buffer.
    Reported(fn() -> Vec<u8>),
    /// Another packet each time, by number.
    Fresh(fn(u32) -> Vec<u8>),
}

/// One benchmark.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) id: &'static str,
    /// What it measures, and how, in a sentence.
    pub(super) about: &'static str,
    pub(super) load: Load,
    pub(super) ours_returns: u32,
    pub(super) peer: Peer,
    pub(super) peer_returns: u32,
    /// The ratio to the peer that is not to be exceeded.
    pub(super) goal: Option<f64>,
}

/// All of them.
pub(super) fn all() -> Vec<Case> {
    let blocked = || syn(BLOCKED, 40_000).build();
    vec![
        Case {
            id: "drop-exact",
            about: "a SYN of a blocked address; peer: xdp-filter, the same address blocked",
            load: Load::Repeated(blocked),
            ours_returns: DROP,
            peer: Peer::XdpFilter,
            peer_returns: DROP,
            goal: Some(0.8),
        },
        Case {
            id: "drop-bare",
            about: "the same; peer: a program that only drops",
            load: Load::Repeated(blocked),
            ours_returns: DROP,
            peer: Peer::Bare,
            peer_returns: DROP,
            goal: None,
        },
        Case {
            id: "drop-prefix",
            about: "a SYN out of one of 10,000 blocked /24; peer: xdp-filter, which has no prefixes, that very address blocked",
            load: Load::Repeated(|| syn(BLOCKED_BY_PREFIX, 40_000).build()),
            ours_returns: DROP,
            peer: Peer::XdpFilter,
            peer_returns: DROP,
            goal: None,
        },
        Case {
            id: "pass-established",
            about: "a data segment of an established flow, again and again, as a retransmission; peer: xdp-filter passes it",
            load: Load::Repeated(|| data().build()),
            ours_returns: PASS,
            peer: Peer::XdpFilter,
            peer_returns: PASS,
            goal: Some(1.5),
        },
        Case {
            id: "hello-match",
            about: "a segment with a whole ClientHello of 517 bytes: checked, read, looked up among 10,000 fingerprints, one of which it has (observed), and reported; peer: xdp-filter passes it",
            load: Load::Reported(|| hello().build()),
            ours_returns: PASS,
            peer: Peer::XdpFilter,
            peer_returns: PASS,
            goal: Some(6.0),
        },
        Case {
            id: "handshake-new",
            about: "a SYN that makes a half-open connection: median of single runs, each with another source and so with cold caches and the timer's own cost; peer: xdp-filter passes the same, run in the same way",
            load: Load::Fresh(|number| {
                let source = Ipv4Addr::from_bits(Ipv4Addr::new(100, 64, 0, 0).to_bits() + number);
                syn(source, 40_000).build()
            }),
            ours_returns: PASS,
            peer: Peer::XdpFilter,
            peer_returns: PASS,
            goal: None,
        },
    ]
}

/// A SYN as Linux sends it.
fn syn(source: Ipv4Addr, port: u16) -> Tcp {
    ipv4(source, SERVER).tcp(port, PORT).syn().seq(CLIENT_ISN).linux_options()
}

/// The handshake of one of the visitor's ports: SYN, SYN-ACK, ACK.
pub(super) fn handshake(port: u16) -> [Vec<u8>; 3] {
    let third = ipv4(VISITOR, SERVER).tcp(port, PORT).seq(CLIENT_ISN + 1).ack(SERVER_ISN + 1);
    let second = ipv4(SERVER, VISITOR).tcp(PORT, port).syn().seq(SERVER_ISN).ack(CLIENT_ISN + 1);
    [syn(VISITOR, port).build(), second.linux_options().build(), third.build()]
}

/// The visitor's ClientHello, in one record.
fn hello() -> Tcp {
    let segment = ipv4(VISITOR, SERVER).tcp(40_001, PORT).seq(CLIENT_ISN + 1).ack(SERVER_ISN + 1);
    let mut record = vec![22, 3, 1];
    record.extend((super::hello::message().len() as u16).to_be_bytes());
    record.extend(super::hello::message());
    segment.psh().payload(&record)
}

/// The visitor's data.
fn data() -> Tcp {
    let segment = ipv4(VISITOR, SERVER).tcp(40_000, PORT).seq(CLIENT_ISN + 1).ack(SERVER_ISN + 1);
    segment.psh().payload(&[0x17; 512])
}
