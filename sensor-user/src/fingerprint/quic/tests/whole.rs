//! Hellos of honest clients, however they come.

use super::*;

#[test]
fn one_initial_of_each_version() {
    let message = hello(300, 7);
    for version in [1, 0x6b33_43cf, 0x709a_50c4, 0xff00_0016] {
        let forge = Forge { version, ..Forge::default() };
        let (tracker, hellos) = after(&[forge.datagram(&crypto(0, &message))]);
        assert_eq!(hellos.len(), 1, "{version:x}");
        assert_eq!((&hellos[0].message, hellos[0].version), (&message, version));
        assert_eq!(
            *tracker.counters(),
            Counters { client_datagrams: 1, opened: 1, hellos: 1, ..Counters::default() }
        );
    }
}

#[test]
fn shuffled_frames_between_pings_and_padding() {
    let message = hello(300, 7);
    let payload = [
        &[0, 0, 1],
        parts(&message, &[(200, 300), (50, 120)]).as_slice(),
        &[0, 1, 0],
        &parts(&message, &[(0, 50), (120, 200)]),
    ]
    .concat();
    let (_, hellos) = after(&[Forge::default().datagram(&payload)]);
    assert_eq!((&hellos[0].message, hellos[0].initials), (&message, 1));
}

#[test]
fn several_initials_in_any_order() {
    let message = hello(2500, 1);
    let part = |number, from, to| {
        Forge { number, ..Forge::default() }.datagram(&parts(&message, &[(from, to)]))
    };
    let [a, b, c] = [part(0, 0, 1000), part(1, 1000, 2000), part(2, 2000, 2500)];
    for order in [[&a, &b, &c], [&c, &b, &a], [&b, &c, &a]] {
        let (_, hellos) = after(&order.map(Vec::clone));
        assert_eq!(hellos.len(), 1);
        let Hello { message: whole, initials, first_ns, complete_ns, conflict, .. } = &hellos[0];
        assert_eq!((whole, *initials, *conflict), (&message, 3, false));
        assert_eq!((*first_ns, *complete_ns), (1_000_000_000, 3_000_000_000));
    }
    let (tracker, hellos) = after(&[a.clone(), a.clone(), c.clone(), a, b]);
    assert_eq!((hellos.len(), hellos[0].initials, hellos[0].conflict), (1, 3, false));
    assert_eq!((tracker.counters().duplicates, tracker.counters().conflicts), (2, 0));
}

#[test]
fn retransmissions_cut_at_other_places() {
    let message = hello(2000, 1);
    let part = |number, ranges: &[(usize, usize)]| {
        Forge { number, ..Forge::default() }.datagram(&parts(&message, ranges))
    };
    let (_, hellos) = after(&[
        part(0, &[(0, 900)]),
        part(1, &[(100, 900)]),
        part(2, &[(800, 1500), (1400, 2000)]),
    ]);
    assert_eq!((&hellos[0].message, hellos[0].initials), (&message, 2), "one brought nothing new");
    assert!(!hellos[0].conflict);
}

#[test]
fn coalesced_packets() {
    let message = hello(400, 1);
    let initial = |number, from, to| {
        Forge { number, ..Forge::default() }.packet(&parts(&message, &[(from, to)]))
    };
    // 0-RTT (type 1) and Handshake (type 2) for the same connection ID, with 20 secret bytes.
    let other = |first: u8| {
        let id = Forge::default().destination;
        [&[first, 0, 0, 0, 1, 8], id.as_slice(), &[0, 20], &[0xee; 20]].concat()
    };
    let filler = vec![0; 1200];
    let datagram =
        [other(0xd0), initial(0, 0, 250), other(0xe0), initial(1, 250, 400), filler].concat();
    let (tracker, hellos) = after(&[datagram]);
    assert_eq!((&hellos[0].message, hellos[0].initials), (&message, 2));
    assert_eq!(tracker.counters().other_packets, 2);
}

#[test]
fn the_servers_connection_id_and_acknowledgements() {
    let message = hello(2000, 1);
    let first = Forge { source: vec![7; 4], ..Forge::default() };
    let origin = Some(first.destination.clone());
    // With the server's choice as destination, the keys stay those of the first one.
    let later = Forge { destination: vec![5; 4], origin, number: 1, ..first.clone() };
    let ack_and_rest = [&[2, 0, 0, 0, 0], parts(&message, &[(1000, 2000)]).as_slice()].concat();
    let (tracker, hellos) = after(&[
        first.datagram(&parts(&message, &[(0, 1000)])),
        later.datagram(&ack_and_rest),
        Forge { number: 2, ..later.clone() }.datagram(&[2, 1, 0, 0, 0]),
    ]);
    assert_eq!((hellos.len(), &hellos[0].message), (1, &message));
    assert_eq!((tracker.counters().after_hello, tracker.counters().undecryptable), (1, 0));
}

