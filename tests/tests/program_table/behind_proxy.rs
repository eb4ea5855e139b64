//! Verdicts on clients behind a declared proxy: they end that client's flow, at its PROXY header or with
//! its next segment, and no other flow through the proxy.

use std::time::Duration;

use weir_common::abi::{
    Action, Mode, Reason, VerdictClass, VerdictKind,
    control::{SERVICE_NAMED, SERVICE_PROXIED},
    tally::Outcome,
};
use weir_sensor::enforce::dataplane::Subject;

use crate::{
    client_hello::ClientHello,
    expect::{Expect, Told, dropped_by, passes, served},
    fingerprints::{is_reset, refused, turned, turned_by_limit, turned_hello},
    heard::Heard,
    hellos::{part, read},
    limits::{LIMIT, connect, connect_as},
    play, play_everywhere,
    proxied::{PROXIES, behind_proxies, client, line, named},
    stage::SHOP,
    talk::Talk,
    verdicts::{ALLOW, DROP, first_drop, only},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_verdict_on_the_client_behind_a_proxy_ends_its_flow() {
    play_everywhere("a_verdict_on_the_client_behind_a_proxy", |stage| {
        let browser = ClientHello::of_a_browser().named("shop.example").padded_to(400);
        let by_address = |expect: Expect, class, hits| {
            expect.class(class).hit(class, Action::Drop, Mode::Enforce, hits)
        };

        stage.story("it is there before: the header itself is refused");
        behind_proxies(stage);
        let inner = client("192.0.2.20:50020");
        let header = line(inner);
        stage.verdict("192.0.2.20/32", 270, &DROP);
        let talk = stage.v4(443);
        connect(stage, &talk);
        let expect = by_address(named(turned(), inner, 1), 270, 1);
        let frame = stage.arrives("the header", &talk.ask(0, 0).payload(&header).build(), expect);
        is_reset(stage, &frame, &talk, 0);
        let hello = talk.ask(header.len() as u32, 0).payload(&browser.stream()).build();
        stage.arrives("the hello", &hello, refused());
        let other = client("192.0.2.21:50021");
        let talk = talk.with_port(1);
        connect_as(stage, &talk, 2);
        let expect = named(served(SHOP), other, 1);
        let segment = talk.ask(0, 0).payload(&line(other)).build();
        stage.arrives("another client's header", &segment, expect);

        stage.story("header and hello in one segment; a whole /64");
        behind_proxies(stage);
        let inner = client("[2001:db8:2:20::7]:50022");
        stage.verdict("2001:db8:2:20::/64", 271, &DROP);
        let talk = stage.v6(443);
        connect(stage, &talk);
        let stream = [line(inner), browser.stream()].concat();
        let heard = Heard::whole(&talk, &browser).from_client(inner);
        let expect = by_address(named(turned_hello(heard), inner, 1), 271, 1);
        let both = part(&talk, &stream, 0, stream.len());
        let frame = stage.arrives("header and hello", &both, expect);
        is_reset(stage, &frame, &talk, 0);

        stage.story("it comes later: the next segment is turned into a reset");
        behind_proxies(stage);
        let inner = client("192.0.2.22:50023");
        let stream = [line(inner), browser.stream()].concat();
        let end = stream.len() as u32;
        let talk = stage.v4(443);
        for (port, seen) in [(1, true), (2, false)] {
            let talk = talk.with_port(port);
            connect_as(stage, &talk, u32::from(port));
            let heard = Heard::whole(&talk, &browser).from_client(inner);
            let expect = named(read(heard), inner, u32::from(port));
            stage.arrives("header and hello", &part(&talk, &stream, 0, stream.len()), expect);
            if seen {
                stage.leaves("an answer", &talk.answer(0, end).payload(&[22; 90]).build(), {
                    passes()
                });
            }
        }
        stage.verdict("192.0.2.22/32", 272, &DROP);
        let data = |talk: &Talk, at: u32| talk.ask(at, 0).payload(b"GET /").build();
        let first = talk.with_port(1);
        let expect = by_address(turned(), 272, 1);
        let frame = stage.arrives("the next", &data(&first, end), expect);
        is_reset(stage, &frame, &first, end);
        stage.arrives("again", &data(&first, end), refused());
        let second = talk.with_port(2);
        let expect = by_address(turned(), 272, 2);
        let frame = stage.arrives("one from ahead", &data(&second, end + 1000), expect);
        is_reset(stage, &frame, &second, end);

        stage.story("an old segment is turned into a reset with the next number too");
        behind_proxies(stage);
        let inner = client("192.0.2.23:50024");
        let stream = [line(inner), browser.stream()].concat();
        let talk = stage.v4(443);
        connect(stage, &talk);
        let heard = Heard::whole(&talk, &browser).from_client(inner);
        let expect = named(read(heard), inner, 1);
        stage.arrives("header and hello", &part(&talk, &stream, 0, stream.len()), expect);
        stage.verdict("192.0.2.23/32", 273, &DROP);
        let expect = by_address(turned(), 273, 1);
        let frame = stage.arrives("a part again", &part(&talk, &stream, 0, 100), expect);
        is_reset(stage, &frame, &talk, stream.len() as u32);

        stage.story("the proxy's own address is judged as any");
        behind_proxies(stage);
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 274, &DROP);
        stage.arrives("SYN", &talk.syn().build(), first_drop(274, SHOP));
        let expect = dropped_by(274, SHOP).hit(274, Action::Drop, Mode::Enforce, 2);
        stage.arrives("a header", &part(&talk, &line(inner), 0, 40), expect);

        stage.story("an observed one counts, and the flow goes on");
        behind_proxies(stage);
        let inner = client("192.0.2.24:50025");
        let stream = line(inner);
        let observed = VerdictClass { mode: Mode::Observe as u8, ..DROP };
        stage.verdict("192.0.2.24/32", 275, &observed);
        let talk = stage.v4(443);
        connect(stage, &talk);
        let would = |expect: Expect, hits| {
            expect.reason(Reason::Would).class(275).service(SHOP, Outcome::Would).hit(
                275,
                Action::Drop,
                Mode::Observe,
                hits,
            )
        };
        let told =
            served(SHOP).reason(Reason::ProxyRead).event(Told::WouldBeRefused { class: 275 });
        let expect = would(told, 1);
        stage.arrives("the header", &part(&talk, &stream, 0, stream.len()), expect);
        let data = talk.ask(stream.len() as u32, 0).build();
        stage.arrives("an acknowledgement", &data, would(served(SHOP), 2));
    });
}

