//! A proven flow's progress: which segments count, timing and volume each way, the end.
//!
//! A segment from the client counts only where the server would accept it: ACK set, sequence
//! number in the server's window, acknowledgement of something that the server sent (RFC 9293,
//! section 3.10.7.4; RFC 5961, section 5). What does not is counted apart and changes nothing.

use super::seq;
use crate::{
    abi::{
        flow::{
            Direction, FLOW_FIN_IN, FLOW_FIN_OUT, FLOW_HANDSHAKE_UNKNOWN, FLOW_PROGRESS,
            FLOW_PROXIED, FLOW_REFUSED, FLOW_RESUMED, FLOW_STALL_REPORTED, FLOW_TIMESTAMPS,
            FLOW_UNANCHORED, Flow, Handshake, MIDSTREAM, SYN_ACK_TIMESTAMP, SYN_ANSWERED,
            gap_bucket, hello, size_bucket,
        },
        time::{self, SECOND_NS, TICK_NS},
    },
    packet::{
        Segment,
        tcp::{ACK, FIN, RST, SYN},
    },
};

/// Window assumed where the handshake, and so the window scale, was not seen.
const MIDSTREAM_WINDOW: u32 = 1 << 20;
/// Old segments (retransmissions) and old acknowledgements are accepted this far back.
const REACH_BACK: u32 = 0xffff;
/// A client that waits for an answer and goes on in pieces no larger than this is not uploading.
const SMALL_PIECE: u32 = 512;

/// Exchanges from which a flow's progress is told: then at every doubling.
const FIRST_TOLD: u32 = 8;
/// Progress of one flow is told no more often than this: in ticks, a quarter of a second at least.
const TOLD_APART_TICKS: u32 = (SECOND_NS / 4 / TICK_NS) as u32 + 2;
/// A client that still sends this long after its flow was last told of: half a minute.
const TOLD_AGAIN_TICKS: u32 = (30 * SECOND_NS / TICK_NS) as u32;
/// A pause of a client from which it counts as quiet.
const QUIET_NS: u64 = SECOND_NS;
const NS_PER_MS: u64 = 1_000_000;

/// What a segment from the client meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FromClient {
    /// Counted.
    Counted,
    /// Counted, and the client has been waiting long (since [`Flow::asked_ns`]) with an unfinished
    /// request. Said once a flow.
    Stalled,
    /// Counted, and the flow needs a closer look: its hello is not read yet, a proxy names its
    /// client, or a verdict ended it.
    Attended,
    /// Not in window, or a reset that the server would not accept.
    OutOfWindow,
    /// The client reset the flow.
    Reset,
    /// Both sides have finished.
    Finished,
}

/// What a segment from the server meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FromServer {
    /// Counted.
    Counted,
    /// The server reset the flow.
    Reset,
    /// Both sides have finished.
    Finished,
}

impl Direction {
    #[inline(always)]
    pub(super) fn count(&mut self, segment: &Segment, now_ns: u64) {
        self.packets = self.packets.wrapping_add(segment.segments);
        if segment.payload == 0 {
            return;
        }
        self.payloads = self.payloads.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(u64::from(segment.payload));
        if self.last_ns != 0
            && let Some(slot) = self.gaps.get_mut(gap_bucket(now_ns.saturating_sub(self.last_ns)))
        {
            *slot = slot.saturating_add(1);
        }
        if let Some(slot) = self.sizes.get_mut(size_bucket(segment.payload)) {
            *slot = slot.saturating_add(1);
        }
        self.last_ns = now_ns;
    }
}

impl Flow {
    /// Begins a flow whose client was just proven, by itself or by the server.
    #[inline(always)]
    pub fn begin(&mut self, handshake: &Handshake, service: u8, now_ns: u64) {
        let midstream = handshake.flags & MIDSTREAM != 0;
        let shift = handshake.window_shift;
        self.proven_ns = now_ns;
        self.rtt_ns = handshake.rtt_ns(now_ns);
        self.client_next = handshake.client_isn.wrapping_add(1);
        self.server_next = handshake.server_isn.wrapping_add(1);
        self.server_unacked = self.server_next;
        self.server_window =
            if midstream { MIDSTREAM_WINDOW } else { u32::from(handshake.server_window) };
        self.window_shift = shift;
        self.service = service;
        self.begin_telling(now_ns);
        if !handshake.is_known() {
            self.flags |= FLOW_HANDSHAKE_UNKNOWN;
        }
        if handshake.flags & SYN_ANSWERED != 0 {
            self.hello = hello::AWAITED;
            self.hello_base = self.client_next;
            self.ingress_records.begin(self.client_next);
            self.egress_records.begin(self.server_next);
        }
        if handshake.flags & SYN_ACK_TIMESTAMP != 0 && handshake.ts_value != 0 {
            self.flags |= FLOW_TIMESTAMPS;
            self.ts_recent = handshake.ts_value;
        }
        if midstream {
            // The window's scale is unknown for good.
            self.window_shift = u8::MAX;
        }
    }

