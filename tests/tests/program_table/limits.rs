//! Limits: new connections a second by verdict. Established flows are never touched, and what rests
//! on forgeable evidence never reaches a proven source.

use std::time::Duration;

use weir_common::abi::{
    Action, Mode, Reason, VerdictClass, tally::Outcome, verdict::CLASS_UNPROVEN_ONLY,
};
use weir_lab::packet::ipv4;

use crate::{
    expect::{Expect, Told, dropped, dropped_by, passes, passes_as, served, syn_served},
    play, play_everywhere,
    stage::{API, NONE, SHOP, Stage},
    talk::Talk,
    verdicts::{DROP, operator},
};

const SECOND: Duration = Duration::from_secs(1);

/// One new connection a second, two at once.
pub(crate) const LIMIT: VerdictClass = VerdictClass {
    reason: Reason::LimitVerdict as u8,
    limit_interval_ns: 1_000_000_000,
    limit_burst_ns: 1_000_000_000,
    ..operator(Action::Limit)
};

/// One unproven SYN every hundred seconds.
const UNPROVEN: VerdictClass = VerdictClass {
    flags: CLASS_UNPROVEN_ONLY,
    limit_interval_ns: 100_000_000_000,
    limit_burst_ns: 0,
    ..operator(Action::Limit)
};

fn limited(class: u16, service: u8) -> Expect {
    dropped().reason(Reason::LimitVerdict).class(class).service(service, Outcome::Limit)
}

/// Held back by an exact entry, which tells of its 1st, 2nd, 4th … hit.
fn told(expect: Expect, class: u16, hits: u32) -> Expect {
    expect.hit(class, Action::Limit, Mode::Enforce, hits)
}

fn unproven(class: u16, service: u8) -> Expect {
    dropped().reason(Reason::LimitUnproven).class(class).service(service, Outcome::Limit)
}

/// Connects, as the visitor's first connection, to the shop.
pub(crate) fn connect(stage: &mut Stage<'_>, talk: &Talk) {
    connect_as(stage, talk, 1);
}

/// Connects, as the visitor's `number`-th connection, to the shop.
pub(crate) fn connect_as(stage: &mut Stage<'_>, talk: &Talk, number: u32) {
    stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
    let answered = passes().reason(Reason::SynAckSeen);
    stage.leaves("SYN-ACK", &talk.syn_ack().build(), answered);
    let proven = served(SHOP)
        .reason(Reason::ProvenHandshake)
        .event(Told::Established { connections: number, known: true });
    stage.arrives("the third packet", &talk.ask(0, 0).build(), proven);
}

#[test]
fn a_limit_lets_a_burst_pass_and_then_its_rate() {
    play_everywhere("a_limit_lets_a_burst_pass", |stage| {
        stage.story("two at once, then one a second");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 100, &LIMIT);
        let syn = |port| talk.with_port(port).syn().build();
        stage.arrives("the first", &syn(1), syn_served(SHOP));
        stage.arrives("the second", &syn(2), syn_served(SHOP));
        stage.arrives("the third", &syn(3), told(limited(100, SHOP), 100, 1));
        stage.after(SECOND / 2);
        stage.arrives("too early", &syn(3), told(limited(100, SHOP), 100, 2));
        stage.after(SECOND / 2);
        stage.arrives("a second later", &syn(3), syn_served(SHOP));
        stage.arrives("and no more", &syn(4), limited(100, SHOP));
        let other = talk.with_port(5).to_port(8443).syn().build();
        stage.arrives("of all services together", &other, told(limited(100, API), 100, 4));
        stage.after(1000 * SECOND);
        stage.arrives("rested: the first", &syn(6), syn_served(SHOP));
        stage.arrives("rested: the second", &syn(7), syn_served(SHOP));
        stage.arrives("rested: no third", &syn(8), limited(100, SHOP));

        stage.story("IPv6: the whole /64 has one rate");
        let talk = stage.v6(443);
        stage.verdict("2001:db8:113::/48", 101, &LIMIT);
        let mut neighbour = talk;
        neighbour.visitor.set_ip("2001:db8:113:2::99".parse().unwrap());
        stage.arrives("one", &talk.syn().build(), syn_served(SHOP));
        stage.arrives("its neighbour", &neighbour.syn().build(), syn_served(SHOP));
        let third = neighbour.with_port(9).syn().build();
        stage.arrives("one too many", &third, limited(101, SHOP));

        stage.story("IPv6: a single address");
        let talk = stage.v6(443);
        stage.verdict(&talk.net(), 102, &LIMIT);
        let mut neighbour = talk;
        neighbour.visitor.set_ip("2001:db8:113:3::99".parse().unwrap());
        for port in 1..=3 {
            stage.arrives(
                "its neighbour",
                &neighbour.with_port(port).syn().build(),
                syn_served(SHOP),
            );
        }
        let syn = |port| talk.with_port(port).syn().build();
        stage.arrives("one", &syn(1), syn_served(SHOP));
        stage.arrives("two", &syn(2), syn_served(SHOP));
        stage.arrives("one too many is told", &syn(3), told(limited(102, SHOP), 102, 1));
    });
}

