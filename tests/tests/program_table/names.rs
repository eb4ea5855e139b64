//! Services by the name that a hello asks for: what a verdict for one of them does, and to what it does
//! nothing.

use std::time::Duration;

use weir_common::abi::{
    Action, Mode, Reason, VerdictClass, control::SERVICE_NAMED, tally::Outcome,
};

use crate::{
    client_hello::ClientHello,
    expect::{Expect, dropped_by, served},
    fingerprints::{is_reset, turned, turned_by_limit, turned_hello},
    heard::Heard,
    hellos::{part, read},
    limits::{LIMIT, connect, connect_as},
    play, play_everywhere,
    stage::{SHOP, Stage},
    talk::Talk,
    verdicts::{DROP, only},
};

const SECOND: Duration = Duration::from_secs(1);

/// Services that names at port 443 stand for.
const LOGIN: u8 = 20;
const CDN: u8 = 21;
const IMAGES: u8 = 22;
const UNKNOWN: u8 = 23;

const NAMES: [(&str, u8); 3] =
    [("login.example.com", LOGIN), (".example.com", CDN), (".img.example.com", IMAGES)];

/// Asks for a name on a connection of its own; the service that the hello is taken for.
fn asks_for(stage: &mut Stage<'_>, number: u16, hello: &ClientHello, service: u8) {
    let talk = stage.v4(443).with_port(number);
    connect_as(stage, &talk, u32::from(number));
    let stream = hello.stream();
    let expect = read(Heard::whole(&talk, hello).for_service(service));
    stage.arrives("the hello", &part(&talk, &stream, 0, stream.len()), expect);
    stage.remembers("the hello", &talk, |flow| flow.service == service);
}

#[test]
fn a_name_refines_the_service_of_its_port() {
    play("a_name_refines_the_service", |stage| {
        let named = |name: &str| ClientHello::of_a_browser().named(name);

        stage.story("exact names, then the longest suffix, then the port's own");
        stage.shop_is(SERVICE_NAMED).names(&NAMES);
        for (number, (name, service)) in (1..).zip([
            ("login.example.com", LOGIN),
            ("LOGIN.Example.COM", LOGIN),
            ("login.example.com.", LOGIN),
            ("www.example.com", CDN),
            ("a.b.example.com", CDN),
            ("a.img.example.com", IMAGES),
            ("a.b.c.d.img.example.com", IMAGES),
            ("img.example.com", CDN),
            ("x.login.example.com", CDN),
            ("example.com", SHOP),
            ("badexample.com", SHOP),
            ("example.org", SHOP),
            ("com", SHOP),
            ("..example.com", CDN),
            ("a.b.c.d.e.f.g.h.i.j.k.example.com", CDN),
        ]) {
            asks_for(stage, number, &named(name), service);
        }

        stage.story("no name: the port's own service");
        stage.shop_is(SERVICE_NAMED).names(&NAMES);
        asks_for(stage, 1, &ClientHello::of_a_browser(), SHOP);
        asks_for(stage, 2, &named("shop.test").encrypted(), SHOP);

        stage.story("no name, one that may hide another, or one too long to be one");
        let longest = format!("{}.example.com", "a.".repeat(120) + "b");
        let too_long = format!("{}c", longest);
        stage.shop_is(SERVICE_NAMED).names(&[NAMES[0], NAMES[1], ("", UNKNOWN)]);
        asks_for(stage, 1, &ClientHello::of_a_browser(), UNKNOWN);
        asks_for(stage, 2, &named(""), UNKNOWN);
        asks_for(stage, 3, &named("shop.test"), SHOP);
        asks_for(stage, 4, &named("shop.test").encrypted(), UNKNOWN);
        asks_for(stage, 5, &named("login.example.com").encrypted(), LOGIN);
        asks_for(stage, 6, &named(&longest), CDN);
        asks_for(stage, 7, &named(&too_long), UNKNOWN);
        asks_for(
            stage,
            8,
            &ClientHello::of_a_browser().with(0, &[0, 5, 1, 0, 2, b'a', b'b']),
            UNKNOWN,
        );

        stage.story("where the port's service has no names, none is looked at");
        stage.names(&NAMES);
        asks_for(stage, 1, &named("login.example.com"), SHOP);
    });
}

