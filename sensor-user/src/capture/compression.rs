//! gzip and zstd, told by their first bytes and unpacked as a stream.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Frames that carry no data (RFC 8878, section 3.1.2); the first byte's low half is free.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// Longest header of a zstd frame (RFC 8878, section 3.1.1.1), magic number included.
const ZSTD_HEADER: usize = 18;
/// Largest window that is decoded, and so the memory that a file can ask for: what the zstd command
/// allows, too.
const MAX_WINDOW: u64 = 128 << 20;

/// A reader that can be looked into.
pub(crate) struct Peekable<R> {
    ahead: Cursor<Vec<u8>>,
    reader: R,
}

impl<R: Read> Peekable<R> {
    pub(super) const fn new(reader: R) -> Self {
        Self { ahead: Cursor::new(Vec::new()), reader }
    }

    /// The next `count` bytes, or all there are.
    pub(crate) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        let at = self.ahead.position() as usize;
        self.ahead.get_mut().drain(..at);
        self.ahead.set_position(0);
        let missing = count.saturating_sub(self.ahead.get_ref().len());
        (&mut self.reader).take(missing as u64).read_to_end(self.ahead.get_mut())?;
        let ahead = self.ahead.get_ref();
        Ok(ahead.get(..count).unwrap_or(ahead))
    }
}

impl<R: Read> Read for Peekable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.ahead.read(buffer)? {
            0 => self.reader.read(buffer),
            count => Ok(count),
        }
    }
}

/// The contents, unpacked if need be.
pub(crate) fn decompress(reader: impl Read + 'static) -> io::Result<Peekable<Box<dyn Read>>> {
    let mut packed = Peekable::new(reader);
    let head = packed.peek(ZSTD.len())?;
    let is_gzip = head.starts_with(&GZIP);
    let is_zstd = head == ZSTD || is_skippable(head);
    let buffered = BufReader::with_capacity(1 << 16, packed);
    let contents: Box<dyn Read> = if is_gzip {
        Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(buffered)))
    } else if is_zstd {
        Box::new(BufReader::with_capacity(1 << 16, Zstd::new(buffered)))
    } else {
        Box::new(buffered)
    };
    Ok(Peekable::new(contents))
}

fn is_skippable(head: &[u8]) -> bool {
    head.first().is_some_and(|first| first & 0xf0 == 0x50) && head.get(1..4) == Some(&SKIPPABLE)
}

type Frame<R> = StreamingDecoder<Peekable<R>, FrameDecoder>;

/// One zstd frame after the other (RFC 8878, section 3.1).
struct Zstd<R: Read> {
    // Both `None` behind an error.
    between: Option<Peekable<R>>,
    frame: Option<Frame<R>>,
}

impl<R: BufRead> Zstd<R> {
    const fn new(reader: R) -> Self {
        Self { between: Some(Peekable::new(reader)), frame: None }
    }

    /// Begins the next frame; `None` at the end of the file.
    fn begin(mut reader: Peekable<R>) -> io::Result<Option<Frame<R>>> {
        loop {
            let head = reader.peek(ZSTD_HEADER)?;
            if head.is_empty() {
                return Ok(None);
            }
            if is_skippable(head) {
                let length = head.get(4..).and_then(<[u8]>::first_chunk);
                let length = length.map(|bytes| u64::from(u32::from_le_bytes(*bytes)));
                let length = 8 + length.ok_or(io::ErrorKind::UnexpectedEof)?;
                if io::copy(&mut (&mut reader).take(length), &mut io::sink())? < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            }
            if !head.starts_with(&ZSTD) {
                return Err(invalid("what follows the last zstd frame is none"));
            }
            if window(head).is_none_or(|window| window > MAX_WINDOW) {
                return Err(invalid("the zstd frame asks for a window of more than 128 MiB"));
            }
            return StreamingDecoder::new(reader).map(Some).map_err(io::Error::other);
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(reader) = self.between.take() {
                match Self::begin(reader)? {
                    Some(frame) => self.frame = Some(frame),
                    None => return Ok(0),
                }
            }
            let Some(mut frame) = self.frame.take() else {
                return Ok(0);
            };
            let count = frame.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                self.frame = Some(frame);
                return Ok(count);
            }
            self.between = Some(frame.into_inner());
        }
    }
}

/// The window that a frame's header asks for (RFC 8878, section 3.1.1.1.2).
fn window(header: &[u8]) -> Option<u64> {
    let descriptor = *header.get(4)?;
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let window = *header.get(5)?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    let dictionary_id = [0, 1, 2, 4].get(usize::from(descriptor & 3))?;
    let size = header.get(5 + dictionary_id..)?;
    match descriptor >> 6 {
        0 => size.first().map(|byte| u64::from(*byte)),
        1 => size.first_chunk().map(|bytes| u64::from(u16::from_le_bytes(*bytes)) + 256),
        2 => size.first_chunk().map(|bytes| u64::from(u32::from_le_bytes(*bytes))),
        _ => size.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn unpack(packed: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut contents = Vec::new();
        decompress(Cursor::new(packed))?.read_to_end(&mut contents)?;
        Ok(contents)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    #[test]
    fn plain_gzip_and_zstd_in_one_or_several_parts() {
        let (a, b) = (vec![1; 300_000], b"the rest".to_vec());
        let whole = [&a[..], &b].concat();
        let skippable = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
        assert_eq!(unpack(whole.clone()).unwrap(), whole);
        assert_eq!(unpack([gzip(&a), gzip(&b)].concat()).unwrap(), whole);
        assert_eq!(unpack([zstd(&a), zstd(&b)].concat()).unwrap(), whole);
        let parts = [&skippable[..], &zstd(&a), &skippable, &zstd(&b), &skippable].concat();
        assert_eq!(unpack(parts).unwrap(), whole);
        assert_eq!(unpack(vec![]).unwrap(), b"");
    }

    #[test]
    fn what_is_cut_off_or_followed_by_something_else_is_an_error() {
        let packed = zstd(b"some text");
        for length in 5..packed.len() {
            assert!(unpack(packed[..length].to_vec()).is_err(), "{length}");
        }
        assert!(unpack([packed, vec![1]].concat()).is_err());
        let packed = gzip(b"some text");
        assert!(unpack(packed[..packed.len() - 1].to_vec()).is_err());
    }

    #[test]
    fn a_window_is_bounded_before_it_is_allocated() {
        let ask = |descriptor: &[u8]| {
            let error = unpack([&ZSTD[..], descriptor, &[0; 12]].concat()).unwrap_err();
            error.to_string().contains("more than 128 MiB")
        };
        assert!(ask(&[0x00, 0xff]), "window descriptor");
        assert!(ask(&[0xe0, 0, 0, 0, 0, 1, 0, 0, 0]), "single segment of 4 GiB");
        assert!(!ask(&[0x00, 17 << 3]), "128 MiB");
    }
}
