//! ClientHellos: in one segment or several, in any order, whole or not; what is read of them, what the
//! daemon hears, and that none of it holds a packet back.

use std::time::Duration;

use weir_common::abi::{
    CloseReason, Reason,
    flow::{FLOW_HELLO_CONFLICT, hello},
};
use weir_lab::packet::TcpFlags;

use crate::{
    client_hello::{ClientHello, in_records},
    expect::{Expect, Told, passes, served, syn_served},
    heard::Heard,
    limits::{connect, connect_as},
    play, play_everywhere,
    stage::{API, NONE, SHOP, Stage},
    talk::Talk,
};

const SECOND: Duration = Duration::from_secs(1);

/// The segment of a stream's bytes `from..until`.
pub(crate) fn part(talk: &Talk, stream: &[u8], from: usize, until: usize) -> Vec<u8> {
    talk.ask(from as u32, 0).payload(&stream[from..until]).build()
}

/// The segment that completes a hello.
pub(crate) fn read(heard: Heard) -> Expect {
    served(SHOP).reason(Reason::HelloRead).hears(heard)
}

/// Sends a hello to the shop in one segment, and nothing comes of it but that it is read.
fn greet(stage: &mut Stage<'_>, talk: &Talk, hello: &ClientHello) {
    let stream = hello.stream();
    let expect = read(Heard::whole(talk, hello));
    stage.arrives("the hello", &part(talk, &stream, 0, stream.len()), expect);
}

/// Connects and sends bytes that are looked at once and never again.
fn begins_unread(stage: &mut Stage<'_>, what: &str, bytes: &[u8], expect: Expect) {
    let talk = stage.v4(443);
    connect(stage, &talk);
    stage.arrives(what, &talk.ask(0, 0).payload(bytes).build(), expect);
    let hello = ClientHello::of_a_tool().stream();
    let later = talk.ask(bytes.len() as u32, 0).payload(&hello).build();
    stage.arrives("a hello that comes later", &later, served(SHOP));
    stage.remembers(what, &talk, |flow| flow.hello == hello::NONE);
}

#[test]
fn a_hello_in_one_segment() {
    play_everywhere("a_hello_in_one_segment", |stage| {
        let hello = ClientHello::of_a_browser().named("shop.example");
        let stream = hello.stream();

        stage.story("IPv4: read once, 30 ms after the proof");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.after(30 * SECOND / 1000);
        let segment = part(&talk, &stream, 0, stream.len());
        let heard = Heard::whole(&talk, &hello).after(30_000_000 >> 10);
        stage.arrives("the hello", &segment, read(heard));
        stage.remembers("the hello", &talk, |flow| {
            (flow.hello, flow.hello_ns, flow.service) == (hello::READ, 30_000_000, SHOP)
        });
        stage.arrives("again", &segment, served(SHOP));
        stage.leaves("the server's hello", &talk.answer(0, 517).payload(&[22; 900]).build(), {
            passes()
        });
        let second = talk.ask(stream.len() as u32, 900).payload(&stream).build();
        stage.arrives("a second hello (RFC 8446, section 4.1.4)", &second, served(SHOP));

        stage.story("IPv6, with data behind the hello in the same record and the same segment");
        let talk = stage.v6(443);
        connect(stage, &talk);
        let mut longer = in_records(&[hello.message(), vec![11; 40]].concat(), usize::MAX);
        longer.extend([23, 3, 3, 0, 1, 0]);
        stage.arrives("the hello", &part(&talk, &longer, 0, longer.len()), {
            read(Heard::whole(&talk, &hello))
        });

        stage.story("with the handshake's third packet");
        let talk = stage.v4(443);
        stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
        let answered = passes().reason(Reason::SynAckSeen);
        stage.leaves("SYN-ACK", &talk.syn_ack().build(), answered);
        let expect = read(Heard::whole(&talk, &hello))
            .reason(Reason::ProvenHandshake)
            .event(Told::Established { connections: 1, known: true });
        stage.arrives("the hello", &part(&talk, &stream, 0, stream.len()), expect);

        stage.story("its second part with the handshake's third packet");
        let talk = stage.v4(443);
        stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
        stage.leaves("SYN-ACK", &talk.syn_ack().build(), passes().reason(Reason::SynAckSeen));
        let expect = served(SHOP)
            .reason(Reason::ProvenHandshake)
            .event(Told::Established { connections: 1, known: true });
        stage.arrives("the second part", &part(&talk, &stream, 90, stream.len()), expect);
        let heard = Heard::whole(&talk, &hello).in_segments(2);
        stage.arrives("the first part", &part(&talk, &stream, 0, 90), read(heard));

        stage.story("every service has its own");
        let talk = stage.v4(8443);
        let syn = served(API).reason(Reason::SynSeen);
        stage.arrives("SYN", &talk.syn().build(), syn);
        let answered = passes().reason(Reason::SynAckSeen);
        stage.leaves("SYN-ACK", &talk.syn_ack().build(), answered);
        let expect = served(API)
            .reason(Reason::HelloRead)
            .hears(Heard::whole(&talk, &hello).for_service(API))
            .reason(Reason::ProvenHandshake)
            .event(Told::Established { connections: 1, known: true });
        stage.arrives("the hello", &part(&talk, &stream, 0, stream.len()), expect);
        let talk = stage.v4(22);
        stage.arrives("no service", &part(&talk, &stream, 0, stream.len()), served(NONE));

        stage.story("the next connection of the same ports has a hello of its own");
        let talk = stage.v4(443);
        connect(stage, &talk);
        greet(stage, &talk, &hello);
        let reset = talk.ask(stream.len() as u32, 0).rst().build();
        let closed = Told::Closed(CloseReason::ClientReset);
        stage.arrives("the client resets", &reset, served(SHOP).event(closed));
        connect_as(stage, &talk, 2);
        greet(stage, &talk, &ClientHello::of_a_tool());
    });
}

