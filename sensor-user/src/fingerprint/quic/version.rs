//! What differs between the versions of QUIC whose Initials can be read: salts, labels, packet
//! types, and the keys of Retry's integrity tag.
//!
//! Versions 1 (RFC 9001) and 2 (RFC 9369) are what is spoken today. The drafts from which they
//! came, and the early versions of Google and Facebook that put TLS into the same packets, cost a
//! line each and are found in older captures.

/// A version's constants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Version {
    /// As it stands in the header.
    pub(super) number: u32,
    /// Of the extraction of the Initial secret.
    pub(super) salt: [u8; 20],
    pub(super) labels: Labels,
    pub(super) types: Types,
    pub(super) frames: FrameTypes,
    /// AES key and nonce of Retry's integrity tag; `None` where the version has no tag.
    pub(super) retry: Option<([u8; 16], [u8; 12])>,
}

/// Labels of the expansion of a secret into keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Labels {
    pub(super) key: &'static [u8],
    pub(super) iv: &'static [u8],
    pub(super) header: &'static [u8],
}

/// Which number bits 4 and 5 of the first byte carry for each type of long header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Types {
    pub(super) initial: u8,
    pub(super) retry: u8,
}

/// Which numbers frames have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FrameTypes {
    /// RFC 9000, section 19.
    Ietf,
    /// Google's QUIC before that.
    Google,
}

const LABELS_1: Labels = Labels { key: b"quic key", iv: b"quic iv", header: b"quic hp" };
const LABELS_2: Labels = Labels { key: b"quicv2 key", iv: b"quicv2 iv", header: b"quicv2 hp" };

const TYPES_1: Types = Types { initial: 0, retry: 3 };
/// RFC 9369, section 3.2.
const TYPES_2: Types = Types { initial: 1, retry: 0 };

/// draft-ietf-quic-tls-21, section 5.2.
const SALT_22: [u8; 20] =
    *b"\x7f\xbc\xdb\x0e\x7c\x66\xbb\xe9\x19\x3a\x96\xcd\x21\x51\x9e\xbd\x7a\x02\x64\x4a";
/// draft-ietf-quic-tls-23, section 5.2.
const SALT_23: [u8; 20] =
    *b"\xc3\xee\xf7\x12\xc7\x2e\xbb\x5a\x11\xa7\xd2\x43\x2b\xb4\x63\x65\xbe\xf9\xf5\x02";
/// draft-ietf-quic-tls-29, section 5.2.
const SALT_29: [u8; 20] =
    *b"\xaf\xbf\xec\x28\x99\x93\xd2\x4c\x9e\x97\x86\xf1\x9c\x61\x11\xe0\x43\x90\xa8\x99";
/// Chromium's `QUIC_VERSION_T050` and `T051`.
const SALT_T050: [u8; 20] =
    *b"\x7f\xf5\x79\xe5\xac\xd0\x72\x91\x55\x80\x30\x4c\x43\xa2\x36\x7c\x60\x48\x83\x10";
const SALT_T051: [u8; 20] =
    *b"\x7a\x4e\xde\xf4\xe7\xcc\xee\x5f\xa4\x50\x6c\x19\x12\x4f\xc8\xcc\xda\x6e\x03\x3d";
/// draft-ietf-quic-v2-01, section 3.3.1.
const SALT_2_DRAFT: [u8; 20] =
    *b"\xa7\x07\xc2\x03\xa5\x9b\x47\x18\x4a\x1d\x62\xca\x57\x04\x06\xea\x7a\xe3\xe5\xd3";

/// draft-ietf-quic-tls-25, section 5.8.
const RETRY_25: ([u8; 16], [u8; 12]) = (
    0x4d32_ecdb_2a21_33c8_41e4_043d_f27d_4430_u128.to_be_bytes(),
    *b"\x4d\x16\x11\xd0\x55\x13\xa5\x52\xc5\x87\xd5\x75",
);
/// draft-ietf-quic-tls-29, section 5.8.
const RETRY_29: ([u8; 16], [u8; 12]) = (
    0xccce_187e_d09a_09d0_5728_155a_6cb9_6be1_u128.to_be_bytes(),
    *b"\xe5\x49\x30\xf9\x7f\x21\x36\xf0\x53\x0a\x8c\x1c",
);

