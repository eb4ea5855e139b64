//! TLS records of a flow, as they show without their keys: how many carry application data, and how
//! long they are (RFC 8446, section 5.1).

/// Buckets of a histogram of records' lengths (see [`length_bucket`]).
pub const LENGTH_BUCKETS: usize = 6;

/// log2 of the first bucket's upper bound in bytes: control frames of HTTP/2 are below it.
const LENGTH_SHIFT: u32 = 6;

/// The bucket of a record's length: bucket 0 is below 64 bytes, bucket `n` is
/// `[2^(5+n), 2^(6+n))`, and the last one (from 1 KiB) is open.
#[inline(always)]
#[must_use]
pub const fn length_bucket(bytes: u32) -> usize {
    let scaled = bytes >> LENGTH_SHIFT;
    let log = core::hint::black_box((u32::BITS - scaled.leading_zeros()) as usize);
    if log < LENGTH_BUCKETS { log } else { LENGTH_BUCKETS - 1 }
}

/// How well the records of a direction are known ([`Records::state`]).
pub mod state {
    /// There are none: not TLS, not TCP, or the stream's beginning was not seen. Nothing is counted.
    pub const NONE: u8 = 0;
    /// The first record has yet to come.
    pub const AWAITED: u8 = 1;
    /// Every record so far was seen: the counts are exact.
    pub const FOLLOWED: u8 = 2;
    /// One was missed, or made no sense: the counts are what was seen until then.
    pub const LOST: u8 = 3;
}

/// The records of one direction of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Records {
    /// Sequence number of the next byte of a header that is to be read.
    pub next: u32,
    /// Records of application data, the encrypted handshake of TLS 1.3 included.
    pub count: u32,
    /// Their lengths, log2 (see [`length_bucket`]); saturating.
    pub lengths: [u16; LENGTH_BUCKETS],
    /// See [`state`].
    pub state: u8,
    /// Bytes of a header that were read: the rest is in another segment.
    pub read: u8,
    /// The first of them: the record's type.
    pub kind: u8,
    /// The fourth of them: the length's upper half.
    pub length_high: u8,
}
const _: () = assert!(size_of::<Records>() == 24);
