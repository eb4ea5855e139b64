//! Hellos that the kernel leaves to the daemon: too long for it, or more at once than there are slots
//! for. Whatever the order, the daemon gets every byte, and no packet is held back.

use std::time::Duration;

use weir_common::abi::{MilestoneKind, Reason, flow::hello};

use crate::{
    client_hello::{ClientHello, in_records},
    expect::{Expect, Told, served},
    heard::Heard,
    hellos::{part, read},
    limits::{connect, connect_as},
    play, play_everywhere,
    stage::{SHOP, Stage},
    talk::Talk,
};

const SECOND: Duration = Duration::from_secs(1);

/// It passes, and the daemon hears of these bytes.
fn piece(talk: &Talk, stream: &[u8], from: usize, until: usize) -> Expect {
    served(SHOP).hears(Heard::piece(talk, from, &stream[from..until]))
}

/// It is too long; the daemon hears of these runs, collected from that many segments.
fn given_up(talk: &Talk, segments: u16, stream: &[u8], runs: &[(usize, usize)]) -> Expect {
    let heard = Heard::collected(talk, segments, stream, runs);
    served(SHOP).reason(Reason::HelloTooLong).hears(heard)
}

#[test]
fn a_hello_that_is_too_long() {
    play_everywhere("a_hello_that_is_too_long", |stage| {
        let stream = ClientHello::of_a_browser().named("shop.example").padded_to(6000).stream();
        let send = |stage: &mut Stage<'_>, talk: &Talk, from: usize, until: usize, expect| {
            stage.arrives("a part", &part(talk, &stream, from, until), expect);
        };

        stage.story("in order: every segment is a piece");
        for talk in [stage.v4(443), stage.v6(443)] {
            connect(stage, &talk);
            let first = piece(&talk, &stream, 0, 1400).reason(Reason::HelloTooLong);
            send(stage, &talk, 0, 1400, first);
            for from in (1400..5600).step_by(1400) {
                send(stage, &talk, from, from + 1400, piece(&talk, &stream, from, from + 1400));
            }
            send(stage, &talk, 5600, 6000, piece(&talk, &stream, 5600, 6000));
            stage.remembers("the last", &talk, |flow| flow.hello == hello::FORWARDED);
        }

        stage.story("the second first: it is collected until the first says how long it is");
        let talk = stage.v4(443);
        connect(stage, &talk);
        send(stage, &talk, 1400, 2800, served(SHOP));
        send(stage, &talk, 0, 1400, given_up(&talk, 2, &stream, &[(0, 2800)]));
        send(stage, &talk, 2800, 4200, piece(&talk, &stream, 2800, 4200));
        send(stage, &talk, 4200, 6000, piece(&talk, &stream, 4200, 6000));

        stage.story("reversed: what lies beyond the collected bytes is a piece at once");
        let talk = stage.v4(443);
        connect(stage, &talk);
        send(stage, &talk, 4200, 6000, piece(&talk, &stream, 4200, 6000));
        send(stage, &talk, 2800, 4200, piece(&talk, &stream, 2800, 4200));
        send(stage, &talk, 700, 1400, served(SHOP));
        let runs = [(0, 600), (700, 1400), (2800, 4096)];
        send(stage, &talk, 0, 600, given_up(&talk, 3, &stream, &runs));
        send(stage, &talk, 600, 2800, piece(&talk, &stream, 600, 2800));

        stage.story("a segment reaches beyond the collected bytes before it is known to matter");
        let talk = stage.v4(443);
        connect(stage, &talk);
        send(stage, &talk, 2000, 4000, served(SHOP));
        send(stage, &talk, 0, 8, served(SHOP));
        send(stage, &talk, 3000, 5000, piece(&talk, &stream, 3000, 5000));
        send(stage, &talk, 8, 2500, given_up(&talk, 4, &stream, &[(0, 4096)]));

        stage.story("bytes of another stream do not show in a later hello's pieces");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let short = ClientHello::of_a_tool();
        let bytes = short.stream();
        let expect = read(Heard::whole(&talk, &short));
        stage.arrives("a short one", &part(&talk, &bytes, 0, bytes.len()), expect);
        let talk = talk.with_port(1);
        connect_as(stage, &talk, 2);
        let first = piece(&talk, &stream, 0, 1400).reason(Reason::HelloTooLong);
        send(stage, &talk, 0, 1400, first);
    });
}

