//! From an IP packet to its TCP segment or UDP datagram, with the parser that the kernel uses.

use std::net::SocketAddr;

use weir_common::{
    abi::{Reason, hello::HELLO_ROOM},
    packet::{self, Headers, Heading, Link, Segment, Transport, parse, slice::SlicePacket, udp},
};

use crate::system::address;

/// A TCP segment or UDP datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// Which of the two it is.
    pub protocol: Protocol,
    /// Its payload, as far as it was captured.
    pub payload: &'a [u8],
    /// Whether all of the payload was captured.
    pub whole: bool,
}

/// What carries the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// TCP, with the segment's fields.
    Tcp(Segment),
    /// UDP.
    Udp,
}

impl<'a> Packet<'a> {
    /// Reads an IP packet that had `original_len` bytes on the wire, perhaps with padding behind.
    ///
    /// # Errors
    /// The reason why it has no payload of TCP or UDP.
    pub fn read(ip: &'a [u8], original_len: u32) -> Result<Self, Reason> {
        let captured = Captured::<true> { bytes: SlicePacket::new(ip), original_len };
        let mut headers = Headers::default();
        parse(&captured, Link::None, Heading::Ingress, &mut headers)?;
        let payload_len = headers.end.saturating_sub(headers.transport_at);
        let (protocol, header_len) = match headers.transport {
            Transport::Tcp => {
                let segment = headers.segment;
                (Protocol::Tcp(segment), payload_len.saturating_sub(segment.payload))
            }
            Transport::Udp => (Protocol::Udp, udp::HEADER_LEN),
            Transport::Essential => return Err(Reason::PassOtherProtocol),
            Transport::Opaque => return Err(headers.reason),
        };
        let from = (headers.transport_at + header_len) as usize;
        let end = headers.end as usize;
        let key = &headers.key;
        Ok(Self {
            source: SocketAddr::new(address::ip(&key.remote), u16::from_be(key.remote_port)),
            destination: SocketAddr::new(address::ip(&key.local), u16::from_be(key.local_port)),
            protocol,
            payload: ip.get(from..end.min(ip.len())).unwrap_or_default(),
            whole: end <= ip.len(),
        })
    }
}

/// A packet that may have been longer than what was kept of it.
///
/// Hosts capture super-packets before they are segmented, some with a length of zero: `APPROXIMATE`
/// says whether the parser has to expect that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured<'a, const APPROXIMATE: bool> {
    pub(crate) bytes: SlicePacket<'a>,
    pub(crate) original_len: u32,
}

impl<const APPROXIMATE: bool> packet::Packet for Captured<'_, APPROXIMATE> {
    const APPROXIMATE: bool = APPROXIMATE;

    fn len(&self) -> u32 {
        self.original_len.max(self.bytes.len())
    }

    fn byte(&self, offset: u32) -> Option<u8> {
        self.bytes.byte(offset)
    }

    fn half(&self, offset: u32) -> Option<u16> {
        self.bytes.half(offset)
    }

    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.bytes.load(offset)
    }

    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.bytes.words(offset)
    }

    fn copy(&self, offset: u32, length: u32, into: &mut [u8; HELLO_ROOM], to: u32) -> bool {
        self.bytes.copy(offset, length, into, to)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An IPv4 packet from 192.0.2.1 to 198.51.100.2.
    pub(crate) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0];
        packet.extend((20 + payload.len() as u16).to_be_bytes());
        packet.extend([0, 7, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 198, 51, 100, 2]);
        packet.extend(payload);
        packet
    }

    /// A UDP datagram from port 5000 to port 443.
    pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0x13, 0x88, 1, 0xbb];
        datagram.extend((8 + payload.len() as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        datagram
    }

    /// A TCP segment from port 5000 to port 443.
    pub(crate) fn tcp(seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut segment = vec![0x13, 0x88, 1, 0xbb];
        segment.extend(seq.to_be_bytes());
        segment.extend([0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(payload);
        segment
    }

    #[test]
    fn padding_is_not_payload_and_missing_bytes_are_noticed() {
        let ip = ipv4(6, &tcp(7, 0x18, b"hello"));
        let padded = [&ip[..], &[0; 6]].concat();
        let packet = Packet::read(&padded, padded.len() as u32).unwrap();
        assert_eq!((packet.payload, packet.whole), (&b"hello"[..], true));
        assert_eq!(packet.source, "192.0.2.1:5000".parse().unwrap());
        assert_eq!(packet.destination, "198.51.100.2:443".parse().unwrap());
        let Protocol::Tcp(segment) = packet.protocol else { panic!("{packet:?}") };
        assert_eq!((segment.seq, segment.payload), (7, 5));
        let packet = Packet::read(&ip[..ip.len() - 2], ip.len() as u32).unwrap();
        assert_eq!((packet.payload, packet.whole), (&b"hel"[..], false));
        assert_eq!(Packet::read(&ip[..30], ip.len() as u32), Err(Reason::PassTruncated));
    }

    #[test]
    fn a_super_packet_without_a_length_has_that_of_its_frame() {
        let mut ip = ipv4(17, &udp(b"payload"));
        ip[2..4].copy_from_slice(&[0, 0]);
        assert_eq!(Packet::read(&ip, ip.len() as u32).unwrap().payload, b"payload");
    }
}
