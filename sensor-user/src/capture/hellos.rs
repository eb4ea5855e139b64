//! Frames in, ClientHellos out: TLS over TCP, QUIC and DTLS.

use std::net::SocketAddr;

use weir_common::{abi::Reason, tls::keys::Transport};

use super::{
    Frame, NotIp,
    fragments::{Fragments, Reassembly},
    link,
    packet::{Packet, Protocol},
    proxied,
};
use crate::{
    fingerprint::{
        dtls,
        quic::{self, Tracker},
        tcp_stream::{self, Pool},
    },
    profile::lru::Lru,
};

/// What is remembered of TCP: all streams of a busy host's minute, and 4,000 long hellos.
const TCP: tcp_stream::Limits = tcp_stream::Limits { streams: 1 << 16, bytes: 64 << 20 };
/// DTLS clients that are remembered, so that only their first hello counts.
const DTLS_FLOWS: usize = 1_024;

/// Who sends to whom.
type Flow = (SocketAddr, SocketAddr);

/// A ClientHello on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Time of the packet that completed it, ns since 1970.
    pub time_ns: u64,
    /// What carried it.
    pub transport: Transport,
    /// The client.
    pub source: SocketAddr,
    /// The server.
    pub destination: SocketAddr,
    /// The handshake message, header included, as TLS writes it.
    pub message: Vec<u8>,
    /// TCP segments, QUIC Initials or DTLS datagrams that brought a byte of it.
    pub segments: u32,
    /// Two copies of a byte of it differed.
    pub conflict: bool,
}

/// What became of the frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Frames seen.
    pub frames: u64,
    /// Without IP.
    pub not_ip: u64,
    /// Of a link type that is not read.
    pub unread_link: u64,
    /// With neither TCP nor UDP.
    pub other_protocol: u64,
    /// With more tags, labels or extension headers than are followed.
    pub too_deep: u64,
    /// Kept only in part.
    pub cut: u64,
    /// With headers that contradict themselves.
    pub malformed: u64,
    /// Packets of which a fragment is missing.
    pub unfinished_packets: u64,
    /// Streams and DTLS clients that began a hello, or may have, and did not end it.
    pub unfinished_hellos: u64,
    /// Fragmented packets and DTLS clients that had to go, unfinished, for others.
    pub evicted: u64,
    /// TCP streams.
    pub tcp: tcp_stream::Counts,
    /// QUIC.
    pub quic: quic::Counters,
}

/// A DTLS client.
#[derive(Debug)]
enum DtlsClient {
    Open(dtls::Collector),
    Done,
}

/// Follows connections until their ClientHello is whole.
pub struct Hellos {
    counts: Counts,
    fragments: Fragments,
    tcp: Pool<Flow>,
    quic: Tracker<Flow>,
    dtls: Lru<Flow, DtlsClient>,
}

