//! Verdicts: exact entries and prefixes, expiry, services, modes, and what is stronger than what.

use std::time::Duration;

use weir_common::abi::{
    Action, Control, Mode, Reason, ServiceSet, VerdictClass, tally::Outcome, time::TICK_NS,
};
use weir_lab::packet::{Tcp, ipv4, ipv6};

use crate::{
    expect::{Expect, dropped_by, dropped_opaque, passes_as, served, syn_served},
    limits::LIMIT,
    play, play_everywhere,
    stage::{API, ENFORCING, NONE, QUIC, SHOP},
    talk::Talk,
};

/// An operator's verdict on everything.
pub(crate) const fn operator(action: Action) -> VerdictClass {
    VerdictClass {
        action: action as u8,
        mode: Mode::Enforce as u8,
        reason: Reason::DropOperator as u8,
        reserved: 0,
        flags: 0,
        rule: 0,
        heartbeat_ticks: 0,
        services: ServiceSet::ALL,
        limit_interval_ns: 0,
        limit_burst_ns: 0,
    }
}

pub(crate) const DROP: VerdictClass = operator(Action::Drop);
pub(crate) const ALLOW: VerdictClass = operator(Action::Allow);
const MARK: VerdictClass = operator(Action::Mark);

pub(crate) const OBSERVED: VerdictClass = VerdictClass { mode: Mode::Observe as u8, ..DROP };

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_nanos(TICK_NS);

pub(crate) fn only(service: u8, class: VerdictClass) -> VerdictClass {
    VerdictClass { services: ServiceSet::one(service), ..class }
}

/// A segment in the middle of a conversation that nobody has seen the beginning of.
pub(crate) fn segment(talk: &Talk) -> Tcp {
    talk.ask(1000, 0)
}

/// Dropped, and the hit is told.
pub(crate) fn first_drop(class: u16, service: u8) -> Expect {
    dropped_by(class, service).hit(class, Action::Drop, Mode::Enforce, 1)
}

/// Counted as what would have been dropped; then it goes on.
fn would(expect: Expect, class: u16, service: u8) -> Expect {
    expect.reason(Reason::Would).class(class).service(service, Outcome::Would)
}

fn would_first(expect: Expect, class: u16, service: u8) -> Expect {
    would(expect, class, service).hit(class, Action::Drop, Mode::Observe, 1)
}

fn with_modes(policy: Mode, breaker: Mode) -> Control {
    Control { policy_mode: policy as u8, breaker_mode: breaker as u8, ..ENFORCING }
}

#[test]
fn an_exact_drop_holds_for_every_protocol_and_tells_of_hits_in_doublings() {
    play_everywhere("an_exact_drop", |stage| {
        stage.story("IPv4: everything of one address is dropped, its neighbour passes");
        let talk = stage.v4(443);
        let (address, server) = (octets(&talk), [198, 51, 100, 10]);
        stage.verdict(&talk.net(), 10, &DROP);
        stage.arrives("SYN", &talk.syn().build(), first_drop(10, SHOP));
        let hit = |hits, expect: Expect| expect.hit(10, Action::Drop, Mode::Enforce, hits);
        stage.arrives("segment", &segment(&talk).build(), hit(2, dropped_by(10, SHOP)));
        let datagram = ipv4(address, server).udp(1, 443).build();
        stage.arrives("QUIC", &datagram, dropped_by(10, QUIC));
        let datagram = ipv4(address, server).udp(1, 53).build();
        stage.arrives("UDP to no service", &datagram, hit(4, dropped_by(10, NONE)));
        let ping = ipv4(address, server).icmp(8, 0).build();
        stage.arrives("ping", &ping, dropped_opaque(10));
        let later = ipv4(address, server).fragment(800, false).raw(6, &[0; 40]).build();
        stage.arrives("later fragment", &later, dropped_opaque(10));
        stage.arrives("GRE", &ipv4(address, server).raw(47, &[0; 8]).build(), dropped_opaque(10));
        let short = ipv4(address, server).raw(6, &[0; 8]).build();
        stage.arrives("TCP of 8 bytes", &short, hit(8, dropped_opaque(10)));
        let neighbour = ipv4([203, 0, 113, 254], server).tcp(1, 443).build();
        stage.arrives("the neighbour", &neighbour, served(SHOP));

        stage.story("IPv6: one address, and its neighbour in the same /64");
        let talk = stage.v6(443);
        stage.verdict(&talk.net(), 11, &DROP);
        stage.arrives("SYN", &talk.syn().build(), first_drop(11, SHOP));
        let neighbour = neighbour_v6(&talk);
        stage.arrives("the neighbour", &segment(&neighbour).build(), served(SHOP));

        stage.story("IPv6: a /64 is one entry");
        let talk = stage.v6(443);
        let net = format!("{}/64", talk.visitor.ip());
        stage.verdict(&net, 12, &DROP);
        stage.arrives("one", &segment(&talk).build(), first_drop(12, SHOP));
        let expect = dropped_by(12, SHOP).hit(12, Action::Drop, Mode::Enforce, 2);
        stage.arrives("another", &segment(&neighbour_v6(&talk)).build(), expect);
    });
}

