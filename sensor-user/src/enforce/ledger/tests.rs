//! The ledger's promises, one by one.

use std::{sync::Arc, time::Instant};

use ipnet::IpNet;
use weir_common::abi::{Action, ServiceSet, time};

use super::{Ledger, LedgerError, Meaning, Origin, State, durable::disk::Disk};
use crate::enforce::{
    dataplane::{Dataplane, DataplaneError},
    guard::Guards,
    memory::{Capacities, MemoryDataplane},
};

const MINUTE: u64 = 60 * time::SECOND_NS;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn operator(action: Action, reason: &str) -> Arc<Meaning> {
    Meaning::operator(action, ServiceSet::ALL, reason).into()
}

fn action_for(dataplane: &MemoryDataplane, address: &str, now_ns: u64) -> Option<Action> {
    let class = dataplane.judge(address.parse().unwrap(), 1, time::tick(now_ns));
    class.map(|class| class.action())
}

#[test]
fn a_block_reaches_the_kernel_and_ends_there_by_itself() {
    let mut ledger = Ledger::new(Guards::default());
    let mut dataplane = MemoryDataplane::default();
    let drop = operator(Action::Drop, "abuse");
    assert_eq!(ledger.block(net("192.0.2.7/32"), &drop, Some(10 * MINUTE), 0), Ok(false));
    let applied = ledger.apply(&mut dataplane, 0).unwrap();
    assert_eq!((applied.written, applied.removed), (1, 0));
    assert_eq!(action_for(&dataplane, "192.0.2.7", 0), Some(Action::Drop));
    assert_eq!(action_for(&dataplane, "192.0.2.8", 0), None);
    // Without anybody's help; rounded up to a tick of 67 ms.
    assert_eq!(action_for(&dataplane, "192.0.2.7", 10 * MINUTE - 1), Some(Action::Drop));
    assert_eq!(action_for(&dataplane, "192.0.2.7", 10 * MINUTE + time::TICK_NS), None);
    assert_eq!(ledger.sweep(10 * MINUTE), 1);
    assert_eq!(ledger.apply(&mut dataplane, 10 * MINUTE).unwrap().removed, 1);
    assert!(dataplane.is_empty() && ledger.is_empty());
}

#[test]
fn an_allow_acts_on_what_is_blocked_already() {
    let mut ledger = Ledger::new(Guards::default());
    let mut dataplane = MemoryDataplane::default();
    let drop = operator(Action::Drop, "range");
    ledger.block(net("10.0.0.0/8"), &drop, None, 0).unwrap();
    let by_policy = Meaning {
        origin: Origin::Policy { name: "login".into(), forgeable: false },
        ..Meaning::clone(&drop)
    };
    ledger.block(net("10.1.1.1/32"), &by_policy.into(), Some(MINUTE), 0).unwrap();
    ledger.apply(&mut dataplane, 0).unwrap();
    assert_eq!(action_for(&dataplane, "10.1.1.1", 0), Some(Action::Drop));

    let allow = operator(Action::Allow, "partner");
    ledger.block(net("10.1.0.0/16"), &allow, Some(2 * MINUTE), 0).unwrap();
    ledger.apply(&mut dataplane, 0).unwrap();
    assert_eq!(action_for(&dataplane, "10.1.1.1", 0), Some(Action::Allow));
    assert_eq!(action_for(&dataplane, "10.2.1.1", 0), Some(Action::Drop));
    let states: Vec<_> = ledger.list(0).map(|listed| listed.state).collect();
    assert_eq!(states, [State::Active, State::Active, State::Covered]);

    ledger.sweep(2 * MINUTE);
    ledger.apply(&mut dataplane, 2 * MINUTE).unwrap();
    assert_eq!(action_for(&dataplane, "10.1.1.1", 2 * MINUTE), Some(Action::Drop));
}

