//! Flows that this host opened: their answers pass under any drop, and nothing else of the peer's does.

use std::time::Duration;

use weir_common::abi::{Action, Mode, Reason};
use weir_lab::packet::ipv4;

use crate::{
    expect::{dropped_by, passes, served},
    play_everywhere,
    stage::{NONE, QUIC},
    verdicts::{DROP, first_drop, octets, segment},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn flows_that_this_host_opened_are_its_own() {
    play_everywhere("flows_that_this_host_opened", |stage| {
        let own = || served(NONE).reason(Reason::PassOwnFlow);
        stage.story("TCP: what answers this host's SYN passes under a drop");
        let talk = stage.v4(50_000).with_port(443);
        stage.verdict(&talk.net(), 95, &DROP);
        let stranger = segment(&talk.to_port(50_001)).build();
        stage.arrives("a flow that nobody opened", &stranger, first_drop(95, NONE));
        stage.leaves("its SYN", &talk.reply().syn().build(), passes());
        stage.arrives("SYN-ACK", &talk.segment().syn().ack(1).build(), own());
        stage.arrives("data", &segment(&talk).payload(b"answer").build(), own());
        let expect = dropped_by(95, NONE).hit(95, Action::Drop, Mode::Enforce, 2);
        stage.arrives("the peer's own SYN on the same ports", &talk.syn().build(), expect);

        stage.story("UDP: for two minutes after this host last sent");
        let talk = stage.v4(0);
        let (server, peer) = ([198, 51, 100, 10], octets(&talk));
        stage.verdict(&talk.net(), 96, &DROP);
        let query = ipv4(server, peer).udp(50_000, 53).build();
        let answer = ipv4(peer, server).udp(53, 50_000).build();
        stage.leaves("a query", &query, passes());
        stage.after(119 * SECOND);
        stage.arrives("an answer in time", &answer, own());
        stage.after(SECOND);
        stage.arrives("an answer too late", &answer, first_drop(96, NONE));
        stage.leaves("another query", &query, passes());
        stage.arrives("its answer", &answer, own());

        stage.story("a service's answers open nothing");
        let talk = stage.v4(0);
        let peer = octets(&talk);
        stage.verdict(&talk.net(), 97, &DROP);
        let answer = ipv4(server, peer).udp(443, 50_000).build();
        stage.leaves("QUIC answers", &answer, passes());
        let datagram = ipv4(peer, server).udp(50_000, 443).build();
        stage.arrives("QUIC", &datagram, first_drop(97, QUIC));

        stage.story("an own flow under an exact and a covering drop counts once");
        let talk = stage.v4(50_000).with_port(443);
        stage.verdict(&talk.net(), 98, &DROP).verdict("203.0.113.0/24", 99, &DROP);
        stage.leaves("its SYN", &talk.reply().syn().build(), passes());
        stage.arrives("SYN-ACK", &talk.segment().syn().ack(1).build(), own());
    });
}
