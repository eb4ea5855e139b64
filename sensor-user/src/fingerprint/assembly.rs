//! Bytes that arrive by offset, in any order: what is there, what is missing, and whether two
//! copies of one byte differ.
//!
//! The first copy of a byte wins. Memory is bounded by the limit on offsets and by [`MAX_RUNS`].

use std::ops::Range;

/// Most runs of bytes with gaps between them. A hello of 2,000 bytes that comes in single bytes and
/// in random order makes about 500.
pub const MAX_RUNS: usize = 2_048;

/// There are more gaps than anybody but an attacker makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyRuns;

/// What a piece brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Brought {
    /// Offset of its first byte that was not there yet.
    pub first_new: Option<u32>,
    /// A byte of it differs from the copy that was there.
    pub conflict: bool,
    /// A part of it lies beyond the limit, and was left out.
    pub beyond: bool,
}

/// The pieces so far.
#[derive(Clone, Debug, Default)]
pub struct Assembly {
    // Up to the last byte that is there; gaps are zeros.
    bytes: Vec<u8>,
    // What is there: in order, with gaps between.
    runs: Vec<Range<u32>>,
    limit: u32,
}

impl Assembly {
    /// Nothing yet; bytes at `limit` and behind are not kept.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { bytes: Vec::new(), runs: Vec::new(), limit }
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// If it makes one gap too many; nothing was added then.
    pub fn insert(&mut self, offset: u32, piece: &[u8]) -> Result<Brought, TooManyRuns> {
        let room = self.limit.saturating_sub(offset) as usize;
        let beyond = piece.len() > room;
        let piece = piece.get(..room).unwrap_or(piece);
        if piece.is_empty() {
            return Ok(Brought { beyond, ..Brought::default() });
        }
        let end = offset + piece.len() as u32;
        // Runs that the piece touches become one with it.
        let first = self.runs.partition_point(|run| run.end < offset);
        let behind = self.runs.partition_point(|run| run.start <= end);
        if first == behind && self.runs.len() >= MAX_RUNS {
            return Err(TooManyRuns);
        }
        if self.bytes.len() < end as usize {
            self.bytes.resize(end as usize, 0);
        }
        let mut brought = Brought { beyond, ..Brought::default() };
        let mut merged = offset..end;
        let mut at = offset;
        for run in self.runs.get(first..behind).unwrap_or_default() {
            let (here, there) = (at..run.start.max(at), run.start.max(at)..run.end.min(end));
            brought.first_new = brought.first_new.or((!here.is_empty()).then_some(here.start));
            copy(&mut self.bytes, &here, piece, offset);
            brought.conflict |= differ(&self.bytes, &there, piece, offset);
            at = run.end.max(at);
            merged = run.start.min(merged.start)..run.end.max(merged.end);
        }
        if at < end {
            brought.first_new = brought.first_new.or(Some(at));
            copy(&mut self.bytes, &(at..end), piece, offset);
        }
        self.runs.splice(first..behind, [merged]);
        Ok(brought)
    }

    /// The bytes from the beginning to the first gap.
    #[must_use]
    pub fn front(&self) -> &[u8] {
        self.run_at(0)
    }

    /// The bytes from `offset` to the first gap behind it; none if `offset` is in a gap.
    #[must_use]
    pub fn run_at(&self, offset: u32) -> &[u8] {
        let number = self.runs.partition_point(|run| run.end <= offset);
        match self.runs.get(number) {
            Some(run) if run.start <= offset => {
                self.bytes.get(offset as usize..run.end as usize).unwrap_or_default()
            }
            _ => &[],
        }
    }

    /// Where the run begins that `offset` is in.
    #[must_use]
    pub fn run_start(&self, offset: u32) -> Option<u32> {
        let number = self.runs.partition_point(|run| run.end <= offset);
        self.runs.get(number).filter(|run| run.start <= offset).map(|run| run.start)
    }

    /// Makes room for `count` bytes before the first: every offset grows by it. What then lies
    /// beyond the limit is forgotten.
    pub fn prepend(&mut self, count: u32) {
        let kept = self.limit.saturating_sub(count);
        self.bytes.truncate(kept as usize);
        self.bytes.splice(..0, std::iter::repeat_n(0, count.min(self.limit) as usize));
        self.runs.retain_mut(|run| {
            let end = run.end.min(kept);
            *run = run.start.saturating_add(count)..end.saturating_add(count);
            run.start < run.end
        });
    }

    /// Forgets the first `count` bytes: every offset shrinks by it.
    pub fn forget(&mut self, count: u32) {
        self.bytes.drain(..(count as usize).min(self.bytes.len()));
        self.runs.retain_mut(|run| {
            *run = run.start.saturating_sub(count)..run.end.saturating_sub(count);
            run.start < run.end
        });
    }

