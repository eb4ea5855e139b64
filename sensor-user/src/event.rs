//! Events as the daemon handles them: the kernel's records, decoded, and the passing of time.
//!
//! Everything behind this type is driven by the events' own timestamps, so replaying a recorded
//! stream gives the same decisions.

use weir_common::abi::{Closed, Established, FlowKey, Hit, Milestone, Protocol, key::Address};
pub use weir_common::host::HelloRecord;

use crate::fingerprint::{agreement::SuiteOrder, ja4::Ja4, traits::HelloTraits};

/// One event.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Event {
    /// A flow was proven.
    Established(Established),
    /// A proven flow ended.
    Closed(Closed),
    /// A proven flow goes on, and has got some way: its record, as it stood.
    Progress(Closed),
    /// A threshold was crossed.
    Milestone(Milestone),
    /// A verdict decided a packet.
    Hit(Hit),
    /// A ClientHello was read.
    Hello(Hello),
    /// An application, or its log, said something of a client.
    Signal(Signal),
    /// Time passed: about once a second, `CLOCK_MONOTONIC` ns.
    Tick {
        /// When.
        at_ns: u64,
    },
}

impl Event {
    /// When it happened, `CLOCK_MONOTONIC` ns.
    #[must_use]
    pub const fn at_ns(&self) -> u64 {
        match self {
            Self::Established(event) => event.header.at_ns,
            Self::Closed(event) => event.header.at_ns,
            Self::Progress(event) => event.header.at_ns,
            Self::Milestone(event) => event.header.at_ns,
            Self::Hit(event) => event.header.at_ns,
            Self::Hello(event) => event.at_ns,
            Self::Signal(event) => event.at_ns,
            Self::Tick { at_ns } => *at_ns,
        }
    }
}

/// What a ClientHello said, as far as clients are judged by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// When the segment or datagram that completed it was seen, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// The flow.
    pub key: FlowKey,
    /// The client: the peer, or whom a declared proxy named.
    pub client: Address,
    /// The client's port, network byte order.
    pub client_port: u16,
    /// The protected service, as refined by the server's name.
    pub service: u8,
    /// `HELLO_*` bits.
    pub flags: u8,
    /// TCP segments or QUIC Initials that carried it.
    pub segments: u32,
    /// From the flow's proof, to [`HELLO_DELAY_UNIT_NS`]; `None` over QUIC, whose hello comes first.
    pub delay_ns: Option<u64>,
    /// The fingerprint.
    pub ja4: Ja4,
    /// Its stable form.
    pub stable: Ja4,
    /// The TLS 1.3 cipher suites in the client's order.
    pub suites: SuiteOrder,
    /// Which marks of browsers' hellos it has.
    pub traits: HelloTraits,
    /// Whether it offers to resume an earlier session: by a pre-shared key, or by a ticket.
    pub offers_resumption: bool,
    /// The class of a verdict that would have refused its flow, had it been enforced, as the kernel saw
    /// at the hello; 0 = none.
    pub would_class: u16,
}

/// What an application, or its log, said of a client: one outcome.
///
/// Texts are gone: an entity is pseudonymised, an endpoint is hashed, on arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Signal {
    /// When it arrived, `CLOCK_MONOTONIC` ns; from a log line with a time, when that was.
    pub at_ns: u64,
    /// The client.
    pub client: Address,
    /// The client's port, network byte order; 0 = unknown.
    pub client_port: u16,
    /// The service; 0 = unknown.
    pub service: u8,
    /// Which: the index among the signals that the Site declares.
    pub kind: u16,
    /// The entity (account, token), pseudonymised; 0 = none.
    pub entity: u64,
    /// The endpoint, hashed; 0 = none.
    pub endpoint: u64,
}

/// What delays of hellos are counted in.
pub const HELLO_DELAY_UNIT_NS: u64 = 1 << 10;

impl Hello {
    /// When its flow was proven, to [`HELLO_DELAY_UNIT_NS`]; over QUIC, when it came.
    #[must_use]
    pub const fn proven_ns(&self) -> u64 {
        self.at_ns.saturating_sub(match self.delay_ns {
            Some(delay_ns) => delay_ns,
            None => 0,
        })
    }

    /// Whether it came over QUIC. Then it proves nothing: anybody can send it in the client's name.
    #[must_use]
    pub const fn is_quic(&self) -> bool {
        self.key.protocol == Protocol::Udp as u32
    }
}

#[cfg(test)]
impl Hello {
    /// A hello of a browser over TCP, at time 0 and from nobody.
    pub(crate) fn test() -> Self {
        let ja4 = "t13d1516h2_8daaf6152771_02713d6af862".parse().unwrap();
        Self {
            at_ns: 0,
            key: FlowKey { protocol: Protocol::Tcp as u32, ..FlowKey::default() },
            client: Address::default(),
            client_port: 0,
            service: 1,
            flags: 0,
            segments: 1,
            delay_ns: None,
            ja4,
            stable: ja4,
            suites: SuiteOrder::of(&[0x1301, 0x1302, 0x1303]),
            traits: HelloTraits::BROWSER,
            offers_resumption: false,
            would_class: 0,
        }
    }
}