#[test]
fn what_is_no_hello_is_looked_at_once() {
    play("what_is_no_hello", |stage| {
        let stream = ClientHello::of_a_tool().stream();
        let changed = |at: usize, to: u8| {
            let mut changed = stream.clone();
            changed[at] = to;
            changed
        };
        stage.story("another protocol");
        begins_unread(stage, "HTTP", b"GET / HTTP/1.1\r\n\r\n", served(SHOP));
        stage.story("one byte of another protocol");
        begins_unread(stage, "SMTP", b"E", served(SHOP));
        stage.story("another content type");
        begins_unread(stage, "an alert", &changed(0, 21), served(SHOP));
        stage.story("another major version");
        begins_unread(stage, "SSL 2", &changed(1, 2), served(SHOP));
        stage.story("another handshake message");
        begins_unread(stage, "a ServerHello", &changed(5, 2), served(SHOP));
        stage.story("an empty record");
        begins_unread(stage, "empty", &[22, 3, 1, 0, 0, 22, 3, 1, 0, 9], served(SHOP));
        stage.story("a record longer than records are");
        begins_unread(stage, "long", &changed(3, 0x40 + 1), served(SHOP));
        stage.story("a record of another type in the middle");
        let mut mixed = in_records(&ClientHello::of_a_tool().message(), 100);
        mixed[105] = 23;
        begins_unread(stage, "mixed", &mixed, served(SHOP));
    });
}

