//! Keys of a client's Initials, and what they do: remove header protection, open the payload.
//!
//! The keys follow from the connection ID that the client sent, or from that of a Retry, and from
//! constants of the version (RFC 9001, section 5.2). So anyone who sees a connection ID can make
//! such a packet: that it opens says that it was not changed by accident, not who wrote it.

use std::{fmt, ops::Range};

use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey, quic},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Okm, Prk, Salt},
};

use super::{
    connection_id::ConnectionId,
    packet::Initial,
    version::{Labels, Version},
};

/// The sample begins where the packet number would end if it had four bytes (RFC 9001, section
/// 5.4.2).
const SAMPLE_AFTER: usize = 4;
const SAMPLE: usize = 16;

/// Keys of one direction of one connection.
#[derive(Debug)]
pub(super) struct Keys {
    version: Version,
    payload: LessSafeKey,
    iv: [u8; NONCE_LEN],
    header: HeaderKey,
}

/// ring's key has no `Debug`.
struct HeaderKey(quic::HeaderProtectionKey);

impl fmt::Debug for HeaderKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.algorithm().fmt(formatter)
    }
}

/// What an opened packet says, and where its payload is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Opened {
    /// The packet number.
    pub(super) number: u64,
    /// Whether the two reserved bits are zero, as they must be (RFC 9000, section 17.2).
    pub(super) reserved_clear: bool,
    /// Where in the unprotected packet the frames are.
    pub(super) payload: Range<usize>,
}

/// The length of a key that ring has no type for.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Keys {
    /// Of the client. Fails only if ring does.
    pub(super) fn of_client(version: &Version, id: &ConnectionId) -> Option<Self> {
        Self::derive(version, id, b"client in").ok()
    }

    /// Of the server: the tests' way to show that its packets are not taken for a client's.
    #[cfg(test)]
    pub(super) fn of_server(version: &Version, id: &ConnectionId) -> Option<Self> {
        Self::derive(version, id, b"server in").ok()
    }

    fn derive(version: &Version, id: &ConnectionId, side: &[u8]) -> Result<Self, Unspecified> {
        let initial = Salt::new(HKDF_SHA256, &version.salt).extract(id.as_bytes());
        let secret = expand(&initial, side, HKDF_SHA256)?;
        let Labels { key, iv, header } = version.labels;
        Ok(Self {
            version: *version,
            payload: LessSafeKey::new(expand::<_, UnboundKey>(&secret, key, &AES_128_GCM)?),
            iv: expand_bytes(&secret, iv)?,
            header: HeaderKey(expand(&secret, header, &quic::AES_128)?),
        })
    }

    /// The version that they are for.
    pub(super) const fn version(&self) -> &Version {
        &self.version
    }

    /// Leaves the packet in `scratch`, unprotected. `None` if these are not its keys, or it is too
    /// short to have a payload. `largest` is the largest packet number before.
    pub(super) fn open(
        &self,
        packet: &Initial<'_>,
        largest: Option<u64>,
        scratch: &mut Vec<u8>,
    ) -> Option<Opened> {
        let sample_at = packet.number_at.checked_add(SAMPLE_AFTER)?;
        let sample = packet.bytes.get(sample_at..)?.get(..SAMPLE)?;
        let [first_mask, number_mask @ ..] = self.header.0.new_mask(sample).ok()?;
        scratch.clear();
        scratch.extend_from_slice(packet.bytes);

        let first = scratch.first_mut()?;
        *first ^= first_mask & 0x0f;
        let reserved_clear = *first & 0x0c == 0;
        let number_length = u32::from(*first & 3) + 1;
        let payload_at = packet.number_at.checked_add(number_length as usize)?;
        // The tag covers the header in clear.
        let (header, sealed) = scratch.split_at_mut_checked(payload_at)?;
        let mut truncated = 0;
        for (byte, mask) in header.get_mut(packet.number_at..)?.iter_mut().zip(number_mask) {
            *byte ^= mask;
            truncated = truncated << 8 | u64::from(*byte);
        }
        let number = whole_number(truncated, 8 * number_length, largest);
        let open = |number, sealed: &mut [u8]| {
            let nonce = Nonce::assume_unique_for_key(self.nonce(number));
            let payload = self.payload.open_in_place(nonce, Aad::from(&*header), sealed).ok()?;
            let payload = payload_at..payload_at + payload.len();
            Some(Opened { number, reserved_clear, payload })
        };
        open(number, sealed).or_else(|| {
            if number == truncated {
                return None;
            }
            // Who forges a packet with a large number must not make the client's unreadable. The
            // first trial has overwritten what it could not open.
            sealed.copy_from_slice(packet.bytes.get(payload_at..)?);
            open(truncated, sealed)
        })
    }

    /// Protects a packet that is in clear and has no tag yet.
    #[cfg(test)]
    pub(super) fn protect(
        &self,
        packet: &mut Vec<u8>,
        number_at: usize,
        number_length: usize,
        number: u64,
    ) {
        let (header, payload) = packet.split_at(number_at + number_length);
        let mut sealed = payload.to_vec();
        let nonce = Nonce::assume_unique_for_key(self.nonce(number));
        self.payload.seal_in_place_append_tag(nonce, Aad::from(header), &mut sealed).unwrap();
        packet.truncate(number_at + number_length);
        packet.extend(sealed);
        let sample_at = number_at + SAMPLE_AFTER;
        let mask = self.header.0.new_mask(&packet[sample_at..sample_at + SAMPLE]).unwrap();
        packet[0] ^= mask[0] & 0x0f;
        for (byte, mask) in packet[number_at..number_at + number_length].iter_mut().zip(&mask[1..])
        {
            *byte ^= mask;
        }
    }

    /// The packet number, as long as the IV, over the IV (RFC 9001, section 5.3).
    fn nonce(&self, number: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, of_number) in nonce.iter_mut().rev().zip(number.to_le_bytes()) {
            *byte ^= of_number;
        }
        nonce
    }
}

