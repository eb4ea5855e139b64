//! The hashes of JA4: the first twelve hexadecimal digits of SHA-256 over a list's text.

use ring::digest::{Context, Digest, SHA256, digest};

use super::HASH_LEN;

/// The hash of an empty list.
const NONE: [u8; HASH_LEN] = [b'0'; HASH_LEN];
/// Characters that are hashed at a time: all, but of the longest lists.
const CHUNK: usize = 640;

/// Every byte's two digits.
#[expect(clippy::indexing_slicing, reason = "when compiled: outside the table it would not")]
const DIGITS: [[u8; 2]; 256] = {
    let digits = *b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 0xf]];
        byte += 1;
    }
    table
};

fn digits(byte: u8) -> [u8; 2] {
    DIGITS.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Text on its way into the hash.
struct Text {
    chunk: [u8; CHUNK],
    length: usize,
    /// Of full chunks.
    context: Option<Context>,
}

impl Text {
    const fn new() -> Self {
        Self { chunk: [0; CHUNK], length: 0, context: None }
    }

    /// Adds the values, each behind `separator` but for the first, which is behind `before`.
    fn list(&mut self, before: Option<u8>, values: impl Iterator<Item = u16>) {
        let mut separator = before;
        for value in values {
            let [high, low] = value.to_be_bytes().map(digits);
            let ([a, b], [c, d]) = (high, low);
            if let Some(separator) = separator {
                self.push([separator, a, b, c, d]);
            } else {
                self.push([a, b, c, d]);
            }
            separator = Some(b',');
        }
    }

    fn push<const N: usize>(&mut self, characters: [u8; N]) {
        if self.length + N > CHUNK {
            let full = self.chunk.get(..self.length).unwrap_or_default();
            self.context.get_or_insert_with(|| Context::new(&SHA256)).update(full);
            self.length = 0;
        }
        if let Some(room) = self.chunk.get_mut(self.length..self.length + N) {
            room.copy_from_slice(&characters);
            self.length += N;
        }
    }

    fn finish(&mut self) -> [u8; HASH_LEN] {
        let last = self.chunk.get(..self.length).unwrap_or_default();
        let digest: Digest = match self.context.take() {
            None if last.is_empty() => return NONE,
            None => digest(&SHA256, last),
            Some(mut context) => {
                context.update(last);
                context.finish()
            }
        };
        let mut text = NONE;
        for (pair, byte) in text.chunks_exact_mut(2).zip(digest.as_ref()) {
            pair.copy_from_slice(&digits(*byte));
        }
        text
    }
}

/// Of the cipher suites, sorted.
pub(super) fn ciphers(sorted: &[u16]) -> [u8; HASH_LEN] {
    let mut text = Text::new();
    text.list(None, sorted.iter().copied());
    text.finish()
}

/// Of the extensions, sorted, and of the signature algorithms, in order. Without the latter there
/// is no underscore; without both there is no hash.
pub(super) fn extensions(sorted: impl Iterator<Item = u16>, signatures: &[u16]) -> [u8; HASH_LEN] {
    let mut text = Text::new();
    text.list(None, sorted);
    text.list(Some(b'_'), signatures.iter().copied());
    text.finish()
}