#[test]
fn what_the_daemon_gets_of_a_stream_ends() {
    play("what_the_daemon_gets_of_a_stream_ends", |stage| {
        let hello = ClientHello::of_a_browser().padded_to(6000);
        let mut stream = hello.stream();
        stream.resize(20_000, 0x17);
        let all_but_first = |stage: &mut Stage<'_>, talk: &Talk| {
            for from in (2000..16_000).step_by(2000) {
                let expect = piece(talk, &stream, from, from + 2000);
                stage.arrives("a part", &part(talk, &stream, from, from + 2000), expect);
            }
            let expect = piece(talk, &stream, 16_000, 18_000);
            stage.arrives("the last", &part(talk, &stream, 16_000, 18_000), expect);
            stage.arrives("no more", &part(talk, &stream, 18_000, 20_000), served(SHOP));
        };

        stage.story("after 16 KiB, whatever it was");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let first = piece(&talk, &stream, 0, 2000).reason(Reason::HelloTooLong);
        stage.arrives("the first", &part(&talk, &stream, 0, 2000), first);
        all_but_first(stage, &talk);
        stage.remembers("no more", &talk, |flow| flow.hello == hello::NONE);

        stage.story("bytes from far ahead end nothing: the hello is read all the same");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let ahead = talk.ask(17_000, 0).payload(b"ahead").build();
        stage.arrives("far ahead", &ahead, served(SHOP));
        let short = ClientHello::of_a_tool();
        let bytes = short.stream();
        let expect = read(Heard::whole(&talk, &short));
        stage.arrives("the hello", &part(&talk, &bytes, 0, bytes.len()), expect);

        stage.story("a record that cuts the message's own length is left to the daemon");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let cut = in_records(&short.message(), 3);
        let expect = piece(&talk, &cut, 0, cut.len()).reason(Reason::HelloTooLong);
        stage.arrives("records of 3 bytes", &part(&talk, &cut, 0, cut.len()), expect);

        stage.story("so many records that the hello with their headers is too long");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let cut = in_records(&ClientHello::of_a_tool().padded_to(2500).message(), 6);
        stage.arrives("the first part", &part(&talk, &cut, 0, 2000), served(SHOP));
        stage.arrives("the second part", &part(&talk, &cut, 2000, 4000), served(SHOP));
        let expect = given_up(&talk, 3, &cut, &[(0, 4096)]);
        let expect = expect.hears(Heard::piece(&talk, 4000, &cut[4000..]));
        stage.arrives("the rest", &part(&talk, &cut, 4000, cut.len()), expect);
    });
}

#[test]
fn more_hellos_at_once_than_a_source_may_have() {
    play_everywhere("more_hellos_at_once", |stage| {
        let hello = ClientHello::of_a_browser().named("shop.example").padded_to(1500);
        let stream = hello.stream();
        let begin = |stage: &mut Stage<'_>, talk: &Talk, number: u16, expect: Expect| {
            connect_as(stage, talk, u32::from(number));
            stage.arrives("the first part", &part(talk, &stream, 0, 1000), expect);
        };
        let end = |stage: &mut Stage<'_>, talk: &Talk, heard: Heard| {
            stage.arrives("the rest", &part(talk, &stream, 1000, 1500), {
                read(heard.in_segments(2))
            });
        };

        stage.story("four are collected, the fifth is left to the daemon");
        for talk in [stage.v4(443), stage.v6(443)] {
            let talks = [1, 2, 3, 4].map(|port| (port, talk.with_port(port)));
            for (port, talk) in talks {
                begin(stage, &talk, port, served(SHOP));
            }
            let fifth = talk.with_port(5);
            let no_slot = piece(&fifth, &stream, 0, 1000).reason(Reason::HelloNoSlot);
            begin(stage, &fifth, 5, no_slot);
            for (_, talk) in talks {
                end(stage, &talk, Heard::whole(&talk, &hello));
            }
            let rest = piece(&fifth, &stream, 1000, 1500);
            stage.arrives("the fifth's rest", &part(&fifth, &stream, 1000, 1500), rest);
            let sixth = talk.with_port(6);
            begin(stage, &sixth, 6, served(SHOP));
            end(stage, &sixth, Heard::whole(&sixth, &hello));
        }

        stage.story("one that has been quiet for more than 8 seconds gives way, to the daemon");
        let talk = stage.v4(443);
        let talks = [1, 2, 3, 4].map(|port| (port, talk.with_port(port)));
        for (port, talk) in talks {
            begin(stage, &talk, port, served(SHOP));
        }
        stage.after(4 * SECOND);
        for (_, talk) in &talks[..3] {
            let more = part(talk, &stream, 1000, 1001);
            stage.arrives("three go on", &more, served(SHOP));
        }
        stage.after(4 * SECOND);
        let fifth = talk.with_port(5);
        let no_slot = piece(&fifth, &stream, 0, 1000).reason(Reason::HelloNoSlot);
        begin(stage, &fifth, 5, no_slot);
        stage.after(SECOND / 100);
        let sixth = talk.with_port(6);
        let quiet = talk.with_port(4);
        let silence = 8 * SECOND + SECOND / 100;
        let given = Heard::collected(&quiet, 1, &stream, &[(0, 1000)]).ago(silence);
        begin(stage, &sixth, 6, served(SHOP).reason(Reason::HelloNoSlot).hears(given));
        stage.remembers("given way", &quiet, |flow| flow.hello == hello::FORWARDED);
        let late = (silence.as_nanos() as u64 >> 10) as u32;
        let rest = Heard::piece(&quiet, 1000, &stream[1000..]).after(late);
        let segment = part(&quiet, &stream, 1000, 1500);
        // The hello's client waits for an answer all the while.
        let stalled = Told::Milestone(MilestoneKind::Stalled, 8010);
        let expect = served(SHOP).event(stalled).hears(rest);
        stage.arrives("the quiet one goes on", &segment, expect);
        let first = talk.with_port(1);
        let heard = Heard::whole(&first, &hello).in_segments(3).after(late);
        let expect = read(heard).event(stalled);
        stage.arrives("the first ends", &part(&first, &stream, 1000, 1500), expect);
        end(stage, &sixth, Heard::whole(&sixth, &hello));
    });
}
