//! Initials made by hand, for tests: what a client, a server or an attacker could send.

use super::{
    connection_id::ConnectionId, keys::Keys, retry, tracker::MIN_DATAGRAM, version::Version,
};

/// An Initial to be.
#[derive(Clone, Debug)]
pub(crate) struct Forge {
    pub(crate) version: u32,
    pub(crate) destination: Vec<u8>,
    pub(crate) source: Vec<u8>,
    pub(crate) token: Vec<u8>,
    /// What the keys are made of, if it is not `destination`.
    pub(crate) origin: Option<Vec<u8>>,
    pub(crate) number: u64,
    /// 1 to 4.
    pub(crate) number_length: usize,
    /// Reserved bits of the first byte.
    pub(crate) reserved: u8,
    pub(crate) server: bool,
}

impl Default for Forge {
    fn default() -> Self {
        Self {
            version: 1,
            destination: hex("8394c8f03e515708"),
            source: Vec::new(),
            token: Vec::new(),
            origin: None,
            number: 0,
            number_length: 1,
            reserved: 0,
            server: false,
        }
    }
}

impl Forge {
    /// The packet, protected; too short for a datagram of its own.
    pub(crate) fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let version = Version::of(self.version).unwrap();
        let first = 0xc0
            | version.types.initial << 4
            | self.reserved << 2
            | u8::try_from(self.number_length - 1).unwrap();
        let mut packet = vec![first];
        packet.extend(self.version.to_be_bytes());
        for id in [&self.destination, &self.source] {
            packet.push(u8::try_from(id.len()).unwrap());
            packet.extend(id);
        }
        match self.token.len() {
            0 => packet.push(0),
            length => packet.extend(two_bytes(length)),
        }
        packet.extend(&self.token);
        packet.extend(two_bytes(self.number_length + payload.len() + 16));
        let number_at = packet.len();
        packet.extend(&self.number.to_be_bytes()[8 - self.number_length..]);
        packet.extend(payload);

        let origin = ConnectionId::new(self.origin.as_ref().unwrap_or(&self.destination)).unwrap();
        let keys = if self.server {
            Keys::of_server(&version, &origin)
        } else {
            Keys::of_client(&version, &origin)
        };
        keys.unwrap().protect(&mut packet, number_at, self.number_length, self.number);
        packet
    }

    /// A datagram with this packet alone, filled up with PADDING frames to the least size.
    pub(crate) fn datagram(&self, payload: &[u8]) -> Vec<u8> {
        let padded = |missing| self.packet(&[payload, &vec![0; missing]].concat());
        let least = padded(MIN_DATAGRAM).len() - MIN_DATAGRAM;
        padded(MIN_DATAGRAM.saturating_sub(least))
    }
}

/// A length as a variable-length integer of two bytes.
fn two_bytes(length: usize) -> [u8; 2] {
    (0x4000 | u16::try_from(length).unwrap()).to_be_bytes()
}

/// A CRYPTO frame.
pub(crate) fn crypto(offset: usize, data: &[u8]) -> Vec<u8> {
    [[6].as_slice(), &two_bytes(offset), &two_bytes(data.len()), data].concat()
}

/// A message that begins as a ClientHello does; `seed` tells one from another.
pub(crate) fn hello(length: usize, seed: u8) -> Vec<u8> {
    let body = u32::try_from(length - 4).unwrap().to_be_bytes();
    let content = (0..length - 4).map(|n| (n as u8).wrapping_mul(31) ^ seed);
    [1, body[1], body[2], body[3]].into_iter().chain(content).collect()
}

/// A Retry for a client that sent its Initial to `original`.
pub(crate) fn retry(version: u32, client: &[u8], source: &[u8], original: &[u8]) -> Vec<u8> {
    let version = Version::of(version).unwrap();
    let mut packet = vec![0xc0 | version.types.retry << 4];
    packet.extend(version.number.to_be_bytes());
    for id in [client, source] {
        packet.push(u8::try_from(id.len()).unwrap());
        packet.extend(id);
    }
    packet.extend(b"token");
    let tag = retry::tag(&version, &ConnectionId::new(original).unwrap(), &packet);
    packet.extend(tag.unwrap());
    packet
}

/// Bytes from hexadecimal digits; white space is left out.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect()
}
