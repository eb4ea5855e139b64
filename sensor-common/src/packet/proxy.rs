//! The PROXY protocol (HAProxy, "The PROXY protocol", versions 1 and 2): who the client is, as the
//! proxy in front says. A header is read where it lies in one segment, as its section 2 asks
//! senders to see to.

use crate::{
    abi::key::{Address, V4_MAPPED},
    tls::Bytes,
};

/// The longest line of version 1, CRLF included.
pub const MAX_LINE: u32 = 107;

/// The signature of version 2.
const SIGNATURE: [u16; 6] = [0x0d0a, 0x0d0a, 0x000d, 0x0a51, 0x5549, 0x540a];
/// Bytes of version 2 before the addresses.
const V2_HEADER_LEN: u32 = 16;
/// Version 2, command LOCAL: the proxy speaks for itself.
const V2_LOCAL: u8 = 0x20;
/// Version 2, command PROXY.
const V2_PROXY: u8 = 0x21;
const V2_TCP4: u8 = 0x11;
const V2_TCP6: u8 = 0x21;

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proxied {
    /// Bytes that the header takes.
    pub length: u32,
    /// The client; zero: the proxy itself, or somebody that it cannot name.
    pub client: Address,
    /// Its port, network byte order.
    pub port: u16,
}

/// Whether the stream begins like version 2.
#[inline(always)]
pub fn is_v2<B: Bytes + ?Sized>(bytes: &B, at: u32) -> bool {
    let mut differs = 0;
    for (index, half) in (0u32..).zip(SIGNATURE) {
        differs |= bytes.half(at + 2 * index) ^ half;
    }
    differs == 0
}

/// Reads version 2 at `at`, of bytes that end at `end`. `None`: it is not all there, or not valid.
#[inline(always)]
pub fn read_v2<B: Bytes + ?Sized>(bytes: &B, at: u32, end: u32) -> Option<Proxied> {
    if at + V2_HEADER_LEN > end {
        return None;
    }
    let body_len = u32::from(bytes.half(at + 14));
    let length = V2_HEADER_LEN + body_len;
    if at + length > end {
        return None;
    }
    let body = at + V2_HEADER_LEN;
    let nobody = Proxied { length, client: [0; 4], port: 0 };
    match (bytes.byte(at + 12), bytes.byte(at + 13)) {
        (V2_LOCAL, _) => Some(nobody),
        (V2_PROXY, V2_TCP4) if body_len >= 12 => Some(Proxied {
            client: [0, 0, V4_MAPPED, word(bytes, body)],
            port: bytes.half(body + 8).to_be(),
            ..nobody
        }),
        (V2_PROXY, V2_TCP6) if body_len >= 36 => Some(Proxied {
            client: [
                word(bytes, body),
                word(bytes, body + 4),
                word(bytes, body + 8),
                word(bytes, body + 12),
            ],
            port: bytes.half(body + 32).to_be(),
            ..nobody
        }),
        // Other families: the connection counts as nobody's.
        (V2_PROXY, family) if family != V2_TCP4 && family != V2_TCP6 => Some(nobody),
        _ => None,
    }
}

#[inline(always)]
fn word<B: Bytes + ?Sized>(bytes: &B, at: u32) -> u32 {
    (u32::from(bytes.half(at)) << 16 | u32::from(bytes.half(at + 2))).to_be()
}

/// A line of version 1 as it is read, one byte a step. Plain words: in the kernel it lies in a
/// map's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Line {
    /// Groups of the client's address: bytes of IPv4, 16-bit groups of IPv6.
    groups: [u16; 8],
    /// The next byte.
    at: u32,
    /// Where the bytes end.
    end: u32,
    /// Where the line began.
    begin: u32,
    /// Which word of the line: 0 `PROXY`, 1 protocol, 2 source, 3 destination, 4 and 5 ports.
    field: u32,
    /// Bytes of this word so far.
    length: u32,
    /// The number that is being read.
    value: u32,
    /// Digits of it.
    digits: u32,
    /// Groups that are complete.
    count: u32,
    /// One more than where `::` stands; 0 = nowhere.
    gap: u32,
    /// See `LINE_*`.
    state: u32,
    /// The client's port.
    port: u32,
    /// Which protocol: see `TCP4`.
    protocol: u32,
}

