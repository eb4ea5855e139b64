//! What proves a QUIC client: it uses a connection id that this host announced to that very address
//! and port, and that it cannot have known before.
//!
//! A client proposes an id for this host in its first Initial, so that id proves nothing, and no
//! server's that takes it over. Ids of fewer than eight bytes can be guessed. Where a second id is
//! proposed, nobody knows any more which of the announced ones the sender of either has seen. What
//! a version negotiation announces is the client's own. Migration leads to an address and port that
//! nothing was announced to, and proves nothing there.

use crate::{
    abi::{
        Flow,
        quic::{ConnectionId, QUIC_AMBIGUOUS, QUIC_PROVEN, QuicHandshake},
        time::SECOND_NS,
    },
    packet::{
        Segment,
        quic::{Form, QuicHeader},
    },
};

/// Behind a silence this long, both sides have given the handshake up, and another may begin.
const QUIET_NS: u64 = 300 * SECOND_NS;
/// A server that was seen to take over a client's id may do it again for this long.
const ECHO_NS: u64 = 86_400 * SECOND_NS;

/// Datagrams with less payload than this hold little more than acknowledgements: a header with an id
/// of eight bytes, an ACK frame and the tag take about 40.
const LEAST_MESSAGE: u32 = 64;

/// What a client's datagram meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FromClient {
    /// Nothing.
    Nothing,
    /// The client has received what this host announced. Said once a handshake.
    Proves,
}

/// What a server's long header meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FromServer {
    /// Nothing that counts.
    Nothing,
    /// It announces one more id to a client that was proven: after a Retry, or because it answers
    /// an Initial again.
    Continues,
    /// It takes over what the client proposed.
    Echoes,
}

/// Whether a server chooses its ids itself, as far as was seen.
#[inline(always)]
#[must_use]
pub const fn is_own_choice(echoed_ns: u64, now_ns: u64) -> bool {
    echoed_ns == 0 || now_ns.saturating_sub(echoed_ns) > ECHO_NS
}

impl QuicHandshake {
    /// Begins with a client's Initial.
    #[inline(always)]
    pub const fn begin(&mut self, header: &QuicHeader, now_ns: u64) {
        self.seen_ns = now_ns;
        self.proposal = header.destination;
        self.announced = [ConnectionId::NONE; 2];
        self.flags = 0;
        self.reserved = 0;
    }

    /// A datagram from the client.
    #[inline(always)]
    pub fn from_client(&mut self, form: Form, header: &QuicHeader, now_ns: u64) -> FromClient {
        let proves = match form {
            Form::None => false,
            Form::Short => self.announced.iter().any(|id| id.begins_here(&header.destination)),
            Form::Long => {
                if header.is_initial() && now_ns.saturating_sub(self.seen_ns) > QUIET_NS {
                    self.begin(header, now_ns);
                    return FromClient::Nothing;
                }
                self.seen_ns = now_ns;
                let is_announced = self.has_announced(&header.destination);
                if !is_announced && !self.proposal.is(&header.destination) {
                    self.flags |= QUIC_AMBIGUOUS;
                }
                is_announced && header.is_known_version()
            }
        };
        if proves && self.flags & (QUIC_AMBIGUOUS | QUIC_PROVEN) == 0 {
            self.flags |= QUIC_PROVEN;
            FromClient::Proves
        } else {
            FromClient::Nothing
        }
    }

    /// A long header from the server.
    #[inline(always)]
    pub fn from_server(&mut self, header: &QuicHeader, now_ns: u64) -> FromServer {
        if !header.is_known_version() || !header.source.is_long_enough() {
            return FromServer::Nothing;
        }
        self.seen_ns = now_ns;
        if self.proposal.is(&header.source) {
            return FromServer::Echoes;
        }
        if self.has_announced(&header.source) {
            return FromServer::Nothing;
        }
        let [newest, _] = self.announced;
        self.announced = [header.source, newest];
        if self.flags & (QUIC_AMBIGUOUS | QUIC_PROVEN) == QUIC_PROVEN {
            FromServer::Continues
        } else {
            FromServer::Nothing
        }
    }

    #[inline(always)]
    fn has_announced(&self, id: &ConnectionId) -> bool {
        id.is_long_enough() && self.announced.iter().any(|announced| announced.is(id))
    }
}

impl ConnectionId {
    /// Whether a short header's bytes begin with this announced id.
    #[inline(always)]
    fn begins_here(&self, bytes: &Self) -> bool {
        self.is_long_enough() && self.begins(bytes)
    }

    /// Its first eight bytes, by which a proven flow knows it.
    #[inline(always)]
    const fn beginning(&self) -> [u32; 2] {
        let [a, b, ..] = self.words;
        [a, b]
    }
}

impl Flow {
    /// Begins a flow of datagrams whose client was just proven.
    #[inline(always)]
    pub const fn begin_datagrams(&mut self, handshake: &QuicHandshake, service: u8, now_ns: u64) {
        let [newest, before] = &handshake.announced;
        self.proven_ns = now_ns;
        self.rtt_ns = u32::MAX;
        self.service = service;
        self.begin_telling(now_ns);
        self.know(before);
        self.know(newest);
    }

    /// The client may use another id from now on: the last two count.
    #[inline(always)]
    pub const fn know(&mut self, id: &ConnectionId) {
        let [a, b] = id.beginning();
        (self.server_unacked, self.server_window) = (self.client_next, self.server_next);
        (self.client_next, self.server_next) = (a, b);
    }