    /// Goes on with a flow of which only the key is known: it was proven under another version of Weir.
    pub fn resume(&mut self, service: u8, now_ns: u64) {
        self.proven_ns = now_ns;
        self.rtt_ns = u32::MAX;
        self.server_window = MIDSTREAM_WINDOW;
        self.window_shift = u8::MAX;
        // No segment acknowledges what the server sent, as long as that is not known.
        self.server_next = self.server_unacked.wrapping_sub(REACH_BACK);
        self.service = service;
        self.flags = FLOW_HANDSHAKE_UNKNOWN | FLOW_RESUMED | FLOW_UNANCHORED;
        self.begin_telling(now_ns);
    }

    /// The server sends: where its numbers and the client's stand.
    #[inline(always)]
    const fn anchor(&mut self, segment: &Segment) {
        if segment.has(ACK) {
            self.flags &= !FLOW_UNANCHORED;
            self.server_unacked = segment.seq;
            self.server_next = segment.seq;
            self.client_next = segment.ack;
        }
    }

    /// A segment from the client.
    #[inline(always)]
    pub fn from_client(&mut self, segment: &Segment, now_ns: u64, stall_ns: u64) -> FromClient {
        let offset = segment.seq.wrapping_sub(self.client_next);
        if segment.has(RST) {
            // RFC 5961, section 3.2: only the exact next number resets.
            let is_exact = offset == 0 && self.flags & FLOW_UNANCHORED == 0;
            return if is_exact { FromClient::Reset } else { self.stray() };
        }
        if segment.flags & (ACK | SYN) != ACK
            || !self.seq_in_window(offset)
            || !self.ack_in_window(segment.ack)
        {
            return self.stray();
        }
        if self.flags & FLOW_REFUSED != 0 {
            // None of it reaches the server: it moves nothing on, neither numbers nor time.
            return FromClient::Attended;
        }
        self.server_unacked = seq::latest(self.server_unacked, segment.ack);
        let next = segment.next_seq();
        let in_order = offset as i32 <= 0;
        if in_order {
            self.client_next = seq::latest(self.client_next, next);
        }
        if segment.payload > 0 && (offset as i32) < 0 {
            self.retransmissions = self.retransmissions.wrapping_add(1);
        }
        let stalled = self.client_rhythm(segment, now_ns, stall_ns);
        self.ingress.count(segment, now_ns);
        if segment.has(FIN) && in_order {
            self.flags |= FLOW_FIN_IN;
        }
        if self.is_finished() {
            return FromClient::Finished;
        }
        if stalled == FromClient::Counted && self.needs_attention() {
            return FromClient::Attended;
        }
        stalled
    }

    /// Whether its client's segments need a closer look.
    #[inline(always)]
    #[must_use]
    pub const fn needs_attention(&self) -> bool {
        self.awaits_hello() || self.flags & (FLOW_PROXIED | FLOW_REFUSED) != 0
    }

    /// Whether its ClientHello, or what is left of it, has yet to come.
    #[inline(always)]
    #[must_use]
    pub const fn awaits_hello(&self) -> bool {
        self.hello != hello::NONE && self.hello != hello::READ
    }

    /// A segment from the server. It needs no check: this host sent it.
    #[inline(always)]
    pub fn from_server(&mut self, segment: &Segment, now_ns: u64) -> FromServer {
        if segment.has(RST) {
            return FromServer::Reset;
        }
        if self.flags & FLOW_UNANCHORED != 0 {
            self.anchor(segment);
        }
        self.server_next = seq::latest(self.server_next, segment.next_seq());
        if segment.has(ACK) {
            self.client_next = seq::latest(self.client_next, segment.ack);
            if self.window_shift <= 14 {
                self.server_window = u32::from(segment.window) << self.window_shift;
            }
        }
        if segment.payload > 0 {
            self.asked_ns = 0;
        }
        self.egress.count(segment, now_ns);
        if segment.has(FIN) {
            self.flags |= FLOW_FIN_OUT;
        }
        if self.is_finished() { FromServer::Finished } else { FromServer::Counted }
    }

