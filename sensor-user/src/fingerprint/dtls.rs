//! The ClientHello of DTLS (RFC 6347, section 4.2; RFC 9147, section 5), put together from its
//! fragments and written as TLS would write it.
//!
//! DTLS cuts a handshake message into fragments with offsets of their own, and puts a cookie between
//! session id and cipher suites. Without the cookie and the fragment fields the message is one that
//! the walk reads.

use weir_common::tls::{CLIENT_HELLO, HANDSHAKE_HEADER_LEN, RECORD_HANDSHAKE};

use super::assembly::Assembly;

/// Longest hello that is put together.
pub const MESSAGE_LIMIT: u32 = 16_384;

/// Content type, version, epoch, sequence number, length.
const RECORD_HEADER: usize = 13;
/// Type, length, message number, fragment offset, fragment length.
const FRAGMENT_HEADER: usize = 12;
/// Where the session id's length is in a hello: behind version and random.
const SESSION_ID: usize = 34;

/// A fragment of a ClientHello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fragment<'a> {
    /// 0 for the first hello, 1 for the one with the cookie.
    number: u16,
    /// Of the whole message.
    length: u32,
    offset: u32,
    bytes: &'a [u8],
}

/// Whether a datagram may begin with a handshake record of DTLS.
#[must_use]
pub fn is_handshake(datagram: &[u8]) -> bool {
    matches!(datagram, [RECORD_HANDSHAKE, 0xfe, 0xfc..=0xff, 0, 0, ..])
}

/// One client's hello, so far.
#[derive(Clone, Debug)]
pub struct Collector {
    number: u16,
    length: u32,
    body: Assembly,
    conflict: bool,
    datagrams: u32,
}

/// A whole hello.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatagramHello {
    /// The handshake message as TLS writes it.
    pub message: Vec<u8>,
    /// Datagrams that brought a byte of it.
    pub datagrams: u32,
    /// Two copies of a byte differed.
    pub conflict: bool,
}

impl Collector {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { number: 0, length: 0, body: Assembly::new(0), conflict: false, datagrams: 0 }
    }

    /// Adds a datagram. The first hello counts, not the one that answers a HelloVerifyRequest,
    /// unless the capture begins with that.
    pub fn datagram(&mut self, datagram: &[u8]) -> Option<DatagramHello> {
        let mut brought = false;
        for fragment in fragments(datagram) {
            if self.length == 0 {
                self.number = fragment.number;
                self.length = fragment.length;
                self.body = Assembly::new(fragment.length);
            }
            if (fragment.number, fragment.length) != (self.number, self.length) {
                continue;
            }
            let Ok(piece) = self.body.insert(fragment.offset, fragment.bytes) else { continue };
            self.conflict |= piece.conflict;
            brought |= piece.first_new.is_some();
        }
        self.datagrams += u32::from(brought);
        let body = self.body.front();
        if !brought || body.len() < self.length as usize {
            return None;
        }
        let (datagrams, conflict) = (self.datagrams, self.conflict);
        as_tls(body).map(|message| DatagramHello { message, datagrams, conflict })
    }

    /// Memory that this holds, in bytes, besides itself.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.body.held()
    }

    /// Whether it has bytes of a hello.
    #[must_use]
    pub const fn is_begun(&self) -> bool {
        self.length > 0
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self::new()
    }
}

/// The ClientHello fragments of a datagram's unencrypted handshake records.
fn fragments(datagram: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    let mut rest = datagram;
    let records = std::iter::from_fn(move || {
        let header = rest.get(..RECORD_HEADER).filter(|header| is_handshake(header))?;
        let length = usize::from(half(header, 11)?);
        let (record, behind) = rest.get(RECORD_HEADER..)?.split_at_checked(length)?;
        rest = behind;
        Some(record)
    });
    records.flat_map(|record| {
        let mut rest = record;
        std::iter::from_fn(move || {
            let (header, behind) = rest.split_at_checked(FRAGMENT_HEADER)?;
            let length = usize::try_from(triple(header, 9)?).ok()?;
            let (bytes, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some((header, bytes))
        })
        .filter_map(|(header, bytes)| fragment(header, bytes))
    })
}

fn fragment<'a>(header: &[u8], bytes: &'a [u8]) -> Option<Fragment<'a>> {
    let (length, offset) = (triple(header, 1)?, triple(header, 6)?);
    let fits = offset.checked_add(bytes.len() as u32).is_some_and(|end| end <= length);
    let is_hello = header.first() == Some(&CLIENT_HELLO);
    (is_hello && fits && length > 0 && length <= MESSAGE_LIMIT).then_some(Fragment {
        number: half(header, 4)?,
        length,
        offset,
        bytes,
    })
}

