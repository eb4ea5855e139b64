//! The Internet checksum (RFC 1071), incremental and over pseudo-headers.

use crate::abi::key::Address;

/// A running one's-complement sum of wire-order halves. Byte order does not matter to the sum, so
/// wire-order words are added as they are.
#[derive(Clone, Copy, Default, Debug)]
pub struct Checksum {
    sum: u64,
}

impl Checksum {
    /// Adds one wire-order word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, word: u32) -> Self {
        Self { sum: self.sum + word as u64 }
    }

    /// Adds an address: four words; an IPv4-mapped one counts as its last word only.
    #[inline(always)]
    #[must_use]
    pub const fn address(self, address: &Address, is_v4: bool) -> Self {
        let [a, b, c, d] = *address;
        if is_v4 { self.word(d) } else { self.word(a).word(b).word(c).word(d) }
    }

    /// The checksum field, wire order.
    #[inline(always)]
    #[must_use]
    pub const fn finish(self) -> u16 {
        let folded = (self.sum & 0xffff_ffff) + (self.sum >> 32);
        let folded = (folded & 0xffff) + (folded >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        !(folded as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_ipv4_header_sums_to_its_published_checksum() {
        // The worked example of RFC 1071's successors: 45 00 00 73 … with checksum b8 61.
        let header: [u8; 20] = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        let sum = header.chunks_exact(4).fold(Checksum::default(), |sum, word| {
            sum.word(u32::from_ne_bytes(word.try_into().unwrap()))
        });
        assert_eq!(sum.finish().to_ne_bytes(), [0xb8, 0x61]);
    }
}
