//! Memory and work.

use super::{
    super::{
        attempt::MAX_INITIALS, connection::MAX_ATTEMPTS, stream::STREAM_LIMIT, tracker::MAX_PACKETS,
    },
    *,
};

fn first_part(seed: u8) -> Vec<u8> {
    crypto(0, &hello(2000, seed)[..1000])
}

#[test]
fn connections_are_bounded_and_the_least_recently_used_goes() {
    let mut tracker = Tracker::new(Limits { connections: 2, ..Limits::default() });
    let next = Forge { number: 1, ..Forge::default() };
    let first = Forge::default().datagram(&first_part(1));
    for key in [1, 2] {
        tracker.client_datagram(&key, 1, &first);
    }
    tracker.client_datagram(&1, 2, &next.datagram(&[1]));
    tracker.client_datagram(&3, 3, &first);
    assert_eq!([1, 2, 3].map(|key| tracker.contains(&key)), [true, false, true]);
    assert_eq!((tracker.len(), tracker.counters().evicted_connections), (2, 1));
    assert_eq!(tracker.counters().evicted_unfinished, 1);
}

#[test]
fn only_packets_that_open_take_room_or_refresh() {
    let mut tracker = Tracker::new(Limits { connections: 2, ..Limits::default() });
    let first = Forge::default().datagram(&first_part(1));
    let mut broken = first.clone();
    broken[600] ^= 1;
    tracker.client_datagram(&1, 1, &first);
    tracker.client_datagram(&2, 1, &first);
    for key in [1, 4, 5, 6] {
        tracker.client_datagram(&key, 2, &broken);
    }
    assert_eq!((tracker.len(), tracker.counters().undecryptable), (2, 4));
    tracker.client_datagram(&3, 3, &first);
    assert_eq!([1, 2, 3].map(|key| tracker.contains(&key)), [false, true, true]);
}

#[test]
fn bytes_are_bounded() {
    let limits = Limits { bytes: 200_000, ..Limits::default() };
    let mut tracker = Tracker::new(limits);
    let datagrams: Vec<_> = (0..10)
        .map(|seed| Forge { destination: vec![seed; 8], ..Forge::default() })
        .map(|forge| forge.datagram(&crypto(STREAM_LIMIT as usize - 1, &[7])))
        .collect();
    for key in 0..200_u8 {
        for datagram in &datagrams[..1 + usize::from(key % 10)] {
            tracker.client_datagram(&key, 1, datagram);
            assert!(tracker.held() <= limits.bytes);
        }
    }
    assert!(tracker.len() > 1 && tracker.counters().evicted_connections > 150);
    while tracker.len() > 1 {
        tracker.evict();
    }
    tracker.evict();
    assert_eq!(tracker.held(), 0, "what was added was taken away again");
}

#[test]
fn a_finished_hello_gives_its_memory_back() {
    let (unfinished, _) = after(&[Forge::default().datagram(&first_part(1))]);
    let (finished, hellos) = after(&[Forge::default().datagram(&crypto(0, &hello(1000, 1)))]);
    assert_eq!(hellos.len(), 1);
    assert!(finished.held() + 500 < unfinished.held());
}

#[test]
fn attempts_of_one_client_are_bounded() {
    let (tracker, _) = after(
        &(0..10)
            .map(|seed| Forge { destination: vec![seed; 8], ..Forge::default() })
            .map(|forge| forge.datagram(&first_part(1)))
            .collect::<Vec<_>>(),
    );
    assert_eq!(tracker.len(), 1);
    assert_eq!(tracker.counters().evicted_attempts, 10 - MAX_ATTEMPTS as u64);
}

#[test]
fn initials_of_an_attempt_are_bounded() {
    let mut datagrams: Vec<_> = (0..MAX_INITIALS as u64)
        .map(|number| Forge { number, ..Forge::default() }.datagram(&[1]))
        .collect();
    let number = MAX_INITIALS as u64;
    let last = Forge { number, ..Forge::default() }.datagram(&crypto(0, &hello(500, 1)));
    datagrams.push(last);
    let (tracker, hellos) = after(&datagrams);
    assert!(hellos.is_empty());
    assert_eq!((tracker.counters().refused, tracker.counters().duplicates), (1, 0));
}

#[test]
fn packets_of_a_datagram_are_bounded() {
    let datagram: Vec<u8> =
        (0..100).flat_map(|number| Forge { number, ..Forge::default() }.packet(&[1; 20])).collect();
    let (tracker, _) = after(&[datagram]);
    assert_eq!(tracker.counters().opened, MAX_PACKETS as u64);
    assert_eq!(tracker.counters().too_many_packets, 1);
}

#[test]
fn bytes_behind_the_limit_are_refused_and_counted() {
    let limit = STREAM_LIMIT as usize;
    let (tracker, _) = after(&[Forge::default().datagram(&crypto(limit - 5, &[1; 20]))]);
    assert_eq!(tracker.counters().refused, 1);
}
