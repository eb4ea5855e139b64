//! What is done in the name of sources without proof, at protected ports as well as others: counted
//! by source for a minute, by service for a second, and told at thresholds.

use std::{net::IpAddr, time::Duration};

use weir_common::abi::{CloseReason, MilestoneKind};
use weir_lab::packet::Tcp;

use crate::{
    expect::{Expect, Told, passes, served, syn_served},
    limits::{connect, connect_as},
    play, play_everywhere,
    quic::{CHOSEN, begin, short},
    scan::ports,
    stage::{API, NONE, QUIC, SHOP, Stage},
    talk::{CLIENT_ISN, Talk},
};

const SECOND: Duration = Duration::from_secs(1);

fn told(expect: Expect, kind: MilestoneKind, value: u64) -> Expect {
    expect.event(Told::Milestone(kind, value))
}

/// SYNs from these ports of the visitor, told of as half open where said.
fn attempts(
    stage: &mut Stage<'_>,
    talk: &Talk,
    ports: std::ops::Range<u16>,
    told_at: &[(u16, u64)],
) {
    for port in ports {
        let expect = match told_at.iter().find(|(at, _)| *at == port) {
            Some((_, value)) => told(syn_served(SHOP), MilestoneKind::HalfOpen, *value),
            None => syn_served(SHOP),
        };
        stage.arrives(&format!("SYN {port}"), &talk.with_port(port).syn().build(), expect);
    }
}

#[test]
fn syns_without_proof_are_told_at_eight_and_every_doubling() {
    play_everywhere("syns_without_proof_are_told", |stage| {
        stage.story("a SYN scanner or flooder at a protected port");
        let talk = stage.v4(443);
        attempts(stage, &talk, 1..36, &[(8, 8), (16, 16), (32, 32)]);
        stage.arrives("a retransmission", &talk.with_port(35).syn().build(), syn_served(SHOP));
        stage.after(61 * SECOND);
        attempts(stage, &talk, 101..110, &[(108, 8)]);

        stage.story("retransmissions are no attempts");
        let talk = stage.v6(443);
        for _ in 0..20 {
            stage.arrives("the same", &talk.syn().build(), syn_served(SHOP));
        }

        stage.story("who proves himself is none");
        let talk = stage.v4(443);
        for number in 1..=40 {
            connect_as(stage, &talk.with_port(number), u32::from(number));
        }
        attempts(stage, &talk, 101..107, &[]);
        connect_as(stage, &talk.with_port(50), 41);
        attempts(stage, &talk, 107..109, &[(108, 8)]);

        stage.story("nor is who finds nothing listening");
        let talk = stage.v6(443);
        for port in 1..=20 {
            let talk = talk.with_port(port);
            stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
            let reset = talk.reply().rst().ack(CLIENT_ISN.wrapping_add(1)).build();
            stage.leaves("a reset", &reset, passes());
        }
        attempts(stage, &talk, 101..109, &[(108, 8)]);

        stage.story("many sources with a few each are not named");
        for host in 1..=40u8 {
            // Not so many in a second that the service is told of.
            if host % 4 == 1 {
                stage.after(61 * SECOND);
            }
            let talk = stage.v4(443);
            let mut talk = talk;
            talk.visitor.set_ip(IpAddr::from([198, 18, 7, host]));
            attempts(stage, &talk, 1..8, &[]);
        }
    });
}

#[test]
fn segments_of_nothing_are_told_but_not_what_follows_an_end() {
    play_everywhere("segments_of_nothing_are_told", |stage| {
        stage.story("acknowledgements, data, resets and SYN-ACKs of no connection");
        let talk = stage.v4(443);
        let kinds: [fn(&Talk) -> Tcp; 4] = [
            |talk| talk.ask(7, 7),
            |talk| talk.ask(7, 7).payload(b"x"),
            |talk| talk.ask(7, 7).rst(),
            |talk| talk.ask(7, 7).syn(),
        ];
        for number in 1..=64u16 {
            let segment = kinds[usize::from(number) % 4](&talk.with_port(number)).build();
            let expect = match number {
                32 | 64 => told(served(SHOP), MilestoneKind::Strays, number.into()),
                _ => served(SHOP),
            };
            stage.arrives(&format!("segment {number}"), &segment, expect);
        }

        stage.story("the last acknowledgement of every connection");
        let talk = stage.v6(443);
        for number in 1..=40 {
            let talk = talk.with_port(number);
            connect_as(stage, &talk, u32::from(number));
            stage.arrives("FIN", &talk.ask(0, 0).fin().build(), served(SHOP));
            let fin = passes().event(Told::Closed(CloseReason::Fin));
            stage.leaves("FIN of the server", &talk.answer(0, 1).fin().build(), fin);
            stage.arrives("the last ACK", &talk.ask(1, 1).build(), served(SHOP));
        }

        stage.story("what was on its way when the server reset the connection");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let reset = passes().event(Told::Closed(CloseReason::ServerReset));
        stage.leaves("a reset", &talk.answer(0, 0).rst().build(), reset);
        for number in 0..64 + 31 {
            stage.arrives("an upload", &talk.ask(number, 0).payload(b"x").build(), served(SHOP));
        }
        let stray = told(served(SHOP), MilestoneKind::Strays, 32);
        stage.arrives("beyond that", &talk.ask(95, 0).payload(b"x").build(), stray);

        stage.story("segments of half-open connections are not of nothing");
        let talk = stage.v4(443);
        stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
        for number in 0..40 {
            stage.arrives("a guess", &talk.ask(0, number).build(), served(SHOP));
        }
    });
}

