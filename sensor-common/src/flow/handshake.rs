//! The handshake, and what proves that a source exists.
//!
//! A TCP source is proven when it shows that it received something that only it could receive:
//! - the third packet acknowledges our SYN-ACK's sequence number (RFC 9293, section 3.5);
//! - or the server itself answers: it sends payload, or acknowledges the client's payload, which
//!   it does only on established connections, unless the SYN carried data or Fast Open;
//! - or, where no handshake was seen, it acknowledges exactly the end of the server's data.
//!
//! A bare ACK from the server proves nothing: Linux answers an out-of-window segment from
//! SYN_RECV with one (`tcp_check_req`, net/ipv4/tcp_minisocks.c).

use super::seq;
use crate::{
    abi::{
        SynSignature,
        flow::{
            Handshake, MIDSTREAM, SYN_ACK_TIMESTAMP, SYN_ANSWERED, SYN_DATA, SYN_FAST_OPEN,
            SYN_UNKNOWN,
        },
        time::SECOND_NS,
    },
    packet::{
        Segment, Syn,
        tcp::{ACK, RST, SYN},
    },
};

/// A half-open connection that the server answered is left alone by other SYNs for this long:
/// Linux gives up on it after five SYN-ACK retransmissions (`tcp_synack_retries`), 63 s.
const ANSWERED_NS: u64 = 64 * SECOND_NS;

impl Handshake {
    /// Of nothing that was seen.
    pub const UNKNOWN: Self = Self {
        syn_ns: 0,
        syn_ack_ns: 0,
        client_isn: 0,
        server_isn: 0,
        syn_retries: 0,
        ttl: 0,
        flags: SYN_UNKNOWN,
        window_shift: 0,
        ts_value: 0,
        server_window: 0,
        would_class: 0,
        reserved: [0; 2],
        syn: SynSignature::UNKNOWN,
    };

    /// Begins a half-open connection with its first SYN.
    #[inline(always)]
    pub fn first_syn(&mut self, segment: &Segment, syn: &Syn, ttl: u8, now_ns: u64) {
        let mut flags = 0;
        if segment.payload > 0 {
            flags |= SYN_DATA;
        }
        if syn.offers_fast_open() {
            flags |= SYN_FAST_OPEN;
        }
        *self = Self::UNKNOWN;
        self.syn_ns = now_ns;
        self.client_isn = segment.seq;
        self.ttl = ttl;
        self.flags = flags;
        self.ts_value = syn.ts_value;
        self.syn = syn.signature;
    }

    /// A SYN on ports that are half open already. A retransmission is counted. Another sequence
    /// number replaces the record only while the server has not answered the one that stands: an
    /// answered one is what the server knows, and a forged SYN must not displace it. `true`: it is a
    /// retransmission.
    #[inline(always)]
    pub fn syn_again(&mut self, segment: &Segment, syn: &Syn, ttl: u8, now_ns: u64) -> bool {
        if self.flags & (MIDSTREAM | SYN_UNKNOWN) == 0 && self.client_isn == segment.seq {
            self.syn_retries = self.syn_retries.saturating_add(1);
            return true;
        }
        if self.flags & SYN_ANSWERED == 0 || now_ns.saturating_sub(self.syn_ack_ns) > ANSWERED_NS {
            self.first_syn(segment, syn, ttl, now_ns);
        }
        false
    }

    /// The server's SYN-ACK says which SYN it took; where that is not the one on record, the
    /// SYN's own features are unknown.
    #[inline(always)]
    pub fn syn_ack(&mut self, segment: &Segment, answer: &Syn, now_ns: u64) {
        let client_isn = segment.ack.wrapping_sub(1);
        if self.client_isn != client_isn || self.flags & MIDSTREAM != 0 {
            *self = Self::UNKNOWN;
            self.client_isn = client_isn;
        }
        self.flags |= SYN_ANSWERED;
        if answer.has_timestamps() {
            self.flags |= SYN_ACK_TIMESTAMP;
        }
        self.syn_ack_ns = now_ns;
        self.server_isn = segment.seq;
        self.server_window = segment.window;
        self.window_shift = answer.window_shift();
    }

    /// Server data without a handshake on record: its receiver alone can acknowledge its end.
    #[inline(always)]
    pub const fn midstream(&mut self, segment: &Segment) {
        *self = Self::UNKNOWN;
        self.server_isn = segment.next_seq().wrapping_sub(1);
        self.flags = MIDSTREAM;
        self.server_window = segment.window;
    }

