//! Verdicts by TLS fingerprint: the segment that completes the hello becomes the reset that the server
//! obeys, and nothing more of that flow passes as it is.

use std::time::Duration;

use weir_common::abi::{Action, Mode, Reason, VerdictClass, VerdictKind, tally::Outcome};
use weir_sensor::enforce::dataplane::Subject;

use crate::{
    client_hello::ClientHello,
    expect::{Expect, dropped, passes, served},
    heard::Heard,
    hellos::{part, read},
    limits::{connect, connect_as},
    play, play_everywhere,
    resets::{is, reset},
    stage::{API, ENFORCING, SHOP, Stage},
    talk::{CLIENT_ISN, Talk},
    verdicts::{ALLOW, DROP, OBSERVED, only, operator},
};

const SECOND: Duration = Duration::from_secs(1);

/// The segment becomes a reset for the server.
pub(crate) fn turned() -> Expect {
    passes().reason(Reason::ResetToServer).service(SHOP, Outcome::Drop).rewritten()
}

/// A limit ends the flow: one outcome, that of the limit.
pub(crate) fn turned_by_limit(service: u8) -> Expect {
    passes()
        .reason(Reason::ResetToServer)
        .reason(Reason::LimitVerdict)
        .service(service, Outcome::Limit)
        .rewritten()
}

/// The segment completes a hello, and becomes a reset for the server.
pub(crate) fn turned_hello(heard: Heard) -> Expect {
    turned().reason(Reason::HelloRead).hears(heard.refused())
}

/// What a flow goes on to send after its hello was refused.
pub(crate) fn refused() -> Expect {
    dropped().reason(Reason::DropRefused).service(SHOP, Outcome::Drop)
}

/// The reset that the server obeys: at byte `sent` of the visitor's stream.
pub(crate) fn is_reset(stage: &mut Stage<'_>, frame: &[u8], talk: &Talk, sent: u32) {
    let seq = CLIENT_ISN.wrapping_add(1).wrapping_add(sent);
    is(stage, "the reset", frame, &reset(talk.segment().rst().seq(seq)));
}

fn hit(expect: Expect, class: u16, action: Action, hits: u32) -> Expect {
    expect.class(class).hit_by(VerdictKind::Fingerprint, class, action, hits, Mode::Enforce)
}

fn by_match(stage: &mut Stage<'_>, hello: &ClientHello, class: u16, terms: &VerdictClass) {
    let key = stage.keys(hello).matching;
    stage.subject(Subject::Fingerprint(key), class, terms);
}

fn by_stable(stage: &mut Stage<'_>, hello: &ClientHello, class: u16, terms: &VerdictClass) {
    let key = stage.keys(hello).stable;
    stage.subject(Subject::Fingerprint(key), class, terms);
}

/// Sends a hello in one segment on a connection of its own.
fn hello(stage: &mut Stage<'_>, talk: &Talk, hello: &ClientHello, expect: Expect) -> Vec<u8> {
    let stream = hello.stream();
    stage.arrives("the hello", &part(talk, &stream, 0, stream.len()), expect)
}

