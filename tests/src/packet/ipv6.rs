//! IPv6 (RFC 8200), with chains of extension headers.

use std::net::Ipv6Addr;

use super::{Ethernet, Frame, Icmp, Network, Raw, Tcp, Udp};

const ETHERTYPE: u16 = 0x86dd;

/// An extension header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Extension {
    /// Hop-by-hop options (0), padded to whole eights.
    HopByHop(Vec<u8>),
    /// Routing (43): its type, segments left, and the rest, padded to whole eights.
    Routing {
        /// Routing type.
        kind: u8,
        /// Segments left.
        segments_left: u8,
        /// Type-specific data.
        data: Vec<u8>,
    },
    /// Fragment (44).
    Fragment {
        /// Offset in bytes, a multiple of 8.
        offset: u16,
        /// Whether more fragments follow.
        more: bool,
        /// Identification.
        id: u32,
    },
    /// Authentication (51, RFC 4302) with a check value of 12 bytes.
    Authentication,
    /// Destination options (60), padded to whole eights.
    Destination(Vec<u8>),
    /// Any header as bytes; its first byte is overwritten with the next header's number.
    Other {
        /// Its number in the header before it.
        number: u8,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

impl Extension {
    fn number(&self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Routing { .. } => 43,
            Self::Fragment { .. } => 44,
            Self::Authentication => 51,
            Self::Destination(_) => 60,
            Self::Other { number, .. } => *number,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::HopByHop(_) => "hop-by-hop",
            Self::Routing { .. } => "routing",
            Self::Fragment { .. } => "fragment",
            Self::Authentication => "authentication",
            Self::Destination(_) => "destination options",
            Self::Other { .. } => "other extension",
        }
    }

    fn bytes(&self, next: u8) -> Vec<u8> {
        match self {
            Self::HopByHop(options) | Self::Destination(options) => eights(next, options),
            Self::Routing { kind, segments_left, data } => {
                let mut rest = vec![*kind, *segments_left];
                rest.extend_from_slice(data);
                eights(next, &rest)
            }
            Self::Fragment { offset, more, id } => {
                let mut bytes = vec![next, 0];
                bytes.extend(((offset & !7) | u16::from(*more)).to_be_bytes());
                bytes.extend(id.to_be_bytes());
                bytes
            }
            Self::Authentication => {
                // Length in words less two (RFC 4302, 2.2): 24 bytes.
                let mut bytes = vec![next, 4, 0, 0];
                bytes.resize(24, 0);
                bytes
            }
            Self::Other { bytes, .. } => {
                let mut bytes = bytes.clone();
                if let Some(first) = bytes.first_mut() {
                    *first = next;
                }
                bytes
            }
        }
    }
}

/// A header whose length is in units of eight bytes, the first eight not counted; padded with
/// PadN or Pad1 options.
fn eights(next: u8, rest: &[u8]) -> Vec<u8> {
    let length = (2 + rest.len()).next_multiple_of(8);
    let mut bytes = vec![next, (length / 8 - 1) as u8];
    bytes.extend_from_slice(rest);
    match length - bytes.len() {
        0 => {}
        1 => bytes.push(0),
        padding => {
            bytes.extend([1, (padding - 2) as u8]);
            bytes.resize(length, 0);
        }
    }
    bytes
}

/// An IPv6 header, on its way to a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ipv6 {
    link: Ethernet,
    pub(super) from: Ipv6Addr,
    pub(super) to: Ipv6Addr,
    hop_limit: u8,
    traffic_class: u8,
    flow_label: u32,
    extensions: Vec<Extension>,
    version: u8,
    payload_length: Option<u16>,
    protocol: Option<u8>,
}

impl Ipv6 {
    pub(super) fn new(link: Ethernet, from: Ipv6Addr, to: Ipv6Addr) -> Self {
        Self {
            link,
            from,
            to,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
            extensions: Vec::new(),
            version: 6,
            payload_length: None,
            protocol: None,
        }
    }

    /// Sets the hop limit.
    #[must_use]
    pub fn hop_limit(mut self, hops: u8) -> Self {
        self.hop_limit = hops;
        self
    }

    /// Sets the traffic class.
    #[must_use]
    pub fn traffic_class(mut self, class: u8) -> Self {
        self.traffic_class = class;
        self
    }

