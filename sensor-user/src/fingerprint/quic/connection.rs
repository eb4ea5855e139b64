//! What one client sends to one server: a few attempts to connect, told apart by their keys.
//!
//! A client makes a second one after a Retry that was not seen, after Version Negotiation, and when
//! it uses its port again. So does whoever sends in its name: what is forged with another
//! connection ID is an attempt of its own, and leaves the client's alone.

use ring::digest;

use super::{
    attempt::{Attempt, Complete},
    counters::Counters,
    keys::Opened,
    packet::{Initial, Retry},
};

/// How many attempts are followed at once. The least recently used goes first.
pub(super) const MAX_ATTEMPTS: usize = 4;

/// How many hellos are remembered.
const MAX_HELLOS: usize = MAX_ATTEMPTS;

/// The attempts.
#[derive(Debug, Default)]
pub(super) struct Connection {
    // The most recently used last.
    attempts: Vec<Attempt>,
    // SHA-256 of the hellos given out.
    hellos: Vec<digest::Digest>,
}

impl Connection {
    /// Opens a packet with the keys of an attempt, which then is the most recently used one. The
    /// packet is left in `scratch`.
    pub(super) fn open(
        &mut self,
        packet: &Initial<'_>,
        time_ns: u64,
        scratch: &mut Vec<u8>,
    ) -> Option<Opened> {
        let (index, opened) =
            self.attempts.iter_mut().enumerate().rev().find_map(|(index, attempt)| {
                Some((index, attempt.open(packet, time_ns, scratch)?))
            })?;
        let last = self.attempts.len() - 1;
        self.attempts.get_mut(index..=last)?.rotate_left(1);
        Some(opened)
    }

    /// Adds an attempt, the most recently used one.
    pub(super) fn begin(&mut self, attempt: Attempt, counters: &mut Counters) {
        if self.attempts.len() >= MAX_ATTEMPTS {
            self.attempts.remove(0);
            counters.evicted_attempts += 1;
        }
        self.attempts.push(attempt);
    }

    /// Gives a payload to the most recently used attempt. The hello that it completes is given out
    /// unless it was before: after a Retry a client sends the same again (RFC 9000, section
    /// 17.2.5.3).
    pub(super) fn accept(
        &mut self,
        opened: &Opened,
        payload: &[u8],
        counters: &mut Counters,
    ) -> Option<Complete> {
        let attempt = self.attempts.last_mut()?;
        let mut complete = attempt.accept(opened, payload, counters)?;
        let hash = digest::digest(&digest::SHA256, &complete.message);
        if self.hellos.iter().any(|known| known.as_ref() == hash.as_ref()) {
            counters.repeated_hellos += 1;
            return None;
        }
        // Another one than before the Retry: one of the two was meant for us only.
        complete.conflict |= attempt.is_second_hello();
        if self.hellos.len() >= MAX_HELLOS {
            self.hellos.remove(0);
        }
        self.hellos.push(hash);
        counters.hellos += 1;
        Some(complete)
    }

    /// A server's Retry. Says whether one of the attempts takes it.
    pub(super) fn retry(&mut self, packet: &Retry<'_>) -> bool {
        self.attempts.iter_mut().any(|attempt| attempt.retry(packet))
    }

    /// Whether a hello is still expected.
    pub(super) fn is_unfinished(&self) -> bool {
        self.attempts.iter().any(|attempt| !attempt.is_finished())
    }

    /// Memory that it holds, in bytes.
    pub(super) fn held(&self) -> usize {
        let hellos = self.hellos.capacity() * size_of::<digest::Digest>();
        let spare = self.attempts.capacity() - self.attempts.len();
        let attempts: usize = self.attempts.iter().map(Attempt::held).sum();
        size_of::<Self>() + hellos + spare * size_of::<Attempt>() + attempts
    }
}
