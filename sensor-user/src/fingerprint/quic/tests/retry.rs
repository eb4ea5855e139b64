//! Retry: the server's connection ID makes new keys, whether we saw the Retry or not.

use super::{super::forge::retry, *};

const SERVER_ID: [u8; 10] = [0x5e; 10];

struct Story {
    before: Forge,
    after: Forge,
    /// With the connection ID that the server chose in the end, still the keys of the Retry.
    later: Forge,
}

fn story(version: u32) -> Story {
    let before = Forge { version, source: vec![7; 5], ..Forge::default() };
    let destination = SERVER_ID.to_vec();
    let after = Forge { destination, token: b"token".to_vec(), number: 2, ..before.clone() };
    let later = Forge {
        destination: vec![0xab; 4],
        origin: Some(SERVER_ID.to_vec()),
        number: 3,
        ..after.clone()
    };
    Story { before, after, later }
}

fn retry_of(forge: &Forge) -> Vec<u8> {
    retry(forge.version, &forge.source, &SERVER_ID, &forge.destination)
}

#[test]
fn the_same_hello_after_a_retry_is_given_once() {
    for (version, seen) in [(1, true), (1, false), (0x6b33_43cf, true), (0xff00_001d, false)] {
        let Story { before, after, later } = story(version);
        let message = hello(1800, 1);
        let [from, to] = [(0, 1000), (1000, 1800)].map(|range| parts(&message, &[range]));
        let mut tracker = Tracker::new(Limits::default());
        let first = feed(
            &mut tracker,
            &[before.datagram(&from), Forge { number: 1, ..before.clone() }.datagram(&to)],
        );
        assert_eq!((first.len(), first[0].initials), (1, 2));
        if seen {
            tracker.server_datagram(&1, &retry_of(&before));
        }
        let again = feed(&mut tracker, &[after.datagram(&from), later.datagram(&to)]);
        assert!(again.is_empty());
        assert_eq!(
            *tracker.counters(),
            Counters {
                client_datagrams: 4,
                opened: 4,
                hellos: 1,
                repeated_hellos: 1,
                retries: u64::from(seen),
                ..Counters::default()
            }
        );
    }
}

#[test]
fn a_hello_that_was_not_complete_before() {
    for seen in [true, false] {
        let Story { before, after, later } = story(1);
        let message = hello(1800, 1);
        let [from, to] = [(0, 1000), (1000, 1800)].map(|range| parts(&message, &[range]));
        let mut tracker = Tracker::new(Limits::default());
        assert!(feed(&mut tracker, &[before.datagram(&from)]).is_empty());
        if seen {
            tracker.server_datagram(&1, &retry_of(&before));
        }
        let hellos = feed(&mut tracker, &[after.datagram(&from), later.datagram(&to)]);
        assert_eq!((hellos.len(), hellos[0].initials, hellos[0].conflict), (1, 2, false));
    }
}

#[test]
fn another_hello_after_a_retry_is_a_conflict() {
    let Story { before, after, .. } = story(1);
    let mut tracker = Tracker::new(Limits::default());
    feed(&mut tracker, &[before.datagram(&crypto(0, &hello(500, 1)))]);
    tracker.server_datagram(&1, &retry_of(&before));
    let hellos = feed(&mut tracker, &[after.datagram(&crypto(0, &hello(500, 2)))]);
    assert_eq!((&hellos[0].message, hellos[0].conflict), (&hello(500, 2), true));
}

#[test]
fn a_retry_that_the_client_would_not_take_changes_nothing() {
    let Story { before, .. } = story(1);
    let message = hello(1800, 1);
    let [from, to] = [(0, 1000), (1000, 1800)].map(|range| parts(&message, &[range]));
    let mut wrong_tag = retry_of(&before);
    *wrong_tag.last_mut().unwrap() ^= 1;
    let for_another = retry(1, &[8; 5], &SERVER_ID, &before.destination);
    let of_another = retry(1, &before.source, &SERVER_ID, &[1; 8]);
    let of_version_2 = retry(0x6b33_43cf, &before.source, &SERVER_ID, &before.destination);
    let mut tracker = Tracker::new(Limits::default());
    tracker.server_datagram(&1, &retry_of(&before));
    assert_eq!(*tracker.counters(), Counters::default(), "nobody asked");
    feed(&mut tracker, &[before.datagram(&from)]);
    for forged in [wrong_tag, for_another, of_another, of_version_2] {
        tracker.server_datagram(&1, &forged);
    }
    assert_eq!((tracker.counters().retries, tracker.counters().ignored_retries), (0, 4));
    let next = Forge { number: 1, ..before };
    assert_eq!(feed(&mut tracker, &[next.datagram(&to)]).len(), 1);
}

#[test]
fn a_forged_retry_does_not_take_the_keys_away() {
    let Story { before, .. } = story(1);
    let message = hello(1800, 1);
    let [from, to] = [(0, 1000), (1000, 1800)].map(|range| parts(&message, &[range]));
    let mut tracker = Tracker::new(Limits::default());
    feed(&mut tracker, &[before.datagram(&from)]);
    // Who sees the client's connection ID can make a valid one. The client ignores it if the
    // server's answer came first.
    tracker.server_datagram(&1, &retry_of(&before));
    assert_eq!(tracker.counters().retries, 1);
    // The client goes on, with the server's connection ID and a version that the server picked.
    let next = Forge {
        version: 0x6b33_43cf,
        destination: vec![0xab; 4],
        origin: Some(before.destination.clone()),
        number: 1,
        ..before
    };
    let hellos = feed(&mut tracker, &[next.datagram(&to)]);
    assert_eq!((hellos.len(), &hellos[0].message), (1, &message));
}

#[test]
fn only_one_retry_is_taken() {
    let Story { before, .. } = story(1);
    let mut tracker = Tracker::new(Limits::default());
    feed(&mut tracker, &[before.datagram(&crypto(0, &hello(1800, 1)[..1000]))]);
    tracker.server_datagram(&1, &retry_of(&before));
    tracker.server_datagram(&1, &retry(1, &before.source, &[1; 8], &before.destination));
    assert_eq!((tracker.counters().retries, tracker.counters().ignored_retries), (1, 1));
}
