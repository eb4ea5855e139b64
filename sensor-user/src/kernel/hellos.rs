//! ClientHellos from their ring buffer.

use std::{io, mem::size_of};

use aya::maps::{MapData, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};
use weir_common::{
    abi::{
        HelloHeader, HelloKind,
        hello::{COVERAGE_WORDS, HELLO_ROOM},
    },
    host::HelloRecord,
};

use super::events;
use crate::daemon::sensor::HelloStream;

/// Records handled before the loop looks at anything else.
const BATCH: usize = 64;

/// Bytes of a coverage bitmap.
const COVERAGE_LEN: usize = COVERAGE_WORDS * size_of::<u64>();

/// The daemon's end of `HELLO_BYTES`.
pub struct Hellos {
    ring: AsyncFd<RingBuf<MapData>>,
    unreadable: u64,
}

impl Hellos {
    /// Takes the ring buffer. Needs a tokio runtime.
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring buffer owns its descriptor and gives out the same one until it is dropped,
        // which the AsyncFd does.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        Ok(Self { ring, unreadable: 0 })
    }

    fn take(&mut self, batch: &mut Vec<HelloRecord>) -> bool {
        let before = batch.len();
        let (_, unreadable) = drain(self.ring.get_mut(), batch);
        self.unreadable += unreadable;
        batch.len() > before
    }
}

impl HelloStream for Hellos {
    async fn next(&mut self, batch: &mut Vec<HelloRecord>) -> io::Result<()> {
        // Drain first, and again once the readiness is cleared: a record may come in between.
        while !self.take(batch) {
            self.ring.readable_mut().await?.clear_ready();
            if self.take(batch) {
                break;
            }
        }
        Ok(())
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

/// Takes up to a batch of records: how many there were, and how many could not be read.
pub(super) fn drain(ring: &mut RingBuf<MapData>, batch: &mut Vec<HelloRecord>) -> (usize, u64) {
    let mut taken = 0;
    let mut unreadable = 0;
    while taken < BATCH {
        let Some(record) = ring.next() else { break };
        taken += 1;
        match decode(&record) {
            Some(record) => batch.push(record),
            None => unreadable += 1,
        }
    }
    (taken, unreadable)
}

/// Reads one record: header, bytes, coverage, and nothing else.
fn decode(record: &[u8]) -> Option<HelloRecord> {
    let (header, rest) = record.split_at_checked(size_of::<HelloHeader>())?;
    let header: HelloHeader = events::read(header)?;
    let is_collected = HelloKind::from_u8(header.kind)? == HelloKind::Collected;
    let length = if is_collected { HELLO_ROOM } else { header.length as usize };
    let (bytes, coverage) = rest.split_at_checked(length)?;
    let coverage = match coverage.len() {
        0 if !is_collected => None,
        COVERAGE_LEN if is_collected => Some(words(coverage)),
        _ => return None,
    };
    Some(HelloRecord { header, bytes: bytes.to_vec(), coverage })
}

fn words(bytes: &[u8]) -> [u64; COVERAGE_WORDS] {
    let mut words = [0; COVERAGE_WORDS];
    for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(size_of::<u64>())) {
        *word = chunk.try_into().map_or(0, u64::from_ne_bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of this kind that says to be `length` bytes long, and is `found`.
    fn record(kind: u8, length: u32, found: usize) -> Vec<u8> {
        let mut record = vec![0; size_of::<HelloHeader>()];
        record[8] = kind;
        let at = std::mem::offset_of!(HelloHeader, length);
        record[at..at + 4].copy_from_slice(&length.to_ne_bytes());
        record.extend((0..found).map(|at| at as u8));
        record
    }

    #[test]
    fn a_record_is_as_long_as_it_says() {
        let whole = decode(&record(HelloKind::Whole as u8, 300, 300)).unwrap();
        assert_eq!((whole.header.length, whole.bytes.len(), whole.coverage), (300, 300, None));
        assert_eq!(whole.bytes[255], 255);
        for (kind, length, found) in [
            (HelloKind::Whole as u8, 300, 299),
            (HelloKind::Whole as u8, 300, 301),
            (HelloKind::Quic as u8, u32::MAX, 40),
            (0, 10, 10),
            (9, 10, 10),
        ] {
            assert_eq!(decode(&record(kind, length, found)), None, "{kind} {length} {found}");
        }
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[1; 103]), None);
    }

    #[test]
    fn what_was_collected_has_its_coverage_behind_it() {
        let kind = HelloKind::Collected as u8;
        let mut bytes = record(kind, 77, HELLO_ROOM);
        assert_eq!(decode(&bytes), None, "without coverage");
        bytes.extend([1u64, 2, 3].iter().flat_map(|word| word.to_ne_bytes()));
        bytes.resize(size_of::<HelloHeader>() + HELLO_ROOM + COVERAGE_LEN, 0);
        let collected = decode(&bytes).unwrap();
        assert_eq!(collected.bytes.len(), HELLO_ROOM);
        assert_eq!(collected.coverage.unwrap()[..4], [1, 2, 3, 0]);
        bytes.push(0);
        assert_eq!(decode(&bytes), None, "one too many");
    }
}
