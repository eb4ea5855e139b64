//! ClientHellos in super-packets: merged by the driver or the stack (GRO), longer than any segment, and
//! with checksums that were verified before. No test run of the kernel can make one.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what is not there fails the test loudly"
)]

use weir_common::{
    abi::{
        Action, Control, HelloKind, Mode, Reason, Service, ServiceSet, Verdict, VerdictClass,
        control::{CONTROL_FINGERPRINTS, service_index},
        hello::{HELLO_LEN, HELLO_REFUSED, HELLO_ROOM},
        tally,
    },
    host::{BufferPacket, HelloRecord, MemoryTables},
    packet::{Link, Packet, PacketMut},
    pipeline::{self, Decision, Work},
    tls::{KeyBuilder, Keys, keys::Transport, walk},
};

const PORT: u16 = 443;
const CLIENT_ISN: u32 = 0xffff_f000;
const SERVER_ISN: u32 = 0x7357_0000;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Headers of IPv4 and TCP.
const HEADERS: usize = 40;

/// A packet that stands for several on the wire.
struct SuperPacket {
    buffer: BufferPacket,
    segments: u32,
}

impl Packet for SuperPacket {
    const APPROXIMATE: bool = true;

    fn len(&self) -> u32 {
        self.buffer.len()
    }

    fn segments(&self) -> u32 {
        self.segments
    }

    fn byte(&self, offset: u32) -> Option<u8> {
        self.buffer.byte(offset)
    }

    fn half(&self, offset: u32) -> Option<u16> {
        self.buffer.half(offset)
    }

    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.buffer.load(offset)
    }

    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.buffer.words(offset)
    }

    fn copy(&self, offset: u32, length: u32, into: &mut [u8; HELLO_ROOM], to: u32) -> bool {
        self.buffer.copy(offset, length, into, to)
    }
}

impl PacketMut for SuperPacket {
    fn store_half(&mut self, offset: u32, half: u16) -> bool {
        self.buffer.store_half(offset, half)
    }

    fn store_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> bool {
        self.buffer.store_words(offset, words)
    }

    fn truncate(&mut self, len: u32) -> bool {
        self.buffer.truncate(len)
    }
}

/// A connection whose client has sent nothing yet, not even its third packet.
struct Flow {
    tables: MemoryTables,
    port: u16,
}

impl Flow {
    fn new() -> Self {
        let mut tables = MemoryTables::default();
        let mode = Mode::Enforce as u8;
        let flags = CONTROL_FINGERPRINTS;
        let modes = Control { policy_mode: mode, breaker_mode: mode, ..Control::default() };
        tables.set_control(Control { flags, ..modes });
        tables.set_service(service_index(false, PORT), Service { id: 1, ..Service::default() });
        tables.set_now_ns(1 << 40);
        let flow = Self { tables, port: 40_000 };
        flow.arrives(SYN, CLIENT_ISN, 0, &[], 1);
        let syn_ack = flow.frame(false, SYN | ACK, SERVER_ISN, CLIENT_ISN.wrapping_add(1), &[]);
        let syn_ack = BufferPacket::new(&syn_ack);
        pipeline::egress(&syn_ack, &flow.tables, Link::None, &mut Work::default());
        flow
    }

    /// A packet without checksums: whoever merged segments has verified theirs.
    fn frame(&self, to_server: bool, flags: u8, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
        let (client, server) = ([203, 0, 113, 7], [198, 51, 100, 10]);
        let (from, to) = if to_server { (client, server) } else { (server, client) };
        let (source, target) = if to_server { (self.port, PORT) } else { (PORT, self.port) };
        let mut frame = vec![0x45, 0];
        frame.extend(((HEADERS + payload.len()) as u16).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 6, 0, 0]);
        frame.extend([from, to].concat());
        frame.extend([source.to_be_bytes(), target.to_be_bytes()].concat());
        frame.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
        frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        frame.extend(payload);
        frame
    }

    fn arrives(&self, flags: u8, seq: u32, ack: u32, payload: &[u8], segments: u32) -> Vec<u8> {
        let buffer = BufferPacket::new(&self.frame(true, flags, seq, ack, payload));
        let mut packet = SuperPacket { buffer, segments };
        let decision =
            pipeline::ingress(&mut packet, &self.tables, Link::None, &mut Work::default());
        assert_eq!(decision, Decision::Pass);
        packet.buffer.bytes().to_vec()
    }

    /// The client sends bytes `from..until` of its stream in one super-packet.
    fn sends(&self, stream: &[u8], from: usize, until: usize) -> Vec<u8> {
        let seq = CLIENT_ISN.wrapping_add(1 + from as u32);
        // At least two: what stands for one is not merged, and its checksum not verified.
        let segments = (until - from).div_ceil(1448).max(2) as u32;
        self.arrives(ACK, seq, SERVER_ISN + 1, &stream[from..until], segments)
    }

    fn records(&self) -> Vec<HelloRecord> {
        self.tables.fingerprints().take_records()
    }

    /// The records, of which there are that many.
    fn exactly<const N: usize>(&self) -> [HelloRecord; N] {
        let records = self.records();
        assert_eq!(records.len(), N);
        records.try_into().unwrap()
    }

    fn counted(&self, reason: Reason) -> u64 {
        self.tables.counted(tally::reason_index(reason)).packets
    }
}

