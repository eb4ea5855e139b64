//! What looks like chance, and is the same every time.

use std::net::IpAddr;

/// A sequence of numbers (SplitMix64, Steele, Lea and Flood 2014).
pub(super) struct Chance(u64);

impl Chance {
    /// That of a source in a pattern.
    pub(super) fn new(source: IpAddr, pattern: u32) -> Self {
        let bits = match source {
            IpAddr::V4(v4) => u64::from(u32::from(v4)),
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64,
        };
        Self(scatter(bits ^ u64::from(pattern) << 40))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scatter(self.0)
    }

    /// A number around `mean`: between `1 - share` and `1 + share` of it.
    pub(super) fn vary(&mut self, mean: u64, share: f64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        let factor = 1.0 + share * (2.0 * unit - 1.0);
        (mean as f64 * factor) as u64
    }
}

/// Makes near numbers far.
pub(super) const fn scatter(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
