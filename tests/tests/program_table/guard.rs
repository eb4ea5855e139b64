//! The SYN guard of a service: over its rate a first SYN is held back and its retransmission
//! passes; sources proven before have a lane of their own, which spoofing them soon fills.

use std::time::Duration;

use weir_common::abi::{Action, Control, MilestoneKind, Mode, Reason, tally::Outcome};

use crate::{
    expect::{Expect, Told, dropped, syn_served},
    limits::{connect, connect_as},
    play, play_everywhere,
    stage::{API, ENFORCING, SHOP},
    verdicts::operator,
};

const SECOND: Duration = Duration::from_secs(1);
/// So long between first SYNs that none passes by rate twice in a story.
const RARELY: Duration = Duration::from_secs(10_000);

fn held_back() -> Expect {
    dropped().reason(Reason::LimitGuard).service(SHOP, Outcome::Limit)
}

fn told(expect: Expect, held_back: u64) -> Expect {
    expect.event(Told::Milestone(MilestoneKind::Guarding, held_back))
}

fn retried() -> Expect {
    syn_served(SHOP).reason(Reason::PassGuardRetry)
}

#[test]
fn a_first_syn_is_held_back_and_its_retransmission_passes() {
    play_everywhere("a_first_syn_is_held_back", |stage| {
        stage.story("over the rate");
        stage.guard(SHOP, RARELY, Duration::ZERO);
        let (four, six) = (stage.v4(443), stage.v6(443));
        stage.arrives("one passes by rate", &four.syn().build(), syn_served(SHOP));
        let second = four.with_port(1).syn().build();
        stage.arrives("the second is held back, and told", &second, told(held_back(), 1));
        stage.arrives("IPv6 too, and not told again", &six.syn().build(), held_back());
        stage.after(SECOND / 10);
        stage.arrives("too soon for a retransmission", &second, held_back());
        stage.after(SECOND);
        stage.arrives("its retransmission", &second, retried());
        stage.arrives("that of IPv6", &six.syn().build(), retried());
        let third = four.with_port(2).syn().build();
        stage.arrives("what was held back meanwhile is told", &third, told(held_back(), 3));
        stage.after(63 * SECOND);
        stage.arrives("the last retransmission of Linux", &third, retried());
        stage.after(64 * SECOND);
        stage.arrives("too late: held back as a new one", &third, told(held_back(), 1));
        stage.after(SECOND);
        stage.arrives("whose retransmission passes", &third, retried());
    });
}

#[test]
fn the_guard_is_for_first_syns_of_its_service() {
    play("the_guard_is_for_first_syns_of_its_service", |stage| {
        stage.story("other services, established flows and other ports do not notice");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.guard(SHOP, RARELY, Duration::ZERO);
        let stranger = stage.v6(443);
        stage.arrives("one passes by rate", &stranger.syn().build(), syn_served(SHOP));
        let next = stranger.with_port(1).syn().build();
        stage.arrives("the next is held back", &next, told(held_back(), 1));
        let other = stranger.to_port(8443).syn().build();
        stage.arrives("another service", &other, syn_served(API));
        let data = talk.ask(0, 0).payload(b"GET /").build();
        stage.arrives("an established flow", &data, crate::expect::served(SHOP));
        let no_service = stranger.to_port(22).syn().build();
        stage.arrives("a port of no service", &no_service, crate::expect::served(0));

        stage.story("an allow does not pass the guard");
        let talk = stage.v4(443);
        stage.guard(SHOP, RARELY, Duration::ZERO);
        stage.verdict(&talk.net(), 200, &operator(Action::Allow));
        let allowed = |expect: Expect| expect.reason(Reason::PassAllowed);
        stage.arrives("one", &talk.syn().build(), allowed(syn_served(SHOP)));
        let next = talk.with_port(1).syn().build();
        stage.arrives("the next", &next, told(allowed(held_back()), 1));

        stage.story("observing, it tells and lets pass");
        let talk = stage.v4(443);
        stage.control(Control { policy_mode: Mode::Observe as u8, ..ENFORCING });
        stage.guard(SHOP, RARELY, Duration::ZERO);
        stage.arrives("one", &talk.syn().build(), syn_served(SHOP));
        let would = syn_served(SHOP).reason(Reason::Would).service(SHOP, Outcome::Would);
        let next = talk.with_port(1).syn().build();
        stage.arrives("the next", &next, told(would, 1));
    });
}

#[test]
fn a_proven_source_has_a_lane_of_its_own_with_a_cap() {
    play_everywhere("a_proven_source_has_a_lane_of_its_own", |stage| {
        stage.story("the lane lets two SYNs pass at once, and one in ten seconds");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.guard(SHOP, RARELY, Duration::ZERO);
        let stranger = stage.v6(443);
        stage.arrives("a stranger takes the rate", &stranger.syn().build(), syn_served(SHOP));
        let syn = |port| talk.with_port(port).syn().build();
        let lane = || syn_served(SHOP).reason(Reason::PassGuardLane);
        stage.arrives("its lane", &syn(1), lane());
        stage.arrives("its lane", &syn(2), lane());
        stage.arrives("its lane is full, as spoofing would fill it", &syn(3), told(held_back(), 1));
        stage.after(SECOND);
        stage.arrives("a retransmission passes all the same", &syn(3), retried());
        stage.after(9 * SECOND);
        stage.arrives("its lane again", &syn(4), lane());
        let next = stranger.with_port(9).syn().build();
        stage.arrives("the stranger has none", &next, told(held_back(), 1));

        stage.story("without a lane in the settings there is none");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.control(Control { lane_interval_ns: 0, ..ENFORCING });
        stage.guard(SHOP, RARELY, Duration::ZERO);
        connect_as(stage, &talk.with_port(50), 2);
        let next = talk.with_port(51).syn().build();
        stage.arrives("held back like anyone", &next, told(held_back(), 1));
    });
}
