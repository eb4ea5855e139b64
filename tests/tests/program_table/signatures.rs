//! Verdicts by what a SYN looks like, and by flow: beside those on addresses, and never stronger.

use std::time::Duration;

use weir_common::abi::{
    Action, Mode, Protocol, Reason, ServiceSet, VerdictClass, VerdictKind, tally::Outcome,
};
use weir_sensor::enforce::dataplane::Subject;

use crate::{
    expect::{Expect, dropped, dropped_by, passes, served, syn_served},
    limits::connect,
    play_everywhere,
    stage::{NONE, QUIC, SHOP, Stage},
    talk::Talk,
    verdicts::{DROP, operator},
};

const SECOND: Duration = Duration::from_secs(1);

/// What the visitors' SYNs look like.
const V4: &str = "4:64:0:1460:mss*44,7:mss,sok,ts,nop,ws:id-:0";
const V4_ANY_MSS: &str = "4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:id-:0";
const V6: &str = "6:64:0:1460:mss*44,7:mss,sok,ts,nop,ws::0";

/// One new connection a second, two at once.
const LIMIT: VerdictClass = VerdictClass {
    reason: Reason::LimitVerdict as u8,
    limit_interval_ns: 1_000_000_000,
    limit_burst_ns: 1_000_000_000,
    ..operator(Action::Limit)
};

fn by_syn(expect: Expect, class: u16, hits: u32) -> Expect {
    expect.hit_by(VerdictKind::Syn, class, Action::Drop, hits, Mode::Enforce)
}

fn by_flow(expect: Expect, class: u16, hits: u32) -> Expect {
    expect.hit_by(VerdictKind::Flow, class, Action::Drop, hits, Mode::Enforce)
}

#[test]
fn a_syn_signature_is_dropped_and_nothing_near_it() {
    play_everywhere("a_syn_signature_is_dropped", |stage| {
        stage.story("the exact signature, of whoever sends it");
        let talk = stage.v4(443);
        stage.syn_verdict(V4, 300, &DROP);
        stage.arrives("SYN", &talk.syn().build(), by_syn(dropped_by(300, SHOP), 300, 1));
        let mut other = talk;
        other.visitor.set_ip([203, 0, 113, 250].into());
        stage.arrives("another's", &other.syn().build(), by_syn(dropped_by(300, SHOP), 300, 2));
        let unprotected = talk.to_port(5432).syn().build();
        stage.arrives("to any port", &unprotected, dropped_by(300, NONE));
        let narrower = talk.syn().window(8192).build();
        stage.arrives("another window", &narrower, syn_served(SHOP));
        stage.arrives("no options", &talk.segment().syn().build(), syn_served(SHOP));
        stage.arrives("what is no SYN", &talk.ask(0, 0).build(), served(SHOP));
        stage.arrives("IPv6 looks different", &stage.v6(443).syn().build(), syn_served(SHOP));

        stage.story("IPv6");
        let talk = stage.v6(443);
        stage.syn_verdict(V6, 301, &DROP);
        stage.arrives("SYN", &talk.syn().build(), by_syn(dropped_by(301, SHOP), 301, 1));

        stage.story("whatever the segment size, where the window is a multiple of it");
        let talk = stage.v4(443);
        stage.syn_verdict(V4_ANY_MSS, 302, &DROP);
        stage.arrives("1460", &talk.syn().build(), by_syn(dropped_by(302, SHOP), 302, 1));
        let tunnelled = smaller(&talk, 1200);
        stage.arrives("1200", &tunnelled, by_syn(dropped_by(302, SHOP), 302, 2));

        stage.story("for one service only");
        let talk = stage.v4(443);
        let only_shop = VerdictClass { services: ServiceSet::one(SHOP), ..DROP };
        stage.syn_verdict(V4, 303, &only_shop);
        let elsewhere = talk.to_port(5432).syn().build();
        stage.arrives("elsewhere", &elsewhere, served(NONE));
        stage.arrives("there", &talk.syn().build(), by_syn(dropped_by(303, SHOP), 303, 1));
    });
}

/// A SYN of 44 segments of this size.
fn smaller(talk: &Talk, mss: u16) -> Vec<u8> {
    use weir_lab::packet::TcpOption::{MaxSegment, Nop, SackPermitted, Timestamps, WindowScale};
    let options = [MaxSegment(mss), SackPermitted, Timestamps(1, 0), Nop, WindowScale(7)];
    let syn = talk.segment().syn().seq(7).window(44 * mss);
    options.into_iter().fold(syn, |syn, option| syn.option(option)).build()
}

