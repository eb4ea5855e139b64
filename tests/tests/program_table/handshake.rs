//! Proof: what makes a source and a flow count, and everything near it that must not.

use std::time::Duration;

use weir_common::abi::{CloseReason, Reason};
use weir_lab::packet::{TcpOption, ipv4};

use crate::{
    expect::{Expect, Told, passes, served, syn_served},
    limits::{connect, connect_as},
    play, play_everywhere,
    stage::{QUIC, SHOP, Stage},
    talk::{CLIENT_ISN, SERVER_ISN, Talk},
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn proven(expect: Expect, reason: Reason, connections: u32, known: bool) -> Expect {
    expect.reason(reason).event(Told::Established { connections, known })
}

fn by_handshake(connections: u32, known: bool) -> Expect {
    proven(served(SHOP), Reason::ProvenHandshake, connections, known)
}

fn by_answer(connections: u32) -> Expect {
    proven(passes(), Reason::ProvenAnswer, connections, true)
}

fn answered() -> Expect {
    passes().reason(Reason::SynAckSeen)
}

/// The first two packets.
fn half_open(stage: &mut Stage<'_>, talk: &Talk) {
    stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
    stage.after(3 * MS);
    stage.leaves("SYN-ACK", &talk.syn_ack().build(), answered());
    stage.after(40 * MS);
}

#[test]
fn the_third_packet_proves() {
    play_everywhere("the_third_packet_proves", |stage| {
        stage.story("a plain handshake");
        let talk = stage.v4(443);
        half_open(stage, &talk);
        stage.arrives("the third packet", &talk.ask(0, 0).build(), by_handshake(1, true));
        stage.arrives("again: the flow goes on", &talk.ask(0, 0).build(), served(SHOP));

        stage.story("the third packet with the first data");
        let talk = stage.v6(443);
        half_open(stage, &talk);
        let hello = talk.ask(0, 0).psh().payload(&[22; 517]).build();
        stage.arrives("the third packet", &hello, by_handshake(1, true));

        stage.story("a /64 is one source, each address has flows of its own");
        let talk = stage.v6(443);
        connect(stage, &talk);
        let mut neighbour = talk;
        neighbour.visitor.set_ip("2001:db8:113:3::99".parse().unwrap());
        connect_as(stage, &neighbour, 2);
        connect_as(stage, &talk.with_port(1), 3);

        stage.story("SYN and SYN-ACK are sent again before the answer comes");
        let talk = stage.v4(443);
        half_open(stage, &talk);
        stage.arrives("SYN again", &talk.syn().build(), syn_served(SHOP));
        stage.leaves("SYN-ACK again", &talk.syn_ack().build(), answered());
        stage.after(SECOND);
        stage.arrives("the third packet", &talk.ask(0, 0).build(), by_handshake(1, true));

        stage.story("a handshake of which only the SYN-ACK was seen");
        let talk = stage.v4(443);
        stage.leaves("SYN-ACK", &talk.syn_ack().build(), answered());
        stage.arrives("the third packet", &talk.ask(0, 0).build(), by_handshake(1, false));
    });
}

#[test]
fn what_is_near_the_third_packet_does_not_prove() {
    play("what_is_near_the_third_packet", |stage| {
        stage.story("guesses at the third packet");
        let talk = stage.v4(443);
        half_open(stage, &talk);
        let isn = CLIENT_ISN;
        for (what, segment) in [
            (
                "acknowledges one too little",
                talk.segment().seq(isn.wrapping_add(1)).ack(SERVER_ISN),
            ),
            ("acknowledges one too much", talk.ask(0, 1)),
            ("begins one too early", talk.segment().seq(isn).ack(SERVER_ISN + 1)),
            ("begins beyond the window", talk.ask(64_241, 0)),
            ("resets", talk.ask(0, 0).rst()),
            ("is a SYN-ACK", talk.ask(0, 0).syn()),
        ] {
            stage.arrives(what, &segment.build(), served(SHOP));
        }
        let bare = talk.segment().seq(isn.wrapping_add(1)).payload(b"data").build();
        stage.arrives("acknowledges nothing", &bare, served(SHOP));
        stage.arrives("the true one", &talk.ask(0, 0).build(), by_handshake(1, true));

        stage.story("without a SYN-ACK nothing can be acknowledged");
        let talk = stage.v4(443);
        stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
        let guess = talk.segment().seq(isn.wrapping_add(1)).ack(1).build();
        stage.arrives("a guess at zero", &guess, served(SHOP));

        stage.story("another port, another handshake");
        let talk = stage.v4(443);
        half_open(stage, &talk);
        let other = talk.with_port(1).ask(0, 0).build();
        stage.arrives("the third packet of another port", &other, served(SHOP));
    });
}

#[test]
fn the_servers_own_answer_proves_and_its_bare_ack_does_not() {
    play_everywhere("the_servers_own_answer_proves", |stage| {
        stage.story("two blind packets make Linux send a bare ACK: that proves nobody");
        let talk = stage.v4(443);
        half_open(stage, &talk);
        let forged = talk.segment().seq(CLIENT_ISN.wrapping_add(0x4000_0000));
        let again = forged.clone().syn().build();
        stage.arrives("a second SYN out of window", &again, syn_served(SHOP));
        stage.leaves("the server's bare ACK", &talk.answer(0, 0).build(), passes());
        stage.arrives("a FIN out of window", &forged.clone().fin().build(), served(SHOP));
        stage.leaves("the server's bare ACK", &talk.answer(0, 0).build(), passes());
        stage.arrives("data without ACK", &forged.payload(b"x").build(), served(SHOP));
        stage.leaves("the server's bare ACK", &talk.answer(0, 0).build(), passes());
        stage.leaves("the server gives up: FIN", &talk.answer(0, 0).fin().build(), passes());
        stage.leaves("the server gives up: RST", &talk.answer(0, 0).rst().build(), passes());

        stage.story("the third packet was not seen, but the server acknowledges data");
        let talk = stage.v4(443);
        half_open(stage, &talk);
        stage.leaves("acknowledged", &talk.answer(0, 517).build(), by_answer(1));
        stage.arrives("the flow goes on", &talk.ask(517, 0).build(), served(SHOP));

        stage.story("the third packet was not seen, but the server sends data");
        let talk = stage.v6(443);
        half_open(stage, &talk);
        let banner = talk.answer(0, 0).payload(b"220 ready").build();
        stage.leaves("a banner", &banner, by_answer(1));
    });
}

#[test]
fn data_on_the_syn_takes_the_servers_answer_out_of_the_proof() {
    play("data_on_the_syn", |stage| {
        let fast_open = TcpOption::FastOpen(vec![7; 8]);
        for (what, with_option) in [("data on the SYN", false), ("data and Fast Open", true)] {
            stage.story(
                "what the server answers to a SYN with data, it would answer to a forged one",
            );
            let talk = stage.v4(443);
            let mut syn = talk.syn().payload(b"GET /");
            if with_option {
                syn = syn.option(fast_open.clone());
            }
            stage.arrives(what, &syn.build(), syn_served(SHOP));
            let syn_ack =
                talk.reply().syn().seq(SERVER_ISN).ack(CLIENT_ISN.wrapping_add(6)).build();
            stage.leaves("SYN-ACK of the data", &syn_ack, answered());
            let answer = talk.answer(0, 5).payload(b"HTTP/1.1 200").build();
            stage.leaves("the answer", &answer, passes());
            stage.leaves("a later ACK", &talk.answer(12, 100).build(), passes());
        }
        stage.story("the client's own acknowledgement proves all the same");
        let talk = stage.v4(443);
        stage.arrives("SYN", &talk.syn().payload(b"GET /").build(), syn_served(SHOP));
        stage.leaves("SYN-ACK", &talk.syn_ack().build(), answered());
        stage.arrives("the third packet", &talk.ask(0, 0).build(), by_handshake(1, true));

        stage.story("a Fast Open option alone, and the old experimental one");
        for (port, option) in
            [(1, TcpOption::FastOpen(Vec::new())), (2, TcpOption::Raw(vec![254, 4, 0xf9, 0x89]))]
        {
            let talk = stage.v4(443).with_port(port);
            let syn = talk.segment().syn().seq(CLIENT_ISN).option(option).build();
            stage.arrives("SYN", &syn, syn_served(SHOP));
            stage.leaves("SYN-ACK", &talk.syn_ack().build(), answered());
            let answer = talk.answer(0, 0).payload(b"hello").build();
            stage.leaves("the answer", &answer, passes());
        }
    });
}

#[test]
fn forged_syns_do_not_displace_what_the_server_answered() {
    play("forged_syns_do_not_displace", |stage| {
        stage.story("a forged SYN comes after the SYN-ACK");
        let talk = stage.v4(443);
        half_open(stage, &talk);
        let forged = talk.segment().syn().seq(42).build();
        stage.arrives("forged", &forged, syn_served(SHOP));
        stage.arrives("the third packet", &talk.ask(0, 0).build(), by_handshake(1, true));

        stage.story("before the SYN-ACK a later SYN takes the place, and the answer decides");
        let talk = stage.v4(443);
        stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
        stage.arrives("another", &forged_of(&talk), syn_served(SHOP));
        stage.leaves("SYN-ACK of the first", &talk.syn_ack().build(), answered());
        stage.arrives("the third packet", &talk.ask(0, 0).build(), by_handshake(1, false));

        stage.story("a minute later the ports are free for another SYN");
        let talk = stage.v4(443);
        half_open(stage, &talk);
        stage.after(65 * SECOND);
        stage.arrives("another SYN", &forged_of(&talk), syn_served(SHOP));
        let syn_ack = talk.reply().syn().seq(7000).ack(43).build();
        stage.leaves("its SYN-ACK", &syn_ack, answered());
        let third = talk.segment().seq(43).ack(7001).build();
        stage.arrives("its third packet", &third, by_handshake(1, true));
    });
}

fn forged_of(talk: &Talk) -> Vec<u8> {
    talk.segment().syn().seq(42).build()
}

#[test]
fn a_connection_that_was_there_before_weir() {
    play_everywhere("a_connection_that_was_there_before_weir", |stage| {
        stage.story("only who receives the server's data can acknowledge its end");
        let talk = stage.v4(443);
        let data = talk.answer(9000, 500).payload(&[1; 1000]).build();
        stage.leaves("data of no known flow", &data, passes());
        stage.arrives("acknowledges less", &talk.ask(500, 9999).build(), served(SHOP));
        stage.arrives("acknowledges more", &talk.ask(500, 10_001).build(), served(SHOP));
        let more = talk.answer(10_000, 500).payload(&[1; 400]).build();
        stage.leaves("more data: its end counts now", &more, passes());
        stage.arrives("acknowledges the former end", &talk.ask(500, 10_000).build(), served(SHOP));
        let exact = talk.ask(500, 10_400).build();
        stage.arrives("acknowledges the end", &exact, by_handshake(1, false));
        let request = talk.ask(500, 10_400).payload(b"GET /").build();
        stage.arrives("and goes on", &request, served(SHOP));
        stage.leaves("answered", &talk.answer(10_400, 505).payload(&[1; 10]).build(), passes());
        stage.arrives("far ahead", &talk.ask(505 + (2 << 20), 10_410).build(), {
            served(SHOP).reason(Reason::OutOfWindow)
        });
    });
}

#[test]
fn ports_are_used_again() {
    play("ports_are_used_again", |stage| {
        stage.story("a new handshake on the ports of a flow that never closed");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.after(100 * SECOND);
        let syn = talk.segment().syn().seq(5000).build();
        stage.arrives("SYN", &syn, syn_served(SHOP));
        let syn_ack = talk.reply().syn().seq(6000).ack(5001).build();
        stage.leaves("SYN-ACK", &syn_ack, answered());
        let third = talk.segment().seq(5001).ack(6001).build();
        let expect = served(SHOP)
            .event(Told::Closed(CloseReason::Reopened))
            .reason(Reason::ProvenHandshake)
            .event(Told::Established { connections: 2, known: true });
        stage.arrives("the third packet", &third, expect);
    });
}

#[test]
fn datagrams_are_never_proven() {
    play("datagrams_are_never_proven", |stage| {
        stage.story("QUIC is passed on, whatever comes back");
        for _ in 0..3 {
            let there = ipv4([203, 0, 113, 1], [198, 51, 100, 10]).udp(40_000, 443).build();
            stage.arrives("there", &there, served(QUIC));
            let back = ipv4([198, 51, 100, 10], [203, 0, 113, 1]).udp(443, 40_000).build();
            stage.leaves("back", &back, passes());
        }
    });
}
