//! A built packet, and where its headers are.

use std::ops::Deref;

/// One header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// "ethernet", "vlan", "ipv4", "hop-by-hop", "tcp" …
    pub name: &'static str,
    /// Offset of its first byte.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
}

/// A built packet. Dereferences to its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frame {
    bytes: Vec<u8>,
    headers: Vec<Header>,
}

impl Frame {
    /// Adds a header at the end.
    pub(super) fn push_header(&mut self, name: &'static str, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.headers.push(Header { name, start, end: self.bytes.len() });
    }

    /// Adds payload at the end.
    pub(super) fn push_payload(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The headers, outermost first.
    #[must_use]
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// The frame cut off before, inside (one byte short) and after every header, with a name for
    /// each cut. A cut that would leave the frame whole is left out.
    pub fn truncations(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.headers.iter().flat_map(|header| {
            [
                (format!("before {}", header.name), header.start),
                (format!("one byte short of {}", header.name), header.end.saturating_sub(1)),
                (format!("after {}", header.name), header.end),
            ]
            .into_iter()
            .filter(|(_, length)| *length < self.bytes.len())
            .filter_map(|(name, length)| Some((name, self.bytes.get(..length)?.to_vec())))
        })
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Writes `value` over `bytes` from offset `at`; the caller built `bytes` long enough.
pub(super) fn overwrite(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(slot) = bytes.get_mut(at..at + value.len()) {
        slot.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use crate::packet::ipv4;

    #[test]
    fn a_frame_is_cut_at_every_header() {
        let frame = ipv4([192, 0, 2, 1], [192, 0, 2, 2]).tcp(1, 2).syn().payload(b"x").frame();
        let lengths: Vec<usize> = frame.truncations().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lengths, [0, 13, 14, 14, 33, 34, 34, 53, 54]);
    }
}
