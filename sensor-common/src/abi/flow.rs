//! What the kernel remembers: half-open connections, flows, sources.

use super::{
    key::Address,
    records::{self, Records},
    syn::SynSignature,
};

/// Buckets of a gap histogram (see [`gap_bucket`]).
pub const GAP_BUCKETS: usize = 20;

/// Buckets of a size histogram (see [`size_bucket`]).
pub const SIZE_BUCKETS: usize = 12;

/// log2 of the first gap bucket's upper bound in nanoseconds (8.2 µs).
const GAP_SHIFT: u32 = 13;

/// log2 of the first size bucket's upper bound in bytes.
const SIZE_SHIFT: u32 = 5;

/// The bucket of an inter-arrival time: bucket 0 is below 2^13 ns, bucket `n` is
/// `[2^(12+n), 2^(13+n))` ns, and the last one (from 2.1 s) is open.
#[inline(always)]
#[must_use]
pub const fn gap_bucket(gap_ns: u64) -> usize {
    bucket(gap_ns >> GAP_SHIFT, GAP_BUCKETS)
}

/// The bucket of a payload size: bucket 0 is below 32 bytes, bucket `n` is `[2^(4+n), 2^(5+n))`,
/// and the last one (from 32 KiB, which only super-packets reach) is open.
#[inline(always)]
#[must_use]
pub const fn size_bucket(bytes: u32) -> usize {
    bucket((bytes >> SIZE_SHIFT) as u64, SIZE_BUCKETS)
}

#[inline(always)]
const fn bucket(scaled: u64, buckets: usize) -> usize {
    // Opaque, because the compiler proves the bound from the bits of `scaled`, and the BPF
    // verifier, which cannot, must see the comparison.
    let log = core::hint::black_box((u64::BITS - scaled.leading_zeros()) as usize);
    if log < buckets { log } else { buckets - 1 }
}

/// Volume and rhythm of one direction of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Direction {
    /// When its last packet with payload was seen, `CLOCK_MONOTONIC` ns; 0 = none yet.
    pub last_ns: u64,
    /// Payload bytes (retransmissions count again).
    pub bytes: u64,
    /// Segments, acknowledgements included.
    pub packets: u32,
    /// Segments with payload.
    pub payloads: u32,
    /// Gaps between payload packets, log2 (see [`gap_bucket`]); saturating.
    pub gaps: [u16; GAP_BUCKETS],
    /// Sizes of payloads, log2 (see [`size_bucket`]); saturating.
    pub sizes: [u16; SIZE_BUCKETS],
}
const _: () = assert!(size_of::<Direction>() == 88);

/// The handshake's features are unknown: it was not seen, or its record was turned over.
pub const FLOW_HANDSHAKE_UNKNOWN: u16 = 1 << 0;
/// The peer's FIN was seen, in window.
pub const FLOW_FIN_IN: u16 = 1 << 1;
/// The server's FIN was seen.
pub const FLOW_FIN_OUT: u16 = 1 << 2;
/// The stall was reported.
pub const FLOW_STALL_REPORTED: u16 = 1 << 3;
/// A verdict turned a segment of this flow into a reset for the server.
pub const FLOW_RESET_SENT: u16 = 1 << 4;
/// Sizes and gaps are approximate: the ingress hook sees super-packets (TC).
pub const FLOW_APPROXIMATE: u16 = 1 << 5;
/// A declared proxy named the client: [`Flow::client`].
pub const FLOW_PROXIED: u16 = 1 << 6;
/// A verdict ended it: no further segment of it passes as it is.
pub const FLOW_REFUSED: u16 = 1 << 7;
/// Client and server agreed on timestamps (RFC 7323): [`Flow::ts_recent`] holds.
pub const FLOW_TIMESTAMPS: u16 = 1 << 8;
/// The hello's bytes came twice and differed: what the server read is not certain.
pub const FLOW_HELLO_CONFLICT: u16 = 1 << 9;
/// It got some way of which the daemon has not heard yet.
pub const FLOW_PROGRESS: u16 = 1 << 10;
/// It was proven under another version of Weir, of whose record only the key was understood: what came
/// before is not counted.
pub const FLOW_RESUMED: u16 = 1 << 11;
/// Its sequence numbers are unknown until the server sends: nothing is held against its client.
pub const FLOW_UNANCHORED: u16 = 1 << 12;

/// How far a flow's ClientHello has come ([`Flow::hello`]).
pub mod hello {
    /// There is none to wait for: not TCP, begun unseen, or not TLS.
    pub const NONE: u8 = 0;
    /// Its first byte has not come.
    pub const AWAITED: u8 = 1;
    /// Some of it has come.
    pub const COLLECTING: u8 = 2;
    /// It was read.
    pub const READ: u8 = 3;
    /// The daemon reassembles it.
    pub const FORWARDED: u8 = 4;
}