#[test]
fn a_hello_that_does_not_hold_together_has_no_keys() {
    play("a_hello_that_does_not_hold_together", |stage| {
        let message = ClientHello::of_a_tool().message();
        let changed = |at: usize, to: u8| {
            let mut changed = message.clone();
            changed[at] = to;
            changed
        };
        let cut = |until: usize| {
            let mut cut = message[..until].to_vec();
            cut[2..4].copy_from_slice(&(until as u16 - 4).to_be_bytes());
            cut
        };
        let last = message.len() - 42;
        for (story, message) in [
            ("cut in the random", cut(20)),
            ("cut in the cipher suites", cut(43)),
            ("cut in the extensions", cut(message.len() - 1)),
            ("empty", vec![1, 0, 0, 0]),
            ("a session id that is too long", changed(38, 33)),
            ("half a cipher suite", changed(40, 9)),
            ("no room for cipher suites", changed(39, 0xff)),
            ("no room for compression methods", changed(51, 0xff)),
            ("extensions that are longer than the message", changed(54, 0xff)),
            ("extensions that are shorter than the message", changed(54, 1)),
            ("an extension that is longer than the list", changed(last + 3, 39)),
        ] {
            stage.story(story);
            let talk = stage.v4(443);
            connect(stage, &talk);
            let stream = in_records(&message, usize::MAX);
            let expect = read(Heard::message(&talk, &message).malformed());
            let segment = part(&talk, &stream, 0, stream.len());
            stage.arrives(story, &segment, expect.reason(Reason::HelloMalformed));
            stage.remembers(story, &talk, |flow| flow.hello == hello::READ);
        }
    });
}

#[test]
fn a_hello_over_several_records() {
    play_everywhere("a_hello_over_several_records", |stage| {
        let hello = ClientHello::of_a_browser().named("shop.example").padded_to(700);
        for (story, most) in [
            ("records of 4 bytes", 4),
            ("records of 100 bytes", 100),
            ("two records", hello.message().len() - 1),
        ] {
            stage.story(story);
            let stream = in_records(&hello.message(), most);
            let end = stream.len();
            let talk = stage.v4(443);
            connect(stage, &talk);
            let expect = read(Heard::whole(&talk, &hello));
            stage.arrives("in one segment", &part(&talk, &stream, 0, end), expect);
            for (port, cut) in [(1, 3), (2, most + 5), (3, most + 7), (4, end - 1)] {
                let talk = talk.with_port(port);
                connect_as(stage, &talk, 1 + u32::from(port));
                stage.arrives("the first part", &part(&talk, &stream, 0, cut), served(SHOP));
                let expect = read(Heard::whole(&talk, &hello).in_segments(2));
                stage.arrives("the second part", &part(&talk, &stream, cut, end), expect);
            }
        }

        stage.story("the second part of a hello over records comes first");
        let stream = in_records(&hello.message(), 64);
        let talk = stage.v6(443);
        connect(stage, &talk);
        let end = stream.len();
        stage.arrives("the second part", &part(&talk, &stream, 66, end), served(SHOP));
        let expect = read(Heard::whole(&talk, &hello).in_segments(2));
        stage.arrives("the first part", &part(&talk, &stream, 0, 66), expect);
    });
}

