//! What an attacker, or a client that wants to be taken for another, can send.

use super::*;

fn halves(message: &[u8]) -> [Vec<u8>; 2] {
    let middle = message.len() / 2;
    [parts(message, &[(0, middle)]), parts(message, &[(middle, message.len())])]
}

#[test]
fn other_addresses_change_nothing() {
    let message = hello(2000, 1);
    let [from, to] = halves(&message);
    let mut tracker = Tracker::new(Limits::default());
    assert_eq!(tracker.client_datagram(&1, 1, &Forge::default().datagram(&from)), None);
    let forged = Forge { number: 1, ..Forge::default() };
    assert_eq!(
        tracker.client_datagram(&2, 2, &forged.datagram(&parts(&hello(2000, 2), &[(0, 900)]))),
        None
    );
    let hello = tracker.client_datagram(&1, 3, &forged.datagram(&to)).unwrap();
    assert_eq!((hello.message, hello.conflict), (message, false));
}

#[test]
fn forged_initials_with_another_connection_id_leave_the_client_alone() {
    let message = hello(2000, 1);
    let [from, to] = halves(&message);
    let forged = Forge { destination: vec![6; 8], ..Forge::default() };
    let next = Forge { number: 1, ..Forge::default() };
    let (_, hellos) = after(&[
        Forge::default().datagram(&from),
        forged.datagram(&crypto(0, &hello(400, 9))),
        next.datagram(&to),
    ]);
    assert_eq!(hellos.len(), 2);
    assert_eq!((&hellos[1].message, hellos[1].conflict), (&message, false));
}

#[test]
fn forged_initials_with_the_clients_connection_id_are_a_conflict() {
    let message = hello(2000, 1);
    let [from, to] = halves(&message);
    let other = hello(2000, 2);
    // Other bytes under a new packet number, and under one that was there.
    for number in [5, 0] {
        let forged = Forge { number, ..Forge::default() };
        let (tracker, hellos) = after(&[
            Forge::default().datagram(&from),
            forged.datagram(&parts(&other, &[(10, 900)])),
            Forge { number: 1, ..Forge::default() }.datagram(&to),
        ]);
        assert_eq!((&hellos[0].message, hellos[0].conflict), (&message, true));
        assert_eq!(tracker.counters().conflicts, 1);
    }
}

#[test]
fn a_packet_number_that_was_there_brings_nothing() {
    let message = hello(2000, 1);
    let [from, to] = halves(&message);
    let (tracker, hellos) =
        after(&[Forge::default().datagram(&from), Forge::default().datagram(&to)]);
    assert!(hellos.is_empty(), "the server ignores the second one");
    assert_eq!((tracker.counters().duplicates, tracker.counters().conflicts), (1, 1));
}

#[test]
fn decoys_that_a_server_discards_do_not_count() {
    let message = hello(500, 1);
    let decoy = crypto(0, &hello(500, 2));
    let small = Forge::default().packet(&decoy);
    assert!(small.len() < 1200);
    let reserved = Forge { reserved: 1, ..Forge::default() }.datagram(&decoy);
    let stream_frame = Forge::default().datagram(&[decoy.as_slice(), &[0x08, 0, 1]].concat());
    let short_id = Forge { destination: vec![1; 7], ..Forge::default() }.datagram(&decoy);
    // Behind a packet for another connection ID.
    let behind = Forge { destination: vec![1; 8], number: 1, ..Forge::default() }.packet(&decoy);
    let real = Forge { number: 1, ..Forge::default() };
    let mut datagram = real.packet(&crypto(0, &message[..400]));
    datagram.extend(behind);
    datagram.resize(1300, 0);
    let rest = Forge { number: 2, ..Forge::default() }.datagram(&parts(&message, &[(400, 500)]));
    let (tracker, hellos) = after(&[small, reserved, stream_frame, short_id, datagram, rest]);
    assert_eq!(hellos.len(), 1, "{:?}", tracker.counters());
    assert_eq!((&hellos[0].message, hellos[0].conflict), (&message, false));
    assert_eq!(
        *tracker.counters(),
        Counters {
            client_datagrams: 6,
            small_datagram: 1,
            violations: 2,
            undecryptable: 1,
            short_connection_id: 1,
            other_connection_id: 1,
            opened: 4,
            hellos: 1,
            ..Counters::default()
        }
    );
}

#[test]
fn empty_payloads_and_other_messages() {
    let server_hello = [&[2], &hello(300, 1)[1..]].concat();
    let (tracker, hellos) = after(&[Forge::default().datagram(&crypto(0, &server_hello))]);
    assert!(hellos.is_empty());
    assert_eq!(tracker.counters().not_client_hello, 1);
    // A whole datagram without a frame: the length of the header's token fills it.
    let empty = Forge { token: vec![0; 1200], number_length: 4, ..Forge::default() }.packet(&[]);
    let (tracker, _) = after(&[empty]);
    assert_eq!(tracker.counters().violations, 1);
}

#[test]
fn a_server_is_not_taken_for_a_client() {
    let forge = Forge { server: true, ..Forge::default() };
    let (tracker, hellos) = after(&[forge.datagram(&crypto(0, &hello(300, 1)))]);
    assert!(hellos.is_empty() && tracker.is_empty());
    assert_eq!(tracker.counters().undecryptable, 1);
}

#[test]
fn an_initial_with_another_source_is_not_of_the_attempt() {
    let message = hello(2000, 1);
    let [from, to] = halves(&message);
    let other = Forge {
        source: vec![9],
        destination: vec![5; 4],
        origin: Some(Forge::default().destination),
        number: 1,
        ..Forge::default()
    };
    let (tracker, hellos) = after(&[Forge::default().datagram(&from), other.datagram(&to)]);
    assert!(hellos.is_empty());
    assert_eq!(tracker.counters().undecryptable, 1);
}
