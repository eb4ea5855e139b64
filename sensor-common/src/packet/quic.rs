//! QUIC headers, as far as they are not protected (RFC 8999; RFC 9000, section 17; RFC 9369).

use super::{Headers, Packet, udp};
use crate::abi::quic::{CONNECTION_ID_WORDS, ConnectionId, MAX_CONNECTION_ID, MIN_CONNECTION_ID};

/// Version 1 (RFC 9000).
pub const VERSION_1: u32 = 1;
/// Version 2 (RFC 9369).
pub const VERSION_2: u32 = 0x6b33_43cf;

/// Header form: long.
const LONG: u8 = 0x80;

/// Types of long packets, which the two versions number differently.
const INITIAL_1: u8 = 0;
const INITIAL_2: u8 = 1;

/// By length of an id: which bytes of its words count.
const MASKS: [[u32; CONNECTION_ID_WORDS]; MAX_CONNECTION_ID as usize + 1] = [
    masks(0),
    masks(1),
    masks(2),
    masks(3),
    masks(4),
    masks(5),
    masks(6),
    masks(7),
    masks(8),
    masks(9),
    masks(10),
    masks(11),
    masks(12),
    masks(13),
    masks(14),
    masks(15),
    masks(16),
    masks(17),
    masks(18),
    masks(19),
    masks(20),
];

const fn masks(length: u32) -> [u32; CONNECTION_ID_WORDS] {
    [
        mask(length),
        mask_behind(length, 4),
        mask_behind(length, 8),
        mask_behind(length, 12),
        mask_behind(length, 16),
    ]
}

const fn mask_behind(length: u32, before: u32) -> u32 {
    mask(length.saturating_sub(before))
}

/// The first bytes of a word, in the order of memory.
const fn mask(length: u32) -> u32 {
    let kept = if length < 4 { length } else { 4 };
    ((0xffff_ffff_0000_0000_u64 >> (8 * kept)) as u32).to_be()
}

/// What a header's form tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Not QUIC, or nothing that can be read.
    None,
    /// A long header, of any version but the one that negotiates.
    Long,
    /// A short header. How long its id is, only its receiver knows.
    Short,
}

/// The first header of a datagram. It lies in memory to work in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct QuicHeader {
    /// Whose id the receiver chose; of a short header 20 bytes, of which the id is the beginning.
    pub destination: ConnectionId,
    /// The id that the sender wants to be called by; not in a short header.
    pub source: ConnectionId,
    /// The version of a long header.
    pub version: u32,
    /// First byte.
    pub first: u32,
}

/// Whether a datagram begins with a short header.
#[inline(always)]
pub fn is_short<P: Packet>(packet: &P, headers: &Headers) -> bool {
    let first = packet.byte(headers.transport_at + udp::HEADER_LEN);
    first.is_some_and(|first| first & LONG == 0)
}

impl QuicHeader {
    /// Reads a datagram's first header.
    #[inline(always)]
    pub fn read<P: Packet>(&mut self, packet: &P, headers: &Headers) -> Form {
        let at = headers.transport_at + udp::HEADER_LEN;
        self.destination = ConnectionId::NONE;
        let Some(first) = packet.byte(at).filter(|_| at < headers.end) else {
            return Form::None;
        };
        self.first = u32::from(first);
        let form = if first & LONG == 0 {
            self.read_short(anew(packet), headers, at + 1)
        } else {
            self.read_long(anew(packet), headers, at + 1)
        };
        form.unwrap_or(Form::None)
    }

    /// An id of 20 bytes fits every packet with a shorter one: behind it come a packet number and
    /// at least 16 bytes of protected payload (RFC 9001, section 5.3).
    #[inline(always)]
    fn read_short<P: Packet>(&mut self, packet: &P, headers: &Headers, at: u32) -> Option<Form> {
        if at + MAX_CONNECTION_ID > headers.end {
            return None;
        }
        self.destination.words = packet.words(at)?;
        self.destination.length = MAX_CONNECTION_ID;
        Some(Form::Short)
    }

    #[inline(always)]
    fn read_long<P: Packet>(&mut self, packet: &P, headers: &Headers, at: u32) -> Option<Form> {
        // Where what follows is there, this is too.
        let [version] = packet.words::<1>(at)?;
        self.version = u32::from_be(version);
        // Version negotiation repeats the client's own ids.
        if version == 0 {
            return None;
        }
        let at = read_id(anew(packet), headers, at + 4, &mut self.destination)?;
        read_id(anew(packet), headers, at, &mut self.source)?;
        Some(Form::Long)
    }

    /// Whether the version is one of those whose handshake is known.
    #[inline(always)]
    #[must_use]
    pub const fn is_known_version(&self) -> bool {
        matches!(self.version, VERSION_1 | VERSION_2)
    }

    /// Whether a long header is that of an Initial.
    #[inline(always)]
    #[must_use]
    pub const fn is_initial(&self) -> bool {
        let kind = (self.first >> 4) as u8 & 3;
        match self.version {
            VERSION_1 => kind == INITIAL_1,
            VERSION_2 => kind == INITIAL_2,
            _ => false,
        }
    }
}