#[test]
fn verdicts_on_addresses_are_stronger_than_on_what_anybody_can_forge() {
    play_everywhere("verdicts_on_addresses_are_stronger", |stage| {
        stage.story("an address that is allowed passes whatever its SYNs look like");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 310, &operator(Action::Allow)).syn_verdict(V4, 311, &DROP);
        let allowed = syn_served(SHOP).reason(Reason::PassAllowed);
        stage.arrives("SYN", &talk.syn().build(), allowed);

        stage.story("an address that is dropped stays dropped whatever its SYNs look like");
        let talk = stage.v4(443);
        let allow = operator(Action::Allow);
        stage.verdict(&talk.net(), 312, &DROP).syn_verdict(V4, 313, &allow);
        let expect = dropped_by(312, SHOP).hit(312, Action::Drop, Mode::Enforce, 1);
        stage.arrives("SYN", &talk.syn().build(), expect);

        stage.story("the exact signature is allowed, the generic one is dropped");
        let talk = stage.v4(443);
        stage.syn_verdict(V4, 314, &allow).syn_verdict(V4_ANY_MSS, 315, &DROP);
        let allowed = syn_served(SHOP).reason(Reason::PassAllowed);
        stage.arrives("exact", &talk.syn().build(), allowed);
        let generic = smaller(&talk, 1200);
        stage.arrives("generic", &generic, by_syn(dropped_by(315, SHOP), 315, 1));

        stage.story("one that observes counts and lets pass");
        let talk = stage.v4(443);
        let observed = VerdictClass { mode: Mode::Observe as u8, ..DROP };
        stage.syn_verdict(V4, 316, &observed);
        let would = syn_served(SHOP)
            .reason(Reason::Would)
            .class(316)
            .service(SHOP, Outcome::Would)
            .hit_by(VerdictKind::Syn, 316, Action::Drop, 1, Mode::Observe);
        stage.arrives("SYN", &talk.syn().build(), would);

        stage.story("a limit is one for each source, and tells of its hits");
        let talk = stage.v4(443);
        stage.syn_verdict(V4, 317, &LIMIT);
        let limited = |hits: u32| {
            let held = dropped().reason(Reason::LimitVerdict).class(317);
            let held = held.service(SHOP, Outcome::Limit);
            held.hit_by(VerdictKind::Syn, 317, Action::Limit, hits, Mode::Enforce)
        };
        for port in [1, 2] {
            stage.arrives("within", &talk.with_port(port).syn().build(), syn_served(SHOP));
        }
        stage.arrives("held back", &talk.with_port(3).syn().build(), limited(1));
        let mut other = talk;
        other.visitor.set_ip([203, 0, 113, 251].into());
        stage.arrives("another source", &other.syn().build(), syn_served(SHOP));
        stage.arrives("held back again", &talk.with_port(4).syn().build(), limited(2));
        stage.after(SECOND);
        stage.arrives("a second later", &talk.with_port(4).syn().build(), syn_served(SHOP));
    });
}

#[test]
fn a_flow_is_dropped_and_no_other_of_its_source() {
    play_everywhere("a_flow_is_dropped", |stage| {
        stage.story("TCP: the established flow is ended at the server");
        let talk = stage.v4(443);
        connect(stage, &talk);
        on_flow(stage, &talk, Protocol::Tcp, 320);
        let reset = passes()
            .reason(Reason::ResetToServer)
            .class(320)
            .service(SHOP, Outcome::Drop)
            .rewritten();
        let data = talk.ask(0, 0).payload(b"GET /").build();
        stage.arrives("data", &data, by_flow(reset, 320, 1));
        let other = talk.with_port(40_001).syn().build();
        stage.arrives("another flow of the same source", &other, syn_served(SHOP));

        stage.story("UDP");
        let talk = stage.v6(443);
        on_flow(stage, &talk, Protocol::Udp, 321);
        stage.arrives("datagram", &talk.datagram(b"x"), by_flow(dropped_by(321, QUIC), 321, 1));
        let other = talk.with_port(40_001).datagram(b"x");
        stage.arrives("of another port", &other, served(QUIC));

        stage.story("beside an allow for the peer, who may be a proxy");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 322, &operator(Action::Allow));
        on_flow(stage, &talk, Protocol::Udp, 323);
        stage.arrives("datagram", &talk.datagram(b"x"), by_flow(dropped_by(323, QUIC), 323, 1));
        let other = talk.with_port(40_001).datagram(b"x");
        stage.arrives("of another port", &other, served(QUIC).reason(Reason::PassAllowed));

        stage.story("ports that are no service have no verdicts on flows");
        let talk = stage.v4(5432);
        on_flow(stage, &talk, Protocol::Udp, 324);
        stage.arrives("datagram", &talk.datagram(b"x"), served(NONE));
    });
}

fn on_flow(stage: &mut Stage<'_>, talk: &Talk, protocol: Protocol, class: u16) {
    stage.subject(Subject::Flow(talk.flow(protocol)), class, &DROP);
}
