//! Packets of a datagram (RFC 9000, sections 12.2 and 17.2): where each begins and ends, and what
//! its header says in clear.

use super::{connection_id::ConnectionId, version::Version, wire::Reader};

/// Length of Retry's integrity tag.
pub(super) const RETRY_TAG: usize = 16;

/// A packet, as far as it can be read without keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Packet<'a> {
    /// No long header: 1-RTT, padding after the last packet, or no QUIC at all. Ends the datagram.
    Short,
    /// Version Negotiation. Ends the datagram.
    VersionNegotiation,
    /// A version whose Initials cannot be read, so that its end is not known either.
    UnsupportedVersion,
    /// An Initial.
    Initial(Initial<'a>),
    /// 0-RTT or Handshake: keys are secret.
    Secret {
        /// Destination connection ID.
        destination: ConnectionId,
    },
    /// A Retry. Ends the datagram.
    Retry(Retry<'a>),
}

/// An Initial packet, still protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Initial<'a> {
    pub(super) version: Version,
    pub(super) destination: ConnectionId,
    pub(super) source: ConnectionId,
    /// The packet alone, from its first byte to the end of its authentication tag.
    pub(super) bytes: &'a [u8],
    /// Where the packet number begins.
    pub(super) number_at: usize,
}

/// A Retry packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Retry<'a> {
    pub(super) version: Version,
    pub(super) destination: ConnectionId,
    pub(super) source: ConnectionId,
    pub(super) token: &'a [u8],
    /// All that the tag covers.
    pub(super) bytes: &'a [u8],
    pub(super) tag: [u8; RETRY_TAG],
}

/// A header that is cut, or says more than there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// The packets of a datagram, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
    pub(super) const fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (packet, rest) = match split(self.rest) {
            Some((packet, rest)) => (Ok(packet), rest),
            None => (Err(Malformed), [].as_slice()),
        };
        self.rest = rest;
        Some(packet)
    }
}

/// The first packet, and what follows it.
fn split(datagram: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let mut reader = Reader::new(datagram);
    let first = reader.byte()?;
    if first & 0x80 == 0 {
        return Some((Packet::Short, &[]));
    }
    let number = reader.word()?;
    if number == 0 {
        return Some((Packet::VersionNegotiation, &[]));
    }
    let Some(version) = Version::of(number) else {
        return Some((Packet::UnsupportedVersion, &[]));
    };
    // The bit 0x40 is not looked at: a client may clear it (RFC 9287), and what is not QUIC does
    // not decrypt.
    let destination = connection_id(&mut reader)?;
    let source = connection_id(&mut reader)?;
    let kind = first >> 4 & 3;
    if kind == version.types.retry {
        let (token, &tag) = reader.rest().split_last_chunk()?;
        let (bytes, _) = datagram.split_last_chunk::<RETRY_TAG>()?;
        let retry = Retry { version, destination, source, token, bytes, tag };
        return Some((Packet::Retry(retry), &[]));
    }
    let initial = kind == version.types.initial;
    if initial {
        reader.counted()?;
    }
    let length = usize::try_from(reader.integer()?).ok()?;
    let number_at = datagram.len().checked_sub(reader.remaining())?;
    let (bytes, rest) = datagram.split_at_checked(number_at.checked_add(length)?)?;
    let packet = if initial {
        Packet::Initial(Initial { version, destination, source, bytes, number_at })
    } else {
        Packet::Secret { destination }
    };
    Some((packet, rest))
}

