//! Token bucket as a virtual clock: the generic cell rate algorithm (ITU-T I.371, annex A).
//!
//! One 64-bit state, so that a single compare-exchange takes a token.

/// The state after taking a token at `now_ns`, or `None` when the rate is exceeded.
///
/// `tat_ns` is the theoretical arrival time of the next conforming event; `interval_ns` the time
/// between events at the sustained rate; `burst_ns` how far ahead of it a burst may run:
/// `(burst - 1) * interval_ns` for a burst of `burst` events.
#[inline(always)]
#[must_use]
pub const fn take(tat_ns: u64, now_ns: u64, interval_ns: u64, burst_ns: u64) -> Option<u64> {
    let start = if tat_ns > now_ns { tat_ns } else { now_ns };
    if start - now_ns > burst_ns { None } else { Some(start.wrapping_add(interval_ns)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        // 10 a second, burst of 3.
        let (interval, burst) = (100 * MS, 200 * MS);
        let mut tat = 0;
        let mut passed = 0;
        for step in 0..1000 {
            if let Some(next) = take(tat, step * MS, interval, burst) {
                tat = next;
                passed += 1;
            }
        }
        assert_eq!(passed, 12, "3 at once, then 9 more in the rest of the second");
    }

    #[test]
    fn an_idle_source_gets_its_burst_back_and_no_more() {
        let tat = take(5 * MS, 10_000 * MS, 100 * MS, 0);
        assert_eq!(tat, Some(10_100 * MS));
        assert_eq!(take(tat.unwrap(), 10_001 * MS, 100 * MS, 0), None);
    }
}
