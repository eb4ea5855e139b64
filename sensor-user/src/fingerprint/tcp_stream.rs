//! The first bytes of a TCP stream, put together until they are one ClientHello.
//!
//! Segments may come in any order, twice, overlapping, and cut anywhere; the first copy of a byte
//! wins, and a different second one is noticed. At most [`STREAM_LIMIT`] bytes of a stream are
//! looked at. With the SYN the stream's beginning is known. Without it the first segment that
//! begins a TLS record with a ClientHello is the beginning; what came before it is kept, because it
//! may belong behind it.

mod pool;
mod records;

pub use pool::{Counts, Limits, Pool};

use std::ops::Range;

use records::{Read, TELLING};

use super::assembly::Assembly;

/// Bytes of a stream, from its beginning, in which the hello must end.
pub const STREAM_LIMIT: u32 = 16_384;
/// Segments that may bring something new to one stream.
pub const MAX_SEGMENTS: usize = 4_096;
/// Segments of a stream with unknown beginning after which nobody looks for it any more.
const MAX_BLIND_SEGMENTS: usize = 64;

/// Says how long the header is that stands before the hello, given the first bytes of a stream.
pub type Preamble = fn(&[u8]) -> PreambleLength;

/// What stands before the hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PreambleLength {
    /// A header of this many bytes; 0 = none.
    Known(u32),
    /// Too few bytes to tell.
    NeedsMore,
}

/// A ClientHello and how it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamHello {
    /// The handshake message, header included.
    pub message: Vec<u8>,
    /// What stood before it, where there is a [`Preamble`].
    pub preamble: Vec<u8>,
    /// TCP segments that brought a byte of it.
    pub segments: u32,
    /// Two copies of a byte differed: somebody tried to show us another hello than the server.
    pub conflict: bool,
}

/// Why there will be no hello.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GivenUp {
    /// The stream begins with something else.
    NotTls,
    /// The hello does not end within [`STREAM_LIMIT`].
    TooLong,
    /// More gaps or segments than anybody but an attacker makes.
    TooManyPieces,
    /// Without the SYN, no segment began with a hello.
    NoBeginning,
}

/// What a segment led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// More is needed.
    Pending,
    /// The hello is whole; the stream is of no more use.
    Hello(StreamHello),
    /// There will be none; the stream is of no more use.
    GivenUp(GivenUp),
}

/// Where the stream's offset 0 is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Origin {
    /// Nothing came yet.
    Unknown,
    /// At the lowest sequence number so far.
    Lowest(u32),
    /// At this sequence number.
    Known(u32),
}

/// One direction of one connection.
#[derive(Clone, Debug)]
pub struct Stream {
    origin: Origin,
    assembly: Assembly,
    // Of each segment that brought something: from its first new byte to its end.
    brought: Vec<Range<u16>>,
    // Bytes at the front before which another look is of no use.
    needed: usize,
    conflict: bool,
    preamble: Option<Preamble>,
}

