//! A proven flow: which segments are the peer's, how it ends, and when it stalls.

use std::time::Duration;

use weir_common::abi::{CloseReason, MilestoneKind, Reason};

use crate::{
    expect::{Expect, Told, passes, served},
    limits::connect,
    play_everywhere,
    stage::SHOP,
};

const SECOND: Duration = Duration::from_secs(1);

fn stray() -> Expect {
    served(SHOP).reason(Reason::OutOfWindow)
}

fn ends(expect: Expect, why: CloseReason) -> Expect {
    expect.event(Told::Closed(why))
}

#[test]
fn a_flow_ends_when_both_sides_have_finished() {
    play_everywhere("a_flow_ends_when_both_sides_have_finished", |stage| {
        stage.story("the client finishes first");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.arrives("a request", &talk.ask(0, 0).payload(&[1; 300]).build(), served(SHOP));
        stage.after(SECOND / 100);
        stage.leaves("the answer", &talk.answer(0, 300).payload(&[2; 1400]).build(), passes());
        stage.arrives("FIN", &talk.ask(300, 1400).fin().build(), served(SHOP));
        let fin = talk.answer(1400, 301).fin().build();
        stage.leaves("FIN of the server", &fin, ends(passes(), CloseReason::Fin));
        stage.arrives("the last ACK is of no flow", &talk.ask(301, 1401).build(), served(SHOP));

        stage.story("the server finishes first");
        let talk = stage.v6(443);
        connect(stage, &talk);
        stage.leaves("FIN of the server", &talk.answer(0, 0).fin().build(), passes());
        let fin = talk.ask(0, 1).fin().build();
        stage.arrives("FIN", &fin, ends(served(SHOP), CloseReason::Fin));

        stage.story("a FIN ahead of what is missing does not finish");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.leaves("FIN of the server", &talk.answer(0, 0).fin().build(), passes());
        stage.arrives("FIN behind a gap", &talk.ask(100, 1).fin().build(), served(SHOP));
        let rest = talk.ask(0, 1).payload(&[1; 100]).fin().build();
        stage.arrives("FIN with the rest", &rest, ends(served(SHOP), CloseReason::Fin));
    });
}

#[test]
fn only_the_exact_reset_ends_a_flow() {
    play_everywhere("only_the_exact_reset_ends_a_flow", |stage| {
        stage.story("resets in the visitor's name are guesses (RFC 5961)");
        let talk = stage.v4(443);
        connect(stage, &talk);
        for (what, at) in [("one too early", u32::MAX), ("one too late", 1), ("far", 0x4000_0000)] {
            let reset = talk.ask(at, 0).rst().build();
            stage.arrives(&format!("a reset {what}"), &reset, stray());
        }
        stage.arrives("the flow goes on", &talk.ask(0, 0).payload(b"x").build(), served(SHOP));
        let reset = talk.ask(1, 0).rst().build();
        stage.arrives("the exact one", &reset, ends(served(SHOP), CloseReason::ClientReset));
        stage.arrives("nothing is left to reset", &reset, served(SHOP));

        stage.story("the server's reset needs no check");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let reset = talk.answer(0, 0).rst().build();
        stage.leaves("a reset", &reset, ends(passes(), CloseReason::ServerReset));
    });
}

#[test]
fn segments_that_the_server_would_discard_do_not_count() {
    play_everywhere("segments_that_the_server_would_discard", |stage| {
        stage.story("in the visitor's name, but out of window");
        let talk = stage.v4(443);
        connect(stage, &talk);
        // The SYN-ACK announced 64,240 bytes, which no scale applies to (RFC 7323, section 2.2).
        stage.arrives("the window's edge", &talk.ask(64_240, 0).build(), served(SHOP));
        stage.arrives("one beyond", &talk.ask(64_241, 0).build(), stray());
        stage.arrives("far ahead", &talk.ask(0x4000_0000, 0).payload(b"x").build(), stray());
        stage.arrives("far behind", &talk.ask(0x8000_0000, 0).payload(b"x").build(), stray());
        stage.arrives("acknowledges what was never sent", &talk.ask(0, 1).build(), stray());
        let no_ack = talk.segment().seq(crate::talk::CLIENT_ISN.wrapping_add(1)).payload(b"x");
        stage.arrives("without ACK", &no_ack.build(), stray());
        stage.arrives("a SYN-ACK", &talk.ask(0, 0).syn().build(), stray());
        stage.arrives("data in window", &talk.ask(0, 0).payload(&[1; 10]).build(), served(SHOP));
        let again = talk.ask(0, 0).payload(&[1; 10]).build();
        stage.arrives("a retransmission counts again", &again, served(SHOP));

        stage.story("the window that the server announces next is scaled");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let opened = talk.answer(0, 0).window(1024).build();
        stage.leaves("1024 << 7 bytes", &opened, passes());
        stage.arrives("its edge", &talk.ask(1024 << 7, 0).build(), served(SHOP));
        stage.arrives("one beyond", &talk.ask((1024 << 7) + 1, 0).build(), stray());
    });
}

#[test]
fn an_unfinished_request_stalls() {
    play_everywhere("an_unfinished_request_stalls", |stage| {
        stage.story("a request in small pieces, without end");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let piece = |at: u32, bytes: usize| talk.ask(at, 0).payload(&vec![b'x'; bytes]).build();
        stage.arrives("the first piece", &piece(0, 10), served(SHOP));
        stage.after(4 * SECOND);
        stage.arrives("within five seconds", &piece(10, 10), served(SHOP));
        stage.after(2 * SECOND);
        stage.arrives("large pieces are an upload", &piece(20, 1400), served(SHOP));
        let stalled = Told::Milestone(MilestoneKind::Stalled, 6000);
        stage.arrives("a small one is a stall", &piece(1420, 10), served(SHOP).event(stalled));
        stage.after(60 * SECOND);
        let goes_on = Told::Progress { exchanges: 0, records: 0 };
        stage.arrives("which is told once", &piece(1430, 10), served(SHOP).event(goes_on));

        stage.story("an answer ends the waiting");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let piece = |at: u32, heard: u32| talk.ask(at, heard).payload(b"x").build();
        stage.arrives("a request", &piece(0, 0), served(SHOP));
        stage.after(4 * SECOND);
        stage.leaves("an answer", &talk.answer(0, 1).payload(b"y").build(), passes());
        stage.after(4 * SECOND);
        stage.arrives("the next request", &piece(1, 1), served(SHOP));
        stage.after(4 * SECOND);
        stage.arrives("and its rest", &piece(2, 1), served(SHOP));
        stage.leaves("a bare ACK is no answer", &talk.answer(1, 3).build(), passes());
        stage.after(SECOND);
        let stalled = Told::Milestone(MilestoneKind::Stalled, 5000);
        stage.arrives("five seconds in all", &piece(3, 1), served(SHOP).event(stalled));
    });
}
