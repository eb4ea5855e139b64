//! The PROXY header, next to a simple reader that leaves addresses to the standard library.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_common::packet::proxy;

/// The longest line of version 1, CRLF included (HAProxy, "The PROXY protocol", section 2.1).
const MAX_LINE: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of the header, and the client that it names.
type Header = (usize, Option<(IpAddr, u16)>);

/// A header is taken where the simple reader takes one, and names the same client.
pub fn proxy_header(data: &[u8]) {
    let read = proxy::read(data).map(|it| {
        let bits =
            it.client.iter().fold(0, |bits, word| bits << 32 | u128::from(u32::from_be(*word)));
        let named = (bits != 0 || it.port != 0)
            .then(|| (Ipv6Addr::from(bits).to_canonical(), u16::from_be(it.port)));
        (it.length as usize, named)
    });
    let expected = if data.starts_with(SIGNATURE) { version_2(data) } else { version_1(data) };
    let expected = expected.map(|(length, named)| (length, named.filter(is_somebody)));
    assert_eq!(read, expected, "{:?}", String::from_utf8_lossy(data));
}

/// `::` with port 0 is nobody.
fn is_somebody((address, port): &(IpAddr, u16)) -> bool {
    *port != 0 || *address != IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

fn version_1(data: &[u8]) -> Option<Header> {
    let end = data.iter().take(MAX_LINE - 1).position(|byte| *byte == b'\r')?;
    if data.get(end + 1) != Some(&b'\n') {
        return None;
    }
    let length = end + 2;
    let line = data.get(..end)?.strip_prefix(b"PROXY ")?;
    if let Some(rest) = line.strip_prefix(b"UNKNOWN") {
        // Whatever follows is to be passed over.
        return matches!(rest, [] | [b' ', ..]).then_some((length, None));
    }
    let line = str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    let &[protocol, source, destination, from, to] = words.as_slice() else { return None };
    let address = |word| match protocol {
        "TCP4" => v4(word).map(IpAddr::V4),
        "TCP6" => v6(word).map(|it| it.to_canonical()),
        _ => None,
    };
    let (client, _, port, _) =
        (address(source)?, address(destination)?, number(from, u16::MAX)?, number(to, u16::MAX)?);
    Some((length, Some((client, port))))
}

/// A decimal number of one to five digits; unlike the standard library's, an address may have zeros
/// in front. They change nothing: no reader of this protocol takes them for octal.
fn number<T: TryFrom<u32> + Into<u32>>(word: &str, max: T) -> Option<T> {
    let is_number = (1..=5).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    let value: u32 = word.parse().ok().filter(|_| is_number)?;
    (value <= max.into()).then(|| T::try_from(value).ok())?
}

fn v4(word: &str) -> Option<Ipv4Addr> {
    let octets: Vec<u8> =
        word.split('.').map(|octet| number(octet, u8::MAX)).collect::<Option<_>>()?;
    <[u8; 4]>::try_from(octets).ok().map(Ipv4Addr::from)
}

/// IPv4 in dots at the end of IPv6 is not part of this protocol.
fn v6(word: &str) -> Option<Ipv6Addr> {
    word.parse().ok().filter(|_| !word.contains('.'))
}

fn version_2(data: &[u8]) -> Option<Header> {
    let (head, body) = data.split_at_checked(16)?;
    let &[.., command, family, high, low] = head else { return None };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let body = body.get(..length)?;
    let port = |at: usize| body.get(at..)?.first_chunk().map(|port| u16::from_be_bytes(*port));
    let client = match (command, family) {
        (0x20, _) => None,
        (0x21, 0x11) if length >= 12 => {
            let address: [u8; 4] = *body.first_chunk()?;
            Some((IpAddr::V4(address.into()), port(8)?))
        }
        (0x21, 0x21) if length >= 36 => {
            let address: [u8; 16] = *body.first_chunk()?;
            Some((Ipv6Addr::from(address).to_canonical(), port(32)?))
        }
        (0x21, 0x11 | 0x21) => return None,
        (0x21, _) => None,
        _ => return None,
    };
    Some((16 + length, client))
}