#[test]
fn a_refused_hello_never_reaches_the_server() {
    play_everywhere("a_refused_hello_never_reaches_the_server", |stage| {
        let tool = ClientHello::of_a_tool().named("shop.example").padded_to(1700);
        let browser = ClientHello::of_a_browser().named("shop.example").padded_to(1700);
        let stream = tool.stream();

        stage.story("one segment: a reset with the number of its first byte");
        let talk = stage.v4(443);
        by_match(stage, &tool, 200, &DROP);
        connect(stage, &talk);
        let expect = hit(turned_hello(Heard::whole(&talk, &tool)), 200, Action::Drop, 1);
        let frame = hello(stage, &talk, &tool, expect);
        is_reset(stage, &frame, &talk, 0);
        let end = stream.len() as u32;
        let again = part(&talk, &stream, 0, 1700);
        stage.arrives("the hello again", &again, refused());
        stage.arrives("data behind it", &talk.ask(end, 0).payload(b"GET /").build(), refused());
        let nothing = talk.ask(0, 0).build();
        stage.arrives("an acknowledgement", &nothing, refused());
        stage.after(SECOND);
        let frame = stage.arrives("an acknowledgement, later", &nothing, turned());
        is_reset(stage, &frame, &talk, 0);
        for later in [&again, &talk.ask(end, 0).payload(b"GET /").build(), &again] {
            stage.after(SECOND);
            let frame = stage.arrives("any of it, later", later, turned());
            is_reset(stage, &frame, &talk, 0);
        }
        let other = talk.with_port(1);
        connect_as(stage, &other, 2);
        hello(stage, &other, &browser, read(Heard::whole(&other, &browser)));
        let third = talk.with_port(2);
        connect_as(stage, &third, 3);
        let expect = hit(turned_hello(Heard::whole(&third, &tool)), 200, Action::Drop, 2);
        hello(stage, &third, &tool, expect);

        stage.story("two segments, in order: the second becomes a reset, with its own number");
        by_match(stage, &tool, 201, &DROP);
        let mut hits = 0;
        for talk in [stage.v4(443), stage.v6(443)] {
            connect(stage, &talk);
            hits += 1;
            stage.arrives("the first part", &part(&talk, &stream, 0, 1400), served(SHOP));
            let heard = Heard::whole(&talk, &tool).in_segments(2);
            let expect = hit(turned_hello(heard), 201, Action::Drop, hits);
            let second = part(&talk, &stream, 1400, 1700);
            let frame = stage.arrives("the second part", &second, expect);
            is_reset(stage, &frame, &talk, 1400);
            stage.arrives("the second part again", &second, refused());
            stage.after(SECOND);
            let nothing = talk.ask(1400, 0).build();
            let frame = stage.arrives("an acknowledgement, later", &nothing, turned());
            is_reset(stage, &frame, &talk, 1400);
            stage.arrives("the first part again", &part(&talk, &stream, 0, 1400), refused());
            stage.after(SECOND);
            let frame = stage.arrives("the second part, later", &second, turned());
            is_reset(stage, &frame, &talk, 1400);
        }

        stage.story("two segments, the second first: the server has only what came before a gap");
        by_match(stage, &tool, 202, &DROP);
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.arrives("the second part", &part(&talk, &stream, 1400, 1700), served(SHOP));
        let expect = turned_hello(Heard::whole(&talk, &tool).in_segments(2));
        let first = part(&talk, &stream, 0, 1400);
        let frame = stage.arrives("the first part", &first, hit(expect, 202, Action::Drop, 1));
        is_reset(stage, &frame, &talk, 0);

        stage.story("three segments, the middle last");
        by_match(stage, &tool, 203, &DROP);
        let talk = stage.v6(443);
        connect(stage, &talk);
        stage.arrives("the first part", &part(&talk, &stream, 0, 500), served(SHOP));
        stage.arrives("the last part", &part(&talk, &stream, 900, 1700), served(SHOP));
        let decoy = talk.ask(500, 0).payload(&[0; 900]).bad_checksum().build();
        stage.arrives("a decoy", &decoy, served(SHOP).reason(Reason::HelloBadChecksum));
        let expect = turned_hello(Heard::whole(&talk, &tool).in_segments(3));
        let middle = part(&talk, &stream, 400, 900);
        let frame = stage.arrives("the middle", &middle, hit(expect, 203, Action::Drop, 1));
        is_reset(stage, &frame, &talk, 500);

        stage.story("the server says that it has received more: the next reset fits");
        by_match(stage, &tool, 204, &DROP);
        let talk = stage.v4(443);
        connect(stage, &talk);
        let expect = hit(turned_hello(Heard::whole(&talk, &tool)), 204, Action::Drop, 1);
        hello(stage, &talk, &tool, expect);
        stage.leaves("an acknowledgement", &talk.answer(0, 7).build(), passes());
        stage.after(SECOND);
        let frame = stage.arrives("an acknowledgement", &talk.ask(0, 0).build(), turned());
        is_reset(stage, &frame, &talk, 7);
    });
}

#[test]
fn a_fingerprint_is_known_by_either_key() {
    play("a_fingerprint_is_known_by_either_key", |stage| {
        let tool = ClientHello::of_a_tool().named("shop.example");
        let resuming = tool.clone().with_ticket();
        let other = ClientHello::of_a_browser();

        stage.story("the match key is of exactly this hello");
        by_match(stage, &tool, 210, &DROP);
        let talk = stage.v4(443);
        connect(stage, &talk);
        let expect = hit(turned_hello(Heard::whole(&talk, &tool)), 210, Action::Drop, 1);
        hello(stage, &talk, &tool, expect);
        let talk = talk.with_port(1);
        connect_as(stage, &talk, 2);
        hello(stage, &talk, &resuming, read(Heard::whole(&talk, &resuming)));

        stage.story("the stable key is also of one that resumes");
        by_stable(stage, &tool, 211, &DROP);
        for (number, it) in (1..).zip([&tool, &resuming]) {
            let talk = stage.v4(443).with_port(number);
            connect_as(stage, &talk, u32::from(number));
            let expect = turned_hello(Heard::whole(&talk, it));
            hello(stage, &talk, it, hit(expect, 211, Action::Drop, u32::from(number)));
        }
        let talk = stage.v4(443).with_port(3);
        connect_as(stage, &talk, 3);
        hello(stage, &talk, &other, read(Heard::whole(&talk, &other)));

        stage.story("an allow of the match key is stronger than a drop of the stable key");
        by_stable(stage, &tool, 212, &DROP);
        by_match(stage, &resuming, 213, &ALLOW);
        let talk = stage.v4(443);
        connect(stage, &talk);
        hello(stage, &talk, &resuming, read(Heard::whole(&talk, &resuming)));
        let talk = talk.with_port(1);
        connect_as(stage, &talk, 2);
        let expect = hit(turned_hello(Heard::whole(&talk, &tool)), 212, Action::Drop, 1);
        hello(stage, &talk, &tool, expect);

        stage.story("a hello without keys is nobody's");
        by_match(stage, &tool, 214, &DROP);
        let talk = stage.v4(443);
        connect(stage, &talk);
        let mut message = tool.message();
        message[38] = 33;
        let stream = crate::client_hello::in_records(&message, usize::MAX);
        let heard = Heard::message(&talk, &message).malformed();
        let expect = read(heard).reason(Reason::HelloMalformed);
        stage.arrives("the hello", &part(&talk, &stream, 0, stream.len()), expect);
    });
}