#[test]
fn a_hello_over_several_segments() {
    play_everywhere("a_hello_over_several_segments", |stage| {
        let hello = ClientHello::of_a_browser().named("shop.example").padded_to(1700);
        let stream = hello.stream();
        let orders: [(&'static str, &[(usize, usize)], u16); 9] = [
            ("two, in order", &[(0, 1400), (1400, 1700)], 2),
            ("two, the second first", &[(1400, 1700), (0, 1400)], 2),
            ("three, in order", &[(0, 600), (600, 1300), (1300, 1700)], 3),
            ("three, reversed", &[(1300, 1700), (600, 1300), (0, 600)], 3),
            ("three, the middle last", &[(0, 600), (1300, 1700), (600, 1300)], 3),
            ("the first twice", &[(0, 1400), (0, 1400), (1400, 1700)], 2),
            ("the second twice, then the first", &[(1400, 1700), (1400, 1700), (0, 1400)], 2),
            ("overlapping", &[(0, 900), (300, 1650), (640, 1700)], 3),
            ("one byte, then all of it", &[(0, 1), (0, 1700)], 2),
        ];
        for (story, pieces, segments) in orders {
            stage.story(story);
            for talk in [stage.v4(443), stage.v6(443)] {
                connect(stage, &talk);
                let (last, before) = pieces.split_last().unwrap();
                for (from, until) in before {
                    stage.arrives("a part", &part(&talk, &stream, *from, *until), served(SHOP));
                    stage.after(SECOND);
                }
                let delay = (before.len() as u64 * 1_000_000_000) >> 10;
                let heard = Heard::whole(&talk, &hello).in_segments(segments).after(delay as u32);
                stage.arrives("the last", &part(&talk, &stream, last.0, last.1), read(heard));
                stage.remembers("the last", &talk, |flow| {
                    flow.hello == hello::READ && flow.flags & FLOW_HELLO_CONFLICT == 0
                });
                let again = part(&talk, &stream, last.0, last.1);
                stage.arrives("the last again", &again, served(SHOP));
            }
        }

        stage.story("bytes from before the stream do not count");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let early = |from: u32| talk.ask(from.wrapping_sub(2), 0);
        let first = early(0).payload(&[&[0xee, 0xee], &stream[..1000]].concat()).build();
        stage.arrives("a keep-alive with data", &first, served(SHOP));
        stage.arrives("nothing else", &early(0).payload(&[0xee; 2]).build(), served(SHOP));
        let heard = Heard::whole(&talk, &hello).in_segments(2);
        stage.arrives("the rest", &part(&talk, &stream, 1000, 1700), read(heard));
    });
}

#[test]
fn the_first_copy_of_a_byte_counts() {
    play_everywhere("the_first_copy_of_a_byte_counts", |stage| {
        let hello = ClientHello::of_a_tool().named("shop.example").padded_to(600);
        let mut other = hello.clone();
        other.ciphers[0] = 0x1399;
        let (stream, forged) = (hello.stream(), other.stream());
        let conflict = |expect: Expect| expect.reason(Reason::HelloConflict);

        stage.story("what comes again and differs is noted");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.arrives("the first part", &part(&talk, &stream, 0, 400), served(SHOP));
        stage.arrives("the same, forged", &part(&talk, &forged, 0, 400), served(SHOP));
        let heard = Heard::whole(&talk, &hello).in_segments(2).in_conflict();
        stage.arrives("the rest", &part(&talk, &stream, 400, 600), conflict(read(heard)));
        stage.remembers("the rest", &talk, |flow| flow.flags & FLOW_HELLO_CONFLICT != 0);

        stage.story("also on the segment that completes it");
        let talk = stage.v6(443);
        connect(stage, &talk);
        stage.arrives("the second part", &part(&talk, &stream, 40, 600), served(SHOP));
        let heard = Heard::whole(&talk, &hello).in_segments(2).in_conflict();
        stage.arrives("all of it, forged", &part(&talk, &forged, 0, 600), conflict(read(heard)));

        stage.story("urgent data is not in the stream that the server reads");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let urgent = |from: usize, until: usize| {
            let segment = talk.ask(from as u32, 0).payload(&stream[from..until]);
            segment.flags(TcpFlags::URG).urgent(9).build()
        };
        let heard = Heard::whole(&talk, &hello).in_conflict();
        stage.arrives("in one segment", &urgent(0, 600), conflict(read(heard)));

        stage.story("urgent data in one of two segments");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let segment = talk.ask(0, 0).payload(&stream[..400]).flags(TcpFlags::URG).urgent(9);
        stage.arrives("the first part", &segment.build(), served(SHOP));
        let heard = Heard::whole(&talk, &hello).in_segments(2).in_conflict();
        stage.arrives("the rest", &part(&talk, &stream, 400, 600), conflict(read(heard)));

        stage.story("another connection of the same ports inherits no byte");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.arrives("a part", &part(&talk, &forged, 10, 500), served(SHOP));
        let reset = talk.ask(0, 0).rst().build();
        let closed = Told::Closed(CloseReason::ClientReset);
        stage.arrives("the client resets", &reset, served(SHOP).event(closed));
        stage.after(SECOND / 1000);
        connect_as(stage, &talk, 2);
        stage.arrives("a part", &part(&talk, &stream, 0, 300), served(SHOP));
        let heard = Heard::whole(&talk, &hello).in_segments(2);
        stage.arrives("the rest", &part(&talk, &stream, 300, 600), read(heard));
    });
}
