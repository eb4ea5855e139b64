//! The walk over a ClientHello.
//!
//! The message's own structure is checked strictly: a server would refuse what does not hold
//! together, so there is no fingerprint of it. Inside an extension the walk takes the whole
//! elements that are there, because servers differ in what they mind.

use super::{CLIENT_HELLO, HANDSHAKE_HEADER_LEN, extension};

/// Bytes by offset. Outside there are zeros: the walk checks its bounds itself.
pub trait Bytes {
    /// One byte.
    fn byte(&self, at: u32) -> u8;
    /// Two bytes, most significant first.
    fn half(&self, at: u32) -> u16;
}

impl Bytes for [u8] {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        self.get(at as usize).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn half(&self, at: u32) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }
}

/// What the walk shows, in the order of the message. GREASE is shown too. Extensions that nobody
/// overrides the method of are passed over.
pub trait Visitor {
    /// Whether [`Visitor::group`] and [`Visitor::point_format`] are wanted.
    const CURVES: bool = true;

    /// `legacy_version`.
    fn version(&mut self, legacy: u16);
    /// A cipher suite.
    fn cipher_suite(&mut self, id: u16);
    /// An extension, before what is in it.
    fn extension(&mut self, id: u16, length: u16);
    /// The first host name in server_name, as a place in the message.
    fn server_name(&mut self, at: u32, length: u32);
    /// The first protocol name in ALPN, as a place in the message and its first and last byte.
    /// Not called for an empty list; `length` 0 is an empty name.
    fn alpn(&mut self, at: u32, length: u32, ends: [u8; 2]);
    /// An entry of supported_versions.
    fn supported_version(&mut self, version: u16);
    /// An entry of signature_algorithms.
    fn signature_algorithm(&mut self, id: u16);
    /// An entry of supported_groups.
    fn group(&mut self, _id: u16) {}
    /// An entry of ec_point_formats.
    fn point_format(&mut self, _id: u8) {}
}

/// The message is not a ClientHello that holds together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("not a ClientHello that holds together")
    }
}

impl core::error::Error for Malformed {}

/// What is read next.
const CIPHERS: u32 = 0;
const EXTENSIONS: u32 = 1;
const VERSIONS: u32 = 2;
const SIGNATURES: u32 = 3;
const GROUPS: u32 = 4;
const POINTS: u32 = 5;

/// Elements of a list that one step takes: a step is a call, which costs more than an element.
const BATCH: u32 = 8;

/// The fixed part: legacy_version and random.
const FIXED_LEN: u32 = 34;
/// The longest session id (RFC 8446, section 4.1.2).
const MAX_SESSION_ID: u32 = 32;

/// Where a walk stands. Plain words, because in the kernel they lie in a map's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Walk {
    /// The next element.
    at: u32,
    /// Where the list ends that is being read.
    list_end: u32,
    /// Where the extension ends that the list is in.
    extension_end: u32,
    /// Where the message ends; behind the cipher suites, where its extensions end.
    end: u32,
    /// What is being read.
    stage: u32,
    /// Zero.
    reserved: u32,
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// There is more.
    More,
    /// The message was read to its end.
    Done,
    /// It does not hold together.
    Malformed,
}

impl Walk {
    /// Most steps that a message of `length` bytes takes: every step but the last takes a byte.
    #[inline(always)]
    #[must_use]
    pub const fn max_steps(length: u32) -> u32 {
        length + 1
    }

    /// Begins at a handshake header; `end` is where the message's bytes end. Shows the version.
    ///
    /// # Errors
    /// If it is no ClientHello, or its fixed part does not fit.
    #[inline(always)]
    pub fn begin<B: Bytes + ?Sized, V: Visitor>(
        bytes: &B,
        at: u32,
        end: u32,
        visitor: &mut V,
    ) -> Result<Self, Malformed> {
        let length = u32::from(bytes.byte(at + 1)) << 16 | u32::from(bytes.half(at + 2));
        let body = at + HANDSHAKE_HEADER_LEN;
        let session_at = body + FIXED_LEN;
        if bytes.byte(at) != CLIENT_HELLO || session_at >= end || length != end - body {
            return Err(Malformed);
        }
        let session_len = u32::from(bytes.byte(session_at));
        let ciphers_at = session_at + 1 + session_len;
        if session_len > MAX_SESSION_ID || ciphers_at + 2 > end {
            return Err(Malformed);
        }
        let ciphers_len = u32::from(bytes.half(ciphers_at));
        let list_end = ciphers_at + 2 + ciphers_len;
        if ciphers_len & 1 != 0 || list_end >= end {
            return Err(Malformed);
        }
        visitor.version(bytes.half(body));
        Ok(Self {
            at: ciphers_at + 2,
            list_end,
            extension_end: 0,
            end,
            stage: CIPHERS,
            reserved: 0,
        })
    }

