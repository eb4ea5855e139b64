//! Marks of browsers' ClientHellos: what the engines of browsers in general send, and few libraries
//! do. No mark is one product's, and none decides alone: who imitates a browser has them all.

use weir_common::tls::extension;

use super::hello::ClientHello;

/// status_request (RFC 6066, section 8).
const STATUS_REQUEST: u16 = 0x0005;
/// signed_certificate_timestamp (RFC 6962, section 3.3.1).
const CERTIFICATE_TIMESTAMPS: u16 = 0x0012;
/// compress_certificate (RFC 8879).
const COMPRESS_CERTIFICATE: u16 = 0x001b;
/// record_size_limit (RFC 8449).
const RECORD_SIZE_LIMIT: u16 = 0x001c;
/// delegated_credential (RFC 9345).
const DELEGATED_CREDENTIAL: u16 = 0x0022;
/// application_settings (draft-vvv-tls-alps), the older and the newer number.
const APPLICATION_SETTINGS: [u16; 2] = [0x4469, 0x44cd];
/// Fewest extensions of a browser.
const MANY_EXTENSIONS: usize = 13;

/// Which marks a hello has: one bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HelloTraits(u16);

impl HelloTraits {
    /// How many marks there are.
    const COUNT: u32 = 7;

    /// As a number, for recordings.
    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    /// Of such a number.
    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Of a hello's facts.
    #[must_use]
    pub fn of(hello: &ClientHello<'_>) -> Self {
        let has = |id: u16| hello.extensions.contains(&id);
        let marks = [
            hello.alpn.is_some_and(|first| matches!(first, b"h2" | b"h3")),
            has(STATUS_REQUEST),
            has(CERTIFICATE_TIMESTAMPS),
            has(COMPRESS_CERTIFICATE),
            hello.has_grease || has(DELEGATED_CREDENTIAL),
            has(extension::ENCRYPTED_CLIENT_HELLO)
                || has(RECORD_SIZE_LIMIT)
                || APPLICATION_SETTINGS.into_iter().any(has),
            hello.extensions.len() >= MANY_EXTENSIONS,
        ];
        let bits = marks.iter().enumerate().filter(|(_, mark)| **mark);
        Self(bits.fold(0, |all, (bit, _)| all | 1 << bit))
    }

    /// The share of the marks that it has, 0–1.
    #[must_use]
    pub fn browser_likeness(self) -> f64 {
        f64::from(self.0.count_ones()) / f64::from(Self::COUNT)
    }
}

#[cfg(test)]
impl HelloTraits {
    /// All of them.
    pub(crate) const BROWSER: Self = Self((1 << Self::COUNT) - 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::hello::tests::message;

    fn likeness(ciphers: &[u16], extensions: &[u16], protocol: &[u8]) -> f64 {
        let length = protocol.len() as u8;
        let alpn = [&[0, length + 1, length][..], protocol].concat();
        let list: Vec<(u16, &[u8])> = extensions
            .iter()
            .map(|id| (*id, if *id == 0x10 { &alpn[..] } else { &[][..] }))
            .collect();
        let message = message(0x0303, ciphers, &list);
        HelloTraits::of(&ClientHello::read(&message).unwrap()).browser_likeness()
    }

    #[test]
    fn browsers_have_the_marks_and_libraries_few() {
        // The extensions of three engines, as they send them today.
        let blink = [
            0x1a1a, 0x0012, 0x0033, 0x0005, 0x002d, 0x0023, 0x000d, 0x0017, 0x001b, 0x000b, 0x44cd,
            0x0010, 0xff01, 0xfe0d,
        ];
        let gecko = [
            0x0017, 0xff01, 0x000b, 0x0023, 0x0010, 0x0005, 0x0022, 0x0012, 0x0033, 0x002d, 0x001c,
            0x001b, 0xfe0d,
        ];
        let webkit = [
            0x0a0a, 0x0017, 0xff01, 0x000b, 0x0010, 0x0005, 0x000d, 0x0012, 0x0033, 0x002d, 0x001b,
            0x0015, 0x0023,
        ];
        assert_eq!(likeness(&[0x2a2a, 0x1301], &blink, b"h2"), 1.0);
        assert_eq!(likeness(&[0x1301], &gecko, b"h2"), 1.0);
        assert!(likeness(&[0x2a2a, 0x1301], &webkit, b"h2") >= 5.0 / 7.0);
        // What a TLS library sends if nobody asks it for more.
        let library = [0x000b, 0x0023, 0x0016, 0x0017, 0x000d, 0x002d, 0x0033, 0x0010];
        assert_eq!(likeness(&[0x1301], &library, b"http/1.1"), 0.0);
        assert_eq!(likeness(&[0x1301], &library, b"h2"), 1.0 / 7.0);
    }
}
