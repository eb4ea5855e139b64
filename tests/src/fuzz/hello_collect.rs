//! The kernel's reassembly, run on the host: a proven flow, and a ClientHello cut as the input says.

use std::net::SocketAddr;

use weir_common::{
    abi::{
        Control, HelloKind, Mode, Service,
        control::service_index,
        hello::{HELLO_CONFLICT, HELLO_LEN, HELLO_MALFORMED},
    },
    host::{BufferPacket, HelloRecord, MemoryTables},
    packet::Link,
    pipeline::{self, Decision, Work},
    tls::keys::Transport,
};
use weir_sensor::fingerprint::tcp_stream::{Outcome, Stream, StreamHello};

use super::{
    Input, MAX_INPUT,
    hello::{Beginning, beginning},
    hello_walk::{SEED, keys},
    stream_reassembly::sent,
};
use crate::packet::{Tcp, TcpOption, tcp};

const PORT: u16 = 443;
const CLIENT_ISN: u32 = 0xffff_ff00;
const SERVER_ISN: u32 = 0x7fff_fff0;
const FIRST: u32 = CLIENT_ISN.wrapping_add(1);
/// Far outside of any receive window.
const OUT_OF_WINDOW: u32 = 0x4000_0000;
/// Long before the timestamp of a SYN.
const LONG_AGO: u32 = 0xffff_0000;
/// Segments of an input at most.
const MAX_SEGMENTS: usize = 200;

/// The kernel reads the hello on the very segment on which the daemon's reassembly has it whole, and
/// reads the same one, whatever the cuts; decoys that the server would not take change nothing; no
/// packet is ever held back.
pub fn hello_collect(data: &[u8]) {
    if data.len() > MAX_INPUT {
        return;
    }
    let mut input = Input::new(data);
    let form = input.byte();
    let bytes = sent(&mut input);
    let mut flow = Flow::opened(form);
    if form & 4 == 0 {
        flow.arrives(&tcp(flow.client, flow.server).seq(FIRST).ack(SERVER_ISN.wrapping_add(1)));
        flow.is_proven = true;
    }
    // Otherwise the first data stands for the handshake's third packet, wherever in the stream.
    for _ in 0..MAX_SEGMENTS {
        if input.is_empty() || flow.is_over {
            break;
        }
        flow.segment(&bytes, &mut input);
    }
    // The rest in order, so that all bytes have come.
    let size = bytes.len() / 16 + 1 + usize::from(form);
    for (piece, at) in bytes.chunks(size.min(2_000)).zip((0..).step_by(size.min(2_000))) {
        if at < HELLO_LEN as i32 {
            flow.sends(at, piece, Segment::Good);
        }
    }
    let is_whole = matches!(beginning(&bytes), Beginning::Hello { end, .. } if end <= HELLO_LEN);
    let is_read = flow.is_read || flow.has_fakes;
    assert!(is_read || !is_whole || is_cut_short(&bytes), "all bytes came, and no hello");
}

/// The first record does not even hold the message's own length: left to the daemon.
fn is_cut_short(bytes: &[u8]) -> bool {
    matches!(*bytes, [_, _, _, 0, 0..=3, ..])
}

/// What a segment is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Segment {
    /// The server takes it.
    Good,
    BadChecksum,
    WrongAck,
    OutOfWindow,
    NoAck,
    OldTimestamp,
}

impl Segment {
    const ALL: [Self; 6] = [
        Self::Good,
        Self::BadChecksum,
        Self::WrongAck,
        Self::OutOfWindow,
        Self::NoAck,
        Self::OldTimestamp,
    ];
}

/// One flow, and next to it the stream as the server takes it.
struct Flow {
    tables: MemoryTables,
    client: SocketAddr,
    server: SocketAddr,
    has_timestamps: bool,
    is_proven: bool,
    server_stream: Stream,
    /// The server took other bytes than the stream's.
    has_fakes: bool,
    /// The kernel left the hello to the daemon.
    is_forwarded: bool,
    /// The kernel read the hello.
    is_read: bool,
    /// The server has a hello, or there is none.
    is_over: bool,
}

impl Flow {
    /// SYN and SYN-ACK were seen.
    fn opened(form: u8) -> Self {
        let mut tables = MemoryTables::default();
        tables.fingerprints_mut().seed = SEED;
        let mode = Mode::Enforce as u8;
        tables.set_control(Control { policy_mode: mode, breaker_mode: mode, ..Control::default() });
        tables.set_service(service_index(false, PORT), Service { id: 1, ..Service::default() });
        tables.set_now_ns(1 << 40);
        let (client, server) = if form & 1 == 0 {
            (SocketAddr::from(([203, 0, 113, 7], 40_000)), [198, 51, 100, 10].into())
        } else {
            let client = SocketAddr::from(([0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 7], 40_000));
            (client, std::net::IpAddr::from([0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x10]))
        };
        let flow = Self {
            tables,
            client,
            server: SocketAddr::new(server, PORT),
            has_timestamps: form & 2 != 0,
            is_proven: false,
            server_stream: Stream::beginning_at(FIRST),
            has_fakes: false,
            is_forwarded: false,
            is_read: false,
            is_over: false,
        };
        let options = |segment: Tcp| if form & 2 == 0 { segment } else { segment.linux_options() };
        flow.arrives(&options(tcp(client, flow.server).syn().seq(CLIENT_ISN)));
        flow.leaves(&options(flow.answer(SERVER_ISN).syn()));
        flow
    }

