//! What would have been done: the class is told with the connection, so that harm is counted by
//! connections that are proven; and classes that end with the daemon's pulse.

use std::time::Duration;

use weir_common::abi::{
    Action, Control, Mode, Reason, VerdictClass, tally::Outcome, time::TICK_NS,
};

use crate::{
    expect::{Expect, Told, dropped_by, passes, served, syn_served},
    limits::{LIMIT, connect_as},
    play, play_everywhere,
    stage::{ENFORCING, SHOP},
    verdicts::{ALLOW, DROP, OBSERVED, first_drop, operator, segment},
};

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_nanos(TICK_NS);

/// Counted under a class as what would have been done, without a report.
fn would(expect: Expect, class: u16) -> Expect {
    expect.reason(Reason::Would).class(class).service(SHOP, Outcome::Would)
}

fn observed(expect: Expect, class: u16, hits: u32) -> Expect {
    would(expect, class).hit(class, Action::Drop, Mode::Observe, hits)
}

#[test]
fn a_connection_is_told_with_the_verdict_that_would_have_refused_it() {
    play_everywhere("a_connection_is_told_with_the_verdict", |stage| {
        let answered = || passes().reason(Reason::SynAckSeen);
        let proven = |class| {
            served(SHOP).reason(Reason::ProvenHandshake).event(Told::WouldBeRefused { class })
        };

        stage.story("a drop that is observed, IPv4 and IPv6");
        for (talk, class) in [(stage.v4(443), 400), (stage.v6(443), 401)] {
            stage.verdict(&talk.net(), class, &OBSERVED);
            let expect = observed(syn_served(SHOP), class, 1);
            stage.arrives("SYN", &talk.syn().build(), expect);
            stage.leaves("SYN-ACK", &talk.syn_ack().build(), answered());
            let expect = would(proven(class), class).hit(class, Action::Drop, Mode::Observe, 2);
            stage.arrives("the third packet", &talk.ask(0, 0).build(), expect);
        }

        stage.story("one that came after the SYN");
        let talk = stage.v4(443);
        stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
        stage.leaves("SYN-ACK", &talk.syn_ack().build(), answered());
        stage.verdict(&talk.net(), 402, &OBSERVED);
        let expect = would(proven(402), 402).hit(402, Action::Drop, Mode::Observe, 1);
        stage.arrives("the third packet", &talk.ask(0, 0).build(), expect);

        stage.story("one that went before the third packet: it would have refused the SYN");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 403, &OBSERVED);
        stage.arrives("SYN", &talk.syn().build(), observed(syn_served(SHOP), 403, 1));
        stage.leaves("SYN-ACK", &talk.syn_ack().build(), answered());
        stage.verdict(&talk.net(), 404, &ALLOW);
        let expect = proven(403).reason(Reason::PassAllowed);
        stage.arrives("the third packet", &talk.ask(0, 0).build(), expect);

        stage.story("a limit that is observed would have held its SYN back");
        let talk = stage.v4(443);
        let one = VerdictClass { mode: Mode::Observe as u8, limit_burst_ns: 0, ..LIMIT };
        stage.verdict(&talk.net(), 405, &one);
        connect_as(stage, &talk, 1);
        let other = talk.with_port(2);
        let expect = would(syn_served(SHOP), 405).hit(405, Action::Limit, Mode::Observe, 1);
        stage.arrives("SYN", &other.syn().build(), expect);
        stage.leaves("SYN-ACK", &other.syn_ack().build(), answered());
        stage.arrives("the third packet", &other.ask(0, 0).build(), proven(405));

        stage.story("the exact entry is named before a prefix");
        let talk = stage.v4(443);
        stage.verdict("203.0.113.0/24", 406, &OBSERVED).verdict(&talk.net(), 407, &OBSERVED);
        let expect =
            observed(syn_served(SHOP), 407, 1).class(406).hit(406, Action::Drop, Mode::Observe, 1);
        stage.arrives("SYN", &talk.syn().build(), expect);
    });
}

