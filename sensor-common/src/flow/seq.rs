//! Sequence numbers: comparisons modulo 2^32 (RFC 9293, section 3.4).

/// Whether `a` comes after `b`.
#[inline(always)]
#[must_use]
pub const fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

/// The later of two.
#[inline(always)]
#[must_use]
pub const fn latest(a: u32, b: u32) -> u32 {
    if after(a, b) { a } else { b }
}