#[test]
fn prefixes_of_any_length() {
    play("prefixes_of_any_length", |stage| {
        stage.story("the longest prefix decides, down to none");
        let talk = stage.v4(443);
        stage.verdict("0.0.0.0/0", 20, &DROP).verdict("203.0.113.0/24", 21, &DROP);
        stage.arrives("inside the /24", &segment(&talk).build(), first_drop(21, SHOP));
        let outside = ipv4([192, 0, 2, 1], [198, 51, 100, 10]).tcp(1, 443).build();
        stage.arrives("outside", &outside, first_drop(20, SHOP));

        stage.story("IPv6 prefixes, beside the /64 that is an exact entry");
        let talk = stage.v6(443);
        stage.verdict("2001:db8:113::/48", 22, &DROP);
        stage.arrives("inside the /48", &segment(&talk).build(), first_drop(22, SHOP));
        let net = format!("{}/96", talk.visitor.ip());
        stage.verdict(&net, 23, &DROP);
        stage.arrives("inside the /96", &segment(&talk).build(), first_drop(23, SHOP));
        let outside = ipv6([0x2001, 0xdb8, 0x114, 0, 0, 0, 0, 1], [1; 8]).tcp(1, 443).build();
        stage.arrives("outside", &outside, served(SHOP));
    });
}

#[test]
fn what_has_expired_is_as_if_it_were_not_there() {
    play_everywhere("what_has_expired", |stage| {
        stage.story("an exact entry ends at its tick, without the daemon");
        let talk = stage.v4(443);
        stage.verdict_for(&talk.net(), 30, &DROP, 10 * SECOND);
        stage.arrives("before", &segment(&talk).build(), first_drop(30, SHOP));
        stage.after(10 * SECOND - 2 * TICK);
        let expect = dropped_by(30, SHOP).hit(30, Action::Drop, Mode::Enforce, 2);
        stage.arrives("just before", &segment(&talk).build(), expect);
        stage.after(3 * TICK);
        stage.arrives("after", &segment(&talk).build(), served(SHOP));

        stage.story("behind an exact entry that expired, the covering prefix counts");
        let talk = stage.v4(443);
        stage.verdict_for(&talk.net(), 31, &ALLOW, SECOND).verdict("203.0.113.0/24", 32, &DROP);
        let allowed = served(SHOP).reason(Reason::PassAllowed);
        stage.arrives("allowed", &segment(&talk).build(), allowed);
        stage.after(2 * SECOND);
        stage.arrives("no longer", &segment(&talk).build(), first_drop(32, SHOP));

        stage.story("behind prefixes that expired, up to three, the next shorter one counts");
        let talk = stage.v4(443);
        for (net, class) in [("203.0.113.0/26", 33), ("203.0.113.0/25", 34), ("203.0.113.0/24", 35)]
        {
            stage.verdict_for(net, class, &DROP, SECOND);
        }
        stage.verdict("203.0.112.0/22", 36, &DROP).after(2 * SECOND);
        stage.arrives("the fourth", &segment(&talk).build(), first_drop(36, SHOP));
        stage.verdict_for("203.0.112.0/23", 37, &DROP, Duration::ZERO).after(SECOND);
        stage.arrives("a fifth is not looked at", &segment(&talk).build(), served(SHOP));

        stage.story("the same for IPv6: the address, its /64, then prefixes");
        let talk = stage.v6(443);
        stage.verdict_for(&talk.net(), 38, &DROP, SECOND);
        stage.verdict_for(&format!("{}/64", talk.visitor.ip()), 39, &DROP, 3 * SECOND);
        stage.verdict("2001:db8::/32", 40, &DROP);
        stage.arrives("the address", &segment(&talk).build(), first_drop(38, SHOP));
        stage.after(2 * SECOND);
        stage.arrives("the /64", &segment(&talk).build(), first_drop(39, SHOP));
        stage.after(2 * SECOND);
        stage.arrives("the /32", &segment(&talk).build(), first_drop(40, SHOP));
    });
}