/// Longer ones than the versions allow are refused: such a packet must be dropped (RFC 9000,
/// section 17.2).
fn connection_id(reader: &mut Reader<'_>) -> Option<ConnectionId> {
    let length = reader.byte()?;
    ConnectionId::new(reader.take(usize::from(length))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(first: u8, version: u32, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![first];
        packet.extend(version.to_be_bytes());
        packet.extend([2, 0xd1, 0xd2, 1, 0x51]);
        packet.extend(rest);
        packet
    }

    fn kinds(datagram: &[u8]) -> Vec<&'static str> {
        Packets::new(datagram)
            .map(|packet| match packet {
                Err(Malformed) => "malformed",
                Ok(Packet::Short) => "short",
                Ok(Packet::VersionNegotiation) => "negotiation",
                Ok(Packet::UnsupportedVersion) => "unsupported",
                Ok(Packet::Initial(_)) => "initial",
                Ok(Packet::Secret { .. }) => "secret",
                Ok(Packet::Retry(_)) => "retry",
            })
            .collect()
    }

    #[test]
    fn types_of_both_versions() {
        let body = [0, 2, 0xaa, 0xbb];
        let tail = [[0; 16].as_slice(), &[7]].concat();
        for (first, version, kind) in [
            (0xc0, 1, "initial"),
            (0xd0, 0x6b33_43cf, "initial"),
            (0x80, 1, "initial"),
            (0xf0, 1, "retry"),
            (0xc0, 0x6b33_43cf, "retry"),
        ] {
            let rest: &[u8] = if kind == "retry" { &tail } else { &body };
            assert_eq!(kinds(&long(first, version, rest)), [kind], "{first:x} of {version:x}");
        }
        for (first, version) in [(0xd0, 1), (0xe0, 1), (0xe0, 0x6b33_43cf), (0xf0, 0x6b33_43cf)] {
            assert_eq!(kinds(&long(first, version, &[1, 9])), ["secret"]);
        }
    }

    #[test]
    fn coalesced_packets_end_where_their_length_says() {
        let mut datagram = long(0xe0, 1, &[1, 9]);
        datagram.extend(long(0xc0, 1, &[3, 1, 2, 3, 0x40, 2, 8, 9]));
        datagram.extend([0x40, 1, 2, 3]);
        assert_eq!(kinds(&datagram), ["secret", "initial", "short"]);
        let Some(Ok(Packet::Initial(initial))) = Packets::new(&datagram).nth(1) else {
            panic!("no Initial");
        };
        assert_eq!(initial.destination.as_bytes(), [0xd1, 0xd2]);
        assert_eq!(initial.source.as_bytes(), [0x51]);
        assert_eq!(initial.bytes.get(initial.number_at..), Some([8, 9].as_slice()));
    }

    #[test]
    fn a_retry_takes_the_rest_of_the_datagram() {
        let datagram = long(0xf0, 1, &[[7, 8].as_slice(), &[0x99; 16]].concat());
        let Some(Ok(Packet::Retry(retry))) = Packets::new(&datagram).next() else {
            panic!("no Retry");
        };
        assert_eq!((retry.token, retry.tag), ([7, 8].as_slice(), [0x99; 16]));
        assert_eq!(retry.bytes.len() + 16, datagram.len());
    }

    #[test]
    fn what_cannot_be_followed_ends_the_datagram() {
        assert_eq!(kinds(&long(0xc0, 0, &[1, 2, 3])), ["negotiation"]);
        assert_eq!(kinds(&long(0xc0, 0x5130_3436, &[1, 2, 3])), ["unsupported"]);
        assert_eq!(kinds(b"GET / HTTP/1.1\r\n"), ["short"]);
        assert_eq!(kinds(&[]), Vec::<&str>::new());
    }

    #[test]
    fn cut_or_impossible_headers_are_malformed() {
        let whole = long(0xc0, 1, &[3, 1, 2, 3, 2, 8, 9]);
        for cut in 1..whole.len() {
            assert_eq!(kinds(&whole[..cut]), ["malformed"], "cut at {cut}");
        }
        let mut id_of_21 = vec![0xc0, 0, 0, 0, 1, 21];
        id_of_21.extend([0; 40]);
        assert_eq!(kinds(&id_of_21), ["malformed"]);
        assert_eq!(kinds(&long(0xc0, 1, &[0xff; 9])), ["malformed"]);
        assert_eq!(kinds(&long(0xf0, 1, &[0; 15])), ["malformed"], "no room for the tag");
    }
}