const READING: u32 = 0;
const DONE: u32 = 1;
const BAD: u32 = 2;

const TCP4: u32 = 1;
const TCP6: u32 = 2;
const UNKNOWN: u32 = 3;

const KEYWORD: u64 = u64::from_be_bytes(*b"\0\0\0PROXY");
const WORD_TCP4: u64 = u64::from_be_bytes(*b"\0\0\0\0TCP4");
const WORD_TCP6: u64 = u64::from_be_bytes(*b"\0\0\0\0TCP6");
const WORD_UNKNOWN: u64 = u64::from_be_bytes(*b"\0UNKNOWN");

impl Line {
    /// Begins at `at`, of bytes that end at `end`.
    #[inline(always)]
    pub fn begin(&mut self, at: u32, end: u32) {
        *self = Self { at, begin: at, end, ..Self::default() };
    }

    /// Reads one byte; `false`: the line is over, well or badly.
    #[inline(always)]
    pub fn step<B: Bytes + ?Sized>(&mut self, bytes: &B) -> bool {
        let at = self.at;
        // A byte, and at least the line's last one behind it.
        if at >= self.end || at + 1 - self.begin >= MAX_LINE {
            self.state = BAD;
            return false;
        }
        self.at = at + 1;
        let byte = bytes.byte(at);
        match byte {
            b'\r' => {
                let ends = bytes.byte(at + 1) == b'\n' && at + 1 < self.end;
                let is_skipped = self.protocol == UNKNOWN && self.field > 1;
                let word_ends = is_skipped || self.end_word();
                let last = if self.protocol == UNKNOWN { 1 } else { 5 };
                self.state = if ends && word_ends && self.field >= last { DONE } else { BAD };
                self.at = at + 2;
                false
            }
            _ if self.protocol == UNKNOWN && self.field > 1 => true,
            b' ' => {
                let ends = self.field < 5 && self.end_word();
                self.field += 1;
                self.length = 0;
                self.value = 0;
                self.digits = 0;
                if !ends {
                    self.state = BAD;
                }
                ends
            }
            _ => {
                let fits = self.take(byte);
                self.length += 1;
                if !fits {
                    self.state = BAD;
                }
                fits
            }
        }
    }

    /// One byte of a word.
    #[inline(always)]
    fn take(&mut self, byte: u8) -> bool {
        match self.field {
            // The two keywords are at most seven bytes: gathered as a number in the groups.
            0 | 1 => {
                let mut word = self.keyword();
                word = word << 8 | u64::from(byte);
                self.set_keyword(word);
                // Zeros in front would not show.
                self.length < 7 && byte != 0
            }
            2 | 3 if self.protocol == TCP4 => self.take_v4(byte),
            2 | 3 => self.take_v6(byte),
            _ => self.digit(byte, 10, 0xffff),
        }
    }

    #[inline(always)]
    fn keyword(&self) -> u64 {
        let [a, b, c, d, ..] = self.groups;
        u64::from(a) << 48 | u64::from(b) << 32 | u64::from(c) << 16 | u64::from(d)
    }

    #[inline(always)]
    fn set_keyword(&mut self, word: u64) {
        let [a, b, c, d, ..] = &mut self.groups;
        *a = (word >> 48) as u16;
        *b = (word >> 32) as u16;
        *c = (word >> 16) as u16;
        *d = word as u16;
    }