#[test]
fn what_else_a_verdict_on_a_fingerprint_can_say() {
    play_everywhere("what_else_a_verdict_on_a_fingerprint_can_say", |stage| {
        let tool = ClientHello::of_a_tool().named("shop.example");
        let passes_read = |stage: &mut Stage<'_>, talk: &Talk| {
            hello(stage, talk, &tool, read(Heard::whole(talk, &tool)));
        };

        stage.story("reject: the flow is ended at the server, as with drop");
        let reject = operator(Action::Reject);
        by_match(stage, &tool, 220, &reject);
        let talk = stage.v4(443);
        connect(stage, &talk);
        let expect = hit(turned_hello(Heard::whole(&talk, &tool)), 220, Action::Reject, 1);
        let frame = hello(stage, &talk, &tool, expect);
        is_reset(stage, &frame, &talk, 0);

        stage.story("observe: counted once, and it passes");
        by_match(stage, &tool, 221, &OBSERVED);
        let talk = stage.v6(443);
        connect(stage, &talk);
        let expect = read(Heard::whole(&talk, &tool).would(221))
            .reason(Reason::Would)
            .class(221)
            .service(SHOP, Outcome::Would)
            .hit_by(VerdictKind::Fingerprint, 221, Action::Drop, 1, Mode::Observe);
        hello(stage, &talk, &tool, expect);
        let later = talk.ask(tool.stream().len() as u32, 0).payload(b"GET /").build();
        stage.arrives("later data", &later, served(SHOP));

        stage.story("nothing is enforced: as observe");
        let observing = Mode::Observe as u8;
        stage.control(weir_common::abi::Control { policy_mode: observing, ..ENFORCING });
        by_match(stage, &tool, 222, &DROP);
        let talk = stage.v4(443);
        connect(stage, &talk);
        let expect = read(Heard::whole(&talk, &tool).would(222))
            .reason(Reason::Would)
            .class(222)
            .service(SHOP, Outcome::Would)
            .hit_by(VerdictKind::Fingerprint, 222, Action::Drop, 1, Mode::Observe);
        hello(stage, &talk, &tool, expect);

        stage.story("mark and limit leave the hello alone");
        by_match(stage, &tool, 223, &operator(Action::Mark));
        by_stable(stage, &tool, 224, &operator(Action::Limit));
        let talk = stage.v4(443);
        connect(stage, &talk);
        passes_read(stage, &talk);

        stage.story("another service's verdict");
        by_match(stage, &tool, 225, &only(API, DROP));
        let talk = stage.v4(443);
        connect(stage, &talk);
        passes_read(stage, &talk);

        stage.story("an expired verdict");
        let key = stage.keys(&tool).matching;
        stage.subject_for(Subject::Fingerprint(key), 226, &DROP, SECOND);
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.after(2 * SECOND);
        let delay = (2_000_000_000_u64 >> 10) as u32;
        let heard = Heard::whole(&talk, &tool).after(delay);
        hello(stage, &talk, &tool, read(heard));

        stage.story("a verdict that was removed");
        by_match(stage, &tool, 227, &DROP);
        let key = stage.keys(&tool).matching;
        stage.no_subject(Subject::Fingerprint(key));
        let talk = stage.v4(443);
        connect(stage, &talk);
        passes_read(stage, &talk);

        stage.story("an allow of the address covers its fingerprint");
        by_match(stage, &tool, 228, &DROP);
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.verdict(&talk.net(), 229, &ALLOW);
        let heard = Heard::whole(&talk, &tool);
        hello(stage, &talk, &tool, read(heard).reason(Reason::PassAllowed));

        stage.story("an observed verdict on the address counts the segment once");
        by_match(stage, &ClientHello::of_a_browser(), 231, &DROP);
        let talk = stage.v6(443);
        connect(stage, &talk);
        stage.verdict(&talk.net(), 232, &OBSERVED);
        let expect = read(Heard::whole(&talk, &tool).would(232))
            .reason(Reason::Would)
            .class(232)
            .service(SHOP, Outcome::Would)
            .hit(232, Action::Drop, Mode::Observe, 1);
        hello(stage, &talk, &tool, expect);

        stage.story("after the hello it is too late: the flow goes on");
        let talk = stage.v4(443);
        connect(stage, &talk);
        passes_read(stage, &talk);
        by_match(stage, &tool, 230, &DROP);
        let later = talk.ask(tool.stream().len() as u32, 0).payload(b"GET /").build();
        stage.arrives("later data", &later, served(SHOP));
        stage.arrives("the hello again", &part(&talk, &tool.stream(), 0, 100), served(SHOP));
    });
}