#[test]
fn what_else_holds_for_the_client_behind_a_proxy() {
    play("what_else_holds_for_the_client_behind_a_proxy", |stage| {
        let tool = ClientHello::of_a_tool().named("shop.example").padded_to(400);

        stage.story("a verdict on its fingerprint ends its flow, and no other through the proxy");
        behind_proxies(stage);
        let (inner, other) = (client("192.0.2.30:50030"), client("192.0.2.31:50031"));
        let key = stage.keys(&tool).matching;
        stage.subject(Subject::Fingerprint(key), 280, &DROP);
        let talk = stage.v4(443);
        connect(stage, &talk);
        let header = line(inner);
        let stream = [header.as_slice(), &tool.stream()].concat();
        let expect = named(served(SHOP), inner, 1);
        stage.arrives("the header", &part(&talk, &stream, 0, header.len()), expect);
        let half = header.len() + 200;
        stage.arrives("half a hello", &part(&talk, &stream, header.len(), half), served(SHOP));
        let heard = Heard::whole(&talk, &tool).from_client(inner).in_segments(2);
        let expect = turned_hello(heard).class(280).hit_by(
            VerdictKind::Fingerprint,
            280,
            Action::Drop,
            1,
            Mode::Enforce,
        );
        let frame = stage.arrives("the rest", &part(&talk, &stream, half, stream.len()), expect);
        is_reset(stage, &frame, &talk, half as u32);
        let talk = talk.with_port(1);
        connect_as(stage, &talk, 2);
        let browser = ClientHello::of_a_browser();
        let bytes = [line(other), browser.stream()].concat();
        let expect = named(read(Heard::whole(&talk, &browser).from_client(other)), other, 1);
        stage.arrives("another client", &part(&talk, &bytes, 0, bytes.len()), expect);

        stage.story("an allow of its address covers its fingerprint; one of the proxy's does not");
        behind_proxies(stage);
        let (inner, other) = (client("192.0.2.32:50032"), client("192.0.2.33:50033"));
        stage.subject(Subject::Fingerprint(key), 281, &DROP);
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.verdict("192.0.2.32/32", 282, &ALLOW).verdict(&talk.net(), 282, &ALLOW);
        let bytes = [line(inner), tool.stream()].concat();
        let expect = named(read(Heard::whole(&talk, &tool).from_client(inner)), inner, 1);
        let expect = expect.reason(Reason::PassAllowed);
        stage.arrives("the one", &part(&talk, &bytes, 0, bytes.len()), expect);
        let talk = talk.with_port(1);
        stage.verdict(&talk.net(), 283, &only(0, ALLOW));
        connect_as(stage, &talk, 2);
        stage.verdict(&talk.net(), 282, &ALLOW);
        let bytes = [line(other), tool.stream()].concat();
        let heard = Heard::whole(&talk, &tool).from_client(other);
        let expect = named(turned_hello(heard), other, 1)
            .reason(Reason::PassAllowed)
            .class(281)
            .hit_by(VerdictKind::Fingerprint, 281, Action::Drop, 1, Mode::Enforce);
        stage.arrives("the other", &part(&talk, &bytes, 0, bytes.len()), expect);

        stage.story("a limit counts its connections at their headers");
        behind_proxies(stage);
        let inner = client("192.0.2.34:50034");
        stage.verdict("192.0.2.34/32", 284, &LIMIT);
        let header = line(inner);
        for number in [1, 2] {
            let talk = stage.v4(443).with_port(number);
            connect_as(stage, &talk, u32::from(number));
            let expect = named(served(SHOP), inner, u32::from(number));
            stage.arrives("a header", &part(&talk, &header, 0, header.len()), expect);
            let ack = talk.ask(header.len() as u32, 0).build();
            stage.arrives("what follows does not count", &ack, served(SHOP));
        }
        let talk = stage.v4(443).with_port(3);
        connect_as(stage, &talk, 3);
        let expect = named(turned_by_limit(SHOP), inner, 3).class(284).hit(
            284,
            Action::Limit,
            Mode::Enforce,
            1,
        );
        stage.arrives("the third at once", &part(&talk, &header, 0, header.len()), expect);
        stage.after(SECOND);
        let talk = stage.v4(443).with_port(4);
        connect_as(stage, &talk, 4);
        let expect = named(served(SHOP), inner, 4);
        stage.arrives("a second later", &part(&talk, &header, 0, header.len()), expect);

        stage.story("a verdict for the service that its hello names");
        stage.shop_is(SERVICE_PROXIED | SERVICE_NAMED).proxies(&PROXIES);
        stage.names(&[("shop.example", 20)]);
        let inner = client("192.0.2.35:50035");
        stage.verdict("192.0.2.35/32", 285, &only(20, DROP));
        let talk = stage.v4(443);
        connect(stage, &talk);
        let header = line(inner);
        let stream = [header.as_slice(), &tool.stream()].concat();
        let expect = named(served(SHOP), inner, 1);
        stage.arrives("the header", &part(&talk, &stream, 0, header.len()), expect);
        let heard = Heard::whole(&talk, &tool).from_client(inner).for_service(20);
        let expect = turned_hello(heard).class(285).hit(285, Action::Drop, Mode::Enforce, 1);
        let hello = part(&talk, &stream, header.len(), stream.len());
        let frame = stage.arrives("the hello", &hello, expect);
        is_reset(stage, &frame, &talk, header.len() as u32);
    });
}
