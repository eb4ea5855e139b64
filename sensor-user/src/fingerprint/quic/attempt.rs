//! One attempt of a client to connect: the keys of its Initials, and its hello so far.

use super::{
    connection_id::ConnectionId,
    counters::Counters,
    frame::{Frame, Frames},
    keys::{Keys, Opened},
    packet::{Initial, Retry},
    retry,
    stream::{CryptoStream, Message},
};

/// How many Initials of one attempt are looked at before its hello must be complete. The longest
/// hello that is read fills 15.
pub(super) const MAX_INITIALS: usize = 64;

/// A client's first connection ID has at least so many bytes (RFC 9000, section 7.2).
pub(super) const MIN_FIRST_ID: usize = 8;

/// The attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    // What the keys are made of: the client's first choice, or that of a Retry it followed.
    origin: ConnectionId,
    // The client's own; it stays the same (RFC 9000, sections 7.2 and 17.2.5.2).
    source: ConnectionId,
    keys: Keys,
    retry: RetryState,
    first_ns: u64,
    // Packet numbers so far, until the hello is complete.
    numbers: Vec<u64>,
    largest: Option<u64>,
    stream: CryptoStream,
    initials: u32,
    conflict: bool,
    finished: bool,
    // It was, before a Retry made it begin anew.
    finished_before_retry: bool,
}

/// Whether a Retry changes the keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RetryState {
    None,
    /// The server wants this connection ID; the client has not used it yet.
    Seen(ConnectionId),
    /// The client follows it. A second one it would ignore (RFC 9000, section 17.2.5.2).
    Followed,
}

/// A hello that is complete, and how it came.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) message: Vec<u8>,
    pub(super) version: u32,
    pub(super) initials: u32,
    pub(super) first_ns: u64,
    pub(super) conflict: bool,
}

impl Attempt {
    /// Begins with an Initial that its own connection ID opens; the packet is left in `scratch`.
    pub(super) fn begin(
        packet: &Initial<'_>,
        time_ns: u64,
        scratch: &mut Vec<u8>,
    ) -> Option<(Self, Opened)> {
        if packet.destination.len() < MIN_FIRST_ID {
            return None;
        }
        let keys = Keys::of_client(&packet.version, &packet.destination)?;
        let opened = keys.open(packet, None, scratch)?;
        let attempt = Self {
            origin: packet.destination,
            source: packet.source,
            keys,
            retry: RetryState::None,
            first_ns: time_ns,
            numbers: Vec::new(),
            largest: None,
            stream: CryptoStream::default(),
            initials: 0,
            conflict: false,
            finished: false,
            finished_before_retry: false,
        };
        Some((attempt, opened))
    }

    /// Opens a packet of this attempt; it is left in `scratch`.
    pub(super) fn open(
        &mut self,
        packet: &Initial<'_>,
        time_ns: u64,
        scratch: &mut Vec<u8>,
    ) -> Option<Opened> {
        if packet.source != self.source {
            return None;
        }
        if packet.version == *self.keys.version()
            && let Some(opened) = self.keys.open(packet, self.largest, scratch)
        {
            return Some(opened);
        }
        if let RetryState::Seen(id) = self.retry
            && let Some((keys, opened)) = self.open_with(&id, packet, scratch)
        {
            self.follow_retry(id, keys, time_ns);
            return Some(opened);
        }
        // The version changes within an attempt if the server picks a compatible one (RFC 9368);
        // by then the client uses the server's connection ID. With its own, it begins anew.
        if packet.version == *self.keys.version() || packet.destination == self.origin {
            return None;
        }
        let (keys, opened) = self.open_with(&self.origin, packet, scratch)?;
        self.keys = keys;
        Some(opened)
    }

    /// Opens a packet with keys of its own version, and gives them too.
    fn open_with(
        &self,
        id: &ConnectionId,
        packet: &Initial<'_>,
        scratch: &mut Vec<u8>,
    ) -> Option<(Keys, Opened)> {
        let keys = Keys::of_client(&packet.version, id)?;
        let opened = keys.open(packet, self.largest, scratch)?;
        Some((keys, opened))
    }

