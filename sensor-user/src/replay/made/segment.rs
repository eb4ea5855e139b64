//! TCP segments between two ends.

use std::net::IpAddr;

use super::Made;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// Bytes of a payload that are kept, ClientHellos apart: the header of a TLS record, and some.
const KEPT: usize = 16;
/// The client's and the server's first sequence numbers.
pub(super) const FIRST: [u32; 2] = [1_000, 5_000];
/// Linux' options on a SYN: largest segment, SACK, no timestamps, window scale.
const SYN_OPTIONS: [u8; 12] = [2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7];

/// Who sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Client,
    Server,
}

/// A client's end and the server's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    client: (IpAddr, u16),
    server: (IpAddr, u16),
}

/// What a segment says beside its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) is_last: bool,
}

impl Ends {
    pub(super) const fn new(client: IpAddr, local: u16, server: IpAddr, port: u16) -> Self {
        Self { client: (client, local), server: (server, port) }
    }

    pub(super) fn syn(&self, at_ns: u64) -> Made {
        let [seq, _] = FIRST;
        self.segment(at_ns, Side::Client, (seq, 0, SYN), &SYN_OPTIONS, &[], 0)
    }

    /// What the server says to a SYN.
    pub(super) fn answer_to_syn(&self, at_ns: u64, is_closed: bool) -> Made {
        let [client, server] = FIRST;
        if is_closed {
            return self.segment(at_ns, Side::Server, (0, client + 1, RST | ACK), &[], &[], 0);
        }
        let numbers = (server, client + 1, SYN | ACK);
        self.segment(at_ns, Side::Server, numbers, &SYN_OPTIONS, &[], 0)
    }

    /// A segment with `payload`, which is `length` bytes long.
    pub(super) fn data(
        &self,
        at_ns: u64,
        from: Side,
        header: Header,
        payload: &[u8],
        length: u32,
    ) -> Made {
        let flags = ACK | if header.is_last { FIN } else { 0 };
        self.segment(at_ns, from, (header.seq, header.ack, flags), &[], payload, length)
    }

    fn segment(
        &self,
        at_ns: u64,
        from: Side,
        (seq, ack, flags): (u32, u32, u8),
        options: &[u8],
        payload: &[u8],
        length: u32,
    ) -> Made {
        let (source, destination) = match from {
            Side::Client => (self.client, self.server),
            Side::Server => (self.server, self.client),
        };
        let is_whole = payload.len() == length as usize;
        let kept = if is_whole { payload.len() } else { payload.len().min(KEPT) };
        let mut tcp = [source.1.to_be_bytes(), destination.1.to_be_bytes()].concat();
        tcp.extend(seq.to_be_bytes());
        tcp.extend(ack.to_be_bytes());
        tcp.extend([((20 + options.len()) << 2) as u8, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        tcp.extend(options);
        let header = tcp.len() as u32;
        tcp.extend(payload.iter().take(kept));
        // Only of what is whole is the sum ever looked at.
        let sum = checksum(&tcp, pseudo(source.0, destination.0, header + length));
        if let Some(place) = tcp.get_mut(16..18) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
        let mut bytes = ip_header(source.0, destination.0, header + length);
        let length = bytes.len() as u32 + header + length;
        bytes.extend(tcp);
        Made { at_ns, bytes, length }
    }
}

/// The IP header before so many bytes of TCP.
fn ip_header(source: IpAddr, destination: IpAddr, length: u32) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0];
            header.extend(((20 + length) as u16).to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
            header.extend(source.octets());
            header.extend(destination.octets());
            let sum = checksum(&header, 0);
            if let Some(place) = header.get_mut(10..12) {
                place.copy_from_slice(&sum.to_be_bytes());
            }
            header
        }
        (source, destination) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((length as u16).to_be_bytes());
            header.extend([6, 64]);
            header.extend(octets(source));
            header.extend(octets(destination));
            header
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The sum of what TCP's checksum covers of the IP header (RFC 9293, section 3.1).
fn pseudo(source: IpAddr, destination: IpAddr, length: u32) -> u32 {
    let addresses = [octets(source), octets(destination)].concat();
    sum(&addresses).wrapping_add(6).wrapping_add(length)
}

fn sum(bytes: &[u8]) -> u32 {
    let (halves, rest) = bytes.as_chunks::<2>();
    let whole: u32 = halves.iter().map(|half| u32::from(u16::from_be_bytes(*half))).sum();
    whole + rest.first().map_or(0, |byte| u32::from(*byte) << 8)
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8], before: u32) -> u16 {
    let mut sum = sum(bytes) + before;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
