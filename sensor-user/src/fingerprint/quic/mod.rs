//! ClientHellos of QUIC: Initial packets decrypted, their CRYPTO frames put together.
//!
//! Versions 1 (RFC 9001) and 2 (RFC 9369), and the drafts before them. The keys of an Initial are
//! public (they follow from a connection ID in clear), so what is read here is what *somebody* sent
//! under these addresses: evidence is made of it elsewhere, and only of proven connections.
//!
//! - Bytes count only where the server would take them too: not in small datagrams, not behind
//!   another connection ID, not under a packet number that was there.
//! - The first copy of a byte counts; another one that differs is a conflict, which the hello says.
//! - What does not decrypt, or breaks a rule, is counted by reason ([`Counters`]) and never guessed.
//! - Memory and work for a datagram are bounded ([`Limits`]).

mod attempt;
mod connection;
mod connection_id;
mod counters;
mod frame;
mod keys;
mod packet;
mod retry;
mod stream;
mod tracker;
mod version;
mod wire;

#[cfg(test)]
pub(crate) mod forge;
#[cfg(test)]
mod tests;

use attempt::Complete;

pub use self::{counters::Counters, tracker::Tracker};

/// How much is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Connections, complete ones included.
    pub connections: usize,
    /// Bytes of memory for all of them.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 8_192, bytes: 32 << 20 }
    }
}

/// A ClientHello that came over QUIC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The handshake message, from its type (1) and length on.
    pub message: Vec<u8>,
    /// QUIC's version, as in the header of the packet that completed the hello.
    pub version: u32,
    /// How many Initials brought a part of it that was new.
    pub initials: u32,
    /// When the first Initial of this attempt came.
    pub first_ns: u64,
    /// When the one came that completed the hello.
    pub complete_ns: u64,
    /// Somebody sent another copy of a part, and it differed. This hello is made of first copies;
    /// the server may have seen another one.
    pub conflict: bool,
}

impl Hello {
    fn new(complete: Complete, complete_ns: u64) -> Self {
        let Complete { message, version, initials, first_ns, conflict } = complete;
        Self { message, version, initials, first_ns, complete_ns, conflict }
    }
}