    #[inline(always)]
    fn digit(&mut self, byte: u8, base: u32, max: u32) -> bool {
        let value = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'a'..=b'f' => u32::from(byte - b'a') + 10,
            b'A'..=b'F' => u32::from(byte - b'A') + 10,
            _ => return false,
        };
        self.value = self.value * base + value;
        self.digits += 1;
        value < base && self.value <= max && self.digits <= 5
    }

    #[inline(always)]
    fn take_v4(&mut self, byte: u8) -> bool {
        if byte != b'.' {
            return self.digit(byte, 10, 255);
        }
        self.count < 3 && self.end_group()
    }

    #[inline(always)]
    fn take_v6(&mut self, byte: u8) -> bool {
        if byte != b':' {
            let is_behind_a_lone_colon = self.length == 1 && self.digits == 0;
            return !is_behind_a_lone_colon && self.digits < 4 && self.digit(byte, 16, 0xffff);
        }
        if self.digits > 0 {
            return self.count < 7 && self.end_group();
        }
        // A colon without digits before it: the first or second of `::`, once.
        let second = self.length > 0;
        if second && self.gap != 0 {
            return false;
        }
        if second {
            self.gap = self.count + 1;
        }
        self.length < 2 || self.count > 0
    }

    /// A group of the address is complete. Only the client's is kept.
    #[inline(always)]
    fn end_group(&mut self) -> bool {
        let index = (self.count & 7) as usize;
        if self.field == 2
            && let Some(group) = self.groups.get_mut(index)
        {
            *group = self.value as u16;
        }
        let has_digits = self.digits > 0;
        self.count += 1;
        self.value = 0;
        self.digits = 0;
        has_digits
    }

    /// A word is complete.
    #[inline(always)]
    fn end_word(&mut self) -> bool {
        match self.field {
            0 => {
                let fits = self.keyword() == KEYWORD;
                self.set_keyword(0);
                fits
            }
            1 => {
                self.protocol = match self.keyword() {
                    WORD_TCP4 => TCP4,
                    WORD_TCP6 => TCP6,
                    WORD_UNKNOWN => UNKNOWN,
                    _ => 0,
                };
                self.set_keyword(0);
                self.protocol != 0
            }
            2 | 3 => self.end_address(),
            4 => {
                self.port = self.value;
                self.digits > 0
            }
            5 => self.digits > 0,
            _ => true,
        }
    }

    #[inline(always)]
    fn end_address(&mut self) -> bool {
        let whole = if self.protocol == TCP4 { 4 } else { 8 };
        if self.digits > 0 {
            self.end_group();
        } else if self.gap != self.count + 1 || self.protocol == TCP4 {
            // Nothing behind the last separator, unless it is `::`.
            return false;
        }
        let fits = if self.gap == 0 { self.count == whole } else { self.count < whole };
        if self.field == 2 {
            self.spread(whole);
        }
        self.count = 0;
        self.gap = 0;
        fits
    }

    /// Moves the groups behind `::` to the end.
    #[inline(always)]
    fn spread(&mut self, whole: u32) {
        if self.gap == 0 || self.count > whole {
            return;
        }
        let (gap, missing) = (self.gap - 1, whole - self.count);
        let groups = self.groups;
        for (index, group) in (0u32..).zip(self.groups.iter_mut()) {
            let from = index.wrapping_sub(missing) & 7;
            *group = if index < gap {
                *group
            } else if index < gap + missing {
                0
            } else {
                groups.get(from as usize).copied().unwrap_or(0)
            };
        }
    }

    /// What the line said, once [`Line::step`] has said `false`.
    #[inline(always)]
    #[must_use]
    pub fn finish(&self) -> Option<Proxied> {
        if self.state != DONE {
            return None;
        }
        let length = self.at - self.begin;
        let [a, b, c, d, e, f, g, h] = self.groups;
        let pair = |high: u16, low: u16| (u32::from(high) << 16 | u32::from(low)).to_be();
        let client = match self.protocol {
            TCP4 => [0, 0, V4_MAPPED, pair(a << 8 | b, c << 8 | d)],
            TCP6 => [pair(a, b), pair(c, d), pair(e, f), pair(g, h)],
            _ => return Some(Proxied { length, client: [0; 4], port: 0 }),
        };
        Some(Proxied { length, client, port: (self.port as u16).to_be() })
    }

    /// Whether it is still being read.
    #[must_use]
    pub const fn is_reading(&self) -> bool {
        self.state == READING
    }
}