#[test]
fn a_class_that_ends_with_the_daemons_pulse_only_counts_without_it() {
    play("a_class_that_ends_with_the_daemons_pulse", |stage| {
        let short = VerdictClass { heartbeat_ticks: 30, ..DROP };
        let lost = |expect: Expect, class| would(expect, class).reason(Reason::HeartbeatLost);

        stage.story("it acts up to its limit, is counted past it, and acts again");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 410, &short).pulse();
        stage.arrives("alive", &segment(&talk).build(), first_drop(410, SHOP));
        stage.after(30 * TICK);
        let expect = dropped_by(410, SHOP).hit(410, Action::Drop, Mode::Enforce, 2);
        stage.arrives("at the limit", &segment(&talk).build(), expect);
        stage.after(TICK);
        stage.arrives("past it", &segment(&talk).build(), lost(served(SHOP), 410));
        stage.pulse();
        let expect = dropped_by(410, SHOP).hit(410, Action::Drop, Mode::Enforce, 4);
        stage.arrives("back", &segment(&talk).build(), expect);

        stage.story("beside it one that outlives the daemon acts on");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 411, &short).verdict("203.0.113.0/24", 412, &DROP).pulse();
        stage.after(31 * TICK);
        let expect = dropped_by(412, SHOP)
            .class(411)
            .reason(Reason::Would)
            .service(SHOP, Outcome::Would)
            .reason(Reason::HeartbeatLost)
            .hit(411, Action::Drop, Mode::Observe, 1)
            .hit(412, Action::Drop, Mode::Enforce, 1);
        stage.arrives("a segment", &segment(&talk).build(), expect);

        stage.story("the host's limit is the least of both");
        let talk = stage.v4(443);
        let long = VerdictClass { heartbeat_ticks: 3000, ..DROP };
        stage.control(Control { heartbeat_limit_ticks: 10, ..ENFORCING });
        stage.verdict(&talk.net(), 413, &long).pulse();
        stage.after(11 * TICK);
        let expect = lost(served(SHOP), 413).hit(413, Action::Drop, Mode::Observe, 1);
        stage.arrives("past the host's", &segment(&talk).build(), expect);
        stage.control(Control { heartbeat_limit_ticks: 5000, ..ENFORCING });
        let expect = dropped_by(413, SHOP).hit(413, Action::Drop, Mode::Enforce, 2);
        stage.arrives("within both", &segment(&talk).build(), expect);

        stage.story("an allow does not depend on it");
        let talk = stage.v4(443);
        let allow = VerdictClass { heartbeat_ticks: 30, ..operator(Action::Allow) };
        stage.verdict(&talk.net(), 414, &allow).verdict("203.0.113.0/24", 415, &DROP).pulse();
        stage.after(100 * SECOND);
        let expect = served(SHOP).reason(Reason::PassAllowed);
        stage.arrives("a segment", &segment(&talk).build(), expect);
    });
}

#[test]
fn after_a_takeover_segments_of_nothing_count_for_nobody_for_a_while() {
    play("after_a_takeover_segments_of_nothing_count_for_nobody", |stage| {
        stage.story("before the time nothing is told, after it as ever");
        let talk = stage.v4(443);
        let from_ns = stage.now_ns() + 60_000_000_000;
        stage.control(Control { strays_from_ns: from_ns, ..ENFORCING });
        for _ in 0..40 {
            stage.arrives("a segment of nothing", &segment(&talk).build(), served(SHOP));
        }
        stage.after(61 * SECOND);
        for _ in 0..31 {
            stage.arrives("a stray", &segment(&talk).build(), served(SHOP));
        }
        let told = Told::Milestone(weir_common::abi::MilestoneKind::Strays, 32);
        stage.arrives("the 32nd", &segment(&talk).build(), served(SHOP).event(told));
    });
}
