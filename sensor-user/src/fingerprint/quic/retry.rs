//! Retry's integrity tag (RFC 9001, section 5.8; RFC 9369, section 3.3.3).
//!
//! Its key is public. What it shows is that the sender of the Retry saw the client's connection ID.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{
    connection_id::ConnectionId,
    packet::{RETRY_TAG, Retry},
    version::Version,
};

/// Whether a client that sent its Initial to `original` would take this Retry, as far as the
/// packet itself can say (RFC 9000, section 17.2.5.2): the tag is right, there is a token, and the
/// connection ID is a new one.
pub(super) fn is_valid(packet: &Retry<'_>, original: &ConnectionId) -> bool {
    !packet.token.is_empty()
        && packet.source != *original
        && tag(&packet.version, original, packet.bytes) == Some(packet.tag)
}

/// The tag of a packet that ends with its token; `None` where the version has none.
pub(super) fn tag(
    version: &Version,
    original: &ConnectionId,
    packet: &[u8],
) -> Option<[u8; RETRY_TAG]> {
    let (key, nonce) = version.retry?;
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?);
    let length = u8::try_from(original.len()).ok()?;
    let pseudo_packet = [&[length], original.as_bytes(), packet].concat();
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(pseudo_packet), &mut []).ok()?;
    tag.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use crate::fingerprint::quic::{
        forge::hex,
        packet::{Packet, Packets},
    };

    use super::*;

    const ORIGINAL: &str = "8394c8f03e515708";

    fn takes(datagram: &[u8], original: &str) -> bool {
        let Some(Ok(Packet::Retry(packet))) = Packets::new(datagram).next() else {
            panic!("no Retry");
        };
        is_valid(&packet, &ConnectionId::new(&hex(original)).unwrap())
    }

    /// RFC 9001, appendix A.4; RFC 9369, appendix A.4; draft-ietf-quic-tls-29, appendix A.4.
    #[test]
    fn published_samples() {
        for sample in [
            "ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba",
            "cf6b3343cf0008f067a5502a4262b5746f6b656ec8646ce8bfe33952d955543665dcc7b6",
            "ffff00001d0008f067a5502a4262b5746f6b656ed16926d81f6f9ca2953a8aa4575e1e49",
        ] {
            let sample = hex(sample);
            assert!(takes(&sample, ORIGINAL));
            assert!(!takes(&sample, "8394c8f03e515709"), "of another connection");
            assert!(!takes(&sample, "f067a5502a4262b5"), "of the same connection ID");
            for at in 7..sample.len() {
                let mut changed = sample.clone();
                changed[at] ^= 1;
                assert!(!takes(&changed, ORIGINAL), "byte {at} changed");
            }
        }
    }

    #[test]
    fn a_token_is_needed() {
        let mut packet = hex("ff000000010008f067a5502a4262b5");
        let original = ConnectionId::new(&hex(ORIGINAL)).unwrap();
        packet.extend(tag(&Version::of(1).unwrap(), &original, &packet).unwrap());
        assert!(!takes(&packet, ORIGINAL));
    }

    #[test]
    fn versions_without_tag() {
        let draft = hex("ffff0000170008f067a5502a4262b5746f6b656e00000000000000000000000000000000");
        assert!(!takes(&draft, ORIGINAL));
    }
}