/// Value of `FLOWS`: a proven flow. Created on proof and never before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Flow {
    /// When it was proven, `CLOCK_MONOTONIC` ns.
    pub proven_ns: u64,
    /// When the client began to wait for an answer: its first payload since the server's last;
    /// 0 = it is not waiting.
    pub asked_ns: u64,
    /// From the peer.
    pub ingress: Direction,
    /// From the server.
    pub egress: Direction,
    /// From SYN-ACK to the client's ACK, ns; `u32::MAX` = unknown or longer.
    pub rtt_ns: u32,
    /// Client bursts that followed server data: a lower bound of requests inside the connection. Of
    /// UDP, datagrams too small for more than acknowledgements do not count as either.
    pub exchanges: u32,
    /// Next sequence number that the server expects (its `RCV.NXT`). Of UDP, these four are the
    /// beginnings of the last two connection ids that the server announced (see `flow::quic`).
    pub client_next: u32,
    /// One past the last sequence number that the server sent (its `SND.NXT`).
    pub server_next: u32,
    /// Oldest sequence number that the client has not acknowledged (the server's `SND.UNA`).
    pub server_unacked: u32,
    /// Receive window that the server announced last, bytes.
    pub server_window: u32,
    /// Segments outside the window and forged resets: forgeable, and counted apart.
    pub out_of_window: u32,
    /// `FLOW_*` bits.
    pub flags: u16,
    /// The protected service.
    pub service: u8,
    /// The server's window scale (RFC 7323).
    pub window_shift: u8,
    /// Whom a declared proxy named; zero: the peer is the client.
    pub client: Address,
    /// Sequence number of the stream's first byte behind a PROXY header.
    pub hello_base: u32,
    /// The client's newest timestamp that the server took: an older one it discards (RFC 7323,
    /// section 5).
    pub ts_recent: u32,
    /// From proof to the segment that completed the hello, ns; saturating; 0 = not read.
    pub hello_ns: u32,
    /// The client's port there, network byte order.
    pub client_port: u16,
    /// See [`hello`], and [`Flow::answers_unread_hello`].
    pub hello: u8,
    /// Zero.
    pub reserved: u8,
    /// TLS records from the peer.
    pub ingress_records: Records,
    /// TLS records from the server.
    pub egress_records: Records,
    /// The longest time between payloads of the client, ms.
    pub longest_gap_ms: u32,
    /// The sum of those of a second and more, ms; saturating.
    pub quiet_ms: u32,
    /// Segments with payload that the server, as far as was seen, had at least the beginning of.
    pub retransmissions: u32,
    /// Tick of the last [`Progress`](super::EventKind::Progress), or of its proof.
    pub told_tick: u32,
}
const _: () = assert!(size_of::<Flow>() == 320);

impl Flow {
    /// Whether the server answered a ClientHello that the kernel did not read: it sends TLS records,
    /// and so took one from the bytes that came. Where [`Flow::hello`] is `FORWARDED`, the daemon may
    /// have read it; anywhere else somebody got past the hello stage.
    #[must_use]
    pub const fn answers_unread_hello(&self) -> bool {
        self.hello != hello::READ
            && matches!(self.egress_records.state, records::state::FOLLOWED | records::state::LOST)
    }
}

/// The SYN carried payload.
pub const SYN_DATA: u8 = 1 << 0;
/// The SYN carried a TCP Fast Open option (RFC 7413).
pub const SYN_FAST_OPEN: u8 = 1 << 1;
/// The SYN itself was not seen, or is not the one that the server answered.
pub const SYN_UNKNOWN: u8 = 1 << 2;
/// The server's SYN-ACK was seen.
pub const SYN_ANSWERED: u8 = 1 << 3;
/// The server's SYN-ACK carried a timestamp, so that the connection has them (RFC 7323).
pub const SYN_ACK_TIMESTAMP: u8 = 1 << 5;
/// No handshake: the server's data waits for an acknowledgement that only its receiver can send.
pub const MIDSTREAM: u8 = 1 << 4;

/// Value of `HANDSHAKES`: a half-open connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Handshake {
    /// When the first SYN came, ns; 0 = unknown.
    pub syn_ns: u64,
    /// When the last SYN-ACK left, ns; 0 = not yet.
    pub syn_ack_ns: u64,
    /// The client's initial sequence number.
    pub client_isn: u32,
    /// The server's initial sequence number; midstream: one less than the end of its data.
    pub server_isn: u32,
    /// Retransmissions of the SYN; saturating.
    pub syn_retries: u8,
    /// TTL or hop limit of the SYN. Forgeable.
    pub ttl: u8,
    /// `SYN_*` bits and `MIDSTREAM`.
    pub flags: u8,
    /// The server's window scale.
    pub window_shift: u8,
    /// The client's timestamp in the SYN; 0 = none.
    pub ts_value: u32,
    /// Receive window in the SYN-ACK, unscaled (RFC 7323, section 2.2).
    pub server_window: u16,
    /// The class of a verdict that would have refused its last packet, had it been enforced; 0 = none.
    pub would_class: u16,
    /// Zero.
    pub reserved: [u16; 2],
    /// What the SYN looked like.
    pub syn: SynSignature,
}
const _: () = assert!(size_of::<Handshake>() == 80);

/// Slots of a velocity ring.
pub const RATE_SLOTS: usize = 10;

/// Events in each of the last ten seconds (see `flow::window`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Rate {
    /// The second (2^30 ns) that the newest slot counts.
    pub second: u32,
    /// Counts, index `second % 10`; saturating.
    pub slots: [u16; RATE_SLOTS],
}
const _: () = assert!(size_of::<Rate>() == 24);

/// Value of `SOURCES`: a source since its first proof. Created on proof and never before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Source {
    /// When it was first proven, ns.
    pub first_proof_ns: u64,
    /// When it was last proven, ns.
    pub last_proof_ns: u64,
    /// Theoretical arrival time of its lane through the SYN guard: state.
    pub lane_tat_ns: u64,
    /// Proven connections.
    pub connections: u32,
    /// First SYNs in its name: forgeable, even though the source was proven.
    pub syns: u32,
    /// Proven connections by second.
    pub rate: Rate,
}
const _: () = assert!(size_of::<Source>() == 56);

/// Value of `OUTBOUND`: a flow that this host opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Outbound {
    /// When this host last sent on it (TCP: its SYN), ns.
    pub last_ns: u64,
}
const _: () = assert!(size_of::<Outbound>() == 8);
