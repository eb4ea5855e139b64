//! Many streams at once, in bounded memory.
//!
//! What is full lets the stream go that was quiet longest, and counts it. A stream that is done
//! stays as a mark, so that a second hello on the connection (after a HelloRetryRequest, or a
//! duplicate) is none.

use std::hash::Hash;

use weir_common::packet::{Segment, tcp};

use super::{GivenUp, Outcome, Preamble, Stream, StreamHello};
use crate::profile::lru::Lru;

/// How much a pool may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Streams, those that are done included.
    pub streams: usize,
    /// Bytes of streams that are not done.
    pub bytes: usize,
}

/// What became of the streams of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Gave a hello.
    pub hellos: u64,
    /// Began with something else.
    pub not_tls: u64,
    /// Had a hello that was too long.
    pub too_long: u64,
    /// Came in too many pieces.
    pub too_many_pieces: u64,
    /// Were seen without their beginning, and no segment began with a hello.
    pub no_beginning: u64,
    /// Had to go, unfinished, for others.
    pub evicted: u64,
}

impl Counts {
    const fn give_up(&mut self, reason: GivenUp) {
        let count = match reason {
            GivenUp::NotTls => &mut self.not_tls,
            GivenUp::TooLong => &mut self.too_long,
            GivenUp::TooManyPieces => &mut self.too_many_pieces,
            GivenUp::NoBeginning => &mut self.no_beginning,
        };
        *count += 1;
    }
}

#[derive(Debug)]
enum Entry {
    Open(Stream),
    /// Of the connection that began here, if that is known.
    Done(Option<u32>),
}

impl Entry {
    const fn held(&self) -> usize {
        match self {
            Self::Open(stream) => stream.held(),
            Self::Done(_) => 0,
        }
    }

    const fn is_begun(&self) -> bool {
        matches!(self, Self::Open(stream) if stream.is_begun())
    }

    /// Whether nobody knows where its bytes belong.
    const fn is_blind(&self) -> bool {
        matches!(self, Self::Open(stream) if stream.is_begun() && stream.first_seq().is_none())
    }
}

/// The streams, by whatever tells them apart.
#[derive(Debug)]
pub struct Pool<K> {
    limits: Limits,
    preamble: Option<Preamble>,
    streams: Lru<K, Entry>,
    held: usize,
    counts: Counts,
}

impl<K: Hash + Eq + Clone> Pool<K> {
    /// An empty pool.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            preamble: None,
            // One more than is ever held: whoever goes is chosen, and counted, here.
            streams: Lru::new(limits.streams.max(1).saturating_add(1)),
            held: 0,
            counts: Counts::default(),
        }
    }

    /// A pool that passes over what `preamble` finds at the beginning of each stream.
    #[must_use]
    pub const fn with_preamble(mut self, preamble: Preamble) -> Self {
        self.preamble = Some(preamble);
        self
    }

    /// Adds a segment of the stream `key`: one direction of a connection.
    pub fn segment(&mut self, key: &K, segment: &Segment, payload: &[u8]) -> Option<StreamHello> {
        if segment.has(tcp::RST) || payload.is_empty() && !segment.has(tcp::SYN) {
            return None;
        }
        let (before, outcome) = {
            let preamble = self.preamble;
            let fresh = || Entry::Open(Stream::new().with_preamble(preamble));
            let (entry, _) = self.streams.get_or_insert(key, fresh);
            let before = entry.held();
            (before, add(entry, segment, payload, preamble))
        };
        let hello = match outcome {
            Outcome::Pending => None,
            Outcome::GivenUp(reason) => {
                self.counts.give_up(reason);
                self.finish(key);
                None
            }
            Outcome::Hello(hello) => {
                self.counts.hellos += 1;
                self.finish(key);
                Some(hello)
            }
        };
        let after = self.streams.get(key).map_or(0, Entry::held);
        self.held = (self.held + after).saturating_sub(before);
        self.make_room();
        hello
    }

    /// What became of the streams so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Streams that began a hello, and did not end it yet.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.streams.iter().filter(|(_, entry)| entry.is_begun() && !entry.is_blind()).count()
            as u64
    }

    /// Streams of which nobody saw the beginning, and no segment began with a hello yet.
    #[must_use]
    pub fn blind(&self) -> u64 {
        self.streams.iter().filter(|(_, entry)| entry.is_blind()).count() as u64
    }

    /// Bytes of streams that are not done.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    fn finish(&mut self, key: &K) {
        if let Some(entry) = self.streams.get_mut(key)
            && let Entry::Open(stream) = entry
        {
            *entry = Entry::Done(stream.first_seq());
        }
    }

    fn make_room(&mut self) {
        while (self.streams.len() > self.limits.streams.max(1) || self.held > self.limits.bytes)
            && let Some((_, entry)) = self.streams.pop_oldest_if(|_| true)
        {
            self.held = self.held.saturating_sub(entry.held());
            self.counts.evicted += u64::from(entry.is_begun());
        }
    }
}