    /// Takes one extension, or some elements of a list.
    #[inline(always)]
    pub fn step<B: Bytes + ?Sized, V: Visitor>(&mut self, bytes: &B, visitor: &mut V) -> Progress {
        let at = self.at;
        let stage = self.stage;
        if stage == EXTENSIONS {
            return self.extension(bytes, visitor);
        }
        let end = self.list_end;
        let width = if V::CURVES && stage == POINTS { 1 } else { 2 };
        let mut at = at;
        for _ in 0..BATCH {
            if at + width > end {
                return self.leave_list(bytes);
            }
            let element = bytes.half(at);
            match stage {
                CIPHERS => visitor.cipher_suite(element),
                VERSIONS => visitor.supported_version(element),
                SIGNATURES => visitor.signature_algorithm(element),
                GROUPS if V::CURVES => visitor.group(element),
                POINTS if V::CURVES => visitor.point_format((element >> 8) as u8),
                _ => {}
            }
            at += width;
        }
        self.at = at;
        Progress::More
    }

    /// Behind a list: on to the extensions.
    #[inline(always)]
    fn leave_list<B: Bytes + ?Sized>(&mut self, bytes: &B) -> Progress {
        if self.stage != CIPHERS {
            self.at = self.extension_end;
            self.stage = EXTENSIONS;
            return Progress::More;
        }
        // Compression methods, then the extensions' length.
        let behind = self.list_end + 1 + u32::from(bytes.byte(self.list_end));
        if behind > self.end {
            return Progress::Malformed;
        }
        if behind == self.end {
            // Before TLS 1.3 a hello may have none at all.
            return Progress::Done;
        }
        if behind + 2 > self.end {
            return Progress::Malformed;
        }
        let end = behind + 2 + u32::from(bytes.half(behind));
        if end != self.end {
            return Progress::Malformed;
        }
        self.at = behind + 2;
        self.stage = EXTENSIONS;
        Progress::More
    }

    /// One extension's header, and where to read in it.
    #[inline(always)]
    fn extension<B: Bytes + ?Sized, V: Visitor>(&mut self, bytes: &B, visitor: &mut V) -> Progress {
        let at = self.at;
        if at == self.end {
            return Progress::Done;
        }
        if at + 4 > self.end {
            return Progress::Malformed;
        }
        let id = bytes.half(at);
        let length = bytes.half(at + 2);
        let body = at + 4;
        let end = body + u32::from(length);
        if end > self.end {
            return Progress::Malformed;
        }
        visitor.extension(id, length);
        self.at = end;
        self.extension_end = end;
        match id {
            extension::SUPPORTED_VERSIONS => {
                self.enter_list(VERSIONS, body + 1, u32::from(bytes.byte(body)));
            }
            extension::SIGNATURE_ALGORITHMS => {
                self.enter_list(SIGNATURES, body + 2, u32::from(bytes.half(body)));
            }
            extension::SUPPORTED_GROUPS if V::CURVES => {
                self.enter_list(GROUPS, body + 2, u32::from(bytes.half(body)));
            }
            extension::EC_POINT_FORMATS if V::CURVES => {
                self.enter_list(POINTS, body + 1, u32::from(bytes.byte(body)));
            }
            // List length, name type 0 (host_name), name length, name.
            extension::SERVER_NAME if body + 5 <= end && bytes.byte(body + 2) == 0 => {
                let name_len = u32::from(bytes.half(body + 3));
                if body + 5 + name_len <= end {
                    visitor.server_name(body + 5, name_len);
                }
            }
            // List length, protocol length, protocol.
            extension::ALPN if body + 3 <= end => {
                let name_len = u32::from(bytes.byte(body + 2));
                if body + 3 + name_len <= end {
                    let last = body + 2 + name_len;
                    let ends = [bytes.byte(body + 3), bytes.byte(last)];
                    visitor.alpn(body + 3, name_len, ends);
                }
            }
            _ => {}
        }
        Progress::More
    }

    /// Reads a list inside an extension next: as much of it as is there.
    #[inline(always)]
    fn enter_list(&mut self, stage: u32, at: u32, length: u32) {
        let end = at + length;
        // An empty extension has no length field: `at` is behind its end, and so is the list.
        self.list_end = if end > self.extension_end { self.extension_end } else { end };
        self.at = at;
        self.stage = stage;
    }
}

/// Walks over a whole handshake message, its header included.
///
/// # Errors
/// If it is not a ClientHello that holds together.
pub fn walk<V: Visitor>(message: &[u8], visitor: &mut V) -> Result<(), Malformed> {
    let end = u32::try_from(message.len()).map_err(|_| Malformed)?;
    let mut walk = Walk::begin(message, 0, end, visitor)?;
    loop {
        match walk.step(message, visitor) {
            Progress::More => {}
            Progress::Done => return Ok(()),
            Progress::Malformed => return Err(Malformed),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