impl Stream {
    /// A stream whose beginning nobody saw.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            origin: Origin::Unknown,
            assembly: Assembly::new(STREAM_LIMIT),
            brought: Vec::new(),
            needed: 1,
            conflict: false,
            preamble: None,
        }
    }

    /// A stream whose first byte has the sequence number `first`: one more than the SYN's.
    #[must_use]
    pub const fn beginning_at(first: u32) -> Self {
        let mut stream = Self::new();
        stream.origin = Origin::Known(first);
        stream
    }

    /// Passes over what `preamble` finds at the beginning. It is not looked for where the beginning
    /// is unknown.
    #[must_use]
    pub const fn with_preamble(mut self, preamble: Option<Preamble>) -> Self {
        self.preamble = preamble;
        self
    }

    /// The SYN was seen, perhaps after data.
    pub fn begins_at(&mut self, first: u32) -> Outcome {
        let shift = match self.origin {
            Origin::Unknown => 0,
            Origin::Lowest(lowest) => lowest.wrapping_sub(first),
            Origin::Known(_) => return Outcome::Pending,
        };
        self.origin = Origin::Known(first);
        if shift < STREAM_LIMIT {
            self.move_origin_down(shift);
        } else {
            // What came so far is of another connection.
            self.assembly = Assembly::new(STREAM_LIMIT);
            self.brought.clear();
        }
        self.look()
    }

    /// Adds a segment's payload.
    pub fn segment(&mut self, seq: u32, payload: &[u8]) -> Outcome {
        if payload.is_empty() {
            return Outcome::Pending;
        }
        let Some((offset, payload)) = self.place(seq, payload) else {
            return Outcome::Pending;
        };
        let Ok(brought) = self.assembly.insert(offset, payload) else {
            return Outcome::GivenUp(GivenUp::TooManyPieces);
        };
        self.conflict |= brought.conflict;
        if let Some(first) = brought.first_new {
            if self.brought.len() >= MAX_SEGMENTS {
                return Outcome::GivenUp(GivenUp::TooManyPieces);
            }
            let end = (offset as usize + payload.len()).min(STREAM_LIMIT as usize);
            self.brought.push(first as u16..end as u16);
        }
        match self.origin {
            Origin::Known(_) => self.look(),
            _ => self.look_for_beginning(offset),
        }
    }

    /// Memory that the stream holds, in bytes, besides itself.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.assembly.held() + self.brought.capacity() * size_of::<Range<u16>>()
    }

    /// Whether it has bytes, but not yet a hello.
    #[must_use]
    pub const fn is_begun(&self) -> bool {
        !self.assembly.is_empty()
    }

    /// The first sequence number, where it is known.
    #[must_use]
    pub const fn first_seq(&self) -> Option<u32> {
        match self.origin {
            Origin::Known(first) => Some(first),
            _ => None,
        }
    }

    /// The offset of a segment, and what of it counts.
    fn place<'a>(&mut self, seq: u32, payload: &'a [u8]) -> Option<(u32, &'a [u8])> {
        let origin = match self.origin {
            Origin::Known(first) => first,
            Origin::Lowest(lowest) => lowest,
            Origin::Unknown => {
                self.origin = Origin::Lowest(seq);
                seq
            }
        };
        // Serial arithmetic (RFC 9293, section 3.4): less than half a turn ahead is ahead.
        let ahead = seq.wrapping_sub(origin);
        let behind = origin.wrapping_sub(seq);
        if ahead < STREAM_LIMIT {
            return Some((ahead, payload));
        }
        match self.origin {
            Origin::Known(_) if behind < STREAM_LIMIT => {
                // A keep-alive, or data before the beginning: what reaches over it counts.
                payload.get(behind as usize..).filter(|rest| !rest.is_empty()).map(|rest| (0, rest))
            }
            Origin::Known(_) if self.assembly.is_empty() => {
                // The SYN was of another connection between the same ends.
                self.origin = Origin::Lowest(seq);
                Some((0, payload))
            }
            Origin::Lowest(_) if behind < STREAM_LIMIT => {
                self.origin = Origin::Lowest(seq);
                self.move_origin_down(behind);
                Some((0, payload))
            }
            _ => None,
        }
    }

    fn move_origin_down(&mut self, count: u32) {
        if count > 0 {
            self.assembly.prepend(count);
            let moved = |offset: u16| (u32::from(offset) + count).min(STREAM_LIMIT) as u16;
            self.brought.retain_mut(|range| {
                *range = moved(range.start)..moved(range.end);
                range.start < range.end
            });
        }
    }

    /// Looks whether the segment at `offset`, or the run of bytes that it is now in, begins a hello.
    fn look_for_beginning(&mut self, offset: u32) -> Outcome {
        for candidate in [self.assembly.run_start(offset), Some(offset)].into_iter().flatten() {
            if records::begins_hello(self.assembly.run_at(candidate)) {
                let Origin::Lowest(lowest) = self.origin else { break };
                self.origin = Origin::Known(lowest.wrapping_add(candidate));
                self.preamble = None;
                self.assembly.forget(candidate);
                let moved = |offset: u16| offset.saturating_sub(candidate as u16);
                self.brought.retain_mut(|range| {
                    *range = moved(range.start)..moved(range.end);
                    range.start < range.end
                });
                return self.look();
            }
        }
        if self.brought.len() >= MAX_BLIND_SEGMENTS {
            return Outcome::GivenUp(GivenUp::NoBeginning);
        }
        Outcome::Pending
    }

    /// Looks whether the hello is whole.
    fn look(&mut self) -> Outcome {
        let front = self.assembly.front();
        if front.len() < self.needed {
            return Outcome::Pending;
        }
        let start = match self.preamble.map_or(PreambleLength::Known(0), |find| find(front)) {
            PreambleLength::Known(start) => start as usize,
            PreambleLength::NeedsMore if front.len() >= STREAM_LIMIT as usize => {
                return Outcome::GivenUp(GivenUp::NotTls);
            }
            PreambleLength::NeedsMore => return Outcome::Pending,
        };
        let Some((preamble, stream)) = front.split_at_checked(start) else {
            return self.wait_for(start.saturating_add(TELLING));
        };
        match records::read(stream) {
            Read::Other => Outcome::GivenUp(GivenUp::NotTls),
            Read::Needs(count) => self.wait_for(start + count),
            Read::Hello { message, end } => {
                let end = start + end;
                let carried = |range: &&Range<u16>| {
                    usize::from(range.start) < end && usize::from(range.end) > start
                };
                Outcome::Hello(StreamHello {
                    message: message.into_owned(),
                    preamble: preamble.to_vec(),
                    segments: self.brought.iter().filter(carried).count() as u32,
                    conflict: self.conflict,
                })
            }
        }
    }

    fn wait_for(&mut self, count: usize) -> Outcome {
        if count > STREAM_LIMIT as usize {
            return Outcome::GivenUp(GivenUp::TooLong);
        }
        self.needed = count;
        Outcome::Pending
    }
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[path = "tcp_stream/tests.rs"]
mod tests;
