//! QUIC as far as it shows: the connection ids that prove a client (RFC 9000, section 5.1).

/// Words of the longest connection id of versions 1 and 2.
pub const CONNECTION_ID_WORDS: usize = 5;
/// Bytes of the longest.
pub const MAX_CONNECTION_ID: u32 = 4 * CONNECTION_ID_WORDS as u32;
/// Bytes of the shortest that nobody guesses: what clients must choose for their first one, too
/// (RFC 9000, section 7.2).
pub const MIN_CONNECTION_ID: u32 = 8;

/// A connection id: words as they lie on the wire, zero behind its end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct ConnectionId {
    /// Its bytes.
    pub words: [u32; CONNECTION_ID_WORDS],
    /// How many of them count.
    pub length: u32,
}
const _: () = assert!(size_of::<ConnectionId>() == 24);

/// More than one id was proposed, so that nobody knows whose the announced ones are.
pub const QUIC_AMBIGUOUS: u32 = 1 << 0;
/// It has proven the client.
pub const QUIC_PROVEN: u32 = 1 << 1;

/// Value of `QUIC_HANDSHAKES`: what one address and port of a client and this host told each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct QuicHandshake {
    /// When the last long header came or went, ns.
    pub seen_ns: u64,
    /// The id that the client's first Initial proposes for this host: the client knows it without
    /// having received anything.
    pub proposal: ConnectionId,
    /// The last two that this host announced to it, the newest first: a Retry's and an Initial's.
    pub announced: [ConnectionId; 2],
    /// `QUIC_*` bits.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<QuicHandshake>() == 88);

/// Value of `QUIC_SERVICES`, index service id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct QuicService {
    /// Theoretical arrival time of the next Initial of a stranger that is handed to the daemon.
    pub tat_ns: u64,
    /// When the server last took an id that a client had proposed, ns; 0 = never. Ids of such a
    /// server prove nothing.
    pub echoed_ns: u64,
}
const _: () = assert!(size_of::<QuicService>() == 16);