    /// Questions and answers: bursts of the client after data of the server, and waiting.
    #[inline(always)]
    fn client_rhythm(&mut self, segment: &Segment, now_ns: u64, stall_ns: u64) -> FromClient {
        if segment.payload == 0 {
            return FromClient::Counted;
        }
        self.pause(now_ns);
        if self.asks(now_ns) {
            return FromClient::Counted;
        }
        let waited_ns = now_ns.saturating_sub(self.asked_ns);
        if stall_ns != 0
            && waited_ns >= stall_ns
            && segment.payload <= SMALL_PIECE
            && self.flags & FLOW_STALL_REPORTED == 0
        {
            self.flags |= FLOW_STALL_REPORTED;
            return FromClient::Stalled;
        }
        FromClient::Counted
    }

    /// The client sends: whether it begins to ask. That is an exchange, where the server has spoken.
    #[inline(always)]
    pub(super) const fn asks(&mut self, now_ns: u64) -> bool {
        if self.asked_ns != 0 {
            return false;
        }
        self.asked_ns = now_ns;
        if self.egress.payloads > 0 {
            self.exchanges = self.exchanges.wrapping_add(1);
            if self.exchanges >= FIRST_TOLD && self.exchanges & (self.exchanges - 1) == 0 {
                self.flags |= FLOW_PROGRESS;
            }
        }
        true
    }

    /// The client sends again: how long it was silent.
    #[inline(always)]
    pub(super) const fn pause(&mut self, now_ns: u64) {
        let gap_ns = now_ns.saturating_sub(self.ingress.last_ns);
        if self.ingress.last_ns == 0 || gap_ns < NS_PER_MS {
            return;
        }
        let gap_ms = gap_ns / NS_PER_MS;
        let gap_ms = if gap_ms > u32::MAX as u64 { u32::MAX } else { gap_ms as u32 };
        if gap_ms > self.longest_gap_ms {
            self.longest_gap_ms = gap_ms;
        }
        if gap_ns >= QUIET_NS {
            self.quiet_ms = self.quiet_ms.saturating_add(gap_ms);
        }
    }

    /// From now on its progress may be told.
    #[inline(always)]
    pub(super) const fn begin_telling(&mut self, now_ns: u64) {
        self.told_tick = time::tick(now_ns).wrapping_sub(TOLD_APART_TICKS);
    }

    /// Whether its progress is to be told now that its client sends.
    #[inline(always)]
    #[must_use]
    pub const fn is_to_be_told(&self, now_ns: u64) -> bool {
        let since = time::tick(now_ns).wrapping_sub(self.told_tick);
        since >= TOLD_APART_TICKS && (self.flags & FLOW_PROGRESS != 0 || since >= TOLD_AGAIN_TICKS)
    }

    /// Its progress is told.
    #[inline(always)]
    pub const fn told(&mut self, now_ns: u64) {
        self.flags &= !FLOW_PROGRESS;
        self.told_tick = time::tick(now_ns);
    }

    /// Within the window ahead, or a retransmission not too far back.
    #[inline(always)]
    const fn seq_in_window(&self, offset: u32) -> bool {
        offset.wrapping_add(REACH_BACK) <= self.server_window.saturating_add(REACH_BACK)
    }

    /// Acknowledges what the server sent, or something a little older.
    #[inline(always)]
    const fn ack_in_window(&self, ack: u32) -> bool {
        let oldest = self.server_unacked.wrapping_sub(REACH_BACK);
        ack.wrapping_sub(oldest) <= self.server_next.wrapping_sub(oldest)
    }

    #[inline(always)]
    const fn stray(&mut self) -> FromClient {
        if self.flags & FLOW_UNANCHORED == 0 {
            self.out_of_window = self.out_of_window.wrapping_add(1);
        }
        FromClient::OutOfWindow
    }

    /// Whether both sides have finished.
    #[inline(always)]
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.flags & (FLOW_FIN_IN | FLOW_FIN_OUT) == FLOW_FIN_IN | FLOW_FIN_OUT
    }
}