    /// A server that sends Retry remembers nothing: the hello begins anew.
    fn follow_retry(&mut self, id: ConnectionId, keys: Keys, time_ns: u64) {
        self.origin = id;
        self.keys = keys;
        self.retry = RetryState::Followed;
        self.first_ns = time_ns;
        self.numbers.clear();
        self.stream = CryptoStream::default();
        self.initials = 0;
        self.finished_before_retry = std::mem::take(&mut self.finished);
    }

    /// A server's Retry. Says whether the client would take it.
    ///
    /// The keys change only when the client uses them, so that a forged Retry changes nothing.
    pub(super) fn retry(&mut self, packet: &Retry<'_>) -> bool {
        let taken = self.retry == RetryState::None
            && packet.version == *self.keys.version()
            && packet.destination == self.source
            && retry::is_valid(packet, &self.origin);
        if taken {
            self.retry = RetryState::Seen(packet.source);
        }
        taken
    }

    /// Takes a packet's payload; gives the hello if that completes it.
    pub(super) fn accept(
        &mut self,
        opened: &Opened,
        payload: &[u8],
        counters: &mut Counters,
    ) -> Option<Complete> {
        counters.opened += 1;
        self.largest = self.largest.max(Some(opened.number));
        if self.finished {
            counters.after_hello += 1;
            return None;
        }
        // An empty payload is as forbidden as a wrong frame (RFC 9000, section 12.4).
        let frames = Frames::new(self.keys.version().frames, payload);
        if !opened.reserved_clear || payload.is_empty() || frames.clone().any(|f| f.is_err()) {
            counters.violations += 1;
            return None;
        }
        let crypto = frames.filter_map(|frame| match frame {
            Ok(Frame::Crypto { offset, data }) => Some((offset, data)),
            _ => None,
        });
        if self.numbers.contains(&opened.number) {
            counters.duplicates += 1;
            self.repeat(crypto, counters);
            return None;
        }
        if self.numbers.len() >= MAX_INITIALS {
            counters.refused += 1;
            return None;
        }
        self.numbers.push(opened.number);
        self.insert(crypto, counters);
        self.complete(counters)
    }

    fn insert<'a>(
        &mut self,
        crypto: impl Iterator<Item = (u64, &'a [u8])>,
        counters: &mut Counters,
    ) {
        let (mut fresh, mut conflict, mut refused) = (false, false, false);
        for (offset, data) in crypto {
            let inserted = self.stream.insert(offset, data);
            fresh |= inserted.fresh;
            conflict |= inserted.conflict;
            refused |= inserted.refused;
        }
        self.initials += u32::from(fresh);
        self.conflict |= conflict;
        counters.conflicts += u64::from(conflict);
        counters.refused += u64::from(refused);
    }

    /// A packet number that was there. The server ignores such a packet (RFC 9000, section 12.3),
    /// so its bytes do not count; if they are not those of the first one, someone forged either.
    fn repeat<'a>(
        &mut self,
        mut crypto: impl Iterator<Item = (u64, &'a [u8])>,
        counters: &mut Counters,
    ) {
        if crypto.any(|(offset, data)| !self.stream.holds(offset, data)) {
            self.conflict = true;
            counters.conflicts += 1;
        }
    }

    fn complete(&mut self, counters: &mut Counters) -> Option<Complete> {
        let message = match self.stream.message() {
            Message::Incomplete => return None,
            Message::ClientHello(message) => Some(message.to_vec()),
            Message::NotClientHello => {
                counters.not_client_hello += 1;
                None
            }
        };
        self.finished = true;
        self.stream = CryptoStream::default();
        self.numbers = Vec::new();
        Some(Complete {
            message: message?,
            version: self.keys.version().number,
            initials: self.initials,
            first_ns: self.first_ns,
            conflict: self.conflict,
        })
    }

    /// Whether nothing more is expected of it.
    pub(super) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether there was a hello before it followed a Retry.
    pub(super) const fn is_second_hello(&self) -> bool {
        self.finished_before_retry
    }

    /// Memory that it holds, in bytes.
    pub(super) const fn held(&self) -> usize {
        size_of::<Self>() + self.stream.held() + self.numbers.capacity() * size_of::<u64>()
    }
}
