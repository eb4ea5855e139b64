//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// The checksum over `bytes`, on top of `initial`, a sum of 16-bit words (see
/// [`pseudo_header_sum`]). An odd last byte counts as if a zero followed it.
#[must_use]
pub fn checksum(initial: u32, bytes: &[u8]) -> u16 {
    let mut sum = u64::from(initial);
    let (words, rest) = bytes.as_chunks::<2>();
    for word in words {
        sum += u64::from(u16::from_be_bytes(*word));
    }
    if let [last] = rest {
        sum += u64::from(*last) << 8;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The sum over the pseudo-header that TCP, UDP (RFC 9293, 3.1) and ICMPv6 (RFC 8200, 8.1)
/// include.
#[must_use]
pub fn pseudo_header_sum(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> u32 {
    address_sum(from) + address_sum(to) + u32::from(protocol) + (length as u32 & 0xffff)
}

fn address_sum(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => word_sum(&address.octets()),
        IpAddr::V6(address) => word_sum(&address.octets()),
    }
}

fn word_sum(bytes: &[u8]) -> u32 {
    bytes.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        // Section 3: the words sum to ddf2 after folding.
        assert_eq!(checksum(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn an_odd_last_byte_is_padded_with_zero() {
        assert_eq!(checksum(0, &[0x12, 0x34, 0x56]), checksum(0, &[0x12, 0x34, 0x56, 0x00]));
    }

    #[test]
    fn carries_fold_more_than_once() {
        assert_eq!(checksum(0, &[0xff; 65_534]), 0);
        assert_eq!(checksum(0xffff_ffff, &[0x00, 0x01]), !1);
    }
}
