//! Which end of a captured packet is the protected host: a capture does not say.
//!
//! Either the user says, or it is worked out from who asks whom. Every packet that opens something (a
//! first SYN; a packet to a service's port from a port that is none; otherwise the first packet between
//! two ends) is a voice for its receiver and one against its sender. Who is asked more than it asks is
//! protected. Voices at ports of the policy's services count most, so that a host that asks others (a
//! resolver, an upstream) is still the one that is asked.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use ipnet::IpNet;
use weir_common::{
    abi::{FlowKey, Protocol},
    packet::{Headers, Heading, Segment, Transport, parse, tcp},
};

use super::packet::CapturedPacket;
use crate::{capture::Frame, policy::CompiledPolicy, system::address};

/// What a voice at a service's port counts; at another, 1.
const SERVICE_VOICE: i64 = 1_000;
/// Addresses and pairs of ends that are counted; a flood of spoofed sources has more, and they say
/// nothing new.
const REMEMBERED: usize = 1 << 18;

/// Says which way a packet goes.
#[derive(Clone, Debug)]
pub enum Servers {
    /// The protected host has addresses in these prefixes.
    Named(Vec<IpNet>),
    /// These addresses are the protected host's.
    Found(HashSet<IpAddr>),
}

impl Servers {
    /// Whether an address is the protected host's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Named(prefixes) => prefixes.iter().any(|prefix| prefix.contains(&address)),
            Self::Found(addresses) => addresses.contains(&address),
        }
    }

    /// The addresses, as they are told; ascending.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Named(prefixes) => prefixes.iter().map(ToString::to_string).collect(),
            Self::Found(addresses) => {
                let mut addresses: Vec<&IpAddr> = addresses.iter().collect();
                addresses.sort_unstable();
                addresses.into_iter().map(ToString::to_string).collect()
            }
        }
    }

    /// Which way a packet goes, given its ends as [`Heading::Ingress`] has them; `None`: it is between
    /// others.
    pub(super) fn heading(&self, ends: &FlowKey, ports: &Ports) -> Option<Heading> {
        let to = self.contains(address::ip(&ends.local));
        let from = self.contains(address::ip(&ends.remote));
        match (from, to) {
            (false, true) => Some(Heading::Ingress),
            (true, false) => Some(Heading::Egress),
            (false, false) => None,
            // A host that talks to itself: the service's side is the server.
            (true, true) if ports.is_service(ends.protocol, ends.remote_port) => {
                Some(Heading::Egress)
            }
            (true, true) => Some(Heading::Ingress),
        }
    }
}

/// The ports of a policy's services.
#[derive(Clone, Debug)]
pub(super) struct Ports(HashSet<(u32, u16)>);

impl Ports {
    pub(super) fn of(policy: &CompiledPolicy) -> Self {
        let ports = policy.service_ports().into_iter();
        Self(ports.map(|port| (port.protocol as u32, port.port.to_be())).collect())
    }

    /// `port` in network byte order.
    fn is_service(&self, protocol: u32, port: u16) -> bool {
        self.0.contains(&(protocol, port))
    }
}

/// The ends of a packet, as if it went in, and its TCP header; `None` if it has no ports.
pub(super) fn ends(frame: &Frame<'_>) -> Option<(FlowKey, Option<Segment>)> {
    let (packet, link) = CapturedPacket::of(frame).ok()?;
    let mut headers = Headers::default();
    parse(&packet, link, Heading::Ingress, &mut headers).ok()?;
    match headers.transport {
        Transport::Tcp => Some((headers.key, Some(headers.segment))),
        Transport::Udp => Some((headers.key, None)),
        Transport::Essential | Transport::Opaque => None,
    }
}

/// Who asks whom.
#[derive(Debug)]
pub(super) struct Census {
    ports: Ports,
    voices: HashMap<IpAddr, i64>,
    pairs: HashSet<FlowKey>,
}

impl Census {
    pub(super) fn new(ports: Ports) -> Self {
        Self { ports, voices: HashMap::new(), pairs: HashSet::new() }
    }

    /// Counts a frame.
    pub(super) fn frame(&mut self, frame: &Frame<'_>) {
        let Some((ends, segment)) = ends(frame) else { return };
        let to_service = self.ports.is_service(ends.protocol, ends.local_port);
        let from_service = self.ports.is_service(ends.protocol, ends.remote_port);
        let is_syn =
            segment.is_some_and(|it| it.has(tcp::SYN) && !it.has(tcp::ACK) && !it.has(tcp::RST));
        if is_syn {
            // What comes back, if only a reset, is an answer and opens nothing.
            self.is_new(&ends);
            self.voice(&ends, if to_service { SERVICE_VOICE } else { 1 });
        } else if to_service != from_service {
            let asked = if to_service { ends } else { turned(&ends) };
            // Packets of one connection say one thing.
            if self.is_new(&asked) {
                self.voice(&asked, SERVICE_VOICE);
            }
        } else if !self.pairs.contains(&turned(&ends)) && self.is_new(&ends) {
            self.voice(&ends, 1);
        }
    }

    /// Whose addresses are the protected host's.
    pub(super) fn servers(self) -> Servers {
        let asked = self.voices.into_iter().filter(|(_, voices)| *voices > 0);
        Servers::Found(asked.map(|(address, _)| address).collect())
    }

    fn is_new(&mut self, ends: &FlowKey) -> bool {
        self.pairs.len() < REMEMBERED && self.pairs.insert(*ends)
    }

    fn voice(&mut self, ends: &FlowKey, weight: i64) {
        for (address, weight) in [(&ends.local, weight), (&ends.remote, -weight)] {
            let address = address::ip(address);
            if self.voices.len() < REMEMBERED || self.voices.contains_key(&address) {
                *self.voices.entry(address).or_default() += weight;
            }
        }
    }
}

const fn turned(ends: &FlowKey) -> FlowKey {
    FlowKey {
        remote: ends.local,
        local: ends.remote,
        remote_port: ends.local_port,
        local_port: ends.remote_port,
        protocol: ends.protocol,
    }
}

/// The protocol numbers are the wire's.
const _: () = assert!(Protocol::Tcp as u32 == 6 && Protocol::Udp as u32 == 17);
