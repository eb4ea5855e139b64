//! Packets of the daemon's own: with the right nonce the program says what it would do with anybody's
//! packet, and keeps nothing; with any other it treats the packet as anybody's.

use std::net::SocketAddr;

use weir_common::{
    abi::{
        Tally, Verdict, VerdictClass,
        synthetic::{ANSWER_ALLOWED, ANSWER_GIVEN, ANSWER_LIMITED, ANSWER_WOULD, Nonce, Question},
        time,
    },
    packet::{Heading, Link},
    pipeline::Decision,
};
use weir_lab::{
    bpf::{Engine, Hook, KernelEngine, Place},
    is_root,
    packet::tcp,
    say_skipped,
};

use crate::{
    PLAYS_APART, begin, on_kernel,
    stage::{ENFORCING, SHOP},
    verdicts::DROP,
};

const RIGHT: Nonce = [0x0102_0304, 0x0506_0708, 0x090a_0b0c, 0x0d0e_0f10];

/// A case: what stands there, who comes, what becomes of it.
struct Case {
    name: &'static str,
    net: &'static str,
    class: VerdictClass,
    from: &'static str,
    decision: Decision,
    flags: u32,
}

fn cases() -> Vec<Case> {
    use weir_common::abi::{Action, Mode, Reason, ServiceSet};
    let acting = |action: Action, mode: Mode, reason: Reason| VerdictClass {
        action: action as u8,
        mode: mode as u8,
        reason: reason as u8,
        services: ServiceSet::ALL,
        ..VerdictClass::default()
    };
    let observed = acting(Action::Drop, Mode::Observe, Reason::DropRule);
    let reject = acting(Action::Reject, Mode::Enforce, Reason::DropRule);
    let allow = acting(Action::Allow, Mode::Enforce, Reason::PassAllowed);
    // One connection in a hundred seconds, and none ahead.
    let limit = VerdictClass {
        limit_interval_ns: 100 * time::SECOND_NS,
        ..acting(Action::Limit, Mode::Enforce, Reason::LimitVerdict)
    };
    let (given, v4, v6) = (ANSWER_GIVEN, "203.0.113.200:4000", "[2001:db8:113:c8::7]:4000");
    let case = |name, net, class, from, decision, flags| Case {
        name,
        net,
        class,
        from,
        decision,
        flags: given | flags,
    };
    vec![
        case("an address", "203.0.113.200/32", DROP, v4, Decision::Drop, 0),
        case("a prefix", "203.0.112.0/20", DROP, v4, Decision::Drop, 0),
        case("an IPv6 network", "2001:db8:113:c8::/64", DROP, v6, Decision::Drop, 0),
        case("an IPv6 prefix", "2001:db8::/32", DROP, v6, Decision::Drop, 0),
        case("observed only", "203.0.113.200/32", observed, v4, Decision::Pass, ANSWER_WOULD),
        case("a reject", "203.0.113.200/32", reject, v4, Decision::Reply, 0),
        case("an allow", "203.0.113.200/32", allow, v4, Decision::Pass, ANSWER_ALLOWED),
        case("a limit", "203.0.113.200/32", limit, v4, Decision::Pass, ANSWER_LIMITED),
    ]
}

/// What can be left behind.
fn left(engine: &mut KernelEngine) -> (Vec<Tally>, usize, usize, Vec<Verdict>) {
    let records = engine.records().unwrap();
    let kept = records.flows.len() + records.sources.len() + records.handshakes.len();
    let events = engine.take_events().unwrap().len();
    let verdicts = engine.verdicts().unwrap();
    (engine.tally().unwrap(), kept, events, verdicts)
}

fn question(nonce: Nonce) -> Question {
    Question { nonce, ..Question::default() }
}