/// The packet number that ends with the bits that were sent and is nearest to the one after the
/// largest (RFC 9000, section 17.1 and appendix A.3).
const fn whole_number(truncated: u64, bits: u32, largest: Option<u64>) -> u64 {
    let expected = match largest {
        Some(largest) => largest.saturating_add(1),
        None => 0,
    };
    let window = 1 << bits;
    let near = expected & !(window - 1) | truncated;
    if near + window / 2 <= expected && near < MAX_NUMBER - window {
        near + window
    } else if near > expected + window / 2 && near >= window {
        near - window
    } else {
        near
    }
}

/// One more than the largest packet number (RFC 9000, section 12.3).
const MAX_NUMBER: u64 = 1 << 62;

/// HKDF-Expand-Label of TLS 1.3 with an empty context (RFC 8446, section 7.1).
fn expand<L: KeyType, K: for<'a> From<Okm<'a, L>>>(
    secret: &Prk,
    label: &[u8],
    length: L,
) -> Result<K, Unspecified> {
    let sizes = sizes(&length, label)?;
    secret.expand(&[&sizes, PREFIX, label, NO_CONTEXT], length).map(K::from)
}

/// The same for what is no key of ring's.
fn expand_bytes<const N: usize>(secret: &Prk, label: &[u8]) -> Result<[u8; N], Unspecified> {
    let mut bytes = [0; N];
    let sizes = sizes(&Length(N), label)?;
    secret.expand(&[&sizes, PREFIX, label, NO_CONTEXT], Length(N))?.fill(&mut bytes)?;
    Ok(bytes)
}

const PREFIX: &[u8] = b"tls13 ";
/// Its length.
const NO_CONTEXT: &[u8] = &[0];

/// What stands before the label: the length of the output in two bytes, that of the label in one.
fn sizes(length: &impl KeyType, label: &[u8]) -> Result<[u8; 3], Unspecified> {
    let [high, low] = u16::try_from(length.len()).map_err(|_| Unspecified)?.to_be_bytes();
    let name = u8::try_from(PREFIX.len() + label.len()).map_err(|_| Unspecified)?;
    Ok([high, low, name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_numbers() {
        // RFC 9000, appendix A.3.
        assert_eq!(whole_number(0x9b32, 16, Some(0xa82f_30ea)), 0xa82f_9b32);
        for (truncated, bits, largest, number) in [
            (0, 8, None, 0),
            (0xff, 8, None, 0xff),
            (0x82, 8, Some(0x181), 0x182),
            (0x02, 8, Some(0x1fe), 0x202),
            (0xfe, 8, Some(0x201), 0x1fe),
            (5, 32, Some(1 << 40), (1 << 40) + 5),
        ] {
            assert_eq!(whole_number(truncated, bits, largest), number);
        }
    }
}
