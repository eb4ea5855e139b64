//! What a transport header needs from the layer below, whichever that is.

use std::net::IpAddr;

use super::{Ethernet, Frame, Ipv4, Ipv6, checksum, frame::overwrite, pseudo_header_sum};

/// The layer below a transport header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Network {
    /// IPv4.
    V4(Ipv4),
    /// IPv6.
    V6(Ipv6),
    /// Not IP: the link layer alone.
    None {
        /// The link layer.
        link: Ethernet,
        /// The type of what follows.
        ethertype: u16,
    },
}

impl Network {
    /// Puts everything below `segment` before it. `header` names the first `header_length` bytes
    /// of the segment; without a name all of it is payload.
    pub(super) fn enclose(
        &self,
        protocol: u8,
        header: Option<&'static str>,
        header_length: usize,
        segment: &[u8],
    ) -> Frame {
        let mut frame = Frame::default();
        match self {
            Self::V4(ip) => ip.write(&mut frame, protocol, segment.len()),
            Self::V6(ip) => ip.write(&mut frame, protocol, segment.len()),
            Self::None { link, ethertype } => link.write(&mut frame, *ethertype),
        }
        let (head, payload) =
            segment.split_at_checked(header_length.min(segment.len())).unwrap_or((segment, &[]));
        match header {
            Some(name) => frame.push_header(name, head),
            None => frame.push_payload(head),
        }
        frame.push_payload(payload);
        frame
    }

    /// Fills in the checksum at offset `at` of a segment, wrong by one if so wished.
    pub(super) fn seal(&self, segment: &mut [u8], at: usize, protocol: u8, spoil: bool) {
        let initial = match self.addresses() {
            Some((from, to)) => pseudo_header_sum(from, to, protocol, segment.len()),
            None => 0,
        };
        seal(segment, at, initial, spoil);
    }

    fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match self {
            Self::V4(ip) => Some((ip.from.into(), ip.to.into())),
            Self::V6(ip) => Some((ip.from.into(), ip.to.into())),
            Self::None { .. } => None,
        }
    }
}

/// Fills in the checksum at offset `at` over all of `bytes`, wrong by one if so wished.
pub(super) fn seal(bytes: &mut [u8], at: usize, initial: u32, spoil: bool) {
    let sum = checksum(initial, bytes);
    let sum = if spoil { sum.wrapping_add(1) } else { sum };
    overwrite(bytes, at, &sum.to_be_bytes());
}

/// A packet whose payload is given as bytes: other protocols, later fragments, non-IP frames.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Raw {
    network: Network,
    protocol: u8,
    payload: Vec<u8>,
}

impl Raw {
    pub(super) fn new(network: Network, protocol: u8, payload: &[u8]) -> Self {
        Self { network, protocol, payload: payload.to_vec() }
    }

    /// The packet with the places of its headers.
    #[must_use]
    pub fn frame(&self) -> Frame {
        self.network.enclose(self.protocol, None, 0, &self.payload)
    }

    /// The packet's bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        self.frame().into_bytes()
    }
}
