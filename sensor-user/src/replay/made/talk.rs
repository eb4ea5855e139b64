//! One connection, from its SYN to its end.

use super::{
    Made,
    chance::Chance,
    segment::{Ends, FIRST, Header, Side},
};
use crate::policy::cases::Pattern;

/// How long a server takes for an answer, and a client between its hello and its first request.
const THINKS_NS: u64 = 2_000_000;
/// Between two segments of one message.
const APART_NS: u64 = 20_000;
/// Bytes of a segment.
const SEGMENT: u32 = 1_400;
/// Bytes of a TLS record's header, and of what it may hold.
const RECORD_HEADER: u32 = 5;
const LARGEST_RECORD: u32 = 16_384;
/// What a server answers to a hello, and a client to that.
const SERVER_HELLO: u32 = 2_900;
const FINISHED: u32 = 74;
/// How often a stalled request goes on, and for how long.
const TRICKLE_NS: u64 = 1_000_000_000;
const TRICKLES: u64 = 20;

/// A connection that is being made.
pub(super) struct Talk<'a> {
    ends: Ends,
    pattern: &'a Pattern,
    packets: &'a mut Vec<Made>,
    now_ns: u64,
    /// Next sequence numbers of client and server.
    next: [u32; 2],
    answered_ns: u64,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        ends: Ends,
        at_ns: u64,
        pattern: &'a Pattern,
        packets: &'a mut Vec<Made>,
    ) -> Self {
        let next = FIRST.map(|first| first + 1);
        Self { ends, pattern, packets, now_ns: at_ns, next, answered_ns: at_ns }
    }

    /// When the last answer was sent.
    pub(super) const fn answered_ns(&self) -> u64 {
        self.answered_ns
    }

    pub(super) fn carry_on(&mut self, hello: Option<&[u8]>, chance: &mut Chance) {
        self.packets.push(self.ends.syn(self.now_ns));
        self.packets.push(self.ends.answer_to_syn(self.now_ns + APART_NS, false));
        self.now_ns += self.pattern.rtt_ns;
        self.bare(Side::Client, false);
        if let Some(hello) = hello {
            self.now_ns += THINKS_NS;
            self.hello(hello);
        }
        for number in 0..self.pattern.exchanges {
            if number > 0 {
                self.now_ns += chance.vary(self.pattern.pause_ns, self.pattern.jitter);
            }
            let request = chance.vary(u64::from(self.pattern.request_bytes), self.pattern.vary);
            if self.pattern.stalled {
                self.stall();
                return;
            }
            self.message(Side::Client, 23, request as u32);
            self.now_ns += THINKS_NS;
            let answer = chance.vary(u64::from(self.pattern.response_bytes), self.pattern.vary);
            self.message(Side::Server, 23, answer as u32);
            self.answered_ns = self.now_ns;
            self.now_ns += self.pattern.rtt_ns;
            self.bare(Side::Client, false);
        }
        self.now_ns += self.pattern.hold_ns;
        self.close();
    }

    fn hello(&mut self, hello: &[u8]) {
        let mut record = vec![22, 3, 1];
        record.extend((hello.len() as u16).to_be_bytes());
        record.extend(hello);
        let length = record.len() as u32;
        self.segment(Side::Client, &record, length, false);
        self.now_ns += THINKS_NS;
        self.message(Side::Server, 22, SERVER_HELLO);
        self.now_ns += self.pattern.rtt_ns;
        self.message(Side::Client, 23, FINISHED);
    }

    /// A message in TLS records of a kind. Of a segment that begins inside a record, nothing is known.
    fn message(&mut self, from: Side, kind: u8, length: u32) {
        let mut left = length.max(1);
        while left > 0 {
            let record = left.min(LARGEST_RECORD);
            left -= record;
            let mut rest = record + RECORD_HEADER;
            let mut payload = vec![kind, 3, 3];
            payload.extend((record as u16).to_be_bytes());
            while rest > 0 {
                let length = rest.min(SEGMENT);
                payload.resize(length.min(16) as usize, 0);
                self.segment(from, &payload, length, false);
                payload = Vec::new();
                rest -= length;
                self.now_ns += APART_NS;
            }
        }
    }

    /// A request of which a little comes now and then.
    fn stall(&mut self) {
        for _ in 0..TRICKLES {
            self.segment(Side::Client, b"X-a: b\r\n", 8, false);
            self.now_ns += APART_NS;
            self.bare(Side::Server, false);
            self.now_ns += TRICKLE_NS;
        }
    }

    fn close(&mut self) {
        self.bare(Side::Client, true);
        self.now_ns += APART_NS;
        self.bare(Side::Server, true);
        self.now_ns += self.pattern.rtt_ns;
        self.bare(Side::Client, false);
    }

    fn bare(&mut self, from: Side, is_last: bool) {
        self.segment(from, &[], 0, is_last);
    }

    fn segment(&mut self, from: Side, payload: &[u8], length: u32, is_last: bool) {
        let [client, server] = self.next;
        let (seq, ack) = match from {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        let header = Header { seq, ack, is_last };
        self.packets.push(self.ends.data(self.now_ns, from, header, payload, length));
        let after = seq.wrapping_add(length).wrapping_add(u32::from(is_last));
        self.next = match from {
            Side::Client => [after, server],
            Side::Server => [client, after],
        };
    }
}