/// RFC 9001, sections 5.2 and 5.8.
const VERSION_1: Version = Version {
    number: 1,
    salt: *b"\x38\x76\x2c\xf7\xf5\x59\x34\xb3\x4d\x17\x9a\xe6\xa4\xc8\x0c\xad\xcc\xbb\x7f\x0a",
    labels: LABELS_1,
    types: TYPES_1,
    frames: FrameTypes::Ietf,
    retry: Some((
        0xbe0c_690b_9f66_575a_1d76_6b54_e368_c84e_u128.to_be_bytes(),
        *b"\x46\x15\x99\xd3\x5d\x63\x2b\xf2\x23\x98\x25\xbb",
    )),
};

/// RFC 9369, section 3.3.
const VERSION_2: Version = Version {
    number: 0x6b33_43cf,
    salt: *b"\x0d\xed\xe3\xde\xf7\x00\xa6\xdb\x81\x93\x81\xbe\x6e\x26\x9d\xcb\xf9\xbd\x2e\xd9",
    labels: LABELS_2,
    types: TYPES_2,
    frames: FrameTypes::Ietf,
    retry: Some((
        0x8fb4_b01b_56ac_48e2_60fb_cbce_ad7c_cc92_u128.to_be_bytes(),
        *b"\xd8\x69\x69\xbc\x2d\x7c\x6d\x99\x90\xef\xb0\x4a",
    )),
};

const GOOGLE: Version = Version { frames: FrameTypes::Google, retry: None, ..VERSION_1 };

impl Version {
    /// The constants of a version number; `None` for one whose Initials cannot be read.
    pub(super) const fn of(number: u32) -> Option<Self> {
        let version = match number {
            1 => VERSION_1,
            0x6b33_43cf => VERSION_2,
            // draft-ietf-quic-transport-22 to -34: earlier ones had another header.
            0xff00_0016 => Self { salt: SALT_22, retry: None, ..VERSION_1 },
            0xff00_0017..=0xff00_0018 => Self { salt: SALT_23, retry: None, ..VERSION_1 },
            0xff00_0019..=0xff00_001c => Self { salt: SALT_23, retry: Some(RETRY_25), ..VERSION_1 },
            0xff00_001d..=0xff00_0020 => Self { salt: SALT_29, retry: Some(RETRY_29), ..VERSION_1 },
            0xff00_0021..=0xff00_0022 => VERSION_1,
            // draft-ietf-quic-v2-01 to -04.
            0x709a_50c4 => Self { salt: SALT_2_DRAFT, retry: None, ..VERSION_2 },
            // Facebook's mvfst.
            0xface_b001 => Self { salt: SALT_22, retry: None, ..VERSION_1 },
            0xface_b002 | 0xface_b00e => Self { salt: SALT_23, retry: None, ..VERSION_1 },
            // Google's `T050` and `T051`: the IETF's packets with TLS, in Google's frames.
            0x5430_3530 => Self { salt: SALT_T050, ..GOOGLE },
            0x5430_3531 => Self { salt: SALT_T051, ..GOOGLE },
            _ => return None,
        };
        Some(Self { number, ..version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_none() {
        // Version negotiation, drafts before the header of today, Google's QUIC without TLS,
        // and a version that is reserved for forcing negotiation.
        for number in [0, 2, 0xff00_0015, 0xff00_0023, 0x5130_3530, 0x5130_3436, 0x1a2a_3a4a] {
            assert_eq!(Version::of(number), None, "{number:08x}");
        }
    }

    #[test]
    fn numbers_are_kept() {
        for number in [1, 0x6b33_43cf, 0xff00_0016, 0xff00_001d, 0xff00_0022, 0x5430_3531] {
            assert_eq!(Version::of(number).map(|version| version.number), Some(number));
        }
    }
}