    /// Notes the class of a verdict that would have refused the packet, had it been enforced; 0 = none.
    #[inline(always)]
    pub const fn would_be_refused(&mut self, class: u32) {
        if class != 0 {
            self.would_class = class as u16;
        }
    }

    /// Whether a segment from the client proves it.
    #[inline(always)]
    #[must_use]
    pub const fn proven_by_client(&self, segment: &Segment) -> bool {
        if segment.flags & (SYN | RST | ACK) != ACK
            || segment.ack != self.server_isn.wrapping_add(1)
        {
            return false;
        }
        if self.flags & MIDSTREAM != 0 {
            return true;
        }
        // Data may come in the third packet's place, its last segment first, or together with a byte
        // from before the stream: Linux takes an acknowledgement whose segment reaches into the window
        // (`tcp_check_req`, net/ipv4/tcp_minisocks.c).
        let first = self.client_isn.wrapping_add(1);
        let begins = segment.seq.wrapping_sub(first) as i32;
        let ends = segment.next_seq().wrapping_sub(first) as i32;
        self.flags & SYN_ANSWERED != 0
            && (begins == 0 || ends > 0 && begins <= self.server_window as i32)
    }

    /// Whether a segment from the server proves the client.
    #[inline(always)]
    #[must_use]
    pub const fn proven_by_server(&self, segment: &Segment) -> bool {
        if segment.flags & (SYN | RST) != 0
            || self.flags & (MIDSTREAM | SYN_UNKNOWN | SYN_DATA | SYN_FAST_OPEN) != 0
            || self.flags & SYN_ANSWERED == 0
        {
            return false;
        }
        segment.payload > 0
            || segment.has(ACK) && seq::after(segment.ack, self.client_isn.wrapping_add(1))
    }

    /// Whether the server refuses the SYN: nothing listens there (RFC 9293, section 3.10.7.1).
    #[inline(always)]
    #[must_use]
    pub const fn refused_by_server(&self, segment: &Segment) -> bool {
        segment.has(RST)
            && self.flags & (MIDSTREAM | SYN_UNKNOWN | SYN_ANSWERED) == 0
            && seq::after(segment.ack, self.client_isn)
    }

    /// Whether the handshake's own features (times, TTL, retries) are known.
    #[inline(always)]
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.flags & (MIDSTREAM | SYN_UNKNOWN) == 0
    }

    /// From SYN to SYN-ACK, ns; `u32::MAX` where unknown or longer.
    #[inline(always)]
    #[must_use]
    pub const fn server_ns(&self) -> u32 {
        if self.is_known() { narrow(self.syn_ack_ns.saturating_sub(self.syn_ns)) } else { u32::MAX }
    }

    /// From SYN-ACK to `now_ns`, ns; `u32::MAX` where unknown or longer.
    #[inline(always)]
    #[must_use]
    pub const fn rtt_ns(&self, now_ns: u64) -> u32 {
        if self.syn_ack_ns == 0 { u32::MAX } else { narrow(now_ns.saturating_sub(self.syn_ack_ns)) }
    }
}

