//! Hellos that the kernel does not collect, put together from their pieces: too long for it, or more
//! at once than it has slots for.
//!
//! Bounded in flows and bytes; what is full lets the flow go that was quiet longest, and counts it.

use weir_common::{
    abi::{
        FlowKey, HelloHeader, HelloKind,
        hello::{COVERAGE_WORDS, HELLO_CONFLICT, HELLO_LEN},
    },
    host::HelloRecord,
};

use crate::{
    event::HELLO_DELAY_UNIT_NS,
    fingerprint::tcp_stream::{Outcome, Stream, StreamHello},
    profile::{is_same_proof, lru::Lru},
};

/// Flows whose pieces are kept, or whose hello was read.
const FLOWS: usize = 4096;
/// Bytes of pieces.
const BYTES: usize = 8 << 20;

/// The flows.
#[derive(Debug)]
pub(super) struct Streams {
    flows: Lru<FlowKey, Piecewise>,
    held: usize,
    given_up: u64,
    evicted: u64,
}

/// One flow.
#[derive(Debug)]
struct Piecewise {
    proven_ns: u64,
    /// `None`: there is nothing more to wait for.
    stream: Option<Box<Stream>>,
}

impl Piecewise {
    fn new(proven_ns: u64) -> Self {
        Self { proven_ns, stream: Some(Box::new(Stream::beginning_at(0))) }
    }

    fn held(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.held() + size_of::<Stream>())
    }

    fn add(&mut self, seq: u32, bytes: &[u8]) -> Outcome {
        match &mut self.stream {
            Some(stream) => stream.segment(seq, bytes),
            None => Outcome::Pending,
        }
    }
}

impl Default for Streams {
    fn default() -> Self {
        // One more than is ever kept: whoever goes is chosen, and counted, here.
        Self { flows: Lru::new(FLOWS + 1), held: 0, given_up: 0, evicted: 0 }
    }
}

impl Streams {
    /// Adds a record of kind `Piece` or `Collected`. Gives the hello that it completes.
    pub(super) fn add(&mut self, record: &HelloRecord) -> Option<StreamHello> {
        let header = &record.header;
        let proven_ns = proven_ns(header);
        let before = self.flows.get(&header.key).map_or(0, Piecewise::held);
        let (flow, _) = self.flows.get_or_insert(&header.key, || Piecewise::new(proven_ns));
        if !is_same_proof(flow.proven_ns, proven_ns) {
            // Another connection on the same ports.
            *flow = Piecewise::new(proven_ns);
        }
        let outcome = if header.kind == HelloKind::Collected as u8 {
            collected(flow, record)
        } else {
            flow.add(header.offset, &record.bytes)
        };
        let hello = match outcome {
            Outcome::Pending => None,
            Outcome::GivenUp(_) => {
                flow.stream = None;
                self.given_up += 1;
                None
            }
            Outcome::Hello(hello) => {
                flow.stream = None;
                Some(hello)
            }
        };
        self.held = (self.held + flow.held()).saturating_sub(before);
        self.make_room();
        hello
    }

    /// Streams that began with no hello, or with one that is too long or too finely cut.
    pub(super) const fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Flows that had to go, unfinished, for others.
    pub(super) const fn evicted(&self) -> u64 {
        self.evicted
    }

    fn make_room(&mut self) {
        while (self.flows.len() > FLOWS || self.held > BYTES)
            && let Some((_, flow)) = self.flows.pop_oldest_if(|_| true)
        {
            self.held = self.held.saturating_sub(flow.held());
            self.evicted += u64::from(flow.stream.is_some());
        }
    }
}

/// When the flow was proven, to [`HELLO_DELAY_UNIT_NS`].
pub(super) const fn proven_ns(header: &HelloHeader) -> u64 {
    header.at_ns.saturating_sub(header.delay as u64 * HELLO_DELAY_UNIT_NS)
}

/// Adds what the kernel had collected: the runs of bytes that are covered.
fn collected(flow: &mut Piecewise, record: &HelloRecord) -> Outcome {
    let coverage = record.coverage.unwrap_or([0; COVERAGE_WORDS]);
    let is_covered =
        |at: usize| coverage.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 != 0);
    let mut at = 0;
    while at < HELLO_LEN {
        let start = at;
        while at < HELLO_LEN && is_covered(at) {
            at += 1;
        }
        let run = record.bytes.get(start..at).unwrap_or_default();
        if !run.is_empty() {
            match flow.add(start as u32, run) {
                Outcome::Pending => {}
                done => return done,
            }
        }
        at += 1;
    }
    Outcome::Pending
}

