//! What the daemon is expected to hear of a ClientHello: every field of its record, and its bytes.

use std::{net::SocketAddr, time::Duration};

use weir_common::{
    abi::{
        HelloKind, Protocol,
        hello::{COVERAGE_WORDS, HELLO_CONFLICT, HELLO_MALFORMED, HELLO_PROXIED, HELLO_REFUSED},
    },
    host::HelloRecord,
    tls::{KeyBuilder, Keys, Seed, keys::Transport, walk},
};

use crate::{
    client_hello::ClientHello,
    stage::SHOP,
    talk::{Talk, words},
};

/// Bytes of a record's header, behind which the message stands.
const RECORD_HEADER_LEN: usize = 5;

/// A record.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    kind: HelloKind,
    talk: Talk,
    client: SocketAddr,
    service: u8,
    flags: u8,
    would: u16,
    segments: u16,
    delay: u32,
    ago: Duration,
    /// Runs of bytes by where they stand: of a whole hello the message, of a piece the stream.
    runs: Vec<(usize, Vec<u8>)>,
}

impl Heard {
    fn new(kind: HelloKind, talk: &Talk, segments: u16, runs: Vec<(usize, Vec<u8>)>) -> Self {
        Self {
            kind,
            talk: *talk,
            client: talk.visitor,
            service: SHOP,
            flags: 0,
            would: 0,
            segments,
            delay: 0,
            ago: Duration::ZERO,
            runs,
        }
    }

    /// A whole hello that came in one segment, right after the proof.
    pub(crate) fn whole(talk: &Talk, hello: &ClientHello) -> Self {
        Self::message(talk, &hello.message())
    }

    /// The same of any message.
    pub(crate) fn message(talk: &Talk, message: &[u8]) -> Self {
        let runs = vec![(RECORD_HEADER_LEN, message.to_vec())];
        Self::new(HelloKind::Whole, talk, 1, runs)
    }

    /// A piece of a stream.
    pub(crate) fn piece(talk: &Talk, at: usize, bytes: &[u8]) -> Self {
        Self::new(HelloKind::Piece, talk, 1, vec![(at, bytes.to_vec())])
    }

    /// What was collected of a stream: these runs of it.
    pub(crate) fn collected(
        talk: &Talk,
        segments: u16,
        stream: &[u8],
        runs: &[(usize, usize)],
    ) -> Self {
        let runs = runs.iter().map(|(from, until)| (*from, stream[*from..*until].to_vec()));
        Self::new(HelloKind::Collected, talk, segments, runs.collect())
    }

    /// A verdict of this class would have refused it.
    pub(crate) fn would(mut self, class: u16) -> Self {
        self.would = class;
        self
    }

    /// It came in that many segments.
    pub(crate) fn in_segments(mut self, segments: u16) -> Self {
        self.segments = segments;
        self
    }

    /// It came that long after the proof, in units of 2^10 ns.
    pub(crate) fn after(mut self, delay: u32) -> Self {
        self.delay = delay;
        self
    }

    /// It is of a segment that came that long ago.
    pub(crate) fn ago(mut self, ago: Duration) -> Self {
        self.ago = ago;
        self
    }

    /// Its service.
    pub(crate) fn for_service(mut self, service: u8) -> Self {
        self.service = service;
        self
    }

    /// A proxy named the client.
    pub(crate) fn from_client(mut self, client: SocketAddr) -> Self {
        self.client = client;
        self.flag(HELLO_PROXIED)
    }

    /// Two copies of some bytes differed.
    pub(crate) fn in_conflict(self) -> Self {
        self.flag(HELLO_CONFLICT)
    }

    /// It does not hold together.
    pub(crate) fn malformed(self) -> Self {
        self.flag(HELLO_MALFORMED)
    }

    /// A verdict kept it from the server.
    pub(crate) fn refused(self) -> Self {
        self.flag(HELLO_REFUSED)
    }

    fn flag(mut self, flag: u8) -> Self {
        self.flags |= flag;
        self
    }

    /// The keys of it.
    fn keys(&self, seed: Seed) -> Keys {
        match (self.kind, self.runs.as_slice()) {
            (HelloKind::Whole, [(_, message)]) if self.flags & HELLO_MALFORMED == 0 => {
                keys_of(message, seed)
            }
            _ => Keys::default(),
        }
    }

    /// In which way a record is not this one.
    pub(crate) fn compare(&self, record: &HelloRecord, seed: Seed, now_ns: u64) -> Vec<String> {
        let header = &record.header;
        let is = (
            (HelloKind::from_u8(header.kind), header.service, header.flags, header.segments),
            (header.key, header.client, header.client_port),
            (header.at_ns, header.delay, header.ifindex, header.keys, header.would_class),
        );
        let should_be = (
            (Some(self.kind), self.service, self.flags, self.segments),
            (self.talk.flow(Protocol::Tcp), words(self.client.ip()), self.client.port().to_be()),
            (now_ns - self.ago.as_nanos() as u64, self.delay, 1, self.keys(seed), self.would),
        );
        let mut complaints = Vec::new();
        if is != should_be {
            complaints.push(format!("heard  {is:02x?},\nexpected {should_be:02x?}"));
        }
        if self.kind == HelloKind::Collected {
            self.compare_collected(record, &mut complaints);
        } else {
            let bytes = record.bytes.get(self.start(record)..).unwrap_or_default();
            if self.runs != [(header.offset as usize, bytes.to_vec())]
                || header.length as usize != record.bytes.len()
            {
                complaints.push(format!("heard of {:?} at {}", bytes.len(), header.offset));
            }
        }
        complaints
    }

    /// Where the bytes begin in the record.
    fn start(&self, record: &HelloRecord) -> usize {
        if self.kind == HelloKind::Whole { record.header.offset as usize } else { 0 }
    }

    fn compare_collected(&self, record: &HelloRecord, complaints: &mut Vec<String>) {
        let mut covered = [0u64; COVERAGE_WORDS];
        for (from, bytes) in &self.runs {
            for (at, byte) in (*from..).zip(bytes) {
                covered[at / 64] |= 1 << (at % 64);
                if record.bytes.get(at) != Some(byte) {
                    complaints.push(format!("collected another byte at {at}"));
                }
            }
        }
        if record.coverage != Some(covered) {
            complaints.push(format!("covers {:x?}, expected {covered:x?}", record.coverage));
        }
    }
}

/// A message's keys.
pub(crate) fn keys_of(message: &[u8], seed: Seed) -> Keys {
    let mut builder = KeyBuilder::new(seed);
    walk(message, &mut builder).unwrap();
    builder.finish(Transport::Tcp)
}
