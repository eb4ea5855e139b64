//! From records of the kernel to hellos: bytes put together, decrypted, walked over, and compared
//! with what the kernel made of them.
//!
//! Work a second is bounded: what comes beyond it is counted and not looked at. A hello that is not
//! looked at is one feature less, and never a packet more or less: the kernel has decided already.

use weir_common::{
    abi::{
        FlowKey, HelloHeader, HelloKind,
        hello::{HELLO_CONFLICT, HELLO_MALFORMED},
    },
    host::HelloRecord,
    tls::{HANDSHAKE_HEADER_LEN, Keys, Seed, extension},
};

use super::streams::{self, Streams};
use crate::{
    event::{HELLO_DELAY_UNIT_NS, Hello},
    fingerprint::{
        agreement::SuiteOrder,
        hello::ClientHello,
        ja4::{Ja4Raw, Transport},
        quic::{self, Tracker},
        resumption::offers_resumption,
        traits::HelloTraits,
    },
    policy::Services,
};

/// Records of TCP looked at in a second: at a few microseconds each, a tenth of a processor.
const TCP_A_SECOND: u32 = 20_000;
/// Datagrams of QUIC looked at in a second: each takes a decryption.
const QUIC_A_SECOND: u32 = 5_000;

/// A hello that was read.
#[derive(Debug)]
pub(crate) struct Read {
    /// What clients are judged by.
    pub(crate) hello: Hello,
    /// What its fingerprint is made of.
    pub(crate) raw: Ja4Raw,
    /// Whether the kernel could not judge it.
    pub(crate) is_late: bool,
}

/// What became of the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counters {
    /// Hellos read, of those the kernel had collected.
    pub(crate) whole: u64,
    /// Hellos read, put together here.
    pub(crate) pieced: u64,
    /// Hellos read, over QUIC.
    pub(crate) quic: u64,
    /// Messages that do not hold together.
    pub(crate) malformed: u64,
    /// Hellos of which a part came twice and differed.
    pub(crate) conflicts: u64,
    /// Records not looked at: more than the daemon does in a second.
    pub(crate) skipped: u64,
    /// Hellos whose keys the kernel made differently. Must not happen.
    pub(crate) mismatched: u64,
}

/// Reads records.
#[derive(Debug)]
pub(crate) struct Reader {
    seed: Seed,
    streams: Streams,
    quic: Tracker<FlowKey>,
    tcp_left: u32,
    quic_left: u32,
    counters: Counters,
}

/// A message, and how it came.
struct Message {
    bytes: Vec<u8>,
    segments: u32,
    conflict: bool,
}

impl Reader {
    /// A reader of what is keyed with this secret.
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            seed,
            streams: Streams::default(),
            quic: Tracker::new(quic::Limits::default()),
            tcp_left: TCP_A_SECOND,
            quic_left: QUIC_A_SECOND,
            counters: Counters::default(),
        }
    }

    /// A second passed.
    pub(crate) const fn renew_budget(&mut self) {
        self.tcp_left = TCP_A_SECOND;
        self.quic_left = QUIC_A_SECOND;
    }

    pub(crate) const fn counters(&self) -> Counters {
        self.counters
    }

    /// Flows left to the daemon whose hello it could not put together.
    pub(crate) const fn unread_flows(&self) -> u64 {
        self.streams.given_up() + self.streams.evicted()
    }

    /// Takes a record in. Gives the hello that it completes.
    pub(crate) fn read(&mut self, record: &HelloRecord, services: &Services) -> Option<Read> {
        let kind = HelloKind::from_u8(record.header.kind)?;
        let left = if kind == HelloKind::Quic { &mut self.quic_left } else { &mut self.tcp_left };
        if *left == 0 {
            self.counters.skipped += 1;
            return None;
        }
        *left -= 1;
        let message = match kind {
            HelloKind::Whole => self.whole(record)?,
            HelloKind::Piece | HelloKind::Collected => {
                let hello = self.streams.add(record)?;
                let conflict = streams::is_conflict(&record.header, &hello);
                Message { bytes: hello.message, segments: hello.segments, conflict }
            }
            HelloKind::Quic => {
                let (header, bytes) = (&record.header, &record.bytes);
                let hello = self.quic.client_datagram(&header.key, header.at_ns, bytes)?;
                let conflict = hello.conflict;
                Message { bytes: hello.message, segments: hello.initials, conflict }
            }
        };
        let read = self.understand(&record.header, kind, &message, services);
        let counter = match (&read, kind) {
            (None, _) => &mut self.counters.malformed,
            (_, HelloKind::Whole) => &mut self.counters.whole,
            (_, HelloKind::Piece | HelloKind::Collected) => &mut self.counters.pieced,
            (_, HelloKind::Quic) => &mut self.counters.quic,
        };
        *counter += 1;
        self.counters.conflicts += u64::from(read.is_some() && message.conflict);
        read
    }

    /// The message of a hello that the kernel has read.
    fn whole(&mut self, record: &HelloRecord) -> Option<Message> {
        let header = &record.header;
        let message = record.bytes.get(header.offset as usize..).and_then(one_message);
        match message.filter(|_| header.flags & HELLO_MALFORMED == 0) {
            Some(message) => Some(Message {
                bytes: message.to_vec(),
                segments: u32::from(header.segments),
                conflict: header.flags & HELLO_CONFLICT != 0,
            }),
            None => {
                self.counters.malformed += 1;
                None
            }
        }
    }

    fn understand(
        &mut self,
        header: &HelloHeader,
        kind: HelloKind,
        message: &Message,
        services: &Services,
    ) -> Option<Read> {
        let facts = ClientHello::read(&message.bytes).ok()?;
        let transport = if kind == HelloKind::Quic { Transport::Quic } else { Transport::Tcp };
        let raw = Ja4Raw::of(&facts, transport);
        let is_late = kind != HelloKind::Whole;
        if !is_late {
            self.compare(&header.keys, &raw);
        }
        let service = if is_late {
            let may_hide = facts.extensions.contains(&extension::ENCRYPTED_CLIENT_HELLO);
            services.named(header.service, facts.server_name_text().as_deref(), may_hide)
        } else {
            header.service
        };
        let conflict = if message.conflict { HELLO_CONFLICT } else { 0 };
        let hello = Hello {
            at_ns: header.at_ns,
            key: header.key,
            client: header.client,
            client_port: header.client_port,
            service,
            flags: header.flags | conflict,
            segments: message.segments,
            delay_ns: (kind != HelloKind::Quic)
                .then(|| u64::from(header.delay) * HELLO_DELAY_UNIT_NS),
            ja4: raw.ja4(),
            stable: raw.stable(),
            suites: SuiteOrder::of(&facts.cipher_suites),
            traits: HelloTraits::of(&facts),
            offers_resumption: offers_resumption(&message.bytes),
            would_class: header.would_class,
        };
        Some(Read { hello, raw, is_late })
    }

    /// That kernel and daemon know the hello by the same keys: if they did not, a verdict by
    /// fingerprint would hit nobody, or somebody else.
    fn compare(&mut self, kernel: &Keys, raw: &Ja4Raw) {
        if *kernel == raw.keys(self.seed) {
            return;
        }
        self.counters.mismatched += 1;
        if self.counters.mismatched == 1 {
            tracing::error!(
                ja4_r = %raw,
                "the kernel knows this hello by other keys than the daemon: verdicts by fingerprint \
                 do not work; please report it with the version of Weir and of the kernel"
            );
        }
    }
}