    fn answer(&self, seq: u32) -> Tcp {
        tcp(self.server, self.client).seq(seq).ack(FIRST)
    }

    fn arrives(&self, segment: &Tcp) {
        let mut packet = BufferPacket::new(&segment.build());
        let decision =
            pipeline::ingress(&mut packet, &self.tables, Link::Ethernet, &mut Work::default());
        assert_eq!(decision, Decision::Pass);
        assert_eq!(packet.bytes(), segment.build());
    }

    fn leaves(&self, segment: &Tcp) {
        let packet = BufferPacket::new(&segment.build());
        pipeline::egress(&packet, &self.tables, Link::Ethernet, &mut Work::default());
    }

    /// A segment that the input names.
    fn segment(&mut self, bytes: &[u8], input: &mut Input<'_>) {
        let kind = input.byte();
        let at = input.below(bytes.len().min(HELLO_LEN + 512) + 16);
        let count = 1 + usize::from(input.half() & 0x7ff);
        let piece = bytes.get(at..).unwrap_or_default();
        let mut payload = piece.get(..count).unwrap_or(piece).to_vec();
        let mut at = at as i32;
        let before = usize::from(kind >> 4);
        if at == 0 && kind & 8 != 0 {
            // A keep-alive with data behind it.
            payload.splice(..0, vec![kind; before]);
            at = -(before as i32);
        }
        let segment = Segment::ALL.get(usize::from(kind & 7)).copied().unwrap_or(Segment::Good);
        let is_fake = segment != Segment::Good || kind & 0xf8 == 0xf8;
        if is_fake {
            self.has_fakes |= self.takes(segment);
            payload.iter_mut().for_each(|byte| *byte ^= 0x5a);
        }
        self.sends(at, &payload, segment);
    }

    /// The client, or whoever sends in its name, sends a segment; what came of it is checked.
    fn sends(&mut self, at: i32, payload: &[u8], segment: Segment) {
        if self.is_over {
            return;
        }
        let next = SERVER_ISN.wrapping_add(1);
        let seq = FIRST.wrapping_add_signed(at);
        let packet = tcp(self.client, self.server).payload(payload);
        let stamp = |packet: Tcp, value| packet.option(TcpOption::Timestamps(value, 0));
        let packet = match segment {
            Segment::Good | Segment::OldTimestamp => packet.seq(seq).ack(next),
            Segment::BadChecksum => packet.seq(seq).ack(next).bad_checksum(),
            Segment::WrongAck => packet.seq(seq).ack(next.wrapping_add(1)),
            Segment::OutOfWindow => packet.seq(seq.wrapping_add(OUT_OF_WINDOW)).ack(next),
            Segment::NoAck => packet.seq(seq).psh(),
        };
        let packet = match segment {
            Segment::OldTimestamp => stamp(packet, LONG_AGO),
            _ if self.has_timestamps => stamp(packet, 9),
            _ => packet,
        };
        self.arrives(&packet);
        self.is_proven |= self.takes(segment);
        let outcome = if self.takes(segment) {
            self.server_stream.segment(seq, payload)
        } else {
            Outcome::Pending
        };
        let records = self.tables.fingerprints().take_records();
        self.check(&outcome, &records);
    }

    /// Whether the server takes such a segment.
    const fn takes(&self, segment: Segment) -> bool {
        match segment {
            Segment::Good => true,
            Segment::OldTimestamp => !self.has_timestamps,
            _ => false,
        }
    }

    fn check(&mut self, outcome: &Outcome, records: &[HelloRecord]) {
        let is_whole = |record: &&HelloRecord| record.header.kind == HelloKind::Whole as u8;
        let whole = records.iter().find(is_whole);
        self.is_forwarded |= records.iter().any(|record| !is_whole(&record));
        match outcome {
            Outcome::Hello(hello) => {
                self.is_over = true;
                self.is_read = whole.is_some();
                let is_too_long = 5 + hello.message.len() > HELLO_LEN;
                match whole {
                    Some(record) => same(record, hello),
                    None => assert!(self.is_forwarded || is_too_long, "not read"),
                }
            }
            Outcome::GivenUp(_) => {
                assert_eq!(whole, None, "what the daemon gives up on");
                self.is_over = true;
            }
            Outcome::Pending => assert_eq!(whole, None, "read too early"),
        }
    }
}

/// The record says of the hello what the server's stream says.
fn same(record: &HelloRecord, hello: &StreamHello) {
    let header = &record.header;
    let (offset, length) = (header.offset as usize, header.length as usize);
    assert_eq!(record.bytes.get(offset..length), Some(hello.message.as_slice()));
    let keys = keys(&hello.message, Transport::Tcp);
    assert_eq!(header.keys, keys);
    assert_eq!(header.flags & HELLO_MALFORMED != 0, keys.matching == 0);
    assert!(hello.conflict || header.flags & HELLO_CONFLICT == 0, "a conflict that was none");
    // Those that brought only what is behind the hello count for the kernel.
    assert!(u32::from(header.segments) >= hello.segments);
}
