//! Records and the handshake message in them (RFC 8446, section 5.1): where the hello ends, and
//! taking the record headers out of it.

use crate::{
    abi::{
        Capture,
        hello::{HELLO_LEN, HELLO_ROOM},
    },
    pipeline::{Step, Tables},
    tls::{Bytes, CLIENT_HELLO, HANDSHAKE_HEADER_LEN, RECORD_HANDSHAKE, RECORD_HEADER_LEN},
};

/// The longest record (RFC 8446, section 5.1; older versions add 2 KiB to encrypted ones only).
const MAX_RECORD: u32 = 1 << 14;
/// The major version of every TLS record.
const MAJOR: u8 = 3;

/// How far the first bytes of a stream have come as a ClientHello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Framing {
    /// More has to come.
    Incomplete,
    /// All of it is there.
    Complete,
    /// It is none.
    NotTls,
    /// It is longer than is collected, or cut so that its own length is.
    TooLong,
}

impl Bytes for [u8; HELLO_ROOM] {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        // The mask is for the verifier: callers stay below.
        self.get(at as usize & (HELLO_LEN - 1)).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn half(&self, at: u32) -> u16 {
        let at = at as usize & (HELLO_LEN - 1);
        match (self.get(at), self.get(at + 1)) {
            (Some(high), Some(low)) => u16::from(*high) << 8 | u16::from(*low),
            _ => 0,
        }
    }
}

/// Looks at the bytes so far.
#[inline(never)]
pub(super) fn examine<T: Tables>(tables: &T, capture: &mut Capture) -> Framing {
    let bytes = &capture.bytes;
    let there = capture.contiguous;
    if there > 0 && bytes.byte(0) != RECORD_HANDSHAKE || there > 1 && bytes.byte(1) != MAJOR {
        return Framing::NotTls;
    }
    if there < RECORD_HEADER_LEN + HANDSHAKE_HEADER_LEN {
        return Framing::Incomplete;
    }
    let first = u32::from(bytes.half(3));
    if first == 0 || first > MAX_RECORD || bytes.byte(RECORD_HEADER_LEN) != CLIENT_HELLO {
        return Framing::NotTls;
    }
    let length = u32::from(bytes.byte(6)) << 16 | u32::from(bytes.half(7));
    let message_len = HANDSHAKE_HEADER_LEN + length;
    if first < HANDSHAKE_HEADER_LEN || RECORD_HEADER_LEN + message_len > HELLO_LEN as u32 {
        return Framing::TooLong;
    }
    capture.message_len = message_len;
    if first >= message_len {
        capture.wanted = RECORD_HEADER_LEN + message_len;
    } else if capture.wanted == 0 {
        tables.repeat(HELLO_LEN as u32, &mut Records { capture });
        if capture.outcome == NOT_TLS {
            return Framing::NotTls;
        }
    }
    if capture.wanted > HELLO_LEN as u32 {
        Framing::TooLong
    } else if capture.wanted != 0 && there >= capture.wanted {
        Framing::Complete
    } else if there >= HELLO_LEN as u32 {
        Framing::TooLong
    } else {
        Framing::Incomplete
    }
}

/// Some record in the middle is none of a handshake.
const NOT_TLS: u32 = 1;

/// Goes from record to record until the message is in them.
struct Records<'a> {
    capture: &'a mut Capture,
}

impl Step for Records<'_> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let Capture {
            bytes, contiguous, record_at, gathered, message_len, wanted, outcome, ..
        } = &mut *self.capture;
        *outcome = 0;
        let at = *record_at;
        if at + RECORD_HEADER_LEN > *contiguous || at >= HELLO_LEN as u32 {
            return false;
        }
        let length = u32::from(bytes.half(at + 3));
        if bytes.byte(at) != RECORD_HANDSHAKE
            || bytes.byte(at + 1) != MAJOR
            || length == 0
            || length > MAX_RECORD
        {
            *outcome = NOT_TLS;
            return false;
        }
        let missing = *message_len - *gathered;
        if length >= missing {
            *wanted = at + RECORD_HEADER_LEN + missing;
            return false;
        }
        *gathered += length;
        *record_at = at + RECORD_HEADER_LEN + length;
        true
    }
}

/// Takes the headers of all records but the first out of a complete hello: the message then stands
/// behind the first header in one piece.
#[inline(never)]
pub(super) fn join<T: Tables>(tables: &T, capture: &mut Capture) {
    if capture.wanted == RECORD_HEADER_LEN + capture.message_len {
        return;
    }
    let first = u32::from(capture.bytes.half(3));
    // Behind the first record: from here, to here.
    capture.at = RECORD_HEADER_LEN + first;
    capture.end = RECORD_HEADER_LEN + first;
    capture.until = capture.at;
    tables.repeat(HELLO_LEN as u32, &mut Join { capture });
}

/// Moves one byte, or passes over one header.
struct Join<'a> {
    capture: &'a mut Capture,
}

impl Step for Join<'_> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        // `at` reads, `end` writes, `until` is where the record ends.
        let Capture { bytes, at, end, until, wanted, .. } = &mut *self.capture;
        let from = *at;
        if from >= *wanted || from >= HELLO_LEN as u32 {
            return false;
        }
        if from == *until {
            *until = from + RECORD_HEADER_LEN + u32::from(bytes.half(from + 3));
            *at = from + RECORD_HEADER_LEN;
            return true;
        }
        let byte = bytes.byte(from);
        if let Some(slot) = bytes.get_mut(*end as usize & (HELLO_LEN - 1)) {
            *slot = byte;
        }
        *at = from + 1;
        *end += 1;
        true
    }
}

#[cfg(test)]
mod tests;