#[test]
fn flags_that_no_stack_sends_are_told_on_any_port() {
    play_everywhere("flags_that_no_stack_sends", |stage| {
        stage.story("null, FIN, Xmas and SYN with FIN, to ports of no service");
        let talk = stage.v4(443);
        let kinds: [fn(&Talk) -> Tcp; 4] = [
            |talk| talk.segment(),
            |talk| talk.segment().fin(),
            |talk| talk.segment().fin().psh().urgent(0),
            |talk| talk.segment().syn().fin(),
        ];
        for (number, port) in (1u64..).zip(ports()) {
            let segment = kinds[number as usize % 4](&talk.to_port(port)).build();
            let expect = match number {
                8 | 16 => told(
                    told(served(NONE), MilestoneKind::OddFlags, number),
                    MilestoneKind::Ports,
                    number,
                ),
                _ => served(NONE),
            };
            stage.arrives(&format!("segment {number}"), &segment, expect);
        }

        stage.story("to a protected port, over and over");
        let talk = stage.v6(8443);
        for number in 1..=16 {
            let expect = match number {
                8 | 16 => told(served(API), MilestoneKind::OddFlags, number),
                _ => served(API),
            };
            stage.arrives("FIN alone", &talk.segment().fin().build(), expect);
        }
    });
}

#[test]
fn datagrams_to_ports_of_no_service_are_a_scan_unless_they_answer() {
    play_everywhere("datagrams_to_ports_of_no_service", |stage| {
        stage.story("eight ports, each tried twice");
        let talk = stage.v4(0);
        for (number, port) in (1..).zip(ports().into_iter().take(8)) {
            let datagram = talk.to_port(port).datagram(b"?");
            let expect = match number {
                8 => told(served(NONE), MilestoneKind::Ports, 8),
                _ => served(NONE),
            };
            stage.arrives("a datagram", &datagram, expect);
            stage.arrives("again", &datagram, served(NONE));
        }

        stage.story("answers to this host's own questions");
        let talk = stage.v6(0);
        for port in ports() {
            let talk = talk.to_port(port);
            stage.leaves("a question", &talk.datagram_back(b"?"), passes());
            stage.arrives("its answer", &talk.datagram(b"!"), served(NONE));
        }

        stage.story("what is said to everybody");
        let mut talk = stage.v4(0);
        talk.server.set_ip(IpAddr::from([224, 0, 0, 251]));
        let mut all = talk;
        all.server.set_ip(IpAddr::from([255; 4]));
        for port in ports() {
            stage.arrives("to a group", &talk.to_port(port).datagram(b"!"), served(NONE));
            stage.arrives("to all", &all.to_port(port).datagram(b"!"), served(NONE));
        }
        let mut talk = stage.v6(0);
        talk.server.set_ip(IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0xfb_u16]));
        for port in ports() {
            stage.arrives("to a group", &talk.to_port(port).datagram(b"!"), served(NONE));
        }
    });
    play("datagrams_in_broadcast_frames", |stage| {
        stage.story("to all by the link's address alone");
        let talk = stage.v4(0);
        for port in ports() {
            let mut frame = talk.to_port(port).datagram(b"!");
            frame[..6].fill(0xff);
            stage.arrives("to all", &frame, served(NONE));
        }
    });
}

#[test]
fn datagrams_that_nothing_began_are_told() {
    play_everywhere("datagrams_that_nothing_began", |stage| {
        stage.story("to a service");
        let talk = stage.v4(443);
        for number in 1..=64u16 {
            let expect = match number {
                32 | 64 => told(served(QUIC), MilestoneKind::Datagrams, number.into()),
                _ => served(QUIC),
            };
            stage.arrives("noise", &talk.with_port(number).datagram(&short(&CHOSEN)), expect);
        }

        stage.story("what an Initial began is not");
        let talk = stage.v6(443);
        begin(stage, &talk, &CHOSEN);
        for _ in 0..40 {
            stage.arrives("a guess", &talk.datagram(&short(&[0xe5; 12])), served(QUIC));
        }
    });
}

#[test]
fn pressure_on_a_service_is_told_once_a_second_and_names_nobody() {
    play_everywhere("pressure_on_a_service", |stage| {
        stage.story("from many sources, some of which prove themselves");
        let stranger = |stage: &Stage<'_>, host: u8| {
            let mut talk = stage.v4(443);
            talk.visitor.set_ip(IpAddr::from([198, 18, 8, host]));
            talk
        };
        for host in 1..=3 {
            let talk = stranger(stage, host);
            connect(stage, &talk);
        }
        for host in 4..=40 {
            let talk = stranger(stage, host);
            stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
        }
        let next = stranger(stage, 41).syn().build();
        stage.arrives("within the second", &next, syn_served(SHOP));
        stage.after(SECOND);
        let next = stranger(stage, 42).syn().build();
        let pressure = 3 << 32 | 41;
        stage.arrives(
            "behind it",
            &next,
            told(syn_served(SHOP), MilestoneKind::Pressure, pressure),
        );
        for host in 43..=72 {
            let talk = stranger(stage, host);
            stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
        }
        stage.after(SECOND);
        let next = stranger(stage, 73).syn().build();
        stage.arrives("31 are not told", &next, syn_served(SHOP));
    });
}