#[test]
fn a_verdict_is_for_its_services_only() {
    play("a_verdict_is_for_its_services_only", |stage| {
        stage.story("a drop for one service leaves the others, other ports, and ICMP");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 50, &only(SHOP, DROP));
        stage.arrives("its service", &segment(&talk).build(), first_drop(50, SHOP));
        let other = segment(&talk.to_port(8443)).build();
        stage.arrives("another service", &other, served(API));
        stage.arrives("no service", &segment(&talk.to_port(22)).build(), served(NONE));
        let ping = ipv4(octets(&talk), [198, 51, 100, 10]).icmp(8, 0).build();
        stage.arrives("ping", &ping, passes_as(Reason::PassOtherProtocol));

        stage.story("a drop for what is no service leaves services");
        let talk = stage.v4(22);
        stage.verdict(&talk.net(), 51, &only(NONE, DROP));
        stage.arrives("a port of none", &segment(&talk).build(), first_drop(51, NONE));
        stage.arrives("a service", &segment(&talk.to_port(443)).build(), served(SHOP));

        stage.story("an exact entry for another service is as if it were not there");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 52, &only(API, ALLOW)).verdict("203.0.113.0/24", 53, &DROP);
        stage.arrives("the prefix acts", &segment(&talk).build(), first_drop(53, SHOP));
        let other = segment(&talk.to_port(8443)).build();
        let allowed = served(API).reason(Reason::PassAllowed);
        stage.arrives("the exact entry acts", &other, allowed);

        stage.story("so is a prefix for another service");
        let talk = stage.v4(443);
        stage.verdict("203.0.113.0/24", 54, &only(API, DROP)).verdict("203.0.0.0/16", 55, &DROP);
        stage.arrives("the shorter acts", &segment(&talk).build(), first_drop(55, SHOP));
    });
}

#[test]
fn allow_and_mark() {
    play_everywhere("allow_and_mark", |stage| {
        stage.story("an allow passes what a shorter prefix drops, and is measured like any other");
        let talk = stage.v4(443);
        stage.verdict("203.0.113.0/24", 60, &DROP).verdict(&talk.net(), 61, &ALLOW);
        let allowed = syn_served(SHOP).reason(Reason::PassAllowed);
        stage.arrives("SYN", &talk.syn().build(), allowed);
        let ping = ipv4(octets(&talk), [198, 51, 100, 10]).icmp(8, 0).build();
        let expect = passes_as(Reason::PassOtherProtocol).reason(Reason::PassAllowed);
        stage.arrives("ping", &ping, expect);

        stage.story("an allowed prefix inside a dropped one");
        let talk = stage.v6(443);
        stage.verdict("2001:db8::/32", 62, &DROP).verdict("2001:db8:113::/48", 63, &ALLOW);
        let allowed = served(SHOP).reason(Reason::PassAllowed);
        stage.arrives("segment", &segment(&talk).build(), allowed);

        stage.story("a mark neither counts nor shields; TC sets it on the packet");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 64, &MARK);
        stage.arrives("marked", &segment(&talk).build(), served(SHOP).marked());
        stage.verdict("203.0.113.0/24", 66, &LIMIT);
        for port in 1..=2 {
            let syn = talk.with_port(port).syn().build();
            stage.arrives("marked, within a limit", &syn, syn_served(SHOP).marked());
        }
        stage.verdict("203.0.113.0/24", 67, &ALLOW);
        let allowed = served(SHOP).reason(Reason::PassAllowed);
        stage.arrives("allowed, and so not marked", &segment(&talk).build(), allowed);
        stage.verdict("203.0.113.0/24", 65, &DROP);
        stage.arrives("marked and dropped", &segment(&talk).build(), first_drop(65, SHOP).marked());

        stage.story("a mark is set where it is enforced, for its services, and where there is one");
        let talk = stage.v6(443);
        let observed = VerdictClass { mode: Mode::Observe as u8, ..MARK };
        stage.verdict(&talk.net(), 68, &observed);
        stage.arrives("a class that observes", &segment(&talk).build(), served(SHOP));
        stage.verdict(&talk.net(), 69, &only(API, MARK));
        stage.arrives("of another service", &segment(&talk).build(), served(SHOP));
        let api = segment(&talk.to_port(8443)).build();
        stage.arrives("of its service", &api, served(API).marked());
        stage.control(with_modes(Mode::Enforce, Mode::Observe));
        stage.arrives("an open breaker", &api, served(API));
        stage.control(Control { mark: 0, ..ENFORCING });
        stage.arrives("no mark in the settings", &api, served(API));
    });
}