    /// Whether nothing is there.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Memory that this holds, in bytes.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.bytes.capacity() + self.runs.capacity() * size_of::<Range<u32>>()
    }
}

/// The part of `piece`, which lies at `offset`, that belongs to `range`.
fn part<'a>(piece: &'a [u8], offset: u32, range: &Range<u32>) -> &'a [u8] {
    let from = range.start.saturating_sub(offset) as usize;
    let to = range.end.saturating_sub(offset) as usize;
    piece.get(from..to).unwrap_or_default()
}

fn copy(bytes: &mut [u8], range: &Range<u32>, piece: &[u8], offset: u32) {
    let source = part(piece, offset, range);
    if let Some(target) = bytes.get_mut(range.start as usize..range.end as usize)
        && target.len() == source.len()
    {
        target.copy_from_slice(source);
    }
}

fn differ(bytes: &[u8], range: &Range<u32>, piece: &[u8], offset: u32) -> bool {
    let there = bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
    !there.is_empty() && there != part(piece, offset, range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_come_together_in_any_order() {
        let mut assembly = Assembly::new(100);
        let fresh = |first| Ok(Brought { first_new: first, ..Brought::default() });
        assert_eq!(assembly.insert(4, b"efg"), fresh(Some(4)));
        assert_eq!(assembly.front(), b"");
        assert_eq!(assembly.insert(0, b"ab"), fresh(Some(0)));
        assert_eq!(assembly.front(), b"ab");
        assert_eq!(assembly.insert(1, b"bcdef"), fresh(Some(2)));
        assert_eq!(assembly.front(), b"abcdefg");
        assert_eq!(assembly.insert(2, b"cd"), fresh(None));
    }

    #[test]
    fn the_first_copy_wins_and_the_other_is_noticed() {
        let mut assembly = Assembly::new(100);
        assembly.insert(2, b"cd").unwrap();
        let brought = assembly.insert(0, b"abXXe").unwrap();
        assert!(brought.conflict);
        assert_eq!(brought.first_new, Some(0));
        assert_eq!(assembly.front(), b"abcde");
    }

    #[test]
    fn nothing_is_kept_beyond_the_limit() {
        let mut assembly = Assembly::new(4);
        assert!(assembly.insert(2, b"cdef").unwrap().beyond);
        assert!(assembly.insert(u32::MAX, b"x").unwrap().beyond);
        assert_eq!(
            assembly.insert(0, b"ab").unwrap(),
            Brought { first_new: Some(0), ..Brought::default() }
        );
        assert_eq!(assembly.front(), b"abcd");
    }

    #[test]
    fn gaps_are_bounded() {
        let mut assembly = Assembly::new(16_384);
        for number in 0..MAX_RUNS as u32 {
            assembly.insert(number * 3, b"x").unwrap();
        }
        assert_eq!(assembly.insert(9_000, b"x"), Err(TooManyRuns));
        assembly.insert(1, b"y").unwrap();
        assert!(assembly.held() < 16_384 + 3 * 8 * MAX_RUNS);
    }

    #[test]
    fn the_beginning_can_move_both_ways() {
        let mut assembly = Assembly::new(6);
        assembly.insert(0, b"cdef").unwrap();
        assembly.prepend(2);
        assembly.insert(0, b"ab").unwrap();
        assert_eq!(assembly.front(), b"abcdef");
        assembly.prepend(3);
        assert_eq!((assembly.front(), assembly.run_at(3)), (&b""[..], &b"abc"[..]));
        assembly.forget(4);
        assert_eq!(assembly.front(), b"bc");
    }

    proptest! {
        #[test]
        fn it_equals_a_table_of_bytes(
            pieces in prop::collection::vec((0u32..80, prop::collection::vec(0u8..3, 0..20)), 0..40),
        ) {
            let mut assembly = Assembly::new(64);
            let mut table = [None; 64];
            for (offset, piece) in pieces {
                let brought = assembly.insert(offset, &piece).unwrap();
                let (mut first_new, mut conflict, mut beyond) = (None, false, false);
                for (at, byte) in (offset..).zip(piece) {
                    match table.get_mut(at as usize) {
                        Some(Some(there)) => conflict |= *there != byte,
                        Some(empty) => {
                            *empty = Some(byte);
                            first_new = first_new.or(Some(at));
                        }
                        None => beyond = true,
                    }
                }
                prop_assert_eq!(brought, Brought { first_new, conflict, beyond });
                for from in 0..64 {
                    let run: Vec<u8> = table[from..].iter().map_while(|byte| *byte).collect();
                    prop_assert_eq!(assembly.run_at(from as u32), &run[..]);
                }
            }
        }
    }
}
