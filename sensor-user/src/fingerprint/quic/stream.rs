//! The handshake's stream of bytes, put together from CRYPTO frames, up to the end of the
//! ClientHello it begins with.

use crate::fingerprint::assembly::{Assembly, Brought};

/// Where the stream ends for us. BoringSSL and quic-go take no longer hello either.
pub(super) const STREAM_LIMIT: u32 = 16_384;

/// The handshake header: a type, and a length in three bytes (RFC 8446, section 4).
const HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;

/// The bytes so far.
#[derive(Clone, Debug)]
pub(super) struct CryptoStream {
    assembly: Assembly,
}

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Inserted {
    /// There are bytes that were not there before.
    pub(super) fresh: bool,
    /// Bytes that were there are others in this copy. The first one counts.
    pub(super) conflict: bool,
    /// There was no room for all.
    pub(super) refused: bool,
}

/// What the stream begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Message<'a> {
    /// Not all of it is there yet.
    Incomplete,
    /// A whole ClientHello, its handshake header included.
    ClientHello(&'a [u8]),
    /// Another message, or one that is too long for us.
    NotClientHello,
}

impl Default for CryptoStream {
    fn default() -> Self {
        Self { assembly: Assembly::new(STREAM_LIMIT) }
    }
}

impl CryptoStream {
    /// Takes a frame's bytes.
    pub(super) fn insert(&mut self, offset: u64, data: &[u8]) -> Inserted {
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        match self.assembly.insert(offset, data) {
            Ok(Brought { first_new, conflict, beyond }) => {
                Inserted { fresh: first_new.is_some(), conflict, refused: beyond }
            }
            Err(_) => Inserted { refused: true, ..Inserted::default() },
        }
    }

    /// Whether all these bytes are there, and are the same.
    pub(super) fn holds(&self, offset: u64, data: &[u8]) -> bool {
        u32::try_from(offset)
            .is_ok_and(|offset| self.assembly.run_at(offset).get(..data.len()) == Some(data))
    }

    /// The message at the start of the stream.
    pub(super) fn message(&self) -> Message<'_> {
        let front = self.assembly.front();
        match *front {
            [kind, ..] if kind != CLIENT_HELLO => Message::NotClientHello,
            [_, high, middle, low, ..] => {
                let length = HEADER + u32::from_be_bytes([0, high, middle, low]) as usize;
                match front.get(..length) {
                    Some(message) => Message::ClientHello(message),
                    None if length > STREAM_LIMIT as usize => Message::NotClientHello,
                    None => Message::Incomplete,
                }
            }
            _ => Message::Incomplete,
        }
    }

    /// Memory that it holds, in bytes.
    pub(super) const fn held(&self) -> usize {
        self.assembly.held()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(body: usize) -> Vec<u8> {
        let mut message = vec![1];
        message.extend(&(body as u32).to_be_bytes()[1..]);
        message.extend((0..body).map(|n| n as u8));
        message
    }

    fn stream(bytes: &[u8]) -> CryptoStream {
        let mut stream = CryptoStream::default();
        stream.insert(0, bytes);
        stream
    }

    #[test]
    fn pieces_in_any_order_overlapping_and_doubled() {
        let message = hello(96);
        let mut stream = CryptoStream::default();
        let fresh =
            [(50, 70), (10, 20), (15, 55), (60, 100), (50, 70), (0, 12)].map(|(from, to)| {
                assert_eq!(stream.message(), Message::Incomplete);
                let inserted = stream.insert(from as u64, &message[from..to]);
                assert!(!inserted.conflict && !inserted.refused);
                inserted.fresh
            });
        assert_eq!(fresh, [true, true, true, true, false, true]);
        assert_eq!(stream.message(), Message::ClientHello(&message));
    }

    #[test]
    fn the_first_copy_counts_and_a_conflict_shows() {
        let message = hello(60);
        let mut other = message.clone();
        other[30] ^= 1;
        let mut stream = CryptoStream::default();
        stream.insert(20, &message[20..40]);
        assert!(stream.holds(20, &message[20..40]));
        assert!(!stream.holds(20, &other[20..40]));
        assert!(!stream.holds(20, &message[20..41]), "a byte more than there is");
        assert!(!stream.holds(u64::MAX, &message[20..21]));
        let inserted = stream.insert(0, &other);
        assert_eq!(inserted, Inserted { fresh: true, conflict: true, refused: false });
        assert_eq!(stream.message(), Message::ClientHello(&message));
    }

    #[test]
    fn what_follows_the_hello_is_not_of_it() {
        let message = hello(10);
        let longer = [message.as_slice(), &[9; 30]].concat();
        assert_eq!(stream(&longer).message(), Message::ClientHello(&message));
    }

    #[test]
    fn other_messages_and_endless_ones_are_no_hello() {
        assert_eq!(stream(&[2]).message(), Message::NotClientHello);
        assert_eq!(stream(&[1, 0, 0x3f, 0xfd]).message(), Message::NotClientHello);
        assert_eq!(stream(&[1, 0, 0x3f, 0xfc]).message(), Message::Incomplete);
        let longest = hello(STREAM_LIMIT as usize - HEADER);
        assert_eq!(stream(&longest).message(), Message::ClientHello(&longest));
    }

    #[test]
    fn bytes_behind_the_limit_are_refused() {
        let mut stream = CryptoStream::default();
        assert!(stream.insert(u64::from(STREAM_LIMIT), &[0]).refused);
        assert!(stream.insert(u64::MAX, &[0; 9]).refused);
        assert!(stream.insert(u64::from(STREAM_LIMIT) - 1, &[0, 0]).refused);
        assert!(!stream.insert(u64::from(STREAM_LIMIT) - 1, &[0]).refused);
    }
}
