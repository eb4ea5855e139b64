//! Time, numbers and bounds of what is kept.

use std::sync::Arc;

use ipnet::IpNet;
use weir_common::abi::{Action, ServiceSet, time::SECOND_NS};

use super::{
    disk::{Disk, first, moment},
    *,
};
use crate::enforce::{
    guard::Guards,
    ledger::{Ledger, Meaning, Origin},
    memory::MemoryDataplane,
};

const HOUR: u64 = 3600 * SECOND_NS;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn operator(reason: &str) -> Arc<Meaning> {
    Meaning::operator(Action::Drop, ServiceSet::ALL, reason).into()
}

/// A disk on which 192.0.2.7 was dropped for two hours, an hour before the host went down.
fn disk_of_yesterday() -> Disk {
    let disk = Disk::default();
    let mut ledger = Ledger::new(Guards::default());
    ledger.block(net("192.0.2.7/32"), &operator("a"), Some(3 * HOUR), HOUR).unwrap();
    ledger.block(net("192.0.2.8/32"), &operator("b"), None, HOUR).unwrap();
    disk.keep(&mut ledger, HOUR);
    disk.write(&Batch::default(), &first(2 * HOUR));
    disk
}

/// What is left at a moment, ns; `None` if it has ended.
fn left(disk: &Disk, at: &Moment) -> Option<u64> {
    let kept = Kept::read(&disk.0, at).unwrap();
    let forever = kept.entries.iter().find(|(it, _)| *it == net("192.0.2.8/32"));
    assert_eq!(forever.unwrap().1.expires_ns, None);
    let entry = kept.entries.iter().find(|(it, _)| *it == net("192.0.2.7/32"));
    assert_eq!(entry.is_none(), kept.ended == [net("192.0.2.7/32")]);
    entry.map(|(_, entry)| entry.expires_ns.unwrap() - at.now_ns)
}

#[test]
fn within_a_boot_wall_clocks_do_not_matter() {
    let disk = disk_of_yesterday();
    for since_ns in [0, 2 * HOUR, 900 * HOUR] {
        assert_eq!(left(&disk, &moment("first", 2 * HOUR, since_ns)), Some(HOUR));
        assert_eq!(left(&disk, &moment("first", 3 * HOUR, since_ns)), None);
    }
}

#[test]
fn after_a_reboot_the_wall_clock_tells_what_is_left() {
    let disk = disk_of_yesterday();
    let minutes = 60 * SECOND_NS;
    // Half an hour down: half an hour is left.
    assert_eq!(left(&disk, &moment("next", 5 * minutes, 2 * HOUR + HOUR / 2)), Some(HOUR / 2));
    assert_eq!(left(&disk, &moment("next", 5 * minutes, 3 * HOUR)), None);
}

#[test]
fn a_clock_that_jumped_back_over_a_reboot_prolongs_nothing() {
    let disk = disk_of_yesterday();
    assert_eq!(left(&disk, &moment("next", SECOND_NS, 0)), Some(HOUR), "not two");
    // A clock without a battery begins in 1970.
    let at = Moment { boot_id: "next".into(), now_ns: SECOND_NS, unix_ns: 0 };
    assert_eq!(left(&disk, &at), Some(HOUR));
    // And boot after boot with such a clock, what was served is served.
    disk.write(&Batch::default(), &at);
    let later = Moment { now_ns: SECOND_NS + HOUR / 2, ..at.clone() };
    disk.write(&Batch::default(), &later);
    let third = Moment { boot_id: "third".into(), now_ns: SECOND_NS, unix_ns: 0 };
    assert_eq!(left(&disk, &third), Some(HOUR / 2));
    disk.write(&Batch::default(), &third);
    let end = Moment { now_ns: SECOND_NS + HOUR / 2, ..third };
    assert_eq!(left(&disk, &end), None);
}

#[test]
fn a_clock_that_was_set_right_while_the_host_ran_is_believed() {
    let disk = Disk::default();
    let mut ledger = Ledger::new(Guards::default());
    ledger.block(net("192.0.2.7/32"), &operator("a"), Some(3 * HOUR), HOUR).unwrap();
    ledger.block(net("192.0.2.8/32"), &operator("b"), None, HOUR).unwrap();
    // Made in 1970; then the time came over the network.
    disk.keep_at(&mut ledger, &Moment { boot_id: "first".into(), now_ns: HOUR, unix_ns: 0 });
    disk.write(&Batch::default(), &first(2 * HOUR));
    assert_eq!(left(&disk, &moment("next", 0, 2 * HOUR + HOUR / 4)), Some(HOUR * 3 / 4));
}

