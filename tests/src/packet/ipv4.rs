//! IPv4 (RFC 791), with options, fragments and every field that can lie.

use std::net::Ipv4Addr;

use super::{Ethernet, Frame, Icmp, Network, Raw, Tcp, Udp, network::seal};

const ETHERTYPE: u16 = 0x0800;
const CHECKSUM_AT: usize = 10;

/// An IPv4 header, on its way to a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ipv4 {
    link: Ethernet,
    pub(super) from: Ipv4Addr,
    pub(super) to: Ipv4Addr,
    ttl: u8,
    tos: u8,
    id: u16,
    flags_and_offset: u16,
    options: Vec<u8>,
    version: u8,
    header_words: Option<u8>,
    total_length: Option<u16>,
    protocol: Option<u8>,
    spoil_checksum: bool,
}

impl Ipv4 {
    pub(super) fn new(link: Ethernet, from: Ipv4Addr, to: Ipv4Addr) -> Self {
        Self {
            link,
            from,
            to,
            ttl: 64,
            tos: 0,
            id: 0,
            flags_and_offset: 0,
            options: Vec::new(),
            version: 4,
            header_words: None,
            total_length: None,
            protocol: None,
            spoil_checksum: false,
        }
    }

    /// Sets the time to live.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets the type-of-service byte (DSCP and ECN).
    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// Sets the identification.
    #[must_use]
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// Sets Don't Fragment.
    #[must_use]
    pub fn dont_fragment(mut self) -> Self {
        self.flags_and_offset |= 0x4000;
        self
    }

    /// Makes it a fragment: `offset` in bytes (a multiple of 8), and whether more follow.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        self.flags_and_offset =
            (self.flags_and_offset & 0x4000) | (offset / 8) | if more { 0x2000 } else { 0 };
        self
    }

    /// Adds options as bytes, padded with end-of-options to whole words. At most 40 bytes fit.
    #[must_use]
    pub fn options(mut self, options: &[u8]) -> Self {
        self.options.extend_from_slice(options);
        self.options.resize(self.options.len().next_multiple_of(4), 0);
        self
    }

    /// Claims another version.
    #[must_use]
    pub fn version(mut self, version: u8) -> Self {
        self.version = version;
        self
    }

    /// Claims another header length, in 32-bit words.
    #[must_use]
    pub fn header_words(mut self, words: u8) -> Self {
        self.header_words = Some(words);
        self
    }

    /// Claims another total length.
    #[must_use]
    pub fn total_length(mut self, length: u16) -> Self {
        self.total_length = Some(length);
        self
    }

    /// Claims another protocol than that of what follows.
    #[must_use]
    pub fn protocol(mut self, protocol: u8) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Makes the header checksum wrong.
    #[must_use]
    pub fn bad_checksum(mut self) -> Self {
        self.spoil_checksum = true;
        self
    }

    /// Goes on with TCP.
    #[must_use]
    pub fn tcp(self, from: u16, to: u16) -> Tcp {
        Tcp::new(Network::V4(self), from, to)
    }

    /// Goes on with UDP.
    #[must_use]
    pub fn udp(self, from: u16, to: u16) -> Udp {
        Udp::new(Network::V4(self), from, to)
    }

    /// Goes on with ICMP.
    #[must_use]
    pub fn icmp(self, kind: u8, code: u8) -> Icmp {
        Icmp::new(Network::V4(self), kind, code)
    }

    /// Goes on with ICMP "fragmentation needed" (RFC 1191): path-MTU discovery.
    #[must_use]
    pub fn fragmentation_needed(self, mtu: u16) -> Icmp {
        self.icmp(3, 4).rest(u32::from(mtu))
    }

    /// Goes on with bytes of any protocol.
    #[must_use]
    pub fn raw(self, protocol: u8, payload: &[u8]) -> Raw {
        Raw::new(Network::V4(self), protocol, payload)
    }

    pub(super) fn write(&self, frame: &mut Frame, protocol: u8, payload: usize) {
        let length = 20 + self.options.len();
        let words = self.header_words.unwrap_or((length / 4) as u8);
        let total = self.total_length.unwrap_or((length + payload) as u16);
        let mut header = vec![self.version << 4 | (words & 0xf), self.tos];
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.flags_and_offset.to_be_bytes());
        header.extend([self.ttl, self.protocol.unwrap_or(protocol), 0, 0]);
        header.extend(self.from.octets());
        header.extend(self.to.octets());
        header.extend_from_slice(&self.options);
        seal(&mut header, CHECKSUM_AT, 0, self.spoil_checksum);
        self.link.write(frame, ETHERTYPE);
        frame.push_header("ipv4", &header);
    }
}

#[cfg(test)]
mod tests {
    use crate::packet::{Ethernet, checksum};

    #[test]
    fn a_header_known_from_textbooks() {
        let packet = Ethernet::absent()
            .ipv4([192, 168, 0, 1], [192, 168, 0, 199])
            .dont_fragment()
            .raw(17, &[0; 95])
            .build();
        let expected = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(packet[..20], expected);
    }

    #[test]
    fn options_are_part_of_header_length_and_checksum() {
        let packet = Ethernet::absent()
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2])
            .options(&[0x94, 4, 0, 0, 1])
            .tcp(1, 2)
            .build();
        assert_eq!(packet[0], 0x47);
        assert_eq!(checksum(0, &packet[..28]), 0);
        assert_eq!(u16::from_be_bytes([packet[2], packet[3]]), 48);
    }

    #[test]
    fn a_fragment_counts_in_eights() {
        let packet = Ethernet::absent()
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2])
            .fragment(1480, true)
            .raw(6, b"12345678")
            .build();
        assert_eq!(packet[6..8], [0x20, 185]);
    }
}
