//! Traffic that is made up for tests of policies: packets, as the server's host would have seen them.
//!
//! Only what the stages look at is made: headers whole and with good checksums, ClientHellos whole, of
//! everything else the first bytes. The same description gives the same packets.

mod chance;
mod hello;
mod segment;
mod talk;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use self::{chance::Chance, segment::Ends, talk::Talk};
use crate::{
    capture::{Frame, LinkType},
    policy::{
        CompiledPolicy, Service,
        cases::{HelloStyle, Pattern},
    },
};

/// The protected host (RFC 2544 and RFC 5180: networks for tests).
pub(super) const SERVERS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1)),
];

/// When it begins: a Wednesday in 2025, 12:00 UTC.
pub(super) const BEGINS_NS: u64 = 1_760_529_600_000_000_000;

/// Ports that clients use.
const EPHEMERAL: std::ops::Range<u16> = 20_000..60_000;

/// A packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Made {
    /// When, from the beginning of the traffic, ns.
    pub(super) at_ns: u64,
    /// The IP packet, as far as it is kept.
    bytes: Vec<u8>,
    /// Its length.
    length: u32,
}

impl Made {
    /// As a frame of a capture.
    pub(super) fn frame(&self) -> Frame<'_> {
        Frame {
            time_ns: BEGINS_NS.saturating_add(self.at_ns),
            link: LinkType::Ip,
            bytes: &self.bytes,
            original_len: self.length,
        }
    }
}

/// What an application says of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Said {
    /// When, from the beginning of the traffic, ns.
    pub(super) at_ns: u64,
    /// Of whom.
    pub(super) client: IpAddr,
    /// Its port.
    pub(super) port: u16,
    /// Which service says it.
    pub(super) service: u8,
    /// The kind of signal.
    pub(super) kind: u16,
    /// The account, 0 = none.
    pub(super) entity: u64,
}

/// Why a pattern cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// The policy has no such service.
    #[error("the policy has no service `{0}`")]
    Service(String),
    /// The service has no TCP port.
    #[error("the service `{0}` has no TCP port, and made traffic is TCP: use a capture")]
    NoTcp(String),
    /// The Site has no such signal.
    #[error("the Site declares no signal `{0}`")]
    Signal(String),
}

/// All that some sources do.
pub(super) fn make(
    pattern: &Pattern,
    policy: &CompiledPolicy,
) -> Result<(Vec<Made>, Vec<Said>), PatternError> {
    let known = policy.services.iter().find(|service| service.name == pattern.service);
    let service = known.ok_or_else(|| PatternError::Service(pattern.service.clone()))?;
    let port = service.tcp.first().copied();
    let port = port.ok_or_else(|| PatternError::NoTcp(pattern.service.clone()))?;
    let signal = match &pattern.signal {
        Some(name) => {
            let kind = policy.signals.kind(name);
            Some(kind.ok_or_else(|| PatternError::Signal(name.clone()))?)
        }
        None => None,
    };
    let (mut packets, mut said) = (Vec::new(), Vec::new());
    for nth in 0..pattern.sources {
        let source =
            Source { pattern, service, port, signal, address: nth_of(pattern.source, nth) };
        source.connections(nth, &mut packets, &mut said);
        source.scan(&mut packets);
    }
    Ok((packets, said))
}

/// One of the pattern's sources.
struct Source<'a> {
    pattern: &'a Pattern,
    service: &'a Service,
    port: u16,
    signal: Option<u16>,
    address: IpAddr,
}

impl Source<'_> {
    fn connections(&self, nth: u32, packets: &mut Vec<Made>, said: &mut Vec<Said>) {
        let pattern = self.pattern;
        let mut chance = Chance::new(self.address, pattern.line);
        let count = u64::from(pattern.connections.max(1));
        let name = self.service.sni.first().map_or_else(String::new, ToString::to_string);
        for (number, local) in (0..pattern.connections).zip(EPHEMERAL.cycle()) {
            let mean_ns = pattern.over_ns / count;
            let even_ns = mean_ns * u64::from(number);
            let at_ns = pattern.start_ns + even_ns + chance.vary(mean_ns, pattern.jitter) / 2;
            let ends = Ends::new(self.address, local, self.server(), self.port);
            let hello = match pattern.hello {
                HelloStyle::None => None,
                style => Some(hello::message(style, number % pattern.fingerprints, &name)),
            };
            let mut talk = Talk::new(ends, at_ns, pattern, packets);
            talk.carry_on(hello.as_deref(), &mut chance);
            if let Some(kind) = self.signal {
                let which = u64::from(nth).wrapping_mul(count).wrapping_add(u64::from(number));
                let entity = which.checked_rem(u64::from(pattern.accounts));
                said.push(Said {
                    at_ns: talk.answered_ns(),
                    client: self.address,
                    port: local,
                    service: self.service.id,
                    kind,
                    entity: entity.map_or(0, |which| chance::scatter(which + 1)),
                });
            }
        }
    }

    /// SYNs that lead to nothing: to ports that nobody serves, and to the service.
    fn scan(&self, packets: &mut Vec<Made>) {
        let pattern = self.pattern;
        let unserved = (1..=u16::MAX).filter(|port| !self.service.tcp.contains(port));
        let tried = unserved.take(pattern.ports as usize).map(|port| (port, true));
        let flood = std::iter::repeat_n((self.port, false), pattern.syns as usize);
        let all = u64::from(pattern.ports) + u64::from(pattern.syns);
        for (number, (port, is_closed)) in (0u64..).zip(tried.chain(flood)) {
            let at_ns = pattern.start_ns + pattern.over_ns / all.max(1) * number;
            let local = EPHEMERAL.start.wrapping_add(number as u16);
            let ends = Ends::new(self.address, local, self.server(), port);
            packets.push(ends.syn(at_ns));
            packets.push(ends.answer_to_syn(at_ns + 50_000, is_closed));
        }
    }

    const fn server(&self) -> IpAddr {
        let [v4, v6] = SERVERS;
        if self.address.is_ipv4() { v4 } else { v6 }
    }
}

/// The address so many behind another one; of IPv6, in so many /64s behind.
fn nth_of(address: IpAddr, nth: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(u32::from(v4).wrapping_add(nth))),
        IpAddr::V6(v6) => {
            IpAddr::V6(Ipv6Addr::from(u128::from(v6).wrapping_add(u128::from(nth) << 64)))
        }
    }
}
