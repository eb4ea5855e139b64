//! What became of the datagrams, counted.

use serde::Serialize;

/// Counts since the start. Everything that was looked at and gave no hello has its reason here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counters {
    /// Datagrams of clients.
    pub client_datagrams: u64,
    /// Those that do not begin with a long header: 1-RTT packets, and what is not QUIC.
    pub no_long_header: u64,
    /// Those whose version is none that can be read, or no QUIC at all.
    pub unsupported_version: u64,
    /// Those with a Version Negotiation packet, which no client sends.
    pub version_negotiation: u64,
    /// Headers that are cut or say more than there is.
    pub malformed: u64,
    /// Datagrams of which only the first packets were looked at.
    pub too_many_packets: u64,
    /// 0-RTT, Handshake and Retry packets of clients, stepped over.
    pub other_packets: u64,
    /// Initials in datagrams that are too small: a server must discard them (RFC 9000, section
    /// 14.1).
    pub small_datagram: u64,
    /// Initials behind a packet for another connection ID: a server ignores them (RFC 9000, section
    /// 12.2).
    pub other_connection_id: u64,
    /// Initials that no known key opens.
    pub undecryptable: u64,
    /// Of these, those whose own connection ID is too short to begin a connection (RFC 9000,
    /// section 7.2), so that no keys were made of it.
    pub short_connection_id: u64,
    /// Initials that were opened.
    pub opened: u64,
    /// Of these, those that hold what no Initial may hold. None of it was used.
    pub violations: u64,
    /// Packet numbers that came again.
    pub duplicates: u64,
    /// Initials that differ from what an earlier one said.
    pub conflicts: u64,
    /// Initials of which not everything was taken: too many, too much, or too many gaps.
    pub refused: u64,
    /// Connections whose first message is no ClientHello, or too long.
    pub not_client_hello: u64,
    /// Initials that came when the hello had been complete.
    pub after_hello: u64,
    /// Hellos given out.
    pub hellos: u64,
    /// Hellos that came again after a Retry, and were not given out again.
    pub repeated_hellos: u64,
    /// Retry packets whose connection ID was taken.
    pub retries: u64,
    /// Retry packets that the client would not take: forged, or a second one.
    pub ignored_retries: u64,
    /// Attempts between one client and server that had to go for a newer one.
    pub evicted_attempts: u64,
    /// Connections that had to go for others.
    pub evicted_connections: u64,
    /// Of these, those whose hello was not complete.
    pub evicted_unfinished: u64,
}
