//! UDP (RFC 768).

use super::{Frame, Network};

const PROTOCOL: u8 = 17;
const CHECKSUM_AT: usize = 6;
const HEADER: usize = 8;

/// A UDP datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Udp {
    network: Network,
    from: u16,
    to: u16,
    length: Option<u16>,
    payload: Vec<u8>,
    no_checksum: bool,
    spoil_checksum: bool,
}

impl Udp {
    pub(super) fn new(network: Network, from: u16, to: u16) -> Self {
        Self {
            network,
            from,
            to,
            length: None,
            payload: Vec::new(),
            no_checksum: false,
            spoil_checksum: false,
        }
    }

    /// Sets the payload.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// Claims another length.
    #[must_use]
    pub fn length(mut self, length: u16) -> Self {
        self.length = Some(length);
        self
    }

    /// Leaves the checksum out (0), as IPv4 permits.
    #[must_use]
    pub fn no_checksum(mut self) -> Self {
        self.no_checksum = true;
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
        let length = self.length.unwrap_or((HEADER + self.payload.len()) as u16);
        let mut datagram = self.from.to_be_bytes().to_vec();
        datagram.extend(self.to.to_be_bytes());
        datagram.extend(length.to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend_from_slice(&self.payload);
        if !self.no_checksum {
            self.network.seal(&mut datagram, CHECKSUM_AT, PROTOCOL, self.spoil_checksum);
            // A sum of zero is sent as all ones: zero means that there is none (RFC 768).
            if let Some(sum @ [0, 0]) = datagram.get_mut(CHECKSUM_AT..HEADER) {
                sum.fill(0xff);
            }
        }
        self.network.enclose(PROTOCOL, Some("udp"), HEADER, &datagram)
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
    fn length_and_checksum_cover_the_payload() {
        let packet = Ethernet::absent()
            .ipv6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2])
            .udp(68, 67)
            .payload(b"discover")
            .build();
        let datagram = &packet[40..];
        assert_eq!(datagram[4..6], 16u16.to_be_bytes());
        let from = "2001:db8::1".parse().unwrap();
        let to = "2001:db8::2".parse().unwrap();
        assert_eq!(checksum(pseudo_header_sum(from, to, 17, 16), datagram), 0);
    }

    #[test]
    fn the_checksum_can_be_left_out() {
        let packet =
            Ethernet::absent().ipv4([192, 0, 2, 1], [192, 0, 2, 2]).udp(1, 2).no_checksum().build();
        assert_eq!(packet[26..28], [0, 0]);
    }
}
