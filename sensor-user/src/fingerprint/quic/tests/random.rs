//! Cut, changed and random bytes: no panic, no hello that nobody sent.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{super::forge::retry, *};

fn client_and_server() -> ([Vec<u8>; 2], Vec<u8>) {
    let message = hello(1500, 3);
    let datagrams = [(0, 0, 1000), (1, 1000, 1500)].map(|(number, from, to)| {
        Forge { number, ..Forge::default() }.datagram(&parts(&message, &[(from, to)]))
    });
    let forge = Forge::default();
    (datagrams, retry(1, &forge.source, &[4; 8], &forge.destination))
}

#[test]
fn cut_at_every_byte() {
    let ([first, second], retry) = client_and_server();
    for cut in 0..first.len() {
        let (tracker, hellos) = after(&[first[..cut].to_vec(), second.clone()]);
        assert!(hellos.is_empty(), "cut at {cut}");
        assert_eq!(tracker.counters().opened, 1);
    }
    let mut tracker = Tracker::new(Limits::default());
    tracker.client_datagram(&1, 1, &first);
    for cut in 0..retry.len() {
        tracker.server_datagram(&1, &retry[..cut]);
    }
    assert_eq!(tracker.counters().retries, 0);
    assert!(tracker.client_datagram(&1, 2, &second).is_some());
}

#[test]
fn every_byte_changed() {
    let datagram = Forge::default().datagram(&crypto(0, &hello(1000, 3)));
    for at in 0..datagram.len() {
        let mut changed = datagram.clone();
        changed[at] ^= 0x20;
        let (_, hellos) = after(&[changed]);
        assert!(hellos.is_empty(), "byte {at}");
    }
}

/// Payloads that begin like frames, so that more than noise is tried.
fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let frame = prop_oneof![
        (0_usize..16_384, vec(any::<u8>(), 0..200)).prop_map(|(at, data)| crypto(at, &data)),
        (0_usize..40, 0_usize..40)
            .prop_map(|(from, length)| { crypto(from, &hello(80, 3)[from..from + length]) }),
        vec(any::<u8>(), 0..20),
        Just(vec![0; 30]),
        Just(vec![1]),
    ];
    vec(frame, 1..12).prop_map(|frames| frames.concat())
}

fn forges() -> impl Strategy<Value = Forge> {
    (
        prop::sample::select(vec![1, 0x6b33_43cf, 0xff00_001d, 0x5430_3531]),
        prop::sample::select(vec![vec![1; 8], vec![2; 8], vec![4; 8], vec![3; 4]]),
        prop::option::of(prop::sample::select(vec![vec![1; 8], vec![4; 8]])),
        0_u64..6,
    )
        .prop_map(|(version, destination, origin, number)| Forge {
            version,
            destination,
            origin,
            number,
            ..Forge::default()
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_bytes(datagrams in vec((any::<bool>(), vec(any::<u8>(), 0..1400)), 1..8)) {
        let mut tracker = Tracker::new(Limits::default());
        for (client, datagram) in datagrams {
            if client {
                prop_assert_eq!(tracker.client_datagram(&1, 1, &datagram), None);
            } else {
                tracker.server_datagram(&1, &datagram);
            }
        }
    }

    #[test]
    fn changed_datagrams(changes in vec((0_usize..3, any::<Index>(), any::<u8>()), 0..6)) {
        let ([mut first, mut second], mut retry) = client_and_server();
        for (which, at, byte) in changes {
            let datagram = [&mut first, &mut second, &mut retry][which].as_mut_slice();
            datagram[at.index(datagram.len())] = byte;
        }
        let mut tracker = Tracker::new(Limits::default());
        let mut hellos = Vec::new();
        hellos.extend(tracker.client_datagram(&1, 1, &first));
        tracker.server_datagram(&1, &retry);
        hellos.extend(tracker.client_datagram(&1, 2, &second));
        for given in hellos {
            prop_assert_eq!(given.message, hello(1500, 3));
        }
    }

    #[test]
    fn sealed_nonsense(
        packets in vec((forges(), payloads(), 0_u8..3, any::<bool>()), 1..12),
    ) {
        let limits = Limits { connections: 2, bytes: 60_000 };
        let mut tracker = Tracker::new(limits);
        for (forge, payload, key, retried) in packets {
            let given = tracker.client_datagram(&key, 1, &forge.datagram(&payload));
            if let Some(hello) = given {
                prop_assert_eq!(hello.message[0], 1);
                prop_assert!(hello.initials >= 1);
            }
            if retried && forge.version == 1 {
                tracker.server_datagram(&key, &retry(1, &[], &[4; 8], &forge.destination));
            }
            prop_assert!(tracker.len() <= 2);
            prop_assert!(tracker.held() <= limits.bytes || tracker.len() == 1);
        }
        while !tracker.is_empty() {
            tracker.evict();
        }
        prop_assert_eq!(tracker.held(), 0);
    }
}
