//! Distinct local ports by source: linear counting (Whang et al. 1990) in cells with one owner.
//!
//! Hashes are seeded at load, so that nobody can aim at another source's cell. A cell that a
//! different source takes over starts at zero: strangers can hide an estimate, never raise one.

use crate::abi::{
    SourceKey,
    flow::{SCAN_WORDS, Scan},
    time::TICK_NS,
};

/// A window of observation, in ticks: one minute.
const WINDOW_TICKS: u32 = (60_000_000_000 / TICK_NS) as u32;

/// The smallest estimate that is reported, then every doubling.
pub const FIRST_REPORT: u32 = 8;

/// Bits of the port bitmap.
const BITS: u32 = 64 * SCAN_WORDS as u32;

/// A 64-bit mix (the finaliser of SplitMix64, Steele et al. 2014): every input bit reaches every
/// output bit.
#[inline(always)]
#[must_use]
pub const fn mix(seed: u64, value: u64) -> u64 {
    let mut x = seed ^ value;
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// The source as one number, for hashing.
#[inline(always)]
#[must_use]
pub const fn source_bits(source: SourceKey) -> u64 {
    let [a, b] = source.words;
    (a as u64) << 32 | b as u64
}

impl Scan {
    /// Notes a SYN to `port`. Returns the estimate of distinct ports when it just reached 8, 16,
    /// 32, … (`None` otherwise).
    #[inline(always)]
    pub fn note(&mut self, source: SourceKey, port: u16, seed: u64, now_tick: u32) -> Option<u32> {
        if self.source != source || now_tick.wrapping_sub(self.since_tick) > WINDOW_TICKS {
            *self = Self { source, since_tick: now_tick, ..Self::default() };
        }
        self.syns = self.syns.saturating_add(1);
        let bit = mix(seed, u64::from(port)) as u32 & (BITS - 1);
        let [low, high] = &mut self.ports;
        let word = if bit < 64 { low } else { high };
        let mask = 1u64 << (bit & 63);
        if *word & mask != 0 {
            return None;
        }
        *word |= mask;
        let [low, high] = self.ports;
        let set = ones(low) + ones(high);
        let now = estimate(set);
        let before = estimate(set - 1);
        let reached = now.checked_ilog2().unwrap_or(0) > before.checked_ilog2().unwrap_or(0);
        if now >= FIRST_REPORT && reached { Some(now) } else { None }
    }
}

/// Set bits, without the multiplication that the BPF target lowers `count_ones` to.
#[inline(always)]
const fn ones(word: u64) -> u32 {
    word.count_ones()
}

/// Linear counting: `-m ln(1 - set/m)` for m = 128, in integers. Below a quarter full the bitmap
/// itself is within 13 % and is taken as it is: an underestimate, never an overestimate.
#[inline(always)]
const fn estimate(set: u32) -> u32 {
    match set {
        0..=31 => set,
        32..=63 => set + set * set / 256,
        64..=95 => set + set * set / 200,
        96..=111 => 178 + (set - 96) * 5,
        112..=119 => 266 + (set - 112) * 10,
        _ => 355 + (set - 120) * 30,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 0x5eed;

    fn source(last: u32) -> SourceKey {
        SourceKey { words: [u32::MAX, last] }
    }

    #[test]
    fn a_scan_is_reported_at_every_doubling_and_repeats_are_not() {
        let mut scan = Scan::default();
        let mut reports = Vec::new();
        for port in 1..=200 {
            for _ in 0..3 {
                reports.extend(scan.note(source(1), port, SEED, 10));
            }
        }
        assert!(reports.windows(2).all(|pair| pair[0] < pair[1]), "{reports:?}");
        assert!(reports[0] == FIRST_REPORT && reports.len() >= 4, "{reports:?}");
    }

    #[test]
    fn one_port_tried_a_thousand_times_is_no_scan() {
        let mut scan = Scan::default();
        assert!((0..1000).all(|_| scan.note(source(1), 22, SEED, 10).is_none()));
    }

    #[test]
    fn estimates_stay_near_the_truth() {
        for truth in [8u32, 16, 32, 64, 100, 150, 200] {
            let mut scan = Scan::default();
            for port in 0..truth as u16 {
                scan.note(source(1), port, SEED, 10);
            }
            let [low, high] = scan.ports;
            let estimate = estimate(ones(low) + ones(high));
            let error = (f64::from(estimate) - f64::from(truth)) / f64::from(truth);
            assert!(error.abs() < 0.25, "{truth}: {estimate}");
        }
    }

    #[test]
    fn another_source_takes_the_cell_over_from_zero() {
        let mut scan = Scan::default();
        for port in 0..100 {
            scan.note(source(1), port, SEED, 10);
        }
        assert_eq!(scan.note(source(2), 80, SEED, 10), None);
        assert_eq!((scan.source, scan.syns), (source(2), 1));
    }

    #[test]
    fn a_minute_later_the_count_starts_again() {
        let mut scan = Scan::default();
        for port in 0..100 {
            scan.note(source(1), port, SEED, 10);
        }
        scan.note(source(1), 7, SEED, 10 + WINDOW_TICKS + 1);
        assert_eq!(scan.syns, 1);
    }
}
