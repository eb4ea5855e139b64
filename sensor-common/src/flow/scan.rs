//! What sources do without proof, in cells with one owner: distinct local ports by linear counting
//! (Whang et al. 1990), and counts of a minute.
//!
//! Hashes are seeded at load, so that nobody can aim at another source's cell. A cell that a
//! different source takes over starts at zero: strangers can hide a count, never raise one.

use crate::{
    abi::{
        CloseReason, SourceKey,
        scan::{SCAN_WORDS, Scan},
        time::TICK_NS,
    },
    packet::{
        Segment,
        tcp::{ACK, FIN, RST, SYN},
    },
};

/// A window of observation, in ticks: one minute.
const WINDOW_TICKS: u32 = (60_000_000_000 / TICK_NS) as u32;

/// The smallest estimate that is reported, then every doubling.
pub const FIRST_REPORT: u32 = 8;

/// Half-open connections, and odd flags, are reported from here on, at every doubling.
const FEW: u32 = 8;
/// Strays and datagrams are.
const MANY: u32 = 32;

/// Segments that may follow the end of a flow: the last acknowledgement, and repetitions.
const AFTER_END: u32 = 4;
/// The same where the server reset it: what was on its way.
const AFTER_RESET: u32 = 64;
/// More are never expected.
const MOST_EXPECTED: u32 = 1024;

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
    /// The cell is this source's from now on. What is a minute old is forgotten; what is expected of
    /// it, a window later.
    #[inline(always)]
    pub fn enter(&mut self, source: SourceKey, now_tick: u32) {
        let past = now_tick.wrapping_sub(self.since_tick);
        if self.source == source && past <= WINDOW_TICKS {
            return;
        }
        let is_next = self.source == source && past <= 2 * WINDOW_TICKS;
        let expected = if is_next { self.expected } else { 0 };
        *self = Self { source, since_tick: now_tick, expected, ..Self::default() };
    }

    /// Whether the source tried this port in this window.
    #[inline(always)]
    #[must_use]
    pub fn has_tried(&self, source: SourceKey, port: u16, seed: u64, now_tick: u32) -> bool {
        let [low, high] = self.ports;
        let bit = bit(port, seed);
        let word = if bit < 64 { low } else { high };
        self.source == source
            && now_tick.wrapping_sub(self.since_tick) <= WINDOW_TICKS
            && word >> (bit & 63) & 1 == 1
    }

    /// The source tries a port. Returns the estimate of distinct ports when it just reached 8, 16,
    /// 32, … (`None` otherwise).
    #[inline(always)]
    pub fn port(&mut self, port: u16, seed: u64) -> Option<u32> {
        let bit = bit(port, seed);
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

    /// A first SYN to a protected port. Returns how many are not proven when that is to be reported,
    /// like the functions below.
    #[inline(always)]
    pub const fn attempt(&mut self) -> Option<u32> {
        let reached = step(&mut self.half_open, FEW);
        // Proofs take it down again: the same number is reported once.
        if self.half_open <= self.half_open_told {
            return None;
        }
        if reached.is_some() {
            self.half_open_told = self.half_open;
        }
        reached
    }

    /// One of the source's handshakes was proven, or refused.
    #[inline(always)]
    pub fn answered(&mut self, source: SourceKey) {
        if self.source == source {
            self.half_open = self.half_open.saturating_sub(1);
        }
    }

    /// One of the source's flows ended.
    #[inline(always)]
    pub fn ended(&mut self, source: SourceKey, why: CloseReason) {
        if self.source != source {
            return;
        }
        let more =
            if why as u8 == CloseReason::ServerReset as u8 { AFTER_RESET } else { AFTER_END };
        let expected = self.expected + more;
        self.expected = if expected > MOST_EXPECTED { MOST_EXPECTED } else { expected };
    }

    /// A segment that belongs to nothing.
    #[inline(always)]
    pub const fn stray(&mut self) -> Option<u32> {
        if self.expected > 0 {
            self.expected -= 1;
            return None;
        }
        step(&mut self.strays, MANY)
    }

    /// A segment with odd flags.
    #[inline(always)]
    pub const fn odd(&mut self) -> Option<u32> {
        step(&mut self.odd_flags, FEW)
    }

    /// A datagram that belongs to nothing.
    #[inline(always)]
    pub const fn datagram(&mut self) -> Option<u32> {
        step(&mut self.datagrams, MANY)
    }
}

/// Counts one more. Returns the count where it is a power of two, `least` or above.
#[inline(always)]
const fn step(count: &mut u32, least: u32) -> Option<u32> {
    *count = count.saturating_add(1);
    if *count >= least && *count & (*count - 1) == 0 { Some(*count) } else { None }
}

/// The place of a port in the bitmap.
#[inline(always)]
const fn bit(port: u16, seed: u64) -> u32 {
    mix(seed, port as u64) as u32 & (BITS - 1)
}

