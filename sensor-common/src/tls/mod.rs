//! The ClientHello (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2): one bounded walk, used by
//! the kernel and by the daemon, and the keys by which the kernel knows a fingerprint.
//!
//! The walk takes one list element a step and keeps its place in [`Walk`], so that the kernel can
//! run it as a `bpf_loop` over a map's value and the host as a plain loop.

pub mod keys;
pub mod name;
pub mod walk;

pub use keys::{KeyBuilder, Keys, Seed};
pub use walk::{Bytes, Malformed, Progress, Visitor, Walk, walk};

/// Handshake type of a ClientHello.
pub const CLIENT_HELLO: u8 = 1;
/// Content type of a handshake record (RFC 8446, section 5.1).
pub const RECORD_HANDSHAKE: u8 = 22;
/// Bytes of a record's header.
pub const RECORD_HEADER_LEN: u32 = 5;
/// Bytes of a handshake message's header: type and 24-bit length.
pub const HANDSHAKE_HEADER_LEN: u32 = 4;

/// Extension types that the walk or the fingerprints look into (IANA registry).
pub mod extension {
    /// server_name (RFC 6066)
    pub const SERVER_NAME: u16 = 0x0000;
    /// supported_groups (RFC 8422)
    pub const SUPPORTED_GROUPS: u16 = 0x000a;
    /// ec_point_formats (RFC 8422)
    pub const EC_POINT_FORMATS: u16 = 0x000b;
    /// signature_algorithms (RFC 8446)
    pub const SIGNATURE_ALGORITHMS: u16 = 0x000d;
    /// application_layer_protocol_negotiation (RFC 7301)
    pub const ALPN: u16 = 0x0010;
    /// padding (RFC 7685)
    pub const PADDING: u16 = 0x0015;
    /// session_ticket (RFC 5077)
    pub const SESSION_TICKET: u16 = 0x0023;
    /// pre_shared_key (RFC 8446)
    pub const PRE_SHARED_KEY: u16 = 0x0029;
    /// supported_versions (RFC 8446)
    pub const SUPPORTED_VERSIONS: u16 = 0x002b;
    /// encrypted_client_hello (RFC 9849)
    pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
}

/// Whether a value is one of those that clients send to keep servers tolerant (RFC 8701).
#[inline(always)]
#[must_use]
pub const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Whether an extension comes and goes between connections of one client: padding fills up to a
/// length, tickets and pre-shared keys are for resumption. The stable form leaves them out.
#[inline(always)]
#[must_use]
pub const fn is_fleeting(extension: u16) -> bool {
    matches!(extension, extension::PADDING | extension::SESSION_TICKET | extension::PRE_SHARED_KEY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grease_is_sixteen_values() {
        let values: Vec<u16> = (0..=u16::MAX).filter(|value| is_grease(*value)).collect();
        let expected: Vec<u16> = (0..16).map(|n| n << 12 | 0x0a00 | n << 4 | 0x000a).collect();
        assert_eq!(values, expected);
    }
}
