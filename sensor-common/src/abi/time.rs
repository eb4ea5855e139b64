//! Kernel time: nanoseconds of `CLOCK_MONOTONIC`, and the coarse tick that expiries use.
//!
//! A tick is 2^26 ns (67.1 ms): a shift instead of a division in the data path, and 9.1 years in
//! a `u32`. Tick 0 means *never* or *not set*; it lasts 67 ms after boot, when no daemon runs.

/// log2 of a tick's length in nanoseconds.
pub const TICK_SHIFT: u32 = 26;

/// Length of a tick in nanoseconds.
pub const TICK_NS: u64 = 1 << TICK_SHIFT;

/// One second in nanoseconds.
pub const SECOND_NS: u64 = 1_000_000_000;

/// The tick in which `ns` lies.
#[inline(always)]
#[must_use]
pub const fn tick(ns: u64) -> u32 {
    (ns >> TICK_SHIFT) as u32
}

/// The first tick that begins at or after `ns`: an expiry rounded up, never early.
#[inline(always)]
#[must_use]
pub const fn tick_ceil(ns: u64) -> u32 {
    (ns.saturating_add(TICK_NS - 1) >> TICK_SHIFT) as u32
}

/// The instant at which `tick` begins, in nanoseconds.
#[inline(always)]
#[must_use]
pub const fn tick_start_ns(tick: u32) -> u64 {
    (tick as u64) << TICK_SHIFT
}
