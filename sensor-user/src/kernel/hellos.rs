//! ClientHellos from their ring buffer.

use std::mem::size_of;

use weir_common::{
    abi::{
        HelloHeader, HelloKind,
        hello::{COVERAGE_WORDS, HELLO_ROOM},
    },
    host::HelloRecord,
};

use super::ring::{self, Decode, read};

/// Bytes of a coverage bitmap.
const COVERAGE_LEN: usize = COVERAGE_WORDS * size_of::<u64>();

/// The daemon's end of `HELLO_BYTES`.
pub type Hellos = ring::Ring<HelloRecord>;

impl Decode for HelloRecord {
    const BATCH: usize = 64;

    /// Header, bytes, coverage, and nothing else.
    fn decode(record: &[u8]) -> Option<Self> {
        let (header, rest) = record.split_at_checked(size_of::<HelloHeader>())?;
        let header: HelloHeader = read(header)?;
        let is_collected = HelloKind::from_u8(header.kind)? == HelloKind::Collected;
        let length = if is_collected { HELLO_ROOM } else { header.length as usize };
        let (bytes, coverage) = rest.split_at_checked(length)?;
        let coverage = match coverage.len() {
            0 if !is_collected => None,
            COVERAGE_LEN if is_collected => Some(words(coverage)),
            _ => return None,
        };
        Some(Self { header, bytes: bytes.to_vec(), coverage })
    }
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
        let whole = HelloRecord::decode(&record(HelloKind::Whole as u8, 300, 300)).unwrap();
        assert_eq!((whole.header.length, whole.bytes.len(), whole.coverage), (300, 300, None));
        assert_eq!(whole.bytes[255], 255);
        for (kind, length, found) in [
            (HelloKind::Whole as u8, 300, 299),
            (HelloKind::Whole as u8, 300, 301),
            (HelloKind::Quic as u8, u32::MAX, 40),
            (0, 10, 10),
            (9, 10, 10),
        ] {
            assert_eq!(
                HelloRecord::decode(&record(kind, length, found)),
                None,
                "{kind} {length} {found}"
            );
        }
        assert_eq!(HelloRecord::decode(&[]), None);
        assert_eq!(HelloRecord::decode(&[1; 111]), None);
    }

    #[test]
    fn what_was_collected_has_its_coverage_behind_it() {
        let kind = HelloKind::Collected as u8;
        let mut bytes = record(kind, 77, HELLO_ROOM);
        assert_eq!(HelloRecord::decode(&bytes), None, "without coverage");
        bytes.extend([1u64, 2, 3].iter().flat_map(|word| word.to_ne_bytes()));
        bytes.resize(size_of::<HelloHeader>() + HELLO_ROOM + COVERAGE_LEN, 0);
        let collected = HelloRecord::decode(&bytes).unwrap();
        assert_eq!(collected.bytes.len(), HELLO_ROOM);
        assert_eq!(collected.coverage.unwrap()[..4], [1, 2, 3, 0]);
        bytes.push(0);
        assert_eq!(HelloRecord::decode(&bytes), None, "one too many");
    }
}