#[test]
fn a_limit_touches_nothing_but_new_connections() {
    play("a_limit_touches_nothing_but_new_connections", |stage| {
        stage.story("an established flow passes a limit that is used up");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let none = VerdictClass { limit_interval_ns: u64::MAX / 4, limit_burst_ns: 0, ..LIMIT };
        stage.verdict(&talk.net(), 105, &none);
        stage.arrives("the one", &talk.with_port(1).syn().build(), syn_served(SHOP));
        stage.arrives(
            "no more",
            &talk.with_port(2).syn().build(),
            told(limited(105, SHOP), 105, 1),
        );
        let data = talk.ask(0, 0).payload(b"GET /").build();
        stage.arrives("data", &data, served(SHOP));
        let stray = talk.with_port(3).ask(0, 0).build();
        stage.arrives("a segment of no flow", &stray, served(SHOP));
        let ping = ipv4([203, 0, 113, 1], [198, 51, 100, 10]).icmp(8, 0).build();
        stage.arrives("ping", &ping, passes_as(Reason::PassOtherProtocol));
        let datagram = ipv4([203, 0, 113, 1], [198, 51, 100, 10]).udp(1, 53).build();
        stage.arrives("every datagram is new", &datagram, told(limited(105, NONE), 105, 2));
    });
}

#[test]
fn a_limit_does_not_count_the_answers_to_this_hosts_questions() {
    play_everywhere("a_limit_does_not_count_the_answers", |stage| {
        stage.story("a resolver's answers, and then its own datagrams");
        let talk = stage.v4(50_000).with_port(53);
        stage.verdict("0.0.0.0/0", 130, &LIMIT);
        stage.leaves("a query", &talk.datagram_back(b"query"), passes());
        for _ in 0..5 {
            stage.arrives("an answer", &talk.datagram(b"answer"), served(NONE));
        }
        let other = talk.to_port(50_001);
        for _ in 0..2 {
            stage.arrives("nobody asked", &other.datagram(b"news"), served(NONE));
        }
        stage.arrives("too much of it", &other.datagram(b"news"), limited(130, NONE));
        stage.arrives("still an answer", &talk.datagram(b"answer"), served(NONE));
    });
}