#[test]
fn a_clock_that_jumped_forward_over_a_reboot_may_end_it() {
    let disk = disk_of_yesterday();
    assert_eq!(left(&disk, &moment("next", SECOND_NS, 900 * HOUR)), None);
}

#[test]
fn after_a_reboot_empty_maps_are_filled_and_nothing_is_stored_again() {
    let disk = disk_of_yesterday();
    let at = moment("next", SECOND_NS, 2 * HOUR);
    let mut maps = MemoryDataplane::default();
    let kept = Some(Kept::read(&disk.0, &at).unwrap());
    let mut ledger = Ledger::adopt(&maps, kept, Guards::default(), at.now_ns).unwrap();
    ledger.apply(&mut maps, at.now_ns).unwrap();
    assert_eq!(maps.len(), 2);
    let listed: Vec<_> = ledger.list(at.now_ns).map(|it| it.entry.meaning.reason.clone()).collect();
    assert_eq!(listed.iter().map(|reason| &**reason).collect::<Vec<_>>(), ["a", "b"]);
    let batch = ledger.take_batch();
    assert!(batch.places.is_empty() && batch.entries.is_empty(), "{batch:?}");
    assert_eq!(batch.classes.len(), 2, "new maps have new classes");
}

#[test]
fn what_ended_meanwhile_leaves_the_store() {
    let disk = disk_of_yesterday();
    let at = moment("next", SECOND_NS, 4 * HOUR);
    let kept = Some(Kept::read(&disk.0, &at).unwrap());
    let maps = MemoryDataplane::default();
    let mut ledger = Ledger::adopt(&maps, kept, Guards::default(), at.now_ns).unwrap();
    disk.keep_at(&mut ledger, &at);
    let rows: u32 = disk.0.query_row("SELECT count(*) FROM verdict", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
    // Even by a clock that goes back.
    assert_eq!(Kept::read(&disk.0, &first(2 * HOUR)).unwrap().entries.len(), 1);
}

#[test]
fn everything_is_written_again_into_a_store_that_lost_it() {
    let mut ledger = Ledger::new(Guards::default());
    let mut maps = MemoryDataplane::default();
    for n in 0..100 {
        ledger.block(net(&format!("10.0.0.{n}/32")), &operator("x"), None, 0).unwrap();
    }
    ledger.apply(&mut maps, 0).unwrap();
    Disk::default().keep(&mut ledger, 0);
    assert!(!ledger.is_unkept());
    ledger.keep_everything();
    let disk = Disk::default();
    disk.keep(&mut ledger, 0);
    let kept = disk.kept(1);
    assert_eq!((kept.entries.len(), kept.classes.len()), (100, 1));
}

#[test]
fn many_places_are_batches_of_bounded_size() {
    let mut ledger = Ledger::new(Guards::default());
    for n in 0..100_000_u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + n);
        ledger
            .block(IpNet::from(std::net::IpAddr::from(address)), &operator("x"), None, 0)
            .unwrap();
    }
    let disk = Disk::default();
    let mut batches = 0;
    while ledger.is_unkept() {
        let batch = ledger.take_batch();
        assert!(batch.entries.len() <= 1 << 16 && batch.bytes() < 16 << 20);
        disk.write(&batch, &first(0));
        batches += 1;
    }
    assert_eq!((batches, disk.kept(1).entries.len()), (2, 100_000));
}

#[test]
fn a_lift_that_the_kernel_was_not_told_of_is_remembered_until_it_is() {
    let disk = Disk::default();
    let mut ledger = Ledger::new(Guards::default());
    let mut maps = MemoryDataplane::default();
    ledger.block(net("192.0.2.7/32"), &operator("a"), None, 0).unwrap();
    ledger.apply(&mut maps, 0).unwrap();
    disk.keep(&mut ledger, 0);
    maps.fails_after = Some(0);
    ledger.unblock(&net("192.0.2.7/32"), None);
    assert!(ledger.apply(&mut maps, 0).is_err());
    disk.keep(&mut ledger, 0);
    assert_eq!(maps.len(), 1);

    // Killed here. The next one does not take it for a verdict that was not stored yet.
    maps.fails_after = None;
    let mut next = Ledger::adopt(&maps, Some(disk.kept(1)), Guards::default(), 1).unwrap();
    assert!(next.is_empty());
    next.apply(&mut maps, 1).unwrap();
    assert!(maps.is_empty());
    // Once it is gone, a rule's verdict that is told to the kernel first is taken up again.
    next.block(net("192.0.2.99/32"), &operator("other"), None, 1).unwrap();
    disk.keep(&mut next, 1);
    assert!(disk.kept(1).lifted.is_empty());
}

