//! Events of a million sources, and mixes of them in an order that no cache foresees.

use weir_common::abi::{
    Closed, Established, EventHeader, EventKind, Flow, FlowKey, Milestone, MilestoneKind, Protocol,
    flow::hello, key::V4_MAPPED,
};
use weir_sensor::{
    event::{Event, Hello},
    fingerprint::{agreement::SuiteOrder, ja4::Ja4, traits::HelloTraits},
};

const MS: u64 = 1_000_000;

/// When all sources have had their first connection.
pub(super) const AFTER_NS: u64 = 600_000 * MS;

/// Browsers' fingerprints, so to speak.
const LOOKS: [&str; 4] = [
    "t13d1516h2_8daaf6152771_02713d6af862",
    "t13d1517h2_8daaf6152771_cb7bf5808d99",
    "t13d1617h2_86a278354501_3cbfd9057e0d",
    "t13d2014h2_a09f3c656075_e42f34c56612",
];

/// Kinds of events in a mix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mix {
    /// Connections and their hellos.
    Hellos,
    /// Connections and their ends.
    Closes,
    /// Stalled connections.
    Milestones,
}

impl Mix {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hellos => "engine-hellos",
            Self::Closes => "engine-closes",
            Self::Milestones => "engine-milestones",
        }
    }
}

/// Every source's first connection: its proof, its hello, its end.
pub(super) fn acquaintance(sources: u32) -> impl Iterator<Item = Event> {
    (0..sources).flat_map(move |n| {
        let at_ns = 1000 * MS + u64::from(n) * (AFTER_NS - 2000 * MS) / u64::from(sources);
        [established(n, 1, at_ns), said(n, 1, at_ns), closed(n, 1, at_ns)]
    })
}

/// A mix, from sources in no order, 50,000 events a second.
pub(super) fn of(
    mix: Mix,
    sources: u32,
    events: u32,
    at_ns: &mut u64,
) -> impl Iterator<Item = Event> {
    let begin_ns = *at_ns;
    *at_ns += u64::from(events) * 20_000;
    (0..events).map(move |n| {
        let now_ns = begin_ns + u64::from(n) * 20_000;
        // Two events of a connection come one after the other.
        let connection = n / 2;
        let source = connection.wrapping_mul(2_654_435_761) % sources;
        let port = (connection % 50_000 + 2) as u16;
        match (mix, n % 2) {
            (Mix::Milestones, _) => stalled(n.wrapping_mul(2_654_435_761) % sources, now_ns),
            (_, 0) => established(source, port, now_ns),
            (Mix::Hellos, _) => said(source, port, now_ns - 20_000),
            (Mix::Closes, _) => closed(source, port, now_ns - 20_000),
        }
    })
}

fn key(source: u32, port: u16) -> FlowKey {
    FlowKey {
        remote: [0, 0, V4_MAPPED, (0x0b00_0000 + source).to_be()],
        local: [0, 0, V4_MAPPED, 0xc633_640a_u32.to_be()],
        remote_port: port.to_be(),
        local_port: 443_u16.to_be(),
        protocol: Protocol::Tcp as u32,
    }
}

fn header(kind: EventKind, at_ns: u64) -> EventHeader {
    EventHeader { at_ns, kind: kind as u8, service: 1, ..EventHeader::default() }
}

fn established(source: u32, port: u16, at_ns: u64) -> Event {
    Event::Established(Established {
        header: header(EventKind::Established, at_ns),
        key: key(source, port),
        rtt_ns: 20_000_000 + source % 1000 * 50_000,
        ..Established::default()
    })
}

fn said(source: u32, port: u16, proven_ns: u64) -> Event {
    let look = LOOKS.get(source as usize % LOOKS.len()).copied().unwrap_or_default();
    let ja4: Ja4 = look.parse().unwrap_or_else(|_| unreachable!("it is one"));
    let key = key(source, port);
    Event::Hello(Hello {
        at_ns: proven_ns + MS,
        key,
        client: key.remote,
        client_port: key.remote_port,
        service: 1,
        flags: 0,
        segments: 2,
        delay_ns: Some(MS),
        ja4,
        stable: ja4,
        suites: SuiteOrder::of(&[0x1301, 0x1302, 0x1303]),
        traits: HelloTraits::default(),
        offers_resumption: false,
        would_class: 0,
    })
}

fn closed(source: u32, port: u16, proven_ns: u64) -> Event {
    let mut flow =
        Flow { proven_ns, exchanges: 3, hello: hello::READ, service: 1, ..Flow::default() };
    flow.ingress.bytes = 2000 + u64::from(source % 977);
    flow.egress.bytes = 30_000 + u64::from(source % 7919) * 16;
    (flow.ingress.packets, flow.egress.packets) = (14, 30);
    flow.ingress.gaps = [0; _];
    for bucket in flow.ingress.gaps.iter_mut().skip(6).step_by(5) {
        *bucket = 2;
    }
    let header = header(EventKind::Closed, proven_ns + 500 * MS);
    Event::Closed(Closed { header, key: key(source, port), flow })
}

fn stalled(source: u32, at_ns: u64) -> Event {
    let mut header = header(EventKind::Milestone, at_ns);
    header.detail = MilestoneKind::Stalled as u8;
    Event::Milestone(Milestone { header, key: key(source, 1), value: 2400 })
}