#[test]
fn of_limit_and_drop_the_stronger_counts() {
    play("of_limit_and_drop_the_stronger_counts", |stage| {
        let first_drop = |class| dropped_by(class, SHOP).hit(class, Action::Drop, Mode::Enforce, 1);
        stage.story("a covering drop is stronger than an exact limit");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 110, &LIMIT).verdict("203.0.113.0/24", 111, &DROP);
        stage.arrives("SYN", &talk.syn().build(), first_drop(111));

        stage.story("an exact drop is stronger than a covering limit");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 112, &DROP).verdict("203.0.113.0/24", 113, &LIMIT);
        stage.arrives("SYN", &talk.syn().build(), first_drop(112));

        stage.story("a limit that observes counts and lets pass");
        let talk = stage.v4(443);
        let observed = VerdictClass { mode: Mode::Observe as u8, ..LIMIT };
        stage.verdict(&talk.net(), 114, &observed);
        for port in [1, 2] {
            stage.arrives("within", &talk.with_port(port).syn().build(), syn_served(SHOP));
        }
        let would = syn_served(SHOP)
            .reason(Reason::Would)
            .class(114)
            .service(SHOP, Outcome::Would)
            .hit(114, Action::Limit, Mode::Observe, 1);
        stage.arrives("would be held back", &talk.with_port(3).syn().build(), would);

        stage.story("a drop and a limit that observe count a packet once");
        let talk = stage.v4(443);
        let tight = VerdictClass { limit_burst_ns: 0, ..observed };
        let drop = VerdictClass { mode: Mode::Observe as u8, ..DROP };
        stage.verdict(&talk.net(), 125, &tight).verdict("203.0.113.0/24", 126, &drop);
        let would = syn_served(SHOP)
            .reason(Reason::Would)
            .class(126)
            .service(SHOP, Outcome::Would)
            .hit(126, Action::Drop, Mode::Observe, 1);
        stage.arrives("would be dropped", &talk.with_port(1).syn().build(), would);
        let would = syn_served(SHOP)
            .reason(Reason::Would)
            .class(126)
            .class(125)
            .service(SHOP, Outcome::Would)
            .hit(126, Action::Drop, Mode::Observe, 2)
            .hit(125, Action::Limit, Mode::Observe, 1);
        let second = talk.with_port(2).syn().build();
        stage.arrives("would be dropped or held back", &second, would);

        stage.story("an exact limit that observes does not shield from one that enforces");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 115, &observed).verdict("203.0.113.0/24", 116, &LIMIT);
        for port in [1, 2] {
            stage.arrives("within", &talk.with_port(port).syn().build(), syn_served(SHOP));
        }
        stage.arrives("held back", &talk.with_port(3).syn().build(), limited(116, SHOP));

        stage.story("of two limits that enforce, the exact one counts");
        let talk = stage.v4(443);
        let tight = VerdictClass { limit_burst_ns: 0, ..LIMIT };
        stage.verdict(&talk.net(), 117, &LIMIT).verdict("203.0.113.0/24", 118, &tight);
        for port in [1, 2] {
            stage.arrives("within", &talk.with_port(port).syn().build(), syn_served(SHOP));
        }
        stage.arrives(
            "held back",
            &talk.with_port(3).syn().build(),
            told(limited(117, SHOP), 117, 1),
        );
    });
}

#[test]
fn a_limit_on_the_unproven_never_reaches_a_proven_source() {
    play_everywhere("a_limit_on_the_unproven", |stage| {
        stage.story("an unproven source: the retransmission of a held-back SYN passes");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 120, &UNPROVEN);
        let syn = |port| talk.with_port(port).syn().build();
        stage.arrives("the first", &syn(1), syn_served(SHOP));
        stage.arrives("the second", &syn(2), told(unproven(120, SHOP), 120, 1));
        stage.arrives("the third", &syn(3), told(unproven(120, SHOP), 120, 2));
        stage.after(SECOND / 10);
        stage.arrives("again at once, as a flood would", &syn(2), unproven(120, SHOP));
        stage.after(SECOND);
        let retry = syn_served(SHOP).reason(Reason::PassGuardRetry);
        stage.arrives("again after a second, as a client would", &syn(2), retry);
        let other = talk.with_port(3).segment().syn().seq(77).build();
        stage.arrives(
            "another sequence number is no retransmission",
            &other,
            told(unproven(120, SHOP), 120, 4),
        );
        let datagram = ipv4([203, 0, 113, 1], [198, 51, 100, 10]).udp(1, 53).build();
        stage.arrives("UDP is not meant", &datagram, served(NONE));
        stage.arrives("nor are segments", &talk.ask(5, 0).build(), served(SHOP));

        stage.story("a source that was proven before");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.verdict(&talk.net(), 121, &UNPROVEN);
        for port in 1..=5 {
            let what = format!("new connection {port}");
            stage.arrives(&what, &talk.with_port(port).syn().build(), syn_served(SHOP));
        }
    });
}