#[test]
fn a_synthetic_packet_gets_the_verdict_and_leaves_nothing_behind() {
    let name = "a_synthetic_packet_gets_the_verdict_and_leaves_nothing_behind";
    if !is_root() {
        say_skipped(name);
        return;
    }
    let now = begin() + PLAYS_APART / 2;
    for link in [Link::Ethernet, Link::None] {
        on_kernel(Place { hook: Hook::Xdp, link }, |engine| {
            engine.set_now_ns(now.as_nanos() as u64).unwrap();
            engine.set_control(&ENFORCING).unwrap();
            for (number, case) in cases().into_iter().enumerate() {
                let id = 300 + number as u16;
                let net = case.net.parse().unwrap();
                engine.set_class(id, &case.class).unwrap();
                let verdict = Verdict { class: id, ..Verdict::default() };
                engine.set_verdict(net, verdict).unwrap();
                let from: SocketAddr = case.from.parse().unwrap();
                let to = if from.is_ipv4() { "198.51.100.10:443" } else { "[2001:db8:51::10]:443" };
                let mut packet = tcp(from, to.parse().unwrap()).syn().seq(1).build();
                if link == Link::None {
                    packet.drain(..14);
                }
                let label = format!("{}, {link:?}", case.name);

                let before = left(engine);
                let (fate, answer) = engine.ask(RIGHT, &question(RIGHT), &packet).unwrap();
                assert_eq!(fate.decision, case.decision, "{label}");
                assert_eq!(answer.flags, case.flags, "{label}");
                let is_allow = case.flags & ANSWER_ALLOWED != 0;
                assert_eq!(answer.class, if is_allow { 0 } else { u32::from(id) }, "{label}");
                assert_eq!(left(engine), before, "{label}: something was left behind");

                // Anybody's packet gets the same, and is counted.
                let anybody = engine.run(Heading::Ingress, &packet).unwrap();
                assert_eq!(anybody.decision, case.decision, "{label}");
                let counted = left(engine);
                assert_ne!(counted.0, before.0, "{label}");
                engine.remove_verdict(net).unwrap();
                engine.forget().unwrap();
            }
        });
    }
}

#[test]
fn without_the_right_nonce_a_packet_with_metadata_is_anybodys() {
    let name = "without_the_right_nonce_a_packet_with_metadata_is_anybodys";
    if !is_root() {
        say_skipped(name);
        return;
    }
    let now = begin() + PLAYS_APART / 2;
    on_kernel(Place { hook: Hook::Xdp, link: Link::Ethernet }, |engine| {
        engine.set_now_ns(now.as_nanos() as u64).unwrap();
        engine.set_control(&ENFORCING).unwrap();
        engine.set_class(310, &DROP).unwrap();
        let net = "203.0.113.201/32".parse().unwrap();
        engine.set_verdict(net, Verdict { class: 310, ..Verdict::default() }).unwrap();
        let from = "203.0.113.201:4000".parse().unwrap();
        let packet = tcp(from, "198.51.100.10:443".parse().unwrap()).syn().seq(1).build();
        let dropped =
            weir_common::abi::tally::service_index(SHOP, weir_common::abi::tally::Outcome::Drop)
                as usize;
        let [a, b, c, d] = RIGHT;
        for (set, said) in [
            (RIGHT, [a, b, c, d ^ 1]),
            (RIGHT, [a ^ 0x8000_0000, b, c, d]),
            (RIGHT, Nonce::default()),
            // Nothing is asked: zero is no nonce.
            (Nonce::default(), Nonce::default()),
            (Nonce::default(), RIGHT),
        ] {
            let before = engine.tally().unwrap()[dropped].packets;
            let (fate, answer) = engine.ask(set, &question(said), &packet).unwrap();
            assert_eq!(fate.decision, Decision::Drop, "the verdict is the same");
            assert_eq!(answer, question(said), "and is not told");
            assert_eq!(engine.tally().unwrap()[dropped].packets, before + 1, "{set:?} {said:?}");
        }
        engine.remove_verdict(net).unwrap();
        engine.forget().unwrap();
    });
}
