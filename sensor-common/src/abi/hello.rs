//! ClientHellos on their way to the daemon, and where the kernel collects them.

use super::key::{Address, FlowKey};
use crate::{
    packet::proxy::Line,
    tls::{KeyBuilder, Keys, Walk},
};

/// Bytes of a stream that are collected: record headers count, a PROXY header before it does not.
pub const HELLO_LEN: usize = 4096;
/// Bytes that one copy from a packet takes at most.
pub const HELLO_CHUNK: usize = 1024;
/// Room for [`HELLO_LEN`] bytes and one copy that began just before their end: the verifier
/// bounds the two apart.
pub const HELLO_ROOM: usize = HELLO_LEN + HELLO_CHUNK;
/// Words of a coverage bitmap: one bit a byte.
pub const COVERAGE_WORDS: usize = HELLO_LEN / 64;
/// Suffixes of a server name that are looked up: the longest ones of more are not.
pub const MAX_SUFFIXES: usize = 8;
/// Unfinished hellos a source may have: the ways of a set of slots.
pub const HELLO_WAYS: u32 = 4;

/// What a record of `HELLO_BYTES` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum HelloKind {
    /// A whole ClientHello, which the kernel has read: `offset` is where the handshake message
    /// begins, its record headers behind the first are taken out.
    Whole = 1,
    /// Bytes of a stream whose hello the kernel does not collect: `offset` is where they stand in
    /// the stream.
    Piece = 2,
    /// What the kernel had collected when it gave up: [`HELLO_ROOM`] bytes, then the coverage bitmap
    /// of the first [`HELLO_LEN`].
    Collected = 3,
    /// A UDP datagram to a service that begins with a QUIC Initial.
    Quic = 4,
}

impl HelloKind {
    /// The kind of an ABI byte.
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Whole,
            2 => Self::Piece,
            3 => Self::Collected,
            4 => Self::Quic,
            _ => return None,
        })
    }
}

/// The same bytes came twice and differed, or some of them were urgent: what the server read is not
/// certain. The first copy counts.
pub const HELLO_CONFLICT: u8 = 1 << 0;
/// The client is whom a declared proxy named.
pub const HELLO_PROXIED: u8 = 1 << 1;
/// The message does not hold together: there are no keys.
pub const HELLO_MALFORMED: u8 = 1 << 2;
/// The verdict acted: the server never saw the hello.
pub const HELLO_REFUSED: u8 = 1 << 4;

/// First bytes of every record of `HELLO_BYTES`; `length` bytes follow, for
/// [`HelloKind::Collected`] the coverage bitmap behind them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct HelloHeader {
    /// When the segment that completed it was seen, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// [`HelloKind`].
    pub kind: u8,
    /// The protected service, as refined by the server's name.
    pub service: u8,
    /// `HELLO_*` bits.
    pub flags: u8,
    /// Zero.
    pub reserved: u8,
    /// Interface it was seen on.
    pub ifindex: u32,
    /// The flow.
    pub key: FlowKey,
    /// The client: the peer, or whom a declared proxy named.
    pub client: Address,
    /// The client's port, network byte order.
    pub client_port: u16,
    /// TCP segments that carried it; saturating.
    pub segments: u16,
    /// Bytes that follow.
    pub length: u32,
    /// See [`HelloKind`].
    pub offset: u32,
    /// From proof to this record, in units of 2^10 ns; saturating.
    pub delay: u32,
    /// Match key and stable key; 0 where the kernel did not read it.
    pub keys: Keys,
    /// The class of a verdict that would have refused the segment that completed it, had that been
    /// enforced; 0 = none.
    pub would_class: u16,
    /// Zero.
    pub reserved2: [u16; 3],
}
const _: () = assert!(size_of::<HelloHeader>() == 112);

/// Value of `HELLOS` and of the memory to read one-segment hellos in: a ClientHello that arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Capture {
    /// 1 while a program works on it: taken and given back by compare-exchange.
    pub lock: u64,
    /// Whose it is: a hash of the flow; 0 = free.
    pub owner: u64,
    /// When its last segment came, ns.
    pub touched_ns: u64,
    /// Bytes from the beginning without a gap.
    pub contiguous: u32,
    /// Bytes that the hello takes, record headers included; 0 = not known yet.
    pub wanted: u32,
    /// The record header that is looked at next.
    pub record_at: u32,
    /// Bytes of the message in the records before it.
    pub gathered: u32,
    /// Bytes of the message, its header included; 0 = not known yet.
    pub message_len: u32,
    /// 1 where the last segment brought bytes that were not there.
    pub is_fresh: u32,
    /// A loop's place, and where it ends.
    pub at: u32,
    /// See `at`.
    pub end: u32,
    /// Where a loop takes from: the bytes of the segment that is merged, or of a record.
    pub from: u32,
    /// See `from`.
    pub until: u32,
    /// What a loop came to.
    pub outcome: u32,
    /// How many of `suffixes` are set.
    pub suffix_count: u32,
    /// Hashes of the server name's suffixes, shortest first.
    pub suffixes: [u64; MAX_SUFFIXES],
    /// The name's hash so far.
    pub name_hash: u64,
    /// A PROXY header's line, as far as it is read.
    pub line: Line,
    /// Where the walk stands.
    pub walk: Walk,
    /// What it has folded so far.
    pub builder: KeyBuilder,
    /// What is sent to the daemon: this, then `bytes`, then `coverage`.
    pub header: HelloHeader,
    /// The stream.
    pub bytes: [u8; HELLO_ROOM],
    /// Which of its bytes are there.
    pub coverage: [u64; COVERAGE_WORDS],
}
const _: () = assert!(size_of::<Capture>().is_multiple_of(8));

impl Default for Capture {
    fn default() -> Self {
        Self {
            lock: 0,
            owner: 0,
            touched_ns: 0,
            contiguous: 0,
            wanted: 0,
            record_at: 0,
            gathered: 0,
            message_len: 0,
            is_fresh: 0,
            at: 0,
            end: 0,
            from: 0,
            until: 0,
            outcome: 0,
            suffix_count: 0,
            suffixes: [0; MAX_SUFFIXES],
            name_hash: 0,
            line: Line::default(),
            walk: Walk::default(),
            builder: KeyBuilder::default(),
            header: HelloHeader::default(),
            bytes: [0; HELLO_ROOM],
            coverage: [0; COVERAGE_WORDS],
        }
    }
}
