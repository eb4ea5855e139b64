//! QUIC Initials and Retry packets made by hand (RFC 9000, RFC 9001, RFC 9369), so that hostile
//! frames get behind the AEAD: apart from the product's code, which only decrypts.

use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey, quic},
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
};

/// Servers discard Initials in smaller datagrams (RFC 9000, section 14.1).
pub(super) const MIN_DATAGRAM: usize = 1200;
const TAG_LEN: usize = 16;

/// What differs between the versions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    number: u32,
    salt: [u8; 20],
    key: &'static str,
    iv: &'static str,
    hp: &'static str,
    initial: u8,
    retry: u8,
    retry_key: [u8; 16],
    retry_nonce: [u8; 12],
}

/// RFC 9001, sections 5.2 and 5.8.
pub(super) const V1: Version = Version {
    number: 1,
    salt: number(0x38762cf7_f55934b3_4d179ae6_a4c80cad, 0xccbb7f0a),
    key: "quic key",
    iv: "quic iv",
    hp: "quic hp",
    initial: 0,
    retry: 3,
    retry_key: 0xbe0c690b_9f66575a_1d766b54_e368c84e_u128.to_be_bytes(),
    retry_nonce: nonce(0x461599d3_5d632bf2_239825bb),
};

/// RFC 9369, section 3.
pub(super) const V2: Version = Version {
    number: 0x6b33_43cf,
    salt: number(0x0dede3de_f700a6db_819381be_6e269dcb, 0xf9bd2ed9),
    key: "quicv2 key",
    iv: "quicv2 iv",
    hp: "quicv2 hp",
    initial: 1,
    retry: 0,
    retry_key: 0x8fb4b01b_56ac48e2_60fbcbce_ad7ccc92_u128.to_be_bytes(),
    retry_nonce: nonce(0xd86969bc_2d7c6d99_90efb04a),
};

const fn number(high: u128, low: u32) -> [u8; 20] {
    let ([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p], [q, r, s, t]) =
        (high.to_be_bytes(), low.to_be_bytes());
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t]
}

const fn nonce(value: u128) -> [u8; 12] {
    let [_, _, _, _, a, b, c, d, e, f, g, h, i, j, k, l] = value.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l]
}

/// A client's Initial to be.
#[derive(Clone, Debug)]
pub(super) struct Initial<'a> {
    pub(super) version: Version,
    pub(super) destination: &'a [u8],
    /// The connection ID that the keys are made of.
    pub(super) origin: &'a [u8],
    pub(super) number: u32,
    /// 1 to 4.
    pub(super) number_len: usize,
}

impl Initial<'_> {
    /// The packet, protected; `None` if it cannot be: the payload is too short or too long.
    pub(super) fn packet(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let Self { version, number_len, .. } = *self;
        let mut packet = vec![0xc0 | version.initial << 4 | (number_len - 1) as u8];
        packet.extend(version.number.to_be_bytes());
        packet.push(self.destination.len() as u8);
        packet.extend(self.destination);
        // No connection ID of the source's own, no token.
        packet.extend([0, 0]);
        let length = number_len + payload.len() + TAG_LEN;
        packet
            .extend((0x4000 | u16::try_from(length).ok().filter(|it| *it < 0x4000)?).to_be_bytes());
        let number_at = packet.len();
        packet.extend(self.number.to_be_bytes().get(4 - number_len..)?);
        let header = packet.clone();

        let keys = Keys::of_client(&version, self.origin)?;
        let mut sealed = payload.to_vec();
        keys.aead
            .seal_in_place_append_tag(keys.nonce(self.number), Aad::from(&header), &mut sealed)
            .ok()?;
        packet.extend(sealed);

        let sample_at = number_at + 4;
        let sample = packet.get(sample_at..sample_at + 16)?;
        let [first_mask, number_mask @ ..] = keys.header.new_mask(sample).ok()?;
        *packet.first_mut()? ^= first_mask & 0x0f;
        let number = packet.get_mut(number_at..number_at + number_len)?;
        number.iter_mut().zip(number_mask).for_each(|(byte, mask)| *byte ^= mask);
        Some(packet)
    }

    /// The packet in a datagram of its own, filled up with PADDING frames.
    pub(super) fn datagram(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let bare = self.packet(&[payload, &[0; 4]].concat())?.len();
        let padding = 4 + MIN_DATAGRAM.saturating_sub(bare);
        self.packet(&[payload, &vec![0; padding]].concat())
    }
}

/// What protects a client's Initials (RFC 9001, section 5).
struct Keys {
    aead: LessSafeKey,
    iv: [u8; 12],
    header: quic::HeaderProtectionKey,
}

impl Keys {
    fn of_client(version: &Version, origin: &[u8]) -> Option<Self> {
        let initial = Salt::new(HKDF_SHA256, &version.salt).extract(origin);
        let secret = Prk::new_less_safe(HKDF_SHA256, &expand::<32>(&initial, "client in")?);
        let key = expand::<16>(&secret, version.key)?;
        let header = expand::<16>(&secret, version.hp)?;
        Some(Self {
            aead: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).ok()?),
            iv: expand(&secret, version.iv)?,
            header: quic::HeaderProtectionKey::new(&quic::AES_128, &header).ok()?,
        })
    }

    fn nonce(&self, number: u32) -> Nonce {
        let mut nonce = self.iv;
        let number = number.to_be_bytes();
        nonce.iter_mut().rev().zip(number.iter().rev()).for_each(|(byte, it)| *byte ^= it);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// How many bytes to expand to.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label without context (RFC 8446, section 7.1).
fn expand<const N: usize>(secret: &Prk, label: &str) -> Option<[u8; N]> {
    let lengths = [0, N as u8, 6 + label.len() as u8];
    let info = [lengths.as_slice(), b"tls13 ", label.as_bytes(), &[0]];
    let mut bytes = [0; N];
    secret.expand(&info, Bytes(N)).ok()?.fill(&mut bytes).ok()?;
    Some(bytes)
}

/// A CRYPTO frame (RFC 9000, section 19.6).
pub(super) fn crypto(offset: usize, data: &[u8]) -> Vec<u8> {
    let number = |value: usize| (0x8000_0000 | value as u32).to_be_bytes();
    [&[6], number(offset).as_slice(), &number(data.len()), data].concat()
}

/// A server's Retry (RFC 9001, section 5.8) for a client that sent its Initial to `original`.
pub(super) fn retry(version: &Version, source: &[u8], original: &[u8]) -> Option<Vec<u8>> {
    let mut packet = vec![0xc0 | version.retry << 4];
    packet.extend(version.number.to_be_bytes());
    packet.extend([0, source.len() as u8]);
    packet.extend(source);
    packet.extend(b"token");
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &version.retry_key).ok()?);
    let pseudo = [&[original.len() as u8], original, packet.as_slice()].concat();
    let nonce = Nonce::assume_unique_for_key(version.retry_nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(pseudo), &mut []).ok()?;
    packet.extend(tag.as_ref());
    Some(packet)
}
