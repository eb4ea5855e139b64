//! JA3 (Salesforce, 2017): the older fingerprint, for feeds that still speak it.
//!
//! `version,ciphers,extensions,groups,point formats` in decimal and in the client's order, without
//! GREASE; its MD5 is what feeds list. Clients that shuffle their extensions have another one on
//! every connection.

use md5::{Digest, Md5};

use super::hello::ClientHello;

/// A hello's JA3.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ja3 {
    /// The text.
    pub string: String,
    /// MD5 of the text, as lower-case hexadecimal digits.
    pub digest: String,
}

impl Ja3 {
    /// Of a hello.
    #[must_use]
    pub fn of(hello: &ClientHello<'_>) -> Self {
        let mut string = String::with_capacity(256);
        push(&mut string, hello.legacy_version);
        for values in [&hello.cipher_suites, &hello.extensions, &hello.groups] {
            string.push(',');
            list(&mut string, values.iter().copied());
        }
        string.push(',');
        list(&mut string, hello.point_formats.iter().copied().map(u16::from));
        let mut digest = String::with_capacity(32);
        for byte in Md5::digest(string.as_bytes()) {
            for nibble in [byte >> 4, byte & 0xf] {
                digest.extend(char::from_digit(u32::from(nibble), 16));
            }
        }
        Self { string, digest }
    }
}

fn list(out: &mut String, values: impl Iterator<Item = u16>) {
    for (position, value) in values.enumerate() {
        if position > 0 {
            out.push('-');
        }
        push(out, value);
    }
}

/// A number in decimal: what `write!` does, at a third of its cost.
fn push(out: &mut String, value: u16) {
    let mut unit = 10_000;
    while unit > 1 && value < unit {
        unit /= 10;
    }
    while unit > 0 {
        out.push(char::from(b'0' + (value / unit % 10) as u8));
        unit /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::hello::tests::message;

    #[test]
    fn empty_lists_leave_their_commas() {
        let message = message(0x0301, &[4, 5], &[]);
        let ja3 = Ja3::of(&ClientHello::read(&message).unwrap());
        assert_eq!(ja3.string, "769,4-5,,,");
        // printf '769,4-5,,,' | md5sum
        assert_eq!(ja3.digest, "1d70598d8ccdfcb836bfeb091ab8e469");
    }

    #[test]
    fn numbers_are_decimal() {
        for value in 0..=u16::MAX {
            let mut text = String::new();
            push(&mut text, value);
            assert_eq!(text, value.to_string());
        }
    }

    #[test]
    fn grease_is_left_out_and_order_kept() {
        let message = message(
            0x0303,
            &[0x4a4a, 0x1302, 0x1301],
            &[(0x9a9a, &[]), (0x000b, &[1, 0]), (0x000a, &[0, 6, 0x7a, 0x7a, 0, 29, 0, 23])],
        );
        let ja3 = Ja3::of(&ClientHello::read(&message).unwrap());
        assert_eq!(ja3.string, "771,4866-4865,11-10,29-23,0");
    }
}