/// Reads a header of either version at the beginning of `bytes`. `None`: it is not all there, or
/// not valid.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Proxied> {
    let end = u32::try_from(bytes.len()).ok()?;
    if is_v2(bytes, 0) {
        return read_v2(bytes, 0, end);
    }
    let mut line = Line::default();
    line.begin(0, end);
    while line.step(bytes) {}
    line.finish()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn text(line: &str) -> Option<(IpAddr, u16, u32)> {
        let read = read(line.as_bytes())?;
        let bits = read
            .client
            .iter()
            .fold(0u128, |bits, word| bits << 32 | u128::from(u32::from_be(*word)));
        Some((Ipv6Addr::from(bits).to_canonical(), u16::from_be(read.port), read.length))
    }

    #[test]
    fn lines_name_the_client() {
        let line = "PROXY TCP4 203.0.113.7 198.51.100.10 56324 443\r\n";
        let v4 = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
        assert_eq!(text(line), Some((v4, 56324, line.len() as u32)));
        assert_eq!(text(&format!("{line}\x16\x03")), Some((v4, 56324, line.len() as u32)));
        for address in ["2001:db8:113::7", "::1", "1:2:3:4:5:6:7:8", "fe80::", "2001:db8::1:0:0:1"]
        {
            let line = format!("PROXY TCP6 {address} 2001:db8:51::10 65535 443\r\n");
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(text(&line), Some((parsed, 65535, line.len() as u32)), "{address}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_name_the_client_names_nobody() {
        let nobody = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        assert_eq!(text("PROXY UNKNOWN\r\n"), Some((nobody, 0, 15)));
        let line = "PROXY UNKNOWN ffff:f...f:ffff 1 2 3 4 5 6\r\n";
        assert_eq!(text(line), Some((nobody, 0, line.len() as u32)));
    }

    #[test]
    fn a_line_ends_within_107_bytes() {
        let line = |fill: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(fill));
        assert_eq!(line(91).len(), MAX_LINE as usize);
        assert_eq!(text(&line(91)).map(|(.., length)| length), Some(MAX_LINE));
        assert_eq!(text(&line(92)), None);
    }

    #[test]
    fn what_is_not_a_header_names_nobody_at_all() {
        for line in [
            "",
            "GET / HTTP/1.1\r\n",
            "PROXY",
            "PROXY TCP4 203.0.113.7 198.51.100.10 56324 443",
            "PROXY TCP4 203.0.113.7 198.51.100.10 56324 443\n",
            "PROXY TCP4 203.0.113.256 198.51.100.10 56324 443\r\n",
            "PROXY TCP4 203.0.113 198.51.100.10 56324 443\r\n",
            "PROXY TCP4 203.0.113.7.8 198.51.100.10 56324 443\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.10 65536 443\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.10  443\r\n",
            "PROXY TCP4 203.0.113.7 198.51.100.10 1 443 5\r\n",
            "PROXY TCP6 1:2:3:4:5:6:7 ::1 1 443\r\n",
            "PROXY TCP6 1::2::3 ::1 1 443\r\n",
            "PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 443\r\n",
            "PROXY TCP6 12345:: ::1 1 443\r\n",
            "PROXY TCP6 1: ::1 1 443\r\n",
            "PROXY TCP6 :1:2:3:4:5:6:7 ::1 1 443\r\n",
            "PROXY TCP6 :1:2:3:4:5:6:7:8 ::1 1 443\r\n",
            "PROXY TCP6 ::1 :1::2 1 443\r\n",
            "PROXY \0\0TCP6 ::1 ::1 1 443\r\n",
            "\0PROXY TCP6 ::1 ::1 1 443\r\n",
            "PROXY TCP4 1::2 ::1 1 443\r\n",
            "PROXY TCP5 1.1.1.1 1.1.1.1 1 443\r\n",
            "proxy TCP4 203.0.113.7 198.51.100.10 1 443\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line:?}");
        }
    }

    #[test]
    fn version_2_names_the_client_behind_its_extensions() {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f".to_vec();
        bytes.extend([203, 0, 113, 7, 198, 51, 100, 10, 0xdc, 0x04, 1, 187, 4, 0, 0]);
        let read =
            |bytes: &[u8]| read(bytes).map(|it| (it.client, u16::from_be(it.port), it.length));
        let client = [0, 0, V4_MAPPED, u32::from_ne_bytes([203, 0, 113, 7])];
        assert_eq!(read(&bytes), Some((client, 0xdc04, 31)));
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), None, "cut at {cut}");
        }
        bytes[12] = 0x20;
        assert_eq!(read(&bytes), Some(([0; 4], 0, 31)), "LOCAL");
        bytes[12] = 0x31;
        assert_eq!(read(&bytes), None, "version 3");
    }
}