#[test]
fn a_compatible_version_that_the_server_picked() {
    let message = hello(2000, 1);
    let first = Forge::default();
    let origin = Some(first.destination.clone());
    let later = Forge {
        version: 0x6b33_43cf,
        destination: vec![5; 8],
        origin,
        number: 1,
        ..Forge::default()
    };
    let (tracker, hellos) = after(&[
        first.datagram(&parts(&message, &[(0, 1000)])),
        later.datagram(&parts(&message, &[(1000, 2000)])),
    ]);
    assert_eq!(hellos.len(), 1, "{:?}", tracker.counters());
    assert_eq!((&hellos[0].message, hellos[0].version), (&message, 0x6b33_43cf));
}

#[test]
fn another_version_for_the_same_connection_id_begins_anew() {
    let old = Forge { version: 0xff00_001d, ..Forge::default() };
    let (_, hellos) = after(&[
        old.datagram(&crypto(0, &hello(300, 1))),
        Forge::default().datagram(&crypto(0, &hello(300, 2))),
    ]);
    assert_eq!(hellos.len(), 2);
    assert!(hellos.iter().all(|hello| !hello.conflict));
}

#[test]
fn the_same_port_again() {
    let one = Forge::default().datagram(&crypto(0, &hello(300, 1)));
    let two = Forge { destination: vec![9; 8], ..Forge::default() };
    let (tracker, hellos) = after(&[one, two.datagram(&crypto(0, &hello(300, 2)))]);
    assert_eq!((hellos.len(), tracker.len()), (2, 1));
    assert_eq!(hellos[1].message, hello(300, 2));
    assert!(!hellos[1].conflict);
}

#[test]
fn a_second_hello_of_the_same_connection_is_not_given() {
    // HelloRetryRequest: the second one follows the first in the same stream.
    let (one, two) = (hello(300, 1), hello(400, 2));
    let next = Forge { number: 1, ..Forge::default() };
    let (tracker, hellos) = after(&[
        Forge::default().datagram(&crypto(0, &one)),
        next.datagram(&crypto(one.len(), &two)),
    ]);
    assert_eq!((hellos.len(), tracker.counters().after_hello), (1, 1));
}

#[test]
fn long_tokens_and_every_length_of_packet_numbers() {
    for number_length in 1..=4 {
        let forge = Forge {
            token: vec![3; 700],
            number: 0x0102_0304 & (0xffff_ffff >> (32 - 8 * number_length)),
            number_length,
            ..Forge::default()
        };
        let (_, hellos) = after(&[forge.datagram(&crypto(0, &hello(300, 1)))]);
        assert_eq!(hellos.len(), 1, "{number_length}");
    }
}

#[test]
fn packet_numbers_that_begin_anywhere_and_are_shortened() {
    let message = hello(2000, 1);
    let part = |number, number_length, range| {
        Forge { number, number_length, ..Forge::default() }.datagram(&parts(&message, &[range]))
    };
    let datagrams = [part(0x1fe, 2, (0, 1000)), part(0x200, 1, (1000, 1500))];
    let (_, hellos) = after(&[datagrams.as_slice(), &[part(0x1ff, 1, (1500, 2000))]].concat());
    assert_eq!((hellos.len(), hellos[0].initials), (1, 3));
    // A number that only a forger uses.
    let forged = part(0xf000_0000, 4, (0, 10));
    let (_, hellos) = after(&[part(0, 1, (0, 1000)), forged, part(1, 1, (1000, 2000))]);
    assert_eq!((hellos.len(), hellos[0].initials), (1, 2));
}

#[test]
fn google_frames() {
    let message = hello(300, 1);
    let payload = [&[8, 0, 0x41, 0x2c], message.as_slice()].concat();
    let forge = Forge { version: 0x5430_3531, ..Forge::default() };
    let (_, hellos) = after(&[forge.datagram(&payload)]);
    assert_eq!((&hellos[0].message, hellos[0].version), (&message, 0x5430_3531));
}

#[test]
fn what_is_no_quic() {
    let (tracker, hellos) = after(&[
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![],
        vec![0x80],
        [0xc3].into_iter().chain(*b"Q046").chain([0; 1200]).collect(),
        [0xc3, 0, 0, 0, 0].into_iter().chain([0; 1200]).collect(),
        vec![0xff; 1200],
    ]);
    assert!(hellos.is_empty() && tracker.is_empty());
    assert_eq!(
        *tracker.counters(),
        Counters {
            client_datagrams: 6,
            no_long_header: 1,
            malformed: 1,
            unsupported_version: 2,
            version_negotiation: 1,
            ..Counters::default()
        }
    );
}