/// The body without its cookie, behind a header of TLS.
fn as_tls(body: &[u8]) -> Option<Vec<u8>> {
    let session_id = usize::from(*body.get(SESSION_ID)?);
    let (before, cookie) = body.split_at_checked(SESSION_ID + 1 + session_id)?;
    let (cookie_len, behind) = cookie.split_first()?;
    let behind = behind.get(usize::from(*cookie_len)..)?;
    let length = (before.len() + behind.len()) as u32;
    let mut message = Vec::with_capacity(HANDSHAKE_HEADER_LEN as usize + length as usize);
    message.extend((u32::from(CLIENT_HELLO) << 24 | length).to_be_bytes());
    message.extend_from_slice(before);
    message.extend_from_slice(behind);
    Some(message)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn triple(bytes: &[u8], at: usize) -> Option<u32> {
    let [a, b, c] = *bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes([0, a, b, c]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::hello::{ClientHello, tests::message};

    /// The body of a hello as DTLS writes it.
    fn body(cookie: &[u8]) -> Vec<u8> {
        let message = message(0xfefd, &[0xc02b, 0xc02f], &[(0x17, &[])]);
        let (before, behind) = message[4..].split_at(35);
        [before, &[cookie.len() as u8], cookie, behind].concat()
    }

    /// A datagram with one fragment of a message.
    fn datagram(number: u16, body: &[u8], from: usize, to: usize) -> Vec<u8> {
        let mut record = vec![1];
        record.extend(&(body.len() as u32).to_be_bytes()[1..]);
        record.extend(number.to_be_bytes());
        record.extend(&(from as u32).to_be_bytes()[1..]);
        record.extend(&((to - from) as u32).to_be_bytes()[1..]);
        record.extend(&body[from..to]);
        let mut datagram = vec![22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 9];
        datagram.extend((record.len() as u16).to_be_bytes());
        datagram.extend(record);
        datagram
    }

    #[test]
    fn the_cookie_is_left_out() {
        for cookie in [&b""[..], b"0123456789"] {
            let body = body(cookie);
            let found = Collector::new().datagram(&datagram(1, &body, 0, body.len())).unwrap();
            assert_eq!(found.message, message(0xfefd, &[0xc02b, 0xc02f], &[(0x17, &[])]));
            let hello = ClientHello::read(&found.message).unwrap();
            assert_eq!(hello.version_name(), "DTLS 1.2");
        }
    }

    #[test]
    fn fragments_come_in_any_order_and_of_one_message() {
        let (first, second) = (body(b""), body(b"cookie"));
        let mut collector = Collector::new();
        let end = first.len();
        assert_eq!(collector.datagram(&datagram(0, &first, 20, end)), None);
        assert_eq!(collector.datagram(&datagram(1, &second, 0, second.len())), None);
        assert_eq!(collector.datagram(&datagram(0, &first, 20, end)), None, "a duplicate");
        let found = collector.datagram(&datagram(0, &first, 0, 30)).unwrap();
        assert_eq!((found.datagrams, found.conflict), (2, false));
        assert_eq!(found.message.len(), end - 1 + 4);
    }

    #[test]
    fn what_is_cut_or_contradicts_itself_brings_nothing() {
        let body = body(b"");
        let whole = datagram(0, &body, 0, body.len());
        for length in 0..whole.len() {
            assert_eq!(Collector::new().datagram(&whole[..length]), None);
        }
        let mut outside = whole.clone();
        outside[21] = 200;
        assert_eq!(Collector::new().datagram(&outside), None);
        let mut encrypted = whole;
        encrypted[4] = 1;
        assert_eq!(Collector::new().datagram(&encrypted), None);
    }
}
