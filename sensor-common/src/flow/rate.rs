//! Events by second over the last ten: a ring of counters that needs no timer.
//!
//! A second here is 2^30 ns (1.07 s): a shift instead of a division in the data path.

use crate::abi::flow::{RATE_SLOTS, Rate};

/// log2 of a slot's length in nanoseconds.
const SECOND_SHIFT: u32 = 30;

impl Rate {
    /// Counts one event and returns how many the last ten seconds hold, this one included.
    ///
    /// Without branches on the slots, because the verifier would follow every combination.
    #[inline(always)]
    pub fn add(&mut self, now_ns: u64) -> u32 {
        let second = (now_ns >> SECOND_SHIFT) as u32;
        let current = (second % RATE_SLOTS as u32) as i32;
        let passed = second.wrapping_sub(self.second).min(RATE_SLOTS as u32) as i32;
        self.second = second;
        let mut total = 1u32;
        for (index, slot) in self.slots.iter_mut().enumerate() {
            // How many slots before the current one this is: 0 to 9.
            let back = current - index as i32;
            let back = back + (RATE_SLOTS as i32 & back >> 31);
            // All ones where its turn came again since the last event: what it counts is stale.
            let stale = ((back - passed) >> 31) as u16;
            *slot &= !stale;
            total += u32::from(*slot);
        }
        if let Some(slot) = self.slots.get_mut(core::hint::black_box(current) as usize) {
            *slot = slot.saturating_add(1);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1 << SECOND_SHIFT;

    #[test]
    fn ten_seconds_are_remembered_and_the_eleventh_is_not() {
        let mut rate = Rate::default();
        for second in 100..110 {
            rate.add(second * SECOND);
        }
        assert_eq!(rate.add(109 * SECOND), 11);
        assert_eq!(rate.add(110 * SECOND), 11, "second 100 fell out, this one came in");
        assert_eq!(rate.add(1_000 * SECOND), 1, "after a long pause nothing is left");
    }

    #[test]
    fn counts_saturate() {
        let mut rate = Rate::default();
        for _ in 0..70_000 {
            rate.add(5);
        }
        assert_eq!(rate.add(5), u32::from(u16::MAX) + 1);
    }
}