    /// A datagram from the client. Where its id is none that was announced, anybody can have sent
    /// it: clients that change to an id that came encrypted are counted apart with the forgeries.
    /// `true`: it counted.
    #[inline(always)]
    pub fn datagram_from_client(
        &mut self,
        id: &ConnectionId,
        datagram: &Segment,
        now_ns: u64,
    ) -> bool {
        let [a, b] = id.beginning();
        let newest = (a ^ self.client_next) | (b ^ self.server_next);
        let before = (a ^ self.server_unacked) | (b ^ self.server_window);
        let is_known = newest == 0 || before == 0;
        if !is_known || a | b == 0 {
            self.out_of_window = self.out_of_window.wrapping_add(1);
            return false;
        }
        self.pause(now_ns);
        if datagram.payload >= LEAST_MESSAGE {
            self.asks(now_ns);
        }
        self.ingress.count(datagram, now_ns);
        true
    }

    /// A datagram from the server. It needs no check: this host sent it.
    #[inline(always)]
    pub fn datagram_from_server(&mut self, datagram: &Segment, now_ns: u64) {
        if datagram.payload >= LEAST_MESSAGE {
            self.asked_ns = 0;
        }
        self.egress.count(datagram, now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Headers, slice::SlicePacket};

    fn id(byte: u8, length: u32) -> ConnectionId {
        let datagram = [[0x40; 29].as_slice(), &[byte; 20]].concat();
        let headers =
            Headers { transport_at: 20, end: datagram.len() as u32, ..Headers::default() };
        let mut header = QuicHeader::default();
        assert_eq!(header.read(&SlicePacket::new(&datagram), &headers), Form::Short);
        ConnectionId { length, ..header.destination }
    }

    fn long(version: u32, destination: ConnectionId, source: ConnectionId) -> QuicHeader {
        QuicHeader { version, destination, source, ..QuicHeader::default() }
    }

    fn begun() -> QuicHandshake {
        let mut handshake = QuicHandshake::default();
        handshake.begin(&long(1, id(1, 20), id(9, 20)), 1000);
        handshake
    }

    fn announce(handshake: &mut QuicHandshake, announced: ConnectionId) -> FromServer {
        handshake.from_server(&long(1, id(9, 20), announced), 2000)
    }

    #[test]
    fn the_last_two_announced_ids_count_once() {
        let mut handshake = begun();
        for byte in [2, 3, 3, 4] {
            assert_eq!(announce(&mut handshake, id(byte, 20)), FromServer::Nothing);
        }
        assert!(!handshake.has_announced(&id(2, 20)));
        let used = |byte| long(1, id(byte, 20), id(9, 20));
        let mut other = handshake;
        assert_eq!(other.from_client(Form::Long, &used(3), 3000), FromClient::Proves);
        assert_eq!(other.from_client(Form::Long, &used(4), 3000), FromClient::Nothing, "once");
        assert_eq!(announce(&mut other, id(5, 20)), FromServer::Continues);
        let mut forgotten = handshake;
        assert_eq!(forgotten.from_client(Form::Long, &used(2), 3000), FromClient::Nothing);
        assert_eq!(forgotten.from_client(Form::Long, &used(3), 3000), FromClient::Nothing);
    }

    #[test]
    fn only_a_known_version_announces_and_proves() {
        let mut handshake = begun();
        let draft = long(0xff00_001d, id(9, 20), id(2, 20));
        assert_eq!(handshake.from_server(&draft, 2000), FromServer::Nothing);
        assert!(!handshake.has_announced(&id(2, 20)));
        announce(&mut handshake, id(2, 20));
        let draft = long(0xff00_001d, id(2, 20), id(9, 20));
        assert_eq!(handshake.from_client(Form::Long, &draft, 3000), FromClient::Nothing);
    }

    #[test]
    fn a_client_whose_proposal_came_back_is_an_echo() {
        assert_eq!(announce(&mut begun(), id(1, 20)), FromServer::Echoes);
        assert!(is_own_choice(0, 5) && !is_own_choice(1, 5));
        assert!(!is_own_choice(1, ECHO_NS) && is_own_choice(1, ECHO_NS + 2));
    }

    #[test]
    fn a_handshake_is_given_up_only_after_a_silence() {
        let other = QuicHeader { version: 1, destination: id(7, 20), ..QuicHeader::default() };
        assert!(other.is_initial());
        let mut early = begun();
        early.from_client(Form::Long, &other, 1000 + QUIET_NS);
        assert_eq!((early.flags, early.proposal), (QUIC_AMBIGUOUS, id(1, 20)));
        let mut late = begun();
        late.from_client(Form::Long, &other, 1001 + QUIET_NS);
        assert_eq!((late.flags, late.proposal), (0, id(7, 20)));
    }

    #[test]
    fn a_flow_counts_what_carries_its_ids() {
        let mut handshake = begun();
        announce(&mut handshake, id(2, 20));
        let mut flow = Flow::default();
        flow.begin_datagrams(&handshake, 3, 5000);
        let datagram = Segment { payload: 100, segments: 1, ..Segment::default() };
        for (byte, counted) in [(2, 1), (4, 1), (0, 1)] {
            flow.datagram_from_client(&id(byte, 20), &datagram, 6000);
            assert_eq!(flow.ingress.packets, counted, "{byte}");
        }
        flow.know(&id(4, 20));
        flow.datagram_from_client(&id(4, 20), &datagram, 6000);
        flow.datagram_from_client(&id(2, 20), &datagram, 6000);
        flow.know(&id(5, 20));
        flow.datagram_from_client(&id(2, 20), &datagram, 6000);
        assert_eq!((flow.ingress.packets, flow.ingress.bytes, flow.out_of_window), (3, 300, 3));
        flow.datagram_from_server(&datagram, 7000);
        assert_eq!((flow.egress.packets, flow.egress.last_ns), (1, 7000));
    }
}