/// The first handshake message of these bytes, header included.
fn one_message(bytes: &[u8]) -> Option<&[u8]> {
    let [_, high, middle, low] = bytes.first_chunk::<{ HANDSHAKE_HEADER_LEN as usize }>()?;
    let length = u32::from_be_bytes([0, *high, *middle, *low]) + HANDSHAKE_HEADER_LEN;
    bytes.get(..length as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_common::abi::hello::COVERAGE_WORDS;

    use super::*;
    use crate::fingerprint::hello::tests::message;

    fn record(kind: u8, offset: u32, delay: u32, bytes: Vec<u8>) -> HelloRecord {
        let header = HelloHeader { kind, offset, delay, at_ns: 1 << 40, ..HelloHeader::default() };
        HelloRecord { header, bytes, coverage: Some([u64::MAX; COVERAGE_WORDS]) }
    }

    #[test]
    fn the_first_message_of_several_is_the_hello() {
        let hello = message(0x0303, &[0x1301], &[(0x0017, &[])]);
        let bytes = [&[22, 3, 1, 0, 0], &hello[..], b"something else"].concat();
        let mut reader = Reader::new(Seed::default());
        let read = reader.read(&record(1, 5, 3, bytes), &Services::default()).unwrap();
        assert_eq!(read.hello.delay_ns, Some(3 << 10));
        assert_eq!(read.raw.to_string(), "t12i010100_1301_0017");
        assert!(!read.is_late);
        assert_eq!(reader.counters().mismatched, 1, "it has no keys");
    }

    proptest! {
        #[test]
        fn no_record_crashes_it_and_every_one_is_bounded(
            records in prop::collection::vec(
                (
                    0u8..6,
                    prop_oneof![Just(0u32), Just(5), 0u32..70_000, any::<u32>()],
                    any::<u32>(),
                    prop::collection::vec(any::<u8>(), 0..300),
                ),
                0..60,
            ),
            cut in 0usize..200,
        ) {
            let mut reader = Reader::new(Seed { add: 1, multiply: 3 });
            let hello = message(0x0303, &[0x1301], &[(0x0017, &[]), (0xfe0d, &[1; 90])]);
            let framed = [&[22, 3, 1, 0, hello.len() as u8], &hello[..]].concat();
            let beginning = framed.get(..cut).unwrap_or(&framed).to_vec();
            for (kind, offset, delay, bytes) in records {
                reader.read(&record(kind, offset, delay, bytes), &Services::default());
                let piece = record(kind, offset % 64, delay, beginning.clone());
                reader.read(&piece, &Services::default());
            }
            let Counters { whole, pieced, malformed, .. } = reader.counters();
            prop_assert!(whole + pieced + malformed <= 120);
        }
    }
}
