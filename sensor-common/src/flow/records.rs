//! Following TLS records by their headers (RFC 8446, section 5.1): from boundary to boundary, by
//! sequence number. A header that makes no sense, or that was missed, ends it: nothing is guessed.

use crate::abi::{
    Records,
    records::{length_bucket, state},
};

/// Bytes of a record's header.
pub const HEADER_LEN: u32 = 5;

/// Types of records: change_cipher_spec, alert, handshake, application_data, heartbeat.
const FIRST_KIND: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const LAST_KIND: u8 = 24;
/// The major version of every record.
const MAJOR: u8 = 3;
/// The longest: TLS 1.2 lets encryption add 2 KiB (RFC 5246, section 6.2.3).
const MAX_LENGTH: u32 = (1 << 14) + (1 << 11);

/// A client that has sent this many records, then every doubling, has got some way.
const FIRST_TOLD: u32 = 16;

impl Records {
    /// Follows a stream that begins at this sequence number.
    #[inline(always)]
    pub const fn begin(&mut self, next: u32) {
        self.next = next;
        self.state = state::AWAITED;
        self.read = 0;
    }

    /// Whether there is something to follow.
    #[inline(always)]
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        self.state == state::AWAITED || self.state == state::FOLLOWED
    }

    /// A header was missed, or makes no sense. A stream without a first record is not TLS.
    #[inline(always)]
    pub const fn lose(&mut self) {
        self.state = match self.state {
            state::AWAITED | state::NONE => state::NONE,
            _ => state::LOST,
        };
    }

    /// Reads a whole header.
    #[inline(always)]
    pub fn header(&mut self, bytes: [u8; HEADER_LEN as usize]) {
        let [kind, major, _, high, low] = bytes;
        if major != MAJOR {
            return self.lose();
        }
        self.finish(kind, u32::from(high) << 8 | u32::from(low), HEADER_LEN);
    }

    /// Reads one byte of a header that lies in two segments.
    #[inline(always)]
    pub fn byte(&mut self, byte: u8) {
        match self.read {
            0 => self.kind = byte,
            1 if byte != MAJOR => return self.lose(),
            3 => self.length_high = byte,
            4 => {
                self.read = 0;
                let length = u32::from(self.length_high) << 8 | u32::from(byte);
                return self.finish(self.kind, length, 1);
            }
            _ => {}
        }
        self.read += 1;
        self.next = self.next.wrapping_add(1);
    }

    /// Counts a record, `behind` bytes of whose header are passed over now, and goes on to the next.
    #[inline(always)]
    fn finish(&mut self, kind: u8, length: u32, behind: u32) {
        let is_first = self.state == state::AWAITED;
        if is_first && kind != HANDSHAKE
            || !(FIRST_KIND..=LAST_KIND).contains(&kind)
            || length == 0
            || length > MAX_LENGTH
        {
            return self.lose();
        }
        self.state = state::FOLLOWED;
        self.next = self.next.wrapping_add(behind + length);
        if kind == APPLICATION_DATA {
            self.count = self.count.wrapping_add(1);
            if let Some(slot) = self.lengths.get_mut(length_bucket(length)) {
                *slot = slot.saturating_add(1);
            }
        }
    }

    /// Whether the count has just reached 16, 32, 64 …, as against `before`.
    #[inline(always)]
    #[must_use]
    pub const fn has_got_on(&self, before: u32) -> bool {
        // What the two have in common goes: the rest is above `before` where its top bit is new.
        self.count >= FIRST_TOLD && self.count ^ before > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Flow, flow::hello};

    fn followed(headers: &[[u8; 5]]) -> Records {
        let mut records = Records::default();
        records.begin(1000);
        for header in headers {
            records.header(*header);
        }
        records
    }

    #[test]
    fn boundaries_follow_from_headers_and_only_application_data_counts() {
        let records =
            followed(&[[22, 3, 1, 2, 0], [20, 3, 3, 0, 1], [23, 3, 3, 0, 60], [23, 3, 3, 4, 0]]);
        assert_eq!(records.state, state::FOLLOWED);
        assert_eq!(records.count, 2);
        assert_eq!(records.lengths, [1, 0, 0, 0, 0, 1]);
        assert_eq!(records.next, 1000 + 4 * 5 + 512 + 1 + 60 + 1024);
    }

    #[test]
    fn a_server_that_speaks_tls_has_read_a_hello() {
        let answer = followed(&[[22, 3, 3, 0, 90]]);
        let flow = |state, egress_records| Flow { hello: state, egress_records, ..Flow::default() };
        for state in [hello::NONE, hello::AWAITED, hello::COLLECTING, hello::FORWARDED] {
            assert!(flow(state, answer).answers_unread_hello());
            let text = followed(&[*b"HTTP/"]);
            assert!(!flow(state, text).answers_unread_hello());
            assert!(!flow(state, Records::default()).answers_unread_hello());
        }
        assert!(!flow(hello::READ, answer).answers_unread_hello());
    }

    #[test]
    fn a_header_byte_by_byte_is_the_same() {
        let headers = [[22, 3, 1, 2, 0], [23, 3, 3, 1, 7], [21, 3, 3, 0, 19]];
        let mut records = Records::default();
        records.begin(1000);
        for header in headers {
            for byte in header {
                records.byte(byte);
            }
        }
        let whole = followed(&headers);
        let rest = Records { kind: 0, length_high: 0, ..records };
        assert_eq!(rest, whole);
    }

    #[test]
    fn what_makes_no_sense_is_not_followed() {
        for header in
            [[23, 3, 3, 0, 9], [71, 69, 84, 32, 47], [22, 2, 0, 1, 0], [22, 3, 1, 0, 0], [0; 5]]
        {
            assert_eq!(followed(&[header]).state, state::NONE, "{header:?} begins no stream");
        }
        for header in
            [[19, 3, 3, 0, 9], [25, 3, 3, 0, 9], [23, 3, 3, 0, 0], [23, 3, 3, 0x48, 1], [23; 5]]
        {
            let lost = followed(&[[22, 3, 1, 2, 0], header]);
            assert_eq!((lost.state, lost.count), (state::LOST, 0), "{header:?}");
            assert!(!lost.goes_on());
        }
    }

    #[test]
    fn doublings_from_sixteen_are_told_once() {
        let told = |before, count| Records { count, ..Records::default() }.has_got_on(before);
        assert!(!told(7, 8));
        assert!(told(15, 16) && told(3, 17) && told(31, 32) && told(20, 70));
        assert!(!told(16, 17) && !told(16, 31) && !told(32, 32));
    }
}
