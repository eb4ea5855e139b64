//! The PROXY protocol header before a hello: how long it is, and which client it names.

use std::net::SocketAddr;

use weir_common::packet::proxy;

use crate::{fingerprint::tcp_stream::PreambleLength, system::address};

/// Signature of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses; the last two are the length of the rest.
const V2_HEADER: usize = 16;
const KEYWORD: &[u8] = b"PROXY ";

/// How many bytes of a stream are a header; 0 if it does not begin with one.
pub(super) fn length(stream: &[u8]) -> PreambleLength {
    let header = stream.iter();
    let may_be = |begin: &[u8]| header.clone().zip(begin).all(|(byte, expected)| byte == expected);
    let whole = if may_be(SIGNATURE) {
        let rest = stream.get(V2_HEADER - 2..).and_then(<[u8]>::first_chunk);
        rest.map(|length| V2_HEADER + usize::from(u16::from_be_bytes(*length)))
    } else if may_be(KEYWORD) {
        let end = stream.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
        end.or_else(|| (stream.len() >= proxy::MAX_LINE as usize).then_some(0))
    } else {
        Some(0)
    };
    match whole {
        Some(whole) if whole <= stream.len() => {
            let header = stream.get(..whole).unwrap_or_default();
            // What is not valid is no header, and no hello either.
            PreambleLength::Known(proxy::read(header).map_or(0, |header| header.length))
        }
        _ => PreambleLength::NeedsMore,
    }
}

/// The client that a header names. `None`: the proxy itself, or nobody.
pub(super) fn client(header: &[u8]) -> Option<SocketAddr> {
    let named = proxy::read(header).filter(|named| named.client != [0; 4])?;
    Some(SocketAddr::new(address::ip(&named.client), u16::from_be(named.port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.10 56324 443\r\n";

    fn binary(rest: &[u8]) -> Vec<u8> {
        [SIGNATURE, &[0x21, 0x11, 0, 15], &[203, 0, 113, 7, 198, 51, 100, 10], rest].concat()
    }

    #[test]
    fn headers_of_both_versions_are_measured_and_read() {
        let v2 = binary(&[0xdc, 0x04, 1, 0xbb, 4, 0, 0]);
        for header in [LINE, &v2] {
            for cut in 0..header.len() {
                assert_eq!(length(&header[..cut]), PreambleLength::NeedsMore, "{cut}");
            }
            let stream = [header, &[22, 3, 1]].concat();
            assert_eq!(length(&stream), PreambleLength::Known(header.len() as u32));
            assert_eq!(client(header), Some("203.0.113.7:56324".parse().unwrap()));
        }
    }

    #[test]
    fn anything_else_has_no_length_and_names_nobody() {
        let endless = [KEYWORD, &[b'x'; 200]].concat();
        for stream in [&[22, 3, 1, 0, 9][..], b"GET / HTTP/1.1\r\n", b"PROXY what\r\n", &endless] {
            assert_eq!(length(stream), PreambleLength::Known(0), "{stream:?}");
        }
        assert_eq!(client(b"PROXY UNKNOWN\r\n"), None);
    }
}