#[test]
fn observe_counts_and_shields_nothing() {
    play("observe_counts_and_shields_nothing", |stage| {
        stage.story("a class that only observes");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 70, &OBSERVED);
        let expect = would_first(served(SHOP), 70, SHOP);
        stage.arrives("it passes", &segment(&talk).build(), expect);
        stage.verdict("203.0.113.0/24", 71, &DROP);
        let expect = would(first_drop(71, SHOP), 70, SHOP);
        let expect = with_hit_before(expect, 70, 2);
        stage.arrives("a prefix that enforces acts", &segment(&talk).build(), expect);

        stage.story("the policy's mode and the breaker's each turn enforcement into observation");
        for (number, (policy, breaker)) in
            (0..).zip([(Mode::Observe, Mode::Enforce), (Mode::Enforce, Mode::Observe)])
        {
            let talk = stage.v4(443).with_port(1000 + number);
            let class = 72 + number;
            stage.control(with_modes(policy, breaker)).verdict(&talk.net(), class, &DROP);
            let expect = would_first(served(SHOP), class, SHOP);
            stage.arrives("observed", &segment(&talk).build(), expect);
        }

        stage.story("off passes unseen");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 75, &DROP);
        for (policy, breaker) in [(Mode::Off, Mode::Enforce), (Mode::Enforce, Mode::Off)] {
            stage.control(with_modes(policy, breaker));
            let expect = passes_as(Reason::PassKilled);
            stage.arrives("off", &talk.syn().build(), expect);
        }
        stage.control(Control { policy_mode: 77, ..ENFORCING });
        let expect = passes_as(Reason::PassKilled);
        stage.arrives("an unknown mode is off", &talk.syn().build(), expect);
    });
}

#[test]
fn the_kill_switch_is_above_everything() {
    play_everywhere("the_kill_switch_is_above_everything", |stage| {
        stage.story("kill passes everything, unparsed and unmeasured, and off means on again");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 80, &DROP).kill(true);
        stage.arrives("SYN", &talk.syn().build(), passes_as(Reason::PassKilled));
        let cut = talk.syn().build();
        let cut = cut.get(..40).unwrap_or_default();
        stage.arrives("a cut SYN", cut, passes_as(Reason::PassKilled));
        stage.leaves("SYN-ACK", &talk.syn_ack().build(), crate::expect::passes());
        stage.kill(false);
        stage.arrives("SYN", &talk.syn().build(), first_drop(80, SHOP));
    });
}

#[test]
fn without_the_daemons_pulse_nothing_is_enforced_if_policy_says_so() {
    play("without_the_daemons_pulse", |stage| {
        stage.story("the pulse is within its limit, then past it, then back");
        let talk = stage.v4(443);
        stage.control(Control { heartbeat_limit_ticks: 30, ..ENFORCING });
        stage.verdict(&talk.net(), 85, &DROP).pulse();
        stage.arrives("alive", &segment(&talk).build(), first_drop(85, SHOP));
        stage.after(30 * TICK);
        let expect = dropped_by(85, SHOP).hit(85, Action::Drop, Mode::Enforce, 2);
        stage.arrives("at the limit", &segment(&talk).build(), expect);
        stage.after(TICK);
        let expect = would(served(SHOP), 85, SHOP).reason(Reason::HeartbeatLost);
        stage.arrives("past it", &segment(&talk).build(), expect);
        stage.pulse();
        let expect = dropped_by(85, SHOP).hit(85, Action::Drop, Mode::Enforce, 4);
        stage.arrives("back", &segment(&talk).build(), expect);
    });
}

#[test]
fn classes_that_are_not_there() {
    play("classes_that_are_not_there", |stage| {
        stage.story("an entry whose class was never written is for no service");
        let talk = stage.v4(443);
        stage.verdict_of_undefined_class(&talk.net(), 4000);
        stage.arrives("undefined", &segment(&talk).build(), served(SHOP));

        stage.story("a class number beyond the table is counted, and passes");
        let talk = stage.v4(443);
        stage.verdict_of_undefined_class(&talk.net(), 4096);
        let expect = served(SHOP).reason(Reason::BadClass);
        stage.arrives("beyond", &segment(&talk).build(), expect);

        stage.story("an action that nobody knows is an allow");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 90, &VerdictClass { action: 99, ..DROP });
        let expect = served(SHOP).reason(Reason::PassAllowed);
        stage.arrives("unknown action", &segment(&talk).build(), expect);
    });
}

fn with_hit_before(expect: Expect, class: u16, hits: u32) -> Expect {
    expect.told_first(crate::expect::Told::Hit {
        by: weir_common::abi::VerdictKind::Address,
        class,
        action: Action::Drop,
        mode: Mode::Observe,
        hits,
    })
}

/// The visitor's IPv4 address.
pub(crate) fn octets(talk: &Talk) -> [u8; 4] {
    match talk.visitor.ip() {
        std::net::IpAddr::V4(address) => address.octets(),
        std::net::IpAddr::V6(_) => [0; 4],
    }
}

/// Another address of the visitor's /64.
fn neighbour_v6(talk: &Talk) -> Talk {
    let mut neighbour = *talk;
    if let std::net::IpAddr::V6(address) = talk.visitor.ip() {
        neighbour.visitor.set_ip(std::net::Ipv6Addr::from_bits(address.to_bits() + 1).into());
    }
    neighbour
}
