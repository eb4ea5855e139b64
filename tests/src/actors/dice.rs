//! Randomness that is the same in every run: splitmix64.

use std::{net::IpAddr, time::Duration};

/// A sequence of numbers that depends on its seed alone.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    /// The sequence of an address and of a number, for several sequences behind one address.
    pub(super) fn of(address: IpAddr, number: u64) -> Self {
        let bits = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        Self { state: (bits ^ bits >> 64) as u64 ^ number << 40 }
    }

    /// The next number.
    pub(super) fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number from `from` up to, not including, `to`.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.roll() % to.saturating_sub(from).max(1)
    }

    /// A pause between two numbers of milliseconds.
    pub(super) fn pause(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(self.between(from_ms, to_ms))
    }

    /// How long somebody looks at a page: mostly some seconds, now and then much longer.
    pub(super) fn reading(&mut self) -> Duration {
        match self.between(0, 8) {
            0 => self.pause(9_000, 20_000),
            1 | 2 => self.pause(4_000, 9_000),
            _ => self.pause(1_200, 5_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_roll_differently_and_repeatably() {
        let roll = |host, number| Dice::of(IpAddr::from([203, 0, 113, host]), number).roll();
        assert_eq!(roll(7, 0), roll(7, 0));
        assert_ne!(roll(7, 0), roll(8, 0));
        assert_ne!(roll(7, 0), roll(7, 1));
    }
}