impl Segment {
    /// Whether no stack sends such flags: SYN with FIN or RST, or none of SYN, RST and ACK (RFC 9293,
    /// section 3.10.7: every other segment acknowledges).
    #[inline(always)]
    #[must_use]
    pub const fn is_odd(&self) -> bool {
        if self.flags & SYN != 0 {
            self.flags & (FIN | RST) != 0
        } else {
            self.flags & (RST | ACK) == 0
        }
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

    fn tries(scan: &mut Scan, source: SourceKey, port: u16, now_tick: u32) -> Option<u32> {
        scan.enter(source, now_tick);
        scan.port(port, SEED)
    }

    #[test]
    fn a_scan_is_reported_at_every_doubling_and_repeats_are_not() {
        let mut scan = Scan::default();
        let mut reports = Vec::new();
        for port in 1..=200 {
            for _ in 0..3 {
                reports.extend(tries(&mut scan, source(1), port, 10));
            }
            assert!(scan.has_tried(source(1), port, SEED, 11));
            assert!(!scan.has_tried(source(2), port, SEED, 11));
            assert!(!scan.has_tried(source(1), port, SEED, 12 + WINDOW_TICKS));
        }
        assert!(reports.windows(2).all(|pair| pair[0] < pair[1]), "{reports:?}");
        assert!(reports[0] == FIRST_REPORT && reports.len() >= 4, "{reports:?}");
    }

    #[test]
    fn one_port_tried_a_thousand_times_is_no_scan() {
        let mut scan = Scan::default();
        assert!((0..1000).all(|_| tries(&mut scan, source(1), 22, 10).is_none()));
    }

    #[test]
    fn estimates_stay_near_the_truth() {
        for truth in [8u32, 16, 32, 64, 100, 150, 200] {
            let mut scan = Scan::default();
            for port in 0..truth as u16 {
                tries(&mut scan, source(1), port, 10);
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
            tries(&mut scan, source(1), port, 10);
        }
        scan.ended(source(1), CloseReason::Fin);
        scan.answered(source(2));
        scan.ended(source(2), CloseReason::Fin);
        assert_eq!(scan.expected, AFTER_END, "what others do changes nothing");
        assert_eq!(tries(&mut scan, source(2), 80, 10), None);
        let set: u32 = scan.ports.map(ones).iter().sum();
        assert_eq!((scan.source, set, scan.expected), (source(2), 1, 0));
    }

    #[test]
    fn a_minute_later_the_count_starts_again() {
        let mut scan = Scan::default();
        for port in 0..100 {
            tries(&mut scan, source(1), port, 10);
        }
        scan.ended(source(1), CloseReason::Fin);
        tries(&mut scan, source(1), 7, 10 + WINDOW_TICKS + 1);
        assert_eq!(scan.ports.map(ones).iter().sum::<u32>(), 1);
        assert_eq!(scan.expected, AFTER_END);
        tries(&mut scan, source(1), 7, 12 + 3 * WINDOW_TICKS);
        assert_eq!(scan.expected, 0);
    }

    #[test]
    fn proofs_take_half_open_connections_back_and_a_number_is_reported_once() {
        let mut scan = Scan::default();
        scan.enter(source(1), 10);
        for _ in 0..100 {
            assert_eq!(scan.attempt(), None);
            scan.answered(source(1));
        }
        let told: Vec<u32> = (0..20).filter_map(|_| scan.attempt()).collect();
        assert_eq!(told, [8, 16]);
        for _ in 0..15 {
            scan.answered(source(1));
        }
        let told: Vec<u32> = (0..30).filter_map(|_| scan.attempt()).collect();
        assert_eq!(told, [32]);
    }

    #[test]
    fn what_follows_the_end_of_a_flow_is_no_stray() {
        let mut scan = Scan::default();
        scan.enter(source(1), 10);
        scan.ended(source(1), CloseReason::Fin);
        scan.ended(source(1), CloseReason::ServerReset);
        let told: Vec<u32> = (0..68 + 64).filter_map(|_| scan.stray()).collect();
        assert_eq!((told, scan.strays), (vec![32, 64], 64));
        for _ in 0..100 {
            scan.ended(source(1), CloseReason::ServerReset);
        }
        assert_eq!(scan.expected, MOST_EXPECTED);
    }

    #[test]
    fn odd_flags_are_those_that_no_stack_sends() {
        let odd = |flags| Segment { flags, ..Segment::default() }.is_odd();
        for flags in [0, FIN, 0x08, 0x29, SYN | FIN, SYN | FIN | ACK, SYN | RST, 0x3f] {
            assert!(odd(flags), "{flags:#x}");
        }
        for flags in [SYN, SYN | ACK, SYN | 0xc0, ACK, FIN | ACK, RST, RST | ACK, ACK | 0x28] {
            assert!(!odd(flags), "{flags:#x}");
        }
    }
}
