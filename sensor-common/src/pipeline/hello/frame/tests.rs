//! How far streams have come, byte by byte, and what is left when the records are joined.

use super::*;
use crate::{host::MemoryTables, tls::walk::tests::message};

/// The first bytes of a stream in a capture; its outcome.
fn examined(stream: &[u8]) -> (Framing, Box<Capture>) {
    let mut capture = Box::<Capture>::default();
    capture.bytes[..stream.len()].copy_from_slice(stream);
    capture.contiguous = stream.len() as u32;
    (examine(&MemoryTables::default(), &mut capture), capture)
}

fn framing(stream: &[u8]) -> Framing {
    examined(stream).0
}

fn records(message: &[u8], most: usize) -> Vec<u8> {
    let record = |piece: &[u8]| {
        [&[RECORD_HANDSHAKE, MAJOR, 1], &(piece.len() as u16).to_be_bytes()[..], piece].concat()
    };
    message.chunks(most).flat_map(record).collect()
}

fn hello(length: usize) -> Vec<u8> {
    let empty = message(&[0x1301], Some(&[(0x0015, &[])])).len();
    message(&[0x1301], Some(&[(0x0015, &vec![7; length - empty])]))
}

#[test]
fn a_hello_is_complete_with_its_last_byte_whatever_its_records() {
    let tables = MemoryTables::default();
    let message = hello(120);
    for most in [4, 5, 7, 50, 60, 119, 120, 1 << 14] {
        let stream = records(&message, most);
        let mut growing = Box::<Capture>::default();
        for end in 1..stream.len() {
            assert_eq!(framing(&stream[..end]), Framing::Incomplete, "{most}: {end}");
            // As it goes on from segment to segment, and not only from the beginning.
            growing.bytes[..end].copy_from_slice(&stream[..end]);
            growing.contiguous = end as u32;
            assert_eq!(examine(&tables, &mut growing), Framing::Incomplete, "{most}: {end}");
        }
        let behind = [stream.as_slice(), &[23, 3, 3, 0, 9]].concat();
        for stream in [&stream, &behind] {
            let (framing, mut capture) = examined(stream);
            assert_eq!(framing, Framing::Complete, "in records of {most}");
            join(&tables, &mut capture);
            assert_eq!(capture.message_len, 120);
            assert_eq!(capture.bytes[5..125], message, "in records of {most}");
        }
    }
}

#[test]
fn what_stands_behind_the_message_in_its_record_is_left_out() {
    let two = [hello(80), vec![11; 40]].concat();
    for most in [usize::MAX, 100, 30] {
        let (framing, mut capture) = examined(&records(&two, most));
        assert_eq!(framing, Framing::Complete);
        join(&MemoryTables::default(), &mut capture);
        assert_eq!((capture.message_len, &capture.bytes[5..85]), (80, &two[..80]));
    }
}

#[test]
fn the_longest_hello_that_is_collected() {
    assert_eq!(framing(&records(&hello(HELLO_LEN - 5), usize::MAX)), Framing::Complete);
    let longer = records(&hello(HELLO_LEN - 4), usize::MAX);
    assert_eq!(framing(&longer[..8]), Framing::Incomplete);
    assert_eq!(framing(&longer[..9]), Framing::TooLong, "its own length says so");
    // In two records it takes five bytes more.
    let split = records(&hello(HELLO_LEN - 10), HELLO_LEN - 11);
    assert_eq!(framing(&split), Framing::Complete);
    let split = records(&hello(HELLO_LEN - 9), HELLO_LEN - 10);
    assert_eq!(framing(&split[..HELLO_LEN]), Framing::TooLong);
    assert_eq!(framing(&split[..HELLO_LEN - 6]), Framing::Incomplete);
    // So many records that even their headers do not fit.
    let fine = records(&hello(2000), 4);
    assert_eq!(framing(&fine[..HELLO_LEN - 1]), Framing::Incomplete);
    assert_eq!(framing(&fine[..HELLO_LEN]), Framing::TooLong);
    assert_eq!(framing(&records(&hello(80), 3)), Framing::TooLong, "its length is cut");
}

#[test]
fn what_is_no_hello_is_known_at_the_first_byte_that_says_so() {
    let stream = records(&hello(80), usize::MAX);
    assert_eq!(framing(&[]), Framing::Incomplete);
    for (at, value) in [(0, 23), (0, 0), (1, 2), (1, 0xfe)] {
        let mut changed = stream.clone();
        changed[at] = value;
        assert_eq!(framing(&changed[..at + 1]), Framing::NotTls, "{value} at {at}");
        assert_eq!(framing(&changed), Framing::NotTls, "{value} at {at}");
    }
    let mut other = stream.clone();
    other[5] = 2;
    assert_eq!(framing(&other[..9]), Framing::NotTls, "a ServerHello");
    for length in [[0, 0], [0x40, 1], [0xff, 0xff]] {
        let mut changed = stream.clone();
        changed[3..5].copy_from_slice(&length);
        assert_eq!(framing(&changed), Framing::NotTls, "a record of {length:?}");
    }
    let split = records(&hello(80), 40);
    for (at, value) in [(45, 23), (46, 2), (49, 0), (48, 0x41)] {
        let mut changed = split.clone();
        changed[at] = value;
        assert_eq!(framing(&changed[..49]), Framing::Incomplete, "{value} at {at}");
        assert_eq!(framing(&changed), Framing::NotTls, "{value} at {at}");
    }
}