/// Whether two copies of the hello's bytes differed, as the kernel or the pieces say.
pub(super) const fn is_conflict(header: &HelloHeader, hello: &StreamHello) -> bool {
    hello.conflict || header.flags & HELLO_CONFLICT != 0
}

#[cfg(test)]
mod tests {
    use weir_common::abi::hello::HELLO_ROOM;

    use super::*;

    /// A record around a hello of `length` bytes behind its header.
    fn stream(length: u16) -> Vec<u8> {
        let mut stream = vec![22, 3, 1];
        stream.extend((length + 4).to_be_bytes());
        stream.extend([1, 0]);
        stream.extend(length.to_be_bytes());
        stream.extend((0..length).map(|at| at as u8));
        stream
    }

    fn piece(port: u16, proven_ns: u64, offset: usize, bytes: &[u8]) -> HelloRecord {
        let header = HelloHeader {
            kind: HelloKind::Piece as u8,
            key: FlowKey { remote_port: port, ..FlowKey::default() },
            at_ns: proven_ns + 10 * HELLO_DELAY_UNIT_NS + offset as u64 % 1000,
            delay: 10,
            offset: offset as u32,
            length: bytes.len() as u32,
            ..HelloHeader::default()
        };
        HelloRecord { header, bytes: bytes.to_vec(), coverage: None }
    }

    #[test]
    fn pieces_in_any_order_make_the_hello_once() {
        let stream = stream(9000);
        let mut streams = Streams::default();
        let mut at: Vec<usize> = (0..stream.len()).step_by(1400).collect();
        at.rotate_left(3);
        let mut hellos = Vec::new();
        for at in at.iter().chain(&at) {
            let end = (*at + 1400).min(stream.len());
            hellos.extend(streams.add(&piece(1, 1_000_000, *at, &stream[*at..end])));
        }
        assert_eq!(hellos.len(), 1);
        assert_eq!(hellos[0].message, stream[5..]);
        assert_eq!((hellos[0].segments, streams.held), (7, 0));
    }

    #[test]
    fn what_was_collected_goes_on_with_pieces() {
        let stream = stream(6000);
        let mut bytes = vec![0xee; HELLO_ROOM];
        let mut coverage = [0u64; COVERAGE_WORDS];
        for at in (0..1000).chain(2000..4000) {
            bytes[at] = stream[at];
            coverage[at / 64] |= 1 << (at % 64);
        }
        let mut record = piece(1, 5_000_000, 0, &[]);
        record.header.kind = HelloKind::Collected as u8;
        let record = HelloRecord { bytes, coverage: Some(coverage), ..record };
        let mut streams = Streams::default();
        assert!(streams.add(&record).is_none());
        assert!(streams.add(&piece(1, 5_000_000, 4000, &stream[4000..])).is_none());
        let hello = streams.add(&piece(1, 5_000_000, 1000, &stream[1000..2000])).unwrap();
        assert_eq!(hello.message, stream[5..]);
        assert!(!hello.conflict, "gaps are not bytes");
    }

    #[test]
    fn another_connection_on_the_same_ports_has_a_hello_of_its_own() {
        let stream = stream(100);
        let mut streams = Streams::default();
        assert!(streams.add(&piece(1, 1_000_000, 0, &stream)).is_some());
        assert!(streams.add(&piece(1, 1_000_000, 0, &stream)).is_none(), "a duplicate");
        assert!(streams.add(&piece(1, 2_000_000, 0, &stream)).is_some());
        assert!(streams.add(&piece(2, 2_000_000, 0, b"GET / HTTP/1.1")).is_none());
        assert_eq!(streams.given_up(), 1);
    }

    #[test]
    fn bounded_in_flows_and_bytes_whatever_comes() {
        let mut streams = Streams::default();
        for n in 0..3u64 {
            for port in 0..6000 {
                streams.add(&piece(port, 1 << 30, 3000 + 4096 * n as usize, &[1; 3000]));
                assert!(streams.held <= BYTES);
            }
        }
        assert!(streams.flows.len() <= FLOWS && streams.evicted() > 1904);
        let mut held = 0;
        streams.flows.for_each(|flow| held += flow.held());
        assert_eq!(held, streams.held, "what is counted is what is there");
    }
}
