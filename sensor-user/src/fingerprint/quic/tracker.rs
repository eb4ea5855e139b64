//! Many connections at once: datagrams in, ClientHellos out.

use std::hash::Hash;

use crate::profile::lru::Lru;

use super::{
    Hello, Limits,
    attempt::{Attempt, MIN_FIRST_ID},
    connection::Connection,
    connection_id::ConnectionId,
    counters::Counters,
    packet::{Initial, Malformed, Packet, Packets},
};

/// A server must discard Initials in smaller datagrams (RFC 9000, section 14.1). What it does not
/// read must not count here either: it would be a hello that is only meant for us.
pub(super) const MIN_DATAGRAM: usize = 1200;

/// How many packets of a datagram are looked at. Clients coalesce one of each kind.
pub(super) const MAX_PACKETS: usize = 8;

/// Follows the Initials of connections.
///
/// `K` tells connections apart: both addresses and ports. Datagrams of one key never change what is
/// known of another, except that a full tracker forgets the connection that was used least
/// recently. Only an Initial that opens makes or refreshes an entry.
#[derive(Debug)]
pub struct Tracker<K> {
    limits: Limits,
    connections: Lru<K, Connection>,
    bytes: usize,
    counters: Counters,
    // The packet at work.
    scratch: Vec<u8>,
}

impl<K: Hash + Eq + Clone> Tracker<K> {
    /// A tracker without connections.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            connections: Lru::new(limits.connections),
            bytes: 0,
            counters: Counters::default(),
            scratch: Vec::new(),
        }
    }

    /// A UDP payload from the client of `key`, and when it came. Gives the hello that it completes.
    pub fn client_datagram(&mut self, key: &K, time_ns: u64, payload: &[u8]) -> Option<Hello> {
        self.counters.client_datagrams += 1;
        let mut first_destination = None;
        for (index, packet) in Packets::new(payload).enumerate() {
            if index >= MAX_PACKETS {
                self.counters.too_many_packets += 1;
                break;
            }
            let initial = match packet {
                Ok(Packet::Initial(initial)) => initial,
                Ok(Packet::Secret { destination }) => {
                    first_destination.get_or_insert(destination);
                    self.counters.other_packets += 1;
                    continue;
                }
                other => {
                    self.count_last(other, index);
                    break;
                }
            };
            if payload.len() < MIN_DATAGRAM {
                self.counters.small_datagram += 1;
            } else if *first_destination.get_or_insert(initial.destination) != initial.destination {
                self.counters.other_connection_id += 1;
            } else if let Some(hello) = self.initial(key, time_ns, &initial) {
                return Some(hello);
            }
        }
        None
    }

    /// A UDP payload from the server of `key`. Only a Retry matters: it changes the client's keys.
    pub fn server_datagram(&mut self, key: &K, payload: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // Nothing can follow a Retry, and it follows nothing (RFC 9000, section 12.2).
        if let Some(Ok(Packet::Retry(retry))) = Packets::new(payload).next() {
            if connection.retry(&retry) {
                self.counters.retries += 1;
            } else {
                self.counters.ignored_retries += 1;
            }
        }
    }

    /// Whether a client's Initial was opened under this key. Tells the directions apart where
    /// nothing else does.
    pub fn contains(&self, key: &K) -> bool {
        self.connections.get(key).is_some()
    }

    /// What became of the datagrams.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many connections are followed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory that the connections hold, in bytes; within [`Limits::bytes`] after every datagram,
    /// unless one connection alone holds more.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.bytes
    }

    fn count_last(&mut self, packet: Result<Packet<'_>, Malformed>, index: usize) {
        let counter = match packet {
            Err(Malformed) => &mut self.counters.malformed,
            Ok(Packet::UnsupportedVersion) => &mut self.counters.unsupported_version,
            Ok(Packet::VersionNegotiation) => &mut self.counters.version_negotiation,
            Ok(Packet::Short) if index == 0 => &mut self.counters.no_long_header,
            // 1-RTT, or zeros that fill the datagram up.
            Ok(Packet::Short) => return,
            Ok(_) => &mut self.counters.other_packets,
        };
        *counter += 1;
    }

    fn initial(&mut self, key: &K, time_ns: u64, packet: &Initial<'_>) -> Option<Hello> {
        let known = self.connections.get_mut(key);
        let before = known.as_ref().map(|known| known.held() + overhead::<K>());
        let opened = known.and_then(|known| known.open(packet, time_ns, &mut self.scratch));
        let (attempt, opened) = match opened {
            Some(opened) => (None, opened),
            None => match Attempt::begin(packet, time_ns, &mut self.scratch) {
                Some((attempt, opened)) => (Some(attempt), opened),
                None => {
                    self.count_undecryptable(&packet.destination);
                    return None;
                }
            },
        };
        if before.is_none() && self.connections.len() >= self.limits.connections.max(1) {
            self.evict();
        }
        let (connection, _) = self.connections.get_or_insert(key, Connection::default);
        if let Some(attempt) = attempt {
            connection.begin(attempt, &mut self.counters);
        }
        let payload = self.scratch.get(opened.payload.clone()).unwrap_or_default();
        let complete = connection.accept(&opened, payload, &mut self.counters);
        let after = connection.held() + overhead::<K>();
        self.bytes = (self.bytes + after).saturating_sub(before.unwrap_or(0));
        while self.bytes > self.limits.bytes && self.connections.len() > 1 {
            self.evict();
        }
        complete.map(|complete| Hello::new(complete, time_ns))
    }

    fn count_undecryptable(&mut self, destination: &ConnectionId) {
        self.counters.undecryptable += 1;
        if destination.len() < MIN_FIRST_ID {
            self.counters.short_connection_id += 1;
        }
    }

    pub(super) fn evict(&mut self) {
        if let Some((_, connection)) = self.connections.pop_oldest_if(|_| true) {
            self.bytes = self.bytes.saturating_sub(connection.held() + overhead::<K>());
            self.counters.evicted_connections += 1;
            self.counters.evicted_unfinished += u64::from(connection.is_unfinished());
        }
    }
}

/// What an entry takes in the table itself: two keys, their stamps, and the tables' own structure.
const fn overhead<K>() -> usize {
    2 * (size_of::<K>() + 4 * size_of::<u64>())
}