#[test]
fn a_verdict_for_a_named_service_acts_from_the_hello_on() {
    play_everywhere("a_verdict_for_a_named_service", |stage| {
        let hello = ClientHello::of_a_browser().named("login.example.com").padded_to(900);
        let other = ClientHello::of_a_browser().named("www.example.com");
        let stream = hello.stream();
        let by_address = |expect: Expect, class, hits| {
            expect.class(class).hit(class, Action::Drop, Mode::Enforce, hits)
        };

        stage
            .story("not on the SYN, but on the segment that completes the hello, and what follows");
        for talk in [stage.v4(443), stage.v6(443)] {
            stage.shop_is(SERVICE_NAMED).names(&NAMES);
            stage.verdict(&talk.net(), 240, &only(LOGIN, DROP));
            connect(stage, &talk);
            stage.arrives("the first part", &part(&talk, &stream, 0, 400), served(SHOP));
            let heard = Heard::whole(&talk, &hello).in_segments(2).for_service(LOGIN);
            let expect = by_address(turned_hello(heard), 240, 1);
            let frame = stage.arrives("the rest", &part(&talk, &stream, 400, 900), expect);
            is_reset(stage, &frame, &talk, 400);
            let again = part(&talk, &stream, 400, 900);
            stage.arrives("the rest again", &again, {
                dropped_by(240, SHOP).hit(240, Action::Drop, Mode::Enforce, 2)
            });
        }

        stage.story("not on flows that ask for another name, or that have not asked yet");
        let talk = stage.v4(443);
        stage.shop_is(SERVICE_NAMED).names(&NAMES);
        stage.verdict(&talk.net(), 241, &only(LOGIN, DROP));
        connect(stage, &talk);
        let bytes = other.stream();
        let expect = read(Heard::whole(&talk, &other).for_service(CDN));
        stage.arrives("another name", &part(&talk, &bytes, 0, bytes.len()), expect);
        let data = talk.ask(bytes.len() as u32, 0).payload(b"GET /").build();
        stage.arrives("its data", &data, served(SHOP));

        stage.story("a verdict that comes after the hello ends the flow with its next segment");
        let talk = stage.v6(443);
        stage.shop_is(SERVICE_NAMED).names(&NAMES);
        connect(stage, &talk);
        let expect = read(Heard::whole(&talk, &hello).for_service(LOGIN));
        stage.arrives("the hello", &part(&talk, &stream, 0, 900), expect);
        stage.verdict(&talk.net(), 242, &only(LOGIN, DROP));
        let data = talk.ask(900, 0).payload(b"GET /").build();
        let frame = stage.arrives("its data", &data, by_address(turned(), 242, 1));
        is_reset(stage, &frame, &talk, 900);

        stage.story("an observed verdict counts the hello once");
        let talk = stage.v4(443);
        stage.shop_is(SERVICE_NAMED).names(&NAMES);
        let observed = VerdictClass { mode: Mode::Observe as u8, ..only(LOGIN, DROP) };
        stage.verdict(&talk.net(), 243, &observed);
        connect(stage, &talk);
        let expect = read(Heard::whole(&talk, &hello).for_service(LOGIN).would(243))
            .reason(Reason::Would)
            .class(243)
            .service(LOGIN, Outcome::Would)
            .hit(243, Action::Drop, Mode::Observe, 1);
        stage.arrives("the hello", &part(&talk, &stream, 0, 900), expect);

        stage.story("one that the port's service has too does not count it again");
        let talk = stage.v4(443);
        stage.shop_is(SERVICE_NAMED).names(&NAMES);
        connect(stage, &talk);
        let mut both = only(LOGIN, DROP);
        both.services.insert(SHOP);
        let observed = VerdictClass { mode: Mode::Observe as u8, ..both };
        stage.verdict(&talk.net(), 244, &observed);
        let would = |expect: Expect, hits: u32| {
            expect.reason(Reason::Would).class(244).service(SHOP, Outcome::Would).hit(
                244,
                Action::Drop,
                Mode::Observe,
                hits,
            )
        };
        let expect = would(read(Heard::whole(&talk, &hello).for_service(LOGIN).would(244)), 1);
        stage.arrives("the hello", &part(&talk, &stream, 0, 900), expect);
        let data = talk.ask(900, 0).payload(b"GET /").build();
        stage.arrives("its data", &data, would(served(SHOP), 2));

        stage.story("two observed verdicts count a packet as one");
        let talk = stage.v4(443);
        stage.shop_is(SERVICE_NAMED).names(&NAMES);
        connect(stage, &talk);
        let observed = |service| VerdictClass { mode: Mode::Observe as u8, ..only(service, DROP) };
        stage.verdict("203.0.113.0/24", 245, &observed(SHOP));
        stage.verdict(&talk.net(), 246, &observed(LOGIN));
        let expect = read(Heard::whole(&talk, &hello).for_service(LOGIN).would(246))
            .reason(Reason::Would)
            .service(SHOP, Outcome::Would)
            .class(245)
            .hit(245, Action::Drop, Mode::Observe, 1)
            .class(246)
            .hit(246, Action::Drop, Mode::Observe, 1);
        stage.arrives("the hello", &part(&talk, &stream, 0, 900), expect);
    });
}

#[test]
fn a_limit_for_a_named_service_counts_hellos() {
    play("a_limit_for_a_named_service_counts_hellos", |stage| {
        let hello = ClientHello::of_a_browser().named("login.example.com");
        let stream = hello.stream();
        let heard = |talk: &Talk| Heard::whole(talk, &hello).for_service(LOGIN);

        stage.story("the third at once is ended at its hello");
        stage.shop_is(SERVICE_NAMED).names(&NAMES);
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 250, &only(LOGIN, LIMIT));
        for number in [1, 2] {
            asks_for(stage, number, &hello, LOGIN);
        }
        let talk = talk.with_port(3);
        connect_as(stage, &talk, 3);
        let expect = turned_by_limit(LOGIN)
            .reason(Reason::HelloRead)
            .hears(heard(&talk).refused())
            .class(250)
            .hit(250, Action::Limit, Mode::Enforce, 1);
        stage.arrives("the third", &part(&talk, &stream, 0, stream.len()), expect);
        asks_for(stage, 4, &ClientHello::of_a_browser().named("www.example.com"), CDN);
        stage.after(SECOND);
        asks_for(stage, 5, &hello, LOGIN);

        stage.story("a limit that the port's service has too counts a connection once");
        stage.shop_is(SERVICE_NAMED).names(&NAMES);
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 251, &LIMIT);
        for number in [1, 2] {
            asks_for(stage, number, &hello, LOGIN);
        }
    });
}