#[test]
fn numbers_of_rules_that_only_the_kernel_knows_are_not_given_away() {
    let rule = |name: &str| -> Arc<Meaning> {
        Meaning {
            origin: Origin::Policy { name: "login".into(), forgeable: false },
            rule: Some(name.into()),
            ..Meaning::operator(Action::Drop, ServiceSet::ALL, "x")
        }
        .into()
    };
    let disk = Disk::default();
    let mut ledger = Ledger::new(Guards::default());
    let mut maps = MemoryDataplane::default();
    ledger.block(net("192.0.2.7/32"), &rule("login/a"), Some(HOUR), 0).unwrap();
    ledger.apply(&mut maps, 0).unwrap();
    disk.keep(&mut ledger, 0);
    ledger.block(net("192.0.2.8/32"), &rule("login/b"), Some(HOUR), 0).unwrap();
    ledger.apply(&mut maps, 0).unwrap();
    // Killed before the second was stored.
    let mut next = Ledger::adopt(&maps, Some(disk.kept(1)), Guards::default(), 1).unwrap();
    assert_eq!(next.list(1).count(), 2, "a rule's verdict that the kernel had first is kept");
    next.block(net("192.0.2.9/32"), &rule("login/c"), Some(HOUR), 1).unwrap();
    next.apply(&mut maps, 1).unwrap();
    assert_eq!(next.classes().rule(1), Some("login/a"));
    assert_eq!(next.classes().rule(2), Some("unknown/2"));
    assert_eq!(next.classes().rule(3), Some("login/c"));
}

#[test]
fn an_own_address_that_is_open_within_a_blocked_prefix_never_becomes_an_operators_allow() {
    let guards = || Guards::new(["192.0.2.1".parse().unwrap()]);
    let mut ledger = Ledger::new(guards());
    let mut maps = MemoryDataplane::default();
    ledger.block(net("192.0.2.0/24"), &operator("range"), None, 0).unwrap();
    ledger.apply(&mut maps, 0).unwrap();
    // Killed before anything was stored: not even what classes mean is known.
    let kept = Some(Disk::default().kept(1));
    let next = Ledger::adopt(&maps, kept, guards(), 1).unwrap();
    let listed: Vec<IpNet> = next.list(1).map(|listed| listed.prefix).collect();
    assert_eq!(listed, [net("192.0.2.0/24")]);
}

#[test]
fn what_this_version_cannot_read_is_passed_over() {
    let disk = disk_of_yesterday();
    disk.0
        .execute("UPDATE meaning SET text = '{\"torn\":1}' WHERE text LIKE '%\"a\"%'", [])
        .unwrap();
    let kept = disk.kept(2 * HOUR);
    assert_eq!(kept.entries.len(), 1, "the other one is there");
}

#[test]
fn offences_come_back_with_their_age() {
    let disk = Disk::default();
    let offence = |text: &str, until_ns| KeptOffence {
        net: net(text),
        policy: "login".into(),
        times: 3,
        action: Action::Drop,
        until_ns,
        ago_ns: 0,
    };
    let offences = vec![offence("192.0.2.7/32", HOUR), offence("2001:db8:7::/64", 3 * HOUR)];
    disk.write(&Batch { offences, ..Batch::default() }, &first(2 * HOUR));
    let ages = |at: &Moment| -> Vec<(u64, u64)> {
        let kept = Kept::read(&disk.0, at).unwrap();
        assert!(kept.offences.iter().all(|it| (it.times, &*it.policy) == (3, "login")));
        kept.offences.iter().map(|it| (it.until_ns, it.ago_ns)).collect()
    };
    assert_eq!(ages(&first(2 * HOUR)), [(HOUR, HOUR), (3 * HOUR, 0)]);
    // Two hours later, five minutes into the next boot.
    let minutes = 300 * SECOND_NS;
    let next = moment("next", minutes, 4 * HOUR);
    assert_eq!(ages(&next), [(0, 3 * HOUR), (0, 2 * HOUR - HOUR)]);
}

#[test]
fn tidying_removes_what_nothing_refers_to() {
    let disk = disk_of_yesterday();
    let mut ledger =
        Ledger::adopt(&MemoryDataplane::default(), Some(disk.kept(HOUR)), Guards::default(), HOUR)
            .unwrap();
    ledger.unblock(&net("192.0.2.7/32"), None);
    disk.keep(&mut ledger, HOUR);
    let count = |table: &str| -> u32 {
        let sql = format!("SELECT count(*) FROM {table}");
        disk.0.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("meaning"), 2);
    tidy(&disk.0, &moment("next", 0, HOUR), HOUR).unwrap();
    assert_eq!((count("meaning"), count("boot"), count("verdict")), (1, 2, 1));
}