/// Adds a segment to a stream; a SYN of another connection between the same ends begins anew.
fn add(
    entry: &mut Entry,
    segment: &Segment,
    payload: &[u8],
    preamble: Option<Preamble>,
) -> Outcome {
    let first = segment.seq.wrapping_add(1);
    let syn = segment.has(tcp::SYN);
    let known = match entry {
        Entry::Open(stream) => stream.first_seq(),
        Entry::Done(first) => *first,
    };
    let is_other = known != Some(first);
    if syn && is_other && (known.is_some() || matches!(entry, Entry::Done(_))) {
        *entry = Entry::Open(Stream::beginning_at(first).with_preamble(preamble));
    }
    let Entry::Open(stream) = entry else {
        return Outcome::Pending;
    };
    if !syn {
        return stream.segment(segment.seq, payload);
    }
    match stream.begins_at(first) {
        // Data on the SYN (Fast Open, RFC 7413) comes first.
        Outcome::Pending => stream.segment(first, payload),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: [u8; 15] = [22, 3, 1, 0, 10, 1, 0, 0, 6, 3, 3, 9, 9, 9, 9];

    fn pool(streams: usize, bytes: usize) -> Pool<u16> {
        Pool::new(Limits { streams, bytes })
    }

    fn send(pool: &mut Pool<u16>, key: u16, flags: u8, seq: u32, payload: &[u8]) -> bool {
        let segment = Segment { seq, flags, ..Segment::default() };
        let hello = pool.segment(&key, &segment, payload);
        hello.is_some_and(|hello| hello.message == HELLO[5..])
    }

    #[test]
    fn the_first_hello_of_a_connection_counts() {
        let mut pool = pool(10, 10_000);
        assert!(!send(&mut pool, 1, tcp::SYN, 99, &[]));
        assert!(send(&mut pool, 1, tcp::ACK, 100, &HELLO));
        assert!(!send(&mut pool, 1, tcp::ACK, 115, &HELLO), "after a HelloRetryRequest");
        assert!(!send(&mut pool, 1, tcp::SYN, 99, &[]), "a duplicate of the SYN");
        assert!(!send(&mut pool, 1, tcp::ACK, 100, &HELLO), "a duplicate");
        assert!(!send(&mut pool, 1, tcp::SYN, 7, &[]), "a new connection");
        assert!(send(&mut pool, 1, tcp::ACK, 8, &HELLO));
        assert_eq!((pool.counts().hellos, pool.held()), (2, 0));
    }

    #[test]
    fn a_hello_may_come_on_the_syn_and_before_it() {
        let mut pool = pool(10, 10_000);
        assert!(send(&mut pool, 1, tcp::SYN, 99, &HELLO));
        assert!(!send(&mut pool, 2, tcp::ACK, 101, &HELLO[1..]));
        assert!(!send(&mut pool, 2, tcp::SYN, 99, &[]));
        assert!(send(&mut pool, 2, tcp::ACK, 100, &HELLO[..1]));
    }

    #[test]
    fn a_syn_in_between_does_not_hide_the_hello() {
        let mut pool = pool(10, 10_000);
        send(&mut pool, 1, tcp::SYN, 99, &[]);
        send(&mut pool, 1, tcp::SYN, 1_000_000, &[]);
        assert!(send(&mut pool, 1, tcp::ACK, 100, &HELLO));
    }

    #[test]
    fn what_goes_for_others_is_counted() {
        let mut pool = pool(3, 1 << 20);
        for key in 0..5 {
            send(&mut pool, key, tcp::SYN, 99, &[]);
            send(&mut pool, key, tcp::ACK, 100, &HELLO[..9]);
        }
        assert_eq!((pool.counts().evicted, pool.unfinished()), (2, 3));
        assert!(send(&mut pool, 4, tcp::ACK, 109, &HELLO[9..]), "the latest stays");
    }

    #[test]
    fn bytes_are_bounded_whatever_comes() {
        let mut pool = pool(1000, 40_000);
        for key in 0..1000 {
            send(&mut pool, key, tcp::SYN, 0, &[]);
            for at in 0..20 {
                send(&mut pool, key, tcp::ACK, 16_000 - at * 700, &[1; 300]);
            }
            assert!(pool.held() <= 40_000);
        }
        assert!(pool.counts().evicted > 900);
    }
}