/// A hello in one record, `length` bytes with the record's header.
fn stream(length: usize) -> Vec<u8> {
    let padding = length - 5 - 4 - 34 - 1 - 2 - 4 - 2 - 2 - 4;
    let mut body = vec![3, 3];
    body.extend([0x52; 33]);
    body[34] = 0;
    body.extend([0, 4, 0x13, 1, 0x13, 2, 1, 0]);
    body.extend((padding as u16 + 4).to_be_bytes());
    body.extend([0, 0x15]);
    body.extend((padding as u16).to_be_bytes());
    body.extend((0..padding).map(|at| at as u8));
    let mut message = (1 << 24 | body.len() as u32).to_be_bytes().to_vec();
    message.extend(body);
    let mut stream = vec![22, 3, 1];
    stream.extend((message.len() as u16).to_be_bytes());
    stream.extend(message);
    assert_eq!(stream.len(), length);
    stream
}

fn keys(flow: &Flow, stream: &[u8]) -> Keys {
    let mut builder = KeyBuilder::new(flow.tables.fingerprints().seed);
    walk(&stream[5..], &mut builder).unwrap();
    builder.finish(Transport::Tcp)
}

/// Puts the pieces together, which come in order.
fn joined(records: &[HelloRecord]) -> Vec<u8> {
    let mut joined = Vec::new();
    for record in records {
        assert_eq!(record.header.kind, HelloKind::Piece as u8);
        assert_eq!(record.header.offset as usize, joined.len());
        assert_eq!(record.header.length as usize, record.bytes.len());
        assert_eq!(record.header.keys, Keys::default());
        joined.extend(&record.bytes);
    }
    joined
}

#[test]
fn a_hello_in_one_super_packet_is_read() {
    for length in [600, 1448, 1449, 3000, HELLO_LEN] {
        let flow = Flow::new();
        let mut sent = stream(length);
        let keys = keys(&flow, &sent);
        sent.extend([23; 3000]);
        flow.sends(&sent, 0, sent.len());
        let [record] = flow.exactly();
        assert_eq!(record.header.kind, HelloKind::Whole as u8, "{length}");
        assert_eq!(record.header.keys, keys, "{length}");
        assert!(record.bytes == sent[..length]);
        assert_eq!(flow.counted(Reason::HelloRead), (length as u64 + 3000).div_ceil(1448));
    }
}

#[test]
fn a_hello_over_two_super_packets_is_read() {
    for cut in [1, 1448, 2896, 3999] {
        for swapped in [false, true] {
            let flow = Flow::new();
            let sent = stream(4000);
            let mut parts = [(0, cut), (cut, 4000)];
            if swapped {
                parts.reverse();
            }
            for (from, until) in parts {
                flow.sends(&sent, from, until);
            }
            let [record] = flow.exactly();
            assert_eq!(record.header.keys, keys(&flow, &sent), "cut at {cut}");
            assert_eq!(record.header.segments, 2);
        }
    }
}

#[test]
fn one_that_is_too_long_goes_to_the_daemon_to_the_last_byte() {
    let flow = Flow::new();
    let sent = stream(6000);
    flow.sends(&sent, 0, 6000);
    assert_eq!(flow.counted(Reason::HelloTooLong), 5);
    assert!(joined(&flow.records()) == sent);

    let flow = Flow::new();
    let mut sent = stream(15_000);
    sent.resize(60_000, 23);
    flow.sends(&sent, 0, 60_000);
    assert!(joined(&flow.records()) == sent[..16 << 10], "and no more than 16 KiB");
}

#[test]
fn what_reaches_beyond_the_collected_bytes_is_a_piece_as_well() {
    let flow = Flow::new();
    let sent = stream(7000);
    flow.sends(&sent, 0, 8);
    let [] = flow.exactly();
    flow.sends(&sent, 8, 7000);
    let [collected, first, second] = flow.exactly();
    assert_eq!(collected.header.kind, HelloKind::Collected as u8);
    assert!(collected.bytes[..HELLO_LEN] == sent[..HELLO_LEN]);
    assert_eq!(collected.coverage.map(|words| words.iter().all(|it| *it == u64::MAX)), Some(true));
    assert_eq!((first.header.offset, second.header.offset), (8, 8 + HELLO_LEN as u32));
    assert!([first.bytes, second.bytes].concat() == sent[8..]);
}

#[test]
fn a_refused_one_becomes_a_reset_of_one_segment() {
    let flow = Flow::new();
    let sent = stream(4000);
    let class = VerdictClass {
        action: Action::Drop as u8,
        mode: Mode::Enforce as u8,
        reason: Reason::DropOperator as u8,
        services: ServiceSet::ALL,
        ..VerdictClass::default()
    };
    flow.tables.set_class(1, class);
    let verdict = Verdict { class: 1, ..Verdict::default() };
    let key = keys(&flow, &sent).matching;
    flow.tables.fingerprints().hellos.borrow_mut().insert(key, verdict);
    let frame = flow.sends(&sent, 0, 4000);
    assert_eq!(frame.len(), HEADERS);
    assert_eq!(frame[24..28], CLIENT_ISN.wrapping_add(1).to_be_bytes());
    assert_eq!(frame[33], 0x04, "RST");
    let [record] = flow.exactly();
    assert_eq!(record.header.flags, HELLO_REFUSED);
}
