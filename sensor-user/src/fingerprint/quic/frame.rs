//! Frames of an Initial's payload (RFC 9000, sections 12.4 and 19).

use super::{version::FrameTypes, wire::Reader};

const PADDING: u64 = 0x00;
const PING: u64 = 0x01;
const ACK: u64 = 0x02;
const ACK_ECN: u64 = 0x03;
const CRYPTO: u64 = 0x06;
const CONNECTION_CLOSE: u64 = 0x1c;

/// Google's: the first takes the rest of the packet. Its acknowledgements, which no first flight
/// has, are not read.
const GOOGLE_PADDING: u64 = 0x00;
const GOOGLE_PING: u64 = 0x07;
const GOOGLE_CRYPTO: u64 = 0x08;

/// What a payload holds, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Frame<'a> {
    /// A part of the handshake's stream of bytes.
    Crypto {
        /// Where in the stream it begins.
        offset: u64,
        data: &'a [u8],
    },
    /// PADDING, PING, ACK or CONNECTION_CLOSE.
    Other,
}

/// A frame that is cut, or that no Initial may hold: the server ends such a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Violation;

/// The frames of a payload, one after the other; the first violation ends them.
#[derive(Clone, Debug)]
pub(super) struct Frames<'a> {
    types: FrameTypes,
    reader: Reader<'a>,
}

impl<'a> Frames<'a> {
    pub(super) const fn new(types: FrameTypes, payload: &'a [u8]) -> Self {
        Self { types, reader: Reader::new(payload) }
    }

    fn read(&mut self) -> Option<Frame<'a>> {
        match self.types {
            FrameTypes::Ietf => self.read_ietf(),
            FrameTypes::Google => self.read_google(),
        }
    }

    fn read_ietf(&mut self) -> Option<Frame<'a>> {
        let reader = &mut self.reader;
        match reader.integer()? {
            PADDING | PING => {}
            kind @ (ACK | ACK_ECN) => skip_ack(reader, kind == ACK_ECN)?,
            CRYPTO => return crypto(reader),
            CONNECTION_CLOSE => {
                let _error = reader.integer()?;
                let _frame_type = reader.integer()?;
                let _reason = reader.counted()?;
            }
            _ => return None,
        }
        Some(Frame::Other)
    }

    fn read_google(&mut self) -> Option<Frame<'a>> {
        match self.reader.integer()? {
            GOOGLE_PADDING => self.reader = Reader::new(&[]),
            GOOGLE_PING => {}
            GOOGLE_CRYPTO => return crypto(&mut self.reader),
            _ => return None,
        }
        Some(Frame::Other)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, Violation>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let frame = self.read().ok_or(Violation);
        if frame.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(frame)
    }
}

fn crypto<'a>(reader: &mut Reader<'a>) -> Option<Frame<'a>> {
    let offset = reader.integer()?;
    Some(Frame::Crypto { offset, data: reader.counted()? })
}

/// The rest of an ACK. Every range takes bytes, so that the payload's length bounds their number.
fn skip_ack(reader: &mut Reader<'_>, counts_ecn: bool) -> Option<()> {
    let _largest = reader.integer()?;
    let _delay = reader.integer()?;
    let ranges = reader.integer()?;
    let _first_range = reader.integer()?;
    for _ in 0..ranges {
        let _gap = reader.integer()?;
        let _range = reader.integer()?;
    }
    if counts_ecn {
        for _ in 0..3 {
            let _count = reader.integer()?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(payload: &[u8]) -> Vec<Result<Frame<'_>, Violation>> {
        Frames::new(FrameTypes::Ietf, payload).collect()
    }

    #[test]
    fn all_that_an_initial_may_hold() {
        let payload = [
            [0x00, 0x01].as_slice(),
            &[0x02, 5, 0, 1, 0, 2, 1],
            &[0x03, 5, 0, 0, 0, 1, 2, 3],
            &[0x06, 0x40, 0x80, 2, 0xaa, 0xbb],
            &[0x1c, 0x41, 0x00, 0x06, 3, b'b', b'y', b'e'],
            &[0x06, 0, 0],
        ]
        .concat();
        let crypto = |offset, data| Ok(Frame::Crypto { offset, data });
        let other = Ok(Frame::Other);
        let expected =
            [other, other, other, other, crypto(0x80, &[0xaa, 0xbb]), other, crypto(0, &[])];
        assert_eq!(frames(&payload), expected);
    }

    #[test]
    fn google_frames() {
        let read = |payload| Frames::new(FrameTypes::Google, payload).collect::<Vec<_>>();
        let hello = Ok(Frame::Crypto { offset: 0, data: &[0xaa, 0xbb] });
        let other = Ok(Frame::Other);
        // PADDING takes the rest, whatever it is.
        assert_eq!(read(&[7, 8, 0, 2, 0xaa, 0xbb, 0, 0xff, 0xff]), [other, hello, other]);
        assert_eq!(read(&[0x40, 1, 8, 0xc5, 1, 0]), [Err(Violation)]);
        assert_eq!(read(&[6, 0, 2, 0xaa, 0xbb]), [Err(Violation)]);
    }

    #[test]
    fn what_no_initial_may_hold() {
        // RESET_STREAM, NEW_TOKEN, STREAM, PATH_CHALLENGE, CONNECTION_CLOSE of the application,
        // HANDSHAKE_DONE, and a type that nobody knows.
        for kind in [0x04, 0x07, 0x08, 0x1a, 0x1d, 0x1e, 0x3f] {
            assert_eq!(frames(&[kind, 0, 0, 0]), [Err(Violation)], "{kind:x}");
        }
        assert_eq!(frames(&[0x01, 0x1d, 0x01]), [Ok(Frame::Other), Err(Violation)]);
    }

    #[test]
    fn cut_frames() {
        for frame in [
            [0x02, 5, 0, 1, 0, 2, 1].as_slice(),
            &[0x03, 5, 0, 0, 0, 1, 2, 3],
            &[0x06, 0x40, 0x80, 2, 0xaa, 0xbb],
            &[0x1c, 0x41, 0x00, 0x06, 3, b'b', b'y', b'e'],
        ] {
            assert_eq!(frames(frame).len(), 1);
            for cut in 1..frame.len() {
                assert_eq!(frames(&frame[..cut]), [Err(Violation)]);
            }
        }
        let endless_ack = [[0x02, 5, 0].as_slice(), &[0xff; 8], &[0; 100]].concat();
        assert_eq!(frames(&endless_ack), [Err(Violation)]);
    }
}
