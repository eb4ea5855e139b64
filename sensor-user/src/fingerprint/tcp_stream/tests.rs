//! Streams cut, mixed, doubled and faked.

use super::*;

/// A record with a handshake message of this many bytes.
fn hello(length: u16) -> Vec<u8> {
    let mut stream = vec![22, 3, 1];
    stream.extend(length.to_be_bytes());
    stream.extend([1, 0]);
    stream.extend((length - 4).to_be_bytes());
    stream.extend((4..length).map(|at| at as u8));
    stream
}

fn found(outcome: Outcome) -> StreamHello {
    match outcome {
        Outcome::Hello(hello) => hello,
        other => panic!("{other:?}"),
    }
}

/// Adds the pieces in this order and expects the hello with the last of them.
fn assemble(mut stream: Stream, bytes: &[u8], origin: u32, cuts: &[(usize, usize)]) -> StreamHello {
    let (last, before) = cuts.split_last().unwrap();
    let mut add = |(from, to): &(usize, usize)| {
        stream.segment(origin.wrapping_add(*from as u32), &bytes[*from..*to])
    };
    for cut in before {
        assert_eq!(add(cut), Outcome::Pending, "{cut:?} of {cuts:?}");
    }
    found(add(last))
}

#[test]
fn two_segments_cut_anywhere_in_both_orders_around_a_wrapping_sequence_number() {
    let bytes = hello(300);
    let origin = u32::MAX - 100;
    for cut in 1..bytes.len() {
        let (a, b) = ((0, cut), (cut, bytes.len()));
        for cuts in [[a, b], [b, a]] {
            let hello = assemble(Stream::beginning_at(origin), &bytes, origin, &cuts);
            assert_eq!(hello.message, bytes[5..]);
            assert_eq!((hello.segments, hello.conflict), (2, false));
        }
    }
}

#[test]
fn single_bytes_backwards() {
    let bytes = hello(700);
    let cuts: Vec<_> = (0..bytes.len()).rev().map(|at| (at, at + 1)).collect();
    let hello = assemble(Stream::beginning_at(7), &bytes, 7, &cuts);
    assert_eq!((hello.message.as_slice(), hello.segments), (&bytes[5..], 705));
}

#[test]
fn without_the_syn_the_beginning_is_found_by_what_it_says() {
    let bytes = hello(300);
    let end = bytes.len();
    for cuts in [
        &[(0, end)][..],
        &[(100, end), (0, 100)],
        &[(200, end), (100, 200), (0, 100)],
        &[(0, 1), (1, 4), (4, end)],
        &[(4, end), (1, 4), (0, 1)],
        &[(1, end), (0, 1)],
    ] {
        let hello = assemble(Stream::new(), &bytes, u32::MAX - 50, cuts);
        assert_eq!((hello.message.as_slice(), hello.segments), (&bytes[5..], cuts.len() as u32));
    }
    // In the middle of something else.
    let mut stream = Stream::new();
    assert_eq!(stream.segment(1_000, b"CONNECT example.com:443"), Outcome::Pending);
    assert_eq!(found(stream.segment(1_023, &bytes)).segments, 1);
}

#[test]
fn without_the_syn_a_stream_is_given_up_after_a_while() {
    let mut stream = Stream::new();
    for at in 0..MAX_BLIND_SEGMENTS as u32 - 1 {
        assert_eq!(stream.segment(at * 10, &[23; 10]), Outcome::Pending);
    }
    let end = MAX_BLIND_SEGMENTS as u32 * 10;
    assert_eq!(stream.segment(end, &[23; 10]), Outcome::GivenUp(GivenUp::NoBeginning));
}

#[test]
fn retransmissions_and_keep_alives_change_nothing() {
    let bytes = hello(300);
    let mut stream = Stream::beginning_at(100);
    stream.segment(99, &[0]);
    stream.segment(100, &bytes[..200]);
    stream.segment(100, &bytes[..200]);
    stream.segment(150, &bytes[50..150]);
    stream.segment(90_000, &[1; 100]);
    stream.segment(3_000_000_000, &[1; 100]);
    let hello = found(stream.segment(90, &[&[0; 10], &bytes[..]].concat()));
    assert_eq!((hello.message.as_slice(), hello.segments), (&bytes[5..], 2));
    assert!(!hello.conflict);
}

#[test]
fn the_first_copy_wins_and_a_different_one_is_told() {
    let bytes = hello(300);
    let mut stream = Stream::beginning_at(100);
    stream.segment(200, &bytes[100..]);
    stream.segment(210, &[0xee; 20]);
    let hello = found(stream.segment(100, &bytes[..150]));
    assert_eq!((hello.message.as_slice(), hello.conflict), (&bytes[5..], true));
}

#[test]
fn what_is_no_hello_is_given_up_at_once() {
    let mut http = Stream::beginning_at(0);
    assert_eq!(http.segment(0, b"G"), Outcome::GivenUp(GivenUp::NotTls));
    let mut server = Stream::beginning_at(0);
    let hello_done = [22, 3, 3, 0, 4, 2, 0, 0, 0];
    assert_eq!(server.segment(0, &hello_done), Outcome::GivenUp(GivenUp::NotTls));
}

#[test]
fn too_long_and_too_many_are_given_up() {
    let mut long = Stream::beginning_at(0);
    assert_eq!(
        long.segment(0, &[22, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc]),
        Outcome::GivenUp(GivenUp::TooLong)
    );
    let bytes = hello(16_000);
    let mut slow = Stream::beginning_at(0);
    let outcome = bytes
        .iter()
        .zip(0..)
        .map(|(byte, at)| slow.segment(at, &[*byte]))
        .find(|outcome| *outcome != Outcome::Pending);
    assert_eq!(outcome, Some(Outcome::GivenUp(GivenUp::TooManyPieces)));
    assert!(slow.held() < 64 << 10);
    let mut gaps = Stream::beginning_at(0);
    let outcome = (0..STREAM_LIMIT)
        .step_by(2)
        .map(|at| gaps.segment(STREAM_LIMIT - 2 - at, &[0]))
        .find(|outcome| *outcome != Outcome::Pending);
    assert_eq!(outcome, Some(Outcome::GivenUp(GivenUp::TooManyPieces)));
}

/// A toy: one byte that says how many follow.
fn counted(stream: &[u8]) -> PreambleLength {
    stream
        .first()
        .map_or(PreambleLength::NeedsMore, |count| PreambleLength::Known(1 + u32::from(*count)))
}

#[test]
fn a_preamble_is_passed_over_in_however_many_pieces() {
    let bytes = [&[3, b'a', b'b', b'c'][..], &hello(100)].concat();
    for (cuts, segments) in
        [(vec![(0, 109)], 1), (vec![(0, 4), (4, 109)], 1), (vec![(0, 2), (2, 9), (9, 109)], 2)]
    {
        let stream = Stream::beginning_at(5).with_preamble(Some(counted));
        let hello = assemble(stream, &bytes, 5, &cuts);
        assert_eq!(
            (hello.preamble.as_slice(), hello.message.as_slice()),
            (&bytes[..4], &bytes[9..])
        );
        assert_eq!(hello.segments, segments);
    }
}