    /// Sets the flow label (20 bits).
    #[must_use]
    pub fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label & 0xf_ffff;
        self
    }

    /// Adds an extension header after those so far.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Claims another version.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.version = version;
        self
    }

    /// Claims another payload length.
    #[must_use]
    pub fn payload_length(mut self, length: u16) -> Self {
        self.payload_length = Some(length);
        self
    }

    /// Claims another protocol than that of what follows the last extension.
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Goes on with TCP.
    #[must_use]
    pub fn tcp(self, from: u16, to: u16) -> Tcp {
        Tcp::new(Network::V6(self), from, to)
    }

    /// Goes on with UDP.
    #[must_use]
    pub fn udp(self, from: u16, to: u16) -> Udp {
        Udp::new(Network::V6(self), from, to)
    }

    /// Goes on with ICMPv6.
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8) -> Icmp {
        Icmp::new(Network::V6(self), kind, code)
    }

    /// Goes on with ICMPv6 "packet too big" (RFC 4443, 3.2): path-MTU discovery.
    #[must_use]
    pub fn packet_too_big(self, mtu: u32) -> Icmp {
        self.icmp(2, 0).rest(mtu)
    }

    /// Goes on with a neighbour solicitation (RFC 4861, 4.3), hop limit 255.
    #[must_use]
    pub fn neighbour_solicitation(self, target: impl Into<Ipv6Addr>) -> Icmp {
        self.hop_limit(255).icmp(135, 0).payload(&target.into().octets())
    }

    /// Goes on with a neighbour advertisement (RFC 4861, 4.4), hop limit 255.
    #[must_use]
    pub fn neighbour_advertisement(self, target: impl Into<Ipv6Addr>) -> Icmp {
        self.hop_limit(255).icmp(136, 0).rest(0x6000_0000).payload(&target.into().octets())
    }

    /// Goes on with a multicast listener query (RFC 2710), hop limit 1, behind the router alert
    /// that it must carry.
    #[must_use]
    pub fn listener_query(self) -> Icmp {
        self.hop_limit(1)
            .extension(Extension::HopByHop(vec![5, 2, 0, 0]))
            .icmp(130, 0)
            .payload(&[0; 16])
    }

    /// Goes on with bytes of any protocol.
    #[must_use]
    pub fn raw(self, protocol: u8, payload: &[u8]) -> Raw {
        Raw::new(Network::V6(self), protocol, payload)
    }

    pub(super) fn write(&self, frame: &mut Frame, protocol: u8, payload: usize) {
        // Every header names the next one, so the numbers run one header ahead.
        let mut numbers = self.extensions.iter().map(Extension::number);
        let last = self.protocol.unwrap_or(protocol);
        let first = numbers.next().unwrap_or(last);
        let chain: Vec<(&'static str, Vec<u8>)> = self
            .extensions
            .iter()
            .map(|extension| (extension.name(), extension.bytes(numbers.next().unwrap_or(last))))
            .collect();
        let length = chain.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + payload;
        let word =
            u32::from(self.version) << 28 | u32::from(self.traffic_class) << 20 | self.flow_label;
        let mut header = word.to_be_bytes().to_vec();
        header.extend(self.payload_length.unwrap_or(length as u16).to_be_bytes());
        header.extend([first, self.hop_limit]);
        header.extend(self.from.octets());
        header.extend(self.to.octets());
        self.link.write(frame, ETHERTYPE);
        frame.push_header("ipv6", &header);
        for (name, bytes) in chain {
            frame.push_header(name, &bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1];
    const B: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2];

    #[test]
    fn a_chain_names_the_next_header_and_counts_in_the_length() {
        let frame = Ethernet::absent()
            .ipv6(A, B)
            .extension(Extension::HopByHop(vec![]))
            .extension(Extension::Routing { kind: 0, segments_left: 0, data: vec![0; 4] })
            .extension(Extension::Destination(vec![1, 5, 0, 0, 0, 0, 0]))
            .extension(Extension::Fragment { offset: 0, more: true, id: 9 })
            .tcp(1, 2)
            .frame();
        let starts: Vec<usize> = frame.headers().iter().map(|header| header.start).collect();
        assert_eq!(starts, [0, 40, 48, 56, 72, 80]);
        let next: Vec<u8> = [6, 40, 48, 56, 72].iter().map(|at| frame[*at]).collect();
        assert_eq!(next, [0, 43, 60, 44, 6]);
        assert_eq!(u16::from_be_bytes([frame[4], frame[5]]), 40 + 20);
    }

    #[test]
    fn short_options_are_padded_with_one_option() {
        assert_eq!(eights(6, &[]), [6, 0, 1, 4, 0, 0, 0, 0]);
        assert_eq!(eights(6, &[5, 2, 0, 0, 0]), [6, 0, 5, 2, 0, 0, 0, 0]);
        assert_eq!(eights(6, &[5, 2, 0, 0]), [6, 0, 5, 2, 0, 0, 1, 0]);
    }
}
