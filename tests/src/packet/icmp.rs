//! ICMP (RFC 792) and ICMPv6 (RFC 4443): one shape, two numbers, and a pseudo-header for one.

use super::{Frame, Network, network::seal};

const PROTOCOL_V4: u8 = 1;
const PROTOCOL_V6: u8 = 58;
const CHECKSUM_AT: usize = 2;
const HEADER: usize = 8;

/// An ICMP or ICMPv6 message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Icmp {
    network: Network,
    kind: u8,
    code: u8,
    rest: u32,
    payload: Vec<u8>,
    spoil_checksum: bool,
}

impl Icmp {
    pub(super) fn new(network: Network, kind: u8, code: u8) -> Self {
        Self { network, kind, code, rest: 0, payload: Vec::new(), spoil_checksum: false }
    }

    /// Sets the header's last four bytes, whose meaning depends on the type.
    #[must_use]
    pub fn rest(mut self, rest: u32) -> Self {
        self.rest = rest;
        self
    }

    /// Sets the payload, for errors the packet that caused them.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// Makes the checksum wrong.
    #[must_use]
    pub fn bad_checksum(mut self) -> Self {
        self.spoil_checksum = true;
        self
    }

    /// The packet with the places of its headers.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut message = vec![self.kind, self.code, 0, 0];
        message.extend(self.rest.to_be_bytes());
        message.extend_from_slice(&self.payload);
        match &self.network {
            Network::V6(_) => {
                self.network.seal(&mut message, CHECKSUM_AT, PROTOCOL_V6, self.spoil_checksum);
                self.network.enclose(PROTOCOL_V6, Some("icmpv6"), HEADER, &message)
            }
            Network::V4(_) | Network::None { .. } => {
                seal(&mut message, CHECKSUM_AT, 0, self.spoil_checksum);
                self.network.enclose(PROTOCOL_V4, Some("icmp"), HEADER, &message)
            }
        }
    }

    /// The packet's bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        self.frame().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use crate::packet::{Ethernet, checksum, pseudo_header_sum};

    #[test]
    fn icmp_has_no_pseudo_header() {
        let packet = Ethernet::absent()
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2])
            .fragmentation_needed(1280)
            .payload(&[0x45; 28])
            .build();
        assert_eq!(packet[9], 1);
        assert_eq!(packet[20..22], [3, 4]);
        assert_eq!(packet[26..28], 1280u16.to_be_bytes());
        assert_eq!(checksum(0, &packet[20..]), 0);
    }

    #[test]
    fn icmpv6_has_one() {
        let packet = Ethernet::absent()
            .ipv6([0xfe80, 0, 0, 0, 0, 0, 0, 1], [0xff02, 0, 0, 0, 0, 1, 0xff00, 2])
            .neighbour_solicitation([0xfe80, 0, 0, 0, 0, 0, 0, 2])
            .build();
        assert_eq!((packet[6], packet[7]), (58, 255));
        let from = "fe80::1".parse().unwrap();
        let to = "ff02::1:ff00:2".parse().unwrap();
        assert_eq!(checksum(pseudo_header_sum(from, to, 58, 24), &packet[40..]), 0);
    }
}