#[inline(always)]
const fn narrow(ns: u64) -> u32 {
    if ns > u32::MAX as u64 { u32::MAX } else { ns as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Headers, slice::SlicePacket, tcp::FIN};

    fn segment(flags: u8, seq: u32, ack: u32, payload: u32) -> Segment {
        Segment { flags, seq, ack, payload, segments: 1, ..Segment::default() }
    }

    /// What a SYN with or without a Fast Open option looks like.
    fn look(fast_open: bool) -> Syn {
        let mut bytes = vec![0; 40];
        bytes[32] = 0x60;
        bytes.extend(if fast_open { [34, 2, 1, 1] } else { [4, 2, 1, 1] });
        let headers = Headers { transport_at: 20, end: 44, ..Headers::default() };
        let packet = SlicePacket::new(&bytes);
        let mut look = Syn::default();
        assert!(look.begin(&packet, &headers));
        while look.step(&packet) {}
        look.finish();
        assert_eq!(look.offers_fast_open(), fast_open);
        look
    }

    fn half_open(syn: &Segment, fast_open: bool) -> Handshake {
        let mut handshake = Handshake::default();
        handshake.first_syn(syn, &look(fast_open), 64, 1000);
        handshake
    }

    fn answered(syn: Segment, fast_open: bool) -> Handshake {
        let mut handshake = half_open(&syn, fast_open);
        let mut syn_ack = segment(SYN | ACK, 9000, syn.seq.wrapping_add(1), 0);
        syn_ack.window = 5000;
        handshake.syn_ack(&syn_ack, &look(false), 2000);
        handshake
    }

    fn plain() -> Handshake {
        answered(segment(SYN, 100, 0, 0), false)
    }

    #[test]
    fn the_third_packet_proves_and_nothing_near_it_does() {
        assert!(plain().proven_by_client(&segment(ACK, 101, 9001, 0)));
        assert!(plain().proven_by_client(&segment(ACK, 101, 9001, 517)), "with first data");
        assert!(plain().proven_by_client(&segment(ACK, 1549, 9001, 300)), "with its second part");
        for (flags, seq, ack) in [
            (ACK, 101, 9000),
            (ACK, 101, 9002),
            (ACK, 100, 9001),
            (ACK, 5102, 9001),
            (0, 101, 9001),
            (ACK | RST, 101, 9001),
            (SYN | ACK, 101, 9001),
        ] {
            assert!(!plain().proven_by_client(&segment(flags, seq, ack, 0)), "{flags} {seq} {ack}");
        }
    }

    #[test]
    fn an_unanswered_syn_cannot_be_proven_by_guessing_zero() {
        let handshake = half_open(&segment(SYN, 100, 0, 0), false);
        assert!(!handshake.proven_by_client(&segment(ACK, 101, 1, 0)));
    }

    #[test]
    fn a_bare_ack_from_the_server_proves_nothing() {
        assert!(!plain().proven_by_server(&segment(ACK, 9001, 101, 0)));
        assert!(!plain().proven_by_server(&segment(ACK | FIN, 9001, 101, 0)));
        assert!(!plain().proven_by_server(&segment(RST | ACK, 9001, 500, 0)));
    }

    #[test]
    fn only_an_unanswered_syn_is_refused() {
        let half_open = half_open(&segment(SYN, 100, 0, 0), false);
        assert!(half_open.refused_by_server(&segment(RST | ACK, 0, 101, 0)));
        assert!(!half_open.refused_by_server(&segment(RST | ACK, 0, 100, 0)));
        assert!(!half_open.refused_by_server(&segment(ACK, 0, 101, 0)));
        assert!(!plain().refused_by_server(&segment(RST | ACK, 0, 101, 0)), "a bad third packet");
    }

    #[test]
    fn server_payload_and_acknowledged_data_prove() {
        assert!(plain().proven_by_server(&segment(ACK, 9001, 101, 10)));
        assert!(plain().proven_by_server(&segment(ACK, 9001, 618, 0)));
    }

    #[test]
    fn data_or_fast_open_on_the_syn_takes_the_servers_answer_out_of_the_proof() {
        for handshake in
            [answered(segment(SYN, 100, 0, 50), false), answered(segment(SYN, 100, 0, 0), true)]
        {
            assert!(!handshake.proven_by_server(&segment(ACK, 9001, 151, 400)));
            assert!(handshake.proven_by_client(&segment(ACK, 101, 9001, 0)));
        }
        let taken = answered(segment(SYN, 100, 0, 50), false);
        assert!(taken.proven_by_client(&segment(ACK, 151, 9001, 0)), "the server took the data");
        assert!(!taken.proven_by_client(&segment(ACK, 151, 9002, 0)));
    }

    #[test]
    fn a_forged_syn_does_not_displace_what_the_server_answered() {
        let mut handshake = plain();
        handshake.syn_again(&segment(SYN, 777, 0, 0), &look(false), 10, 3000);
        assert_eq!(handshake, plain());
        handshake.syn_again(&segment(SYN, 100, 0, 0), &look(false), 64, 3000);
        assert_eq!(handshake.syn_retries, 1);
    }

    #[test]
    fn the_servers_answer_decides_which_syn_counts() {
        let mut handshake = half_open(&segment(SYN, 100, 0, 0), false);
        handshake.syn_ack(&segment(SYN | ACK, 9000, 501, 0), &look(false), 2000);
        assert!(!handshake.is_known());
        assert!(handshake.proven_by_client(&segment(ACK, 501, 9001, 0)));
        assert!(!handshake.proven_by_client(&segment(ACK, 101, 9001, 0)));
        assert!(
            !handshake.proven_by_server(&segment(ACK, 9001, 501, 10)),
            "that SYN may have carried data"
        );
    }

    #[test]
    fn midstream_is_proven_by_the_exact_end_of_the_servers_data() {
        let mut handshake = Handshake::default();
        handshake.midstream(&segment(ACK, 5000, 1, 1000));
        assert!(handshake.proven_by_client(&segment(ACK, 42, 6000, 0)));
        assert!(!handshake.proven_by_client(&segment(ACK, 42, 5999, 0)));
        assert!(!handshake.proven_by_server(&segment(ACK, 6000, 1, 1000)));
    }
}
