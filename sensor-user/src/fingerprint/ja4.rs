//! JA4 of a client (FoxIO, "JA4: TLS Client Fingerprinting", BSD-3-Clause): the hashed form, the
//! raw form JA4_r, and Weir's stable form.
//!
//! `a_b_c`: `a` is readable (transport, version, server name, counts, ALPN), `b` the hash of the
//! sorted cipher suites, `c` of the sorted extensions and of the signature algorithms in order.
//! The raw form shows the lists. The stable form is the JA4 of the same hello without the extensions
//! that come and go between connections of one client (padding, session_ticket, pre_shared_key).

mod digest;
mod parse;
mod raw;

use std::fmt;

pub use parse::ParseError;
pub use raw::Ja4Raw;
pub use weir_common::tls::{Malformed, keys::Transport};

use super::hello::ClientHello;

/// Characters of the readable part.
const HEAD_LEN: usize = 10;
/// Characters of a hash.
const HASH_LEN: usize = 12;
/// Characters of the whole.
pub(crate) const LEN: usize = HEAD_LEN + 2 * (1 + HASH_LEN);

/// A JA4, as text. A stable form is written the same way, and tells itself from a JA4 only by what
/// it is used for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ja4([u8; LEN]);

impl Ja4 {
    /// One that no hello has.
    pub(crate) const NOBODYS: Self = Self(*b"t00i000000_000000000000_000000000000");

    /// Of a handshake message, header included.
    ///
    /// # Errors
    /// If it is not a ClientHello that holds together.
    pub fn read(message: &[u8], transport: Transport) -> Result<Self, Malformed> {
        Ok(Ja4Raw::read(message, transport)?.ja4())
    }

    /// Of a hello that was read.
    #[must_use]
    pub fn of(hello: &ClientHello<'_>, transport: Transport) -> Self {
        Ja4Raw::of(hello, transport).ja4()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever put in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn new(head: &[u8; HEAD_LEN], ciphers: &[u8; HASH_LEN], rest: &[u8; HASH_LEN]) -> Self {
        let mut text = [b'_'; LEN];
        let parts = head.iter().chain(b"_").chain(ciphers).chain(b"_").chain(rest);
        for (to, from) in text.iter_mut().zip(parts) {
            *to = *from;
        }
        Self(text)
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Ja4({self})")
    }
}

#[cfg(test)]
#[path = "ja4/tests.rs"]
mod tests;