impl Hellos {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: Counts::default(),
            fragments: Fragments::new(),
            tcp: Pool::new(TCP),
            quic: Tracker::new(quic::Limits::default()),
            dtls: Lru::new(DTLS_FLOWS),
        }
    }

    /// Passes over the PROXY protocol header that a TCP stream begins with, and takes the client that
    /// it names for the source. Only for captures behind a proxy: elsewhere clients could name
    /// anybody.
    #[must_use]
    pub fn behind_proxy(mut self) -> Self {
        self.tcp = Pool::new(TCP).with_preamble(proxied::length);
        self
    }

    /// Takes a frame; the hello that it completes, if it does.
    pub fn frame(&mut self, frame: &Frame<'_>) -> Option<Hello> {
        self.counts.frames += 1;
        let ip = match link::ip_packet(frame.link, frame.bytes) {
            Ok(ip) => ip,
            Err(reason) => {
                *self.counts.of_frame(reason) += 1;
                return None;
            }
        };
        match self.fragments.add(ip, frame.time_ns) {
            Reassembly::Whole => {
                let missing = frame.original_len.saturating_sub(frame.bytes.len() as u32);
                self.ip_packet(ip, ip.len() as u32 + missing, frame.time_ns)
            }
            Reassembly::Waiting => None,
            Reassembly::Complete(ip) => self.ip_packet(&ip, ip.len() as u32, frame.time_ns),
        }
    }

    /// What became of the frames so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let is_begun =
            |client: &DtlsClient| matches!(client, DtlsClient::Open(hello) if hello.is_begun());
        let clients = self.dtls.iter().filter(|(_, client)| is_begun(client)).count() as u64;
        let mut tcp = self.tcp.counts();
        tcp.no_beginning += self.tcp.blind();
        Counts {
            unfinished_packets: self.fragments.unfinished(),
            unfinished_hellos: self.tcp.unfinished() + clients,
            evicted: self.counts.evicted + self.fragments.evicted(),
            tcp,
            quic: *self.quic.counters(),
            ..self.counts
        }
    }

    fn ip_packet(&mut self, ip: &[u8], original_len: u32, time_ns: u64) -> Option<Hello> {
        let packet = match Packet::read(ip, original_len) {
            Ok(packet) => packet,
            Err(reason) => {
                *self.counts.of_packet(reason) += 1;
                return None;
            }
        };
        self.counts.cut += u64::from(!packet.whole);
        match packet.protocol {
            Protocol::Tcp(segment) => {
                let flow = (packet.source, packet.destination);
                let found = self.tcp.segment(&flow, &segment, packet.payload)?;
                Some(Hello {
                    time_ns,
                    transport: Transport::Tcp,
                    source: proxied::client(&found.preamble).unwrap_or(packet.source),
                    destination: packet.destination,
                    message: found.message,
                    segments: found.segments,
                    conflict: found.conflict,
                })
            }
            Protocol::Udp if dtls::is_handshake(packet.payload) => self.dtls(&packet, time_ns),
            Protocol::Udp => self.quic(&packet, time_ns),
        }
    }

    /// Nothing in a datagram says which end is the client: it is the one whose Initial opens.
    fn quic(&mut self, packet: &Packet<'_>, time_ns: u64) -> Option<Hello> {
        let flow = (packet.source, packet.destination);
        let back = (packet.destination, packet.source);
        if !self.quic.contains(&flow) && self.quic.contains(&back) {
            self.quic.server_datagram(&back, packet.payload);
            return None;
        }
        let found = self.quic.client_datagram(&flow, time_ns, packet.payload)?;
        Some(Hello {
            time_ns,
            transport: Transport::Quic,
            source: packet.source,
            destination: packet.destination,
            message: found.message,
            segments: found.initials,
            conflict: found.conflict,
        })
    }

    fn dtls(&mut self, packet: &Packet<'_>, time_ns: u64) -> Option<Hello> {
        let flow = (packet.source, packet.destination);
        let fresh = || DtlsClient::Open(dtls::Collector::new());
        let (client, evicted) = self.dtls.get_or_insert(&flow, fresh);
        self.counts.evicted += u64::from(evicted);
        let DtlsClient::Open(collector) = client else {
            return None;
        };
        let found = collector.datagram(packet.payload)?;
        *client = DtlsClient::Done;
        Some(Hello {
            time_ns,
            transport: Transport::Dtls,
            source: packet.source,
            destination: packet.destination,
            message: found.message,
            segments: found.datagrams,
            conflict: found.conflict,
        })
    }
}

impl Default for Hellos {
    fn default() -> Self {
        Self::new()
    }
}

impl Counts {
    const fn of_frame(&mut self, reason: NotIp) -> &mut u64 {
        match reason {
            NotIp::Other => &mut self.not_ip,
            NotIp::Cut => &mut self.cut,
            NotIp::TooDeep => &mut self.too_deep,
            NotIp::LinkType => &mut self.unread_link,
        }
    }

    const fn of_packet(&mut self, reason: Reason) -> &mut u64 {
        match reason {
            Reason::PassTruncated => &mut self.cut,
            Reason::PassTooDeep => &mut self.too_deep,
            Reason::PassOtherProtocol | Reason::PassNotIp => &mut self.other_protocol,
            _ => &mut self.malformed,
        }
    }
}
