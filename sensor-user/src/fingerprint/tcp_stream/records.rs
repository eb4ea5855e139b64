//! TLS records (RFC 8446, section 5.1): from the first bytes of a stream to its ClientHello.
//!
//! Handshake messages may be cut into records anywhere, but no record of another type may stand
//! between the parts of one.

use std::borrow::Cow;

use weir_common::tls::{CLIENT_HELLO, HANDSHAKE_HEADER_LEN, RECORD_HANDSHAKE, RECORD_HEADER_LEN};

/// Longest fragment that a plaintext record may carry.
const MAX_FRAGMENT: usize = 1 << 14;
const RECORD_HEADER: usize = RECORD_HEADER_LEN as usize;
const HANDSHAKE_HEADER: usize = HANDSHAKE_HEADER_LEN as usize;
/// Bytes that tell a hello from anything else: a record's header and the message's type.
pub(super) const TELLING: usize = RECORD_HEADER + 1;

/// What the bytes so far are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Read<'a> {
    /// The beginning of a hello, or nothing that says otherwise; at least this many bytes of the
    /// stream are needed.
    Needs(usize),
    /// No hello.
    Other,
    /// A whole hello.
    Hello {
        /// Its handshake message, header included.
        message: Cow<'a, [u8]>,
        /// Where in the stream it ends.
        end: usize,
    },
}

/// Reads the beginning of a stream.
pub(super) fn read(stream: &[u8]) -> Read<'_> {
    let mut at = 0;
    let mut message: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    loop {
        let rest = stream.get(at..).unwrap_or_default();
        if !may_be_header(rest) {
            return Read::Other;
        }
        let (Some(&[high, low]), body) =
            (rest.get(3..).and_then(<[u8]>::first_chunk), at + RECORD_HEADER)
        else {
            return Read::Needs(at + RECORD_HEADER);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length == 0 || length > MAX_FRAGMENT {
            return Read::Other;
        }
        let whole = body + length;
        let fragment = stream.get(body..whole.min(stream.len())).unwrap_or_default();
        append(&mut message, fragment);
        match message_len(&message) {
            Some(None) => return Read::Other,
            Some(Some(wanted)) if message.len() >= wanted => {
                let end = body + fragment.len() - (message.len() - wanted);
                truncate(&mut message, wanted);
                return Read::Hello { message, end };
            }
            Some(Some(wanted)) if fragment.len() < length => {
                // In this record, or in at least one more.
                let missing = wanted - message.len();
                return Read::Needs((stream.len() + missing).min(whole + TELLING));
            }
            None if fragment.len() < length => {
                return Read::Needs((stream.len() + 1).min(whole + TELLING));
            }
            Some(Some(_)) | None => at = whole,
        }
    }
}

/// Whether these bytes, as far as they are there, begin a record with a ClientHello.
pub(super) fn begins_hello(stream: &[u8]) -> bool {
    may_be_header(stream) && stream.get(RECORD_HEADER).is_some_and(|kind| *kind == CLIENT_HELLO)
}

/// Type and major version: 3 since SSL 3.0; the minor version says nothing.
fn may_be_header(record: &[u8]) -> bool {
    record.iter().zip([RECORD_HANDSHAKE, 3]).all(|(byte, expected)| *byte == expected)
}

/// The length of the message with its header; `None`: not yet known. `Some(None)`: no ClientHello.
fn message_len(message: &[u8]) -> Option<Option<usize>> {
    if *message.first()? != CLIENT_HELLO {
        return Some(None);
    }
    let [_, a, b, c] = *message.first_chunk()?;
    Some(Some(HANDSHAKE_HEADER + u32::from_be_bytes([0, a, b, c]) as usize))
}

fn append<'a>(message: &mut Cow<'a, [u8]>, fragment: &'a [u8]) {
    if message.is_empty() {
        *message = Cow::Borrowed(fragment);
    } else {
        message.to_mut().extend_from_slice(fragment);
    }
}

fn truncate(message: &mut Cow<'_, [u8]>, length: usize) {
    match message {
        Cow::Borrowed(bytes) => *bytes = bytes.get(..length).unwrap_or(bytes),
        Cow::Owned(bytes) => bytes.truncate(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hello's message in records of these lengths; the last takes the rest.
    fn records(message: &[u8], lengths: &[usize]) -> Vec<u8> {
        let mut stream = Vec::new();
        let mut rest = message;
        for length in lengths.iter().copied().chain([usize::MAX]) {
            let (fragment, behind) = rest.split_at(length.min(rest.len()));
            if !fragment.is_empty() {
                stream.extend([22, 3, 1]);
                stream.extend((fragment.len() as u16).to_be_bytes());
                stream.extend(fragment);
            }
            rest = behind;
        }
        stream
    }

    const MESSAGE: [u8; 10] = [1, 0, 0, 6, 3, 3, 9, 9, 9, 9];

    #[test]
    fn a_hello_in_any_records_is_found_and_every_prefix_needs_more() {
        for lengths in [&[][..], &[1], &[3, 1], &[4], &[1, 1, 1, 1, 1, 1], &[9]] {
            let mut stream = records(&MESSAGE, lengths);
            let end = stream.len();
            for cut in 0..end {
                let Read::Needs(needed) = read(&stream[..cut]) else {
                    panic!("{lengths:?} cut at {cut}");
                };
                assert!(needed > cut && needed <= end, "{lengths:?} at {cut} needs {needed}");
            }
            stream.extend([23, 3, 3, 0, 1, 0]);
            assert_eq!(read(&stream), Read::Hello { message: Cow::Borrowed(&MESSAGE), end });
        }
    }

    #[test]
    fn a_second_message_in_the_record_is_left_out() {
        let two = [&MESSAGE[..], &[2, 0, 0, 0]].concat();
        let stream = records(&two, &[]);
        let expected = Read::Hello { message: Cow::Borrowed(&MESSAGE), end: stream.len() - 4 };
        assert_eq!(read(&stream), expected);
    }

    #[test]
    fn anything_else_is_told_at_its_first_wrong_byte() {
        for stream in [
            &b"GET / HTTP/1.1"[..],
            &[21],
            &[22, 2],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0x40, 1],
            &[22, 3, 1, 0, 4, 2],
            // SSL 2.0
            &[0x80, 0x2e, 1, 0, 2],
        ] {
            assert_eq!(read(stream), Read::Other, "{stream:?}");
        }
        let mut interrupted = records(&MESSAGE, &[6]);
        interrupted[11] = 21;
        assert_eq!(read(&interrupted), Read::Other);
    }
}