#[test]
fn own_addresses_cannot_be_blocked_and_stay_open_inside_a_blocked_prefix() {
    let guards = || Guards::new(["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
    let mut ledger = Ledger::new(guards());
    let mut dataplane = MemoryDataplane::default();
    let drop = operator(Action::Drop, "oops");
    let refused = ledger.block(net("192.0.2.1/32"), &drop, None, 0).unwrap_err();
    assert_eq!(refused, LedgerError::Protected(net("192.0.2.1/32")));
    ledger.block(net("192.0.2.0/24"), &drop, None, 0).unwrap();
    ledger.block(net("2001:db8::/64"), &drop, None, 0).unwrap();
    ledger.apply(&mut dataplane, 0).unwrap();
    for own in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(action_for(&dataplane, own, 0), Some(Action::Allow), "{own}");
    }
    for other in ["192.0.2.2", "2001:db8::2"] {
        assert_eq!(action_for(&dataplane, other, 0), Some(Action::Drop), "{other}");
    }
    ledger.unblock(&net("192.0.2.0/24"), None);
    ledger.unblock(&net("2001:db8::/64"), None);
    ledger.apply(&mut dataplane, 0).unwrap();
    assert!(dataplane.is_empty(), "guards are in the kernel only where they are needed");

    ledger.set_guards(Guards::default(), 0);
    assert_eq!(ledger.block(net("192.0.2.1/32"), &drop, None, 0), Ok(false));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let mut ledger = Ledger::new(Guards::default()).with_capacity(1);
    let drop = operator(Action::Drop, "x");
    for (prefix, expected) in [
        ("0.0.0.0/0", LedgerError::Everybody(net("0.0.0.0/0"))),
        ("::/0", LedgerError::Everybody(net("::/0"))),
        ("2001:db8::/96", LedgerError::PartOf64(net("2001:db8::/96"))),
        ("2001:db8::/128", LedgerError::FirstOf64(net("2001:db8::/128"))),
    ] {
        assert_eq!(ledger.block(net(prefix), &drop, None, 0), Err(expected));
    }
    ledger.block(net("10.0.0.1/32"), &drop, None, 0).unwrap();
    assert_eq!(ledger.block(net("10.0.0.1/32"), &drop, None, 0), Ok(true), "no second one");
    assert_eq!(ledger.block(net("10.0.0.2/32"), &drop, None, 0), Err(LedgerError::Full(1)));
}

#[test]
fn a_restart_takes_up_verdicts_reasons_and_what_was_covered() {
    let mut ledger = Ledger::new(Guards::default());
    let mut dataplane = MemoryDataplane::default();
    let drop = operator(Action::Drop, "ticket 17");
    ledger.block(net("10.1.1.1/32"), &drop, Some(10 * MINUTE), 0).unwrap();
    ledger.block(net("10.2.2.2/32"), &drop, Some(10 * MINUTE), 0).unwrap();
    let allow = operator(Action::Allow, "partner");
    ledger.block(net("10.1.0.0/16"), &allow, Some(5 * MINUTE), 0).unwrap();
    ledger.apply(&mut dataplane, 0).unwrap();
    let disk = Disk::default();
    disk.keep(&mut ledger, 0);

    let kept = Some(disk.kept(MINUTE));
    let mut again = Ledger::adopt(&dataplane, kept, Guards::default(), MINUTE).unwrap();
    assert!(!again.is_unkept(), "the store has all of it");
    let before: Vec<_> = ledger.list(0).map(|l| (l.prefix, l.entry.meaning.clone())).collect();
    let after: Vec<_> = again.list(0).map(|l| (l.prefix, l.entry.meaning.clone())).collect();
    assert_eq!(before, after);
    let writes = dataplane.writes;
    again.apply(&mut dataplane, MINUTE).unwrap();
    assert_eq!(dataplane.writes, writes, "nothing changed, so nothing is written");
    again.sweep(5 * MINUTE + time::TICK_NS);
    again.apply(&mut dataplane, 5 * MINUTE + time::TICK_NS).unwrap();
    assert_eq!(action_for(&dataplane, "10.1.1.1", 6 * MINUTE), Some(Action::Drop));
}

#[test]
fn without_a_store_verdicts_are_kept_and_reasons_unknown() {
    let mut ledger = Ledger::new(Guards::default());
    let mut dataplane = MemoryDataplane::default();
    ledger.block(net("10.1.1.1/32"), &operator(Action::Drop, "why"), Some(MINUTE), 0).unwrap();
    ledger.apply(&mut dataplane, 0).unwrap();
    let mut again = Ledger::adopt(&dataplane, None, Guards::default(), 1).unwrap();
    let listed = again.list(1).next().unwrap();
    assert_eq!(&*listed.entry.meaning.reason, "found in the kernel, reason unknown");
    assert_eq!(listed.entry.meaning.origin, Origin::Operator);
    again.apply(&mut dataplane, 1).unwrap();
    assert_eq!(action_for(&dataplane, "10.1.1.1", 1), Some(Action::Drop));
    assert_eq!(again.unblock(&net("10.1.1.1/32"), None), 1);
    again.apply(&mut dataplane, 1).unwrap();
    assert!(dataplane.is_empty());
}

#[test]
fn a_full_map_is_reported_and_the_rest_written() {
    let capacities = Capacities { exact: 3, prefixes: 10, ..Capacities::default() };
    let mut ledger = Ledger::new(Guards::default());
    let mut dataplane = MemoryDataplane::new(capacities);
    let drop = operator(Action::Drop, "list");
    for n in 1..=5 {
        ledger.block(net(&format!("10.0.0.{n}/32")), &drop, None, 0).unwrap();
    }
    ledger.block(net("10.9.0.0/16"), &drop, None, 0).unwrap();
    let error = ledger.apply(&mut dataplane, 0).unwrap_err();
    assert!(matches!(error, DataplaneError::Full { map: "V4_EXACT", written: 3, wanted: 5 }));
    assert_eq!(dataplane.len(), 4, "three addresses and the prefix");
    let due = ledger.list(0).filter(|listed| listed.state == State::Due).count();
    assert_eq!(due, 2);
    assert!(
        ledger.is_due_within(&[net("10.0.0.5/32")]) && ledger.is_due_within(&[net("10.0.0.0/8")])
    );
    assert!(!ledger.is_due_within(&[net("10.9.0.0/16"), net("10.0.0.1/32")]));
    ledger.unblock(&net("10.0.0.1/32"), None);
    ledger.unblock(&net("10.0.0.2/32"), None);
    ledger.apply(&mut dataplane, 0).unwrap();
    assert!(!ledger.is_due(), "room came, and the rest was written");
    assert_eq!(action_for(&dataplane, "10.0.0.5", 0), Some(Action::Drop));
}

#[test]
fn a_rules_verdict_is_not_shortened_by_its_repetition() {
    let mut ledger = Ledger::new(Guards::default());
    let meaning: Arc<Meaning> = Meaning {
        origin: Origin::Policy { name: "login".into(), forgeable: false },
        ..Meaning::operator(Action::Drop, ServiceSet::one(1), "stuffing")
    }
    .into();
    ledger.block(net("10.0.0.1/32"), &meaning, Some(60 * MINUTE), 0).unwrap();
    ledger.block(net("10.0.0.1/32"), &meaning, Some(10 * MINUTE), MINUTE).unwrap();
    assert_eq!(ledger.list(0).next().unwrap().entry.expires_ns, Some(60 * MINUTE));
    let operator = operator(Action::Drop, "by hand");
    ledger.block(net("10.0.0.1/32"), &operator, Some(60 * MINUTE), 0).unwrap();
    ledger.block(net("10.0.0.1/32"), &operator, Some(10 * MINUTE), MINUTE).unwrap();
    let entries: Vec<_> = ledger.list(0).map(|listed| listed.entry.expires_ns).collect();
    assert_eq!(entries, [Some(60 * MINUTE), Some(10 * MINUTE)], "an operator's word is his last");
}

#[test]
fn lookups_answer_as_the_kernel_acts() {
    let mut ledger = Ledger::new(Guards::default());
    let mark = operator(Action::Mark, "challenge");
    ledger.block(net("10.0.0.0/8"), &mark, None, 0).unwrap();
    ledger.block(net("10.1.0.0/16"), &operator(Action::Allow, "partner"), None, 0).unwrap();
    let action = |address: &str| {
        let found = ledger.lookup(address.parse().unwrap(), 1, 0);
        found.map(|(_, entry)| entry.meaning.action)
    };
    assert_eq!(action("10.2.3.4"), Some(Action::Mark));
    assert_eq!(action("10.1.3.4"), Some(Action::Allow));
    assert_eq!(action("::ffff:10.2.3.4"), Some(Action::Mark));
    assert_eq!(action("11.2.3.4"), None);
}

/// How long it takes is printed, not judged; that it is done at all in reasonable time is.
#[test]
fn a_hundred_thousand_addresses_and_ten_thousand_prefixes() {
    let mut ledger = Ledger::new(Guards::new(["10.0.0.1".parse().unwrap()]));
    let mut dataplane = MemoryDataplane::default();
    let drop = operator(Action::Drop, "list");
    let started = Instant::now();
    // A multiplicative walk through the address space: nested and scattered, without chance.
    let address = |n: u32| std::net::Ipv4Addr::from(n.wrapping_mul(2_654_435_761) | 0x0100_0000);
    for n in 0..100_000_u32 {
        ledger.block(IpNet::from(std::net::IpAddr::from(address(n))), &drop, None, 0).unwrap();
    }
    for n in 0..10_000_u32 {
        let length = 12 + u8::try_from(n % 18).unwrap();
        let prefix = IpNet::new(address(n).into(), length).unwrap();
        ledger.block(prefix, &drop, None, 0).unwrap();
    }
    let blocked = started.elapsed();
    ledger.apply(&mut dataplane, 0).unwrap();
    let applied = started.elapsed();
    println!("blocked in {blocked:?}, settled and written by {applied:?}");
    let all: Vec<IpNet> = ledger.list(0).map(|listed| listed.prefix).collect();
    for prefix in &all {
        ledger.unblock(prefix, None);
    }
    ledger.apply(&mut dataplane, 0).unwrap();
    println!("gone by {:?}", started.elapsed());
    assert!(dataplane.read_verdicts().unwrap().is_empty());
    assert!(all.len() > 100_000);
}