/// Reads an id behind its length; returns where it ends.
#[inline(always)]
fn read_id<P: Packet>(
    packet: &P,
    headers: &Headers,
    at: u32,
    id: &mut ConnectionId,
) -> Option<u32> {
    let length = u32::from(packet.byte(at)?);
    let masks = MASKS.get(length as usize)?;
    if at + 1 + MAX_CONNECTION_ID > headers.end {
        return None;
    }
    let words = anew(packet).words::<CONNECTION_ID_WORDS>(at + 1)?;
    for ((to, word), mask) in id.words.iter_mut().zip(words).zip(masks) {
        *to = word & mask;
    }
    id.length = length;
    Some(at + 1 + length)
}

/// The packet, as if it had not been read from (see `packet::syn`).
#[inline(always)]
fn anew<P>(packet: &P) -> &P {
    core::hint::black_box(packet)
}

impl ConnectionId {
    /// The one of no bytes.
    pub const NONE: Self = Self { words: [0; CONNECTION_ID_WORDS], length: 0 };

    /// Whether nobody can have guessed it.
    #[inline(always)]
    #[must_use]
    pub const fn is_long_enough(&self) -> bool {
        self.length >= MIN_CONNECTION_ID
    }

    /// Whether two ids are the same.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, other: &Self) -> bool {
        self.length == other.length && self.differs(&other.words) == 0
    }

    /// Whether these bytes begin with it.
    #[inline(always)]
    #[must_use]
    pub fn begins(&self, bytes: &Self) -> bool {
        let Some(masks) = MASKS.get(self.length as usize) else { return false };
        let [a, b, c, d, e] = bytes.words;
        let [f, g, h, i, j] = *masks;
        self.differs(&[a & f, b & g, c & h, d & i, e & j]) == 0
    }

    /// Zero where the words are the same: one comparison in the end, not one a word.
    #[inline(always)]
    const fn differs(&self, words: &[u32; CONNECTION_ID_WORDS]) -> u32 {
        let [a, b, c, d, e] = self.words;
        let [f, g, h, i, j] = *words;
        a ^ f | b ^ g | c ^ h | d ^ i | e ^ j
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::slice::SlicePacket;

    fn read(datagram: &[u8]) -> (Form, QuicHeader) {
        let bytes = [&[0; 28][..], datagram].concat();
        let headers = Headers { transport_at: 20, end: bytes.len() as u32, ..Headers::default() };
        let mut header = QuicHeader::default();
        let form = header.read(&SlicePacket::new(&bytes), &headers);
        (form, header)
    }

    fn id(bytes: &[u8]) -> ConnectionId {
        let mut id = ConnectionId { length: bytes.len() as u32, ..ConnectionId::default() };
        let mut padded = bytes.to_vec();
        padded.resize(20, 0);
        for (to, word) in id.words.iter_mut().zip(padded.chunks_exact(4)) {
            *to = u32::from_ne_bytes(word.try_into().unwrap());
        }
        id
    }

    fn long(first: u8, version: u32, destination: &[u8], source: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        bytes.extend(version.to_be_bytes());
        for id in [destination, source] {
            bytes.push(id.len() as u8);
            bytes.extend(id);
        }
        bytes.extend([0xaa; 40]);
        bytes
    }

    #[test]
    fn ids_of_every_length_are_read_without_what_follows() {
        for (n, m) in (0..=20).flat_map(|n| [(n, 20 - n), (n, n)]) {
            let (destination, source) = (vec![0x11; n], vec![0x22; m]);
            let (form, header) = read(&long(0xc0, VERSION_1, &destination, &source));
            assert_eq!(form, Form::Long);
            assert_eq!(header.destination, id(&destination));
            assert_eq!(header.source, id(&source));
            assert!(header.is_initial() && header.is_known_version());
        }
    }

    #[test]
    fn versions_number_their_types_differently() {
        let is_initial = |first, version| read(&long(first, version, &[1; 8], &[])).1.is_initial();
        assert!(is_initial(0xc0, VERSION_1) && !is_initial(0xd0, VERSION_1));
        assert!(is_initial(0xd0, VERSION_2) && !is_initial(0xc0, VERSION_2));
        assert!(!is_initial(0xc0, 0xff00_001d) && !is_initial(0xd0, 0x0a0a_0a0a));
    }

    #[test]
    fn what_is_no_quic_is_not_read() {
        let mut too_long = long(0xc0, VERSION_1, &[1; 20], &[]);
        too_long[5] = 21;
        for datagram in [
            &[][..],
            &[0xc0],
            &[0x40; 20],
            &too_long,
            &long(0xc0, 0, &[1; 8], &[2; 8]),
            &long(0xc0, VERSION_1, &[1; 8], &[2; 8])[..24],
        ] {
            assert_eq!(read(datagram).0, Form::None, "{datagram:?}");
        }
    }

    #[test]
    fn a_short_headers_id_is_known_by_its_beginning() {
        let (form, header) = read(&[[0x40].as_slice(), &[7; 30]].concat());
        assert_eq!(form, Form::Short);
        for length in [1, 8, 9, 19, 20] {
            assert!(id(&vec![7; length]).begins(&header.destination));
            let mut other = vec![7; length];
            other[length - 1] = 8;
            assert!(!id(&other).begins(&header.destination), "{length}");
        }
        assert!(!id(&[7; 8]).is(&id(&[7; 9])) && id(&[7; 8]).is(&id(&[7; 8])));
    }
}
