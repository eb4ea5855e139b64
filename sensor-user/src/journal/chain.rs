//! The chain: each record's hash covers the record and the hash of the one before.
//!
//! Everything that goes into a hash is preceded by its length, or has a fixed one, and each kind of
//! hash begins with a name of its own: no two different records have the same bytes.

use ring::digest::{Context, SHA256};

/// A SHA-256.
pub type Hash = [u8; 32];

/// What the first record follows.
pub(super) const GENESIS: Hash = [0; 32];

/// Collects what is hashed or signed.
pub(super) struct Encoder(Context);

impl Encoder {
    /// Begins, with the name of what is encoded.
    pub(super) fn new(name: &str) -> Self {
        let mut encoder = Self(Context::new(&SHA256));
        encoder.bytes(name.as_bytes());
        encoder
    }

    /// Bytes, and how many.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// A number.
    pub(super) fn number(&mut self, number: i64) -> &mut Self {
        self.0.update(&number.to_be_bytes());
        self
    }

    /// Their hash.
    pub(super) fn finish(&mut self) -> Hash {
        let digest = self.0.clone().finish();
        // SHA-256 has 32 bytes.
        digest.as_ref().try_into().unwrap_or_default()
    }
}

/// What a record's hash covers, as it lies in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    /// The hash of the record before.
    pub(super) previous: &'a [u8],
    /// When, nanoseconds since 1970.
    pub(super) unix_ns: i64,
    /// What it is about.
    pub(super) kind: &'a [u8],
    /// Who did it.
    pub(super) actor: &'a [u8],
    /// What happened.
    pub(super) body: &'a [u8],
    /// The digest of its personal part, if it was written with one.
    pub(super) personal: Option<&'a [u8]>,
}

impl Link<'_> {
    /// Its hash at this place in the chain.
    pub(super) fn hash_at(&self, seq: i64) -> Hash {
        let mut encoder = Encoder::new("weir journal record 1");
        encoder.bytes(self.previous).number(seq).number(self.unix_ns);
        encoder.bytes(self.kind).bytes(self.actor).bytes(self.body);
        match self.personal {
            None => encoder.number(0),
            Some(digest) => encoder.number(1).bytes(digest),
        };
        encoder.finish()
    }
}

/// The digest of a personal part. The salt keeps those who know a digest from trying addresses.
pub(super) fn personal_digest(salt: &[u8], form: &[u8], content: &[u8]) -> Hash {
    Encoder::new("weir journal personal part 1").bytes(salt).bytes(form).bytes(content).finish()
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As many bytes as asked for, from hexadecimal digits.
#[must_use]
pub fn from_hex<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    if text.len() != 2 * LENGTH || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; LENGTH];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Link<'_> = Link {
        previous: &GENESIS,
        unix_ns: 7,
        kind: b"block",
        actor: b"\"daemon\"",
        body: b"{}",
        personal: None,
    };

    #[test]
    fn the_hash_is_the_one_that_the_format_says() {
        // By hand, with Python's hashlib; see docs/journal.md for the form.
        let mut bytes = Vec::new();
        let mut part = |part: &[u8]| {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        };
        part(b"weir journal record 1");
        part(&GENESIS);
        bytes.extend(1_i64.to_be_bytes());
        bytes.extend(7_i64.to_be_bytes());
        for text in ["block", "\"daemon\"", "{}"] {
            bytes.extend((text.len() as u64).to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        bytes.extend(0_i64.to_be_bytes());
        let digest = ring::digest::digest(&SHA256, &bytes);
        assert_eq!(LINK.hash_at(1), digest.as_ref());
    }

    #[test]
    fn bytes_that_move_from_one_field_to_the_next_change_the_hash() {
        let moved = Link { kind: b"bloc", actor: b"k\"daemon\"", ..LINK };
        assert_ne!(LINK.hash_at(1), moved.hash_at(1));
        assert_ne!(LINK.hash_at(1), LINK.hash_at(2));
        let with_empty = Link { personal: Some(b""), ..LINK };
        assert_ne!(LINK.hash_at(1), with_empty.hash_at(1));
        assert_ne!(personal_digest(b"a", b"bc", b"d"), personal_digest(b"ab", b"c", b"d"));
    }

    #[test]
    fn hexadecimal_digits_round_trip_and_nothing_else_is_taken() {
        assert_eq!(from_hex::<3>(&hex(&[0, 0xab, 0xff])), Some([0, 0xab, 0xff]));
        for wrong in ["", "0", "+1+1+1", "00000g", "ééé", "00 000"] {
            assert_eq!(from_hex::<3>(wrong), None, "{wrong}");
        }
    }
}
