//! New connections over time: how many, how regularly, how many at once.

use weir_common::abi::time::SECOND_NS;

use super::{latest::Latest, spread, windows::Windows};

/// Intervals kept.
const INTERVALS: u8 = 64;

/// Fewest intervals that have a median.
const FEWEST_FOR_MEDIAN: usize = 4;
/// Fewest intervals that say something about regularity.
pub(crate) const FEWEST: usize = 8;

/// Slots of the highest number of connections that were open at once.
const PEAKS: usize = 6;
const PEAK_NS: u64 = 10 * SECOND_NS;

/// When connections came.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    windows: Windows,
    last_ns: u64,
    // Microseconds.
    intervals: Latest<u32>,
    // The newest slot, which `peaks` begins with.
    peak_slot: u32,
    peaks: [u16; PEAKS],
}

impl Arrivals {
    /// A connection came. Slightly late events are put where they belong. `open` is how many there
    /// are now.
    pub(crate) fn record(&mut self, at_ns: u64, open: usize) {
        self.windows.record(at_ns, 1);
        if self.last_ns != 0 && at_ns >= self.last_ns {
            let micros = (at_ns - self.last_ns) / 1000;
            self.intervals.push(u32::try_from(micros).unwrap_or(u32::MAX), INTERVALS);
        }
        self.last_ns = self.last_ns.max(at_ns);
        self.note_peak(at_ns, open);
    }

    /// A connection does not count after all. The interval before it stays.
    pub(crate) fn take_back(&mut self, at_ns: u64) {
        self.windows.take_back(at_ns);
    }

    /// Connections in the last `seconds`, at most 3600.
    pub(crate) fn within(&self, now_ns: u64, seconds: u32) -> u64 {
        self.windows.within(now_ns, seconds)
    }

    /// How many of the last stretches of so many seconds had a connection.
    pub(crate) fn busy(&self, now_ns: u64, seconds: u32, stretches: u32) -> u64 {
        self.windows.busy(now_ns, seconds, stretches)
    }

    /// Median time between connections, nanoseconds; unknown below four intervals.
    pub(crate) fn interval_median_ns(&self) -> Option<u64> {
        if self.intervals.len() < FEWEST_FOR_MEDIAN {
            return None;
        }
        self.median_micros().map(|micros| micros * 1000)
    }

    /// Spread of the time between connections; unknown below [`FEWEST`].
    pub(crate) fn interval_cv(&self) -> Option<f64> {
        (self.intervals.len() >= FEWEST)
            .then(|| spread::variation(self.intervals.iter().map(|micros| f64::from(*micros))))
    }

    /// The share of times between connections that lie within a tenth of their median; unknown below
    /// [`FEWEST`]. A pause now and then leaves it as it is.
    pub(crate) fn regularity(&self) -> Option<f64> {
        if self.intervals.len() < FEWEST {
            return None;
        }
        let median = self.median_micros()?;
        let near = |micros: &&u32| u64::from(**micros).abs_diff(median) * 10 <= median;
        let regular = self.intervals.iter().filter(near).count();
        Some(regular as f64 / self.intervals.len() as f64)
    }

    /// The most connections that were open at once in the last minute.
    pub(crate) fn peak(&self, now_ns: u64, open: usize) -> u64 {
        let passed = usize::try_from(peak_slot(now_ns).saturating_sub(self.peak_slot));
        let kept = PEAKS.saturating_sub(passed.unwrap_or(PEAKS));
        let highest = self.peaks.iter().take(kept).copied().max().unwrap_or(0);
        u64::from(highest).max(open as u64)
    }

    fn note_peak(&mut self, at_ns: u64, open: usize) {
        let slot = peak_slot(at_ns);
        if slot > self.peak_slot {
            let by = usize::try_from(slot - self.peak_slot).unwrap_or(PEAKS).min(PEAKS);
            self.peaks.rotate_right(by);
            self.peaks.iter_mut().take(by).for_each(|peak| *peak = 0);
            self.peak_slot = slot;
        }
        let open = u16::try_from(open).unwrap_or(u16::MAX);
        if let Some(newest) = self.peaks.first_mut() {
            *newest = open.max(*newest);
        }
    }

    fn median_micros(&self) -> Option<u64> {
        let mut sorted: Vec<u64> = self.intervals.iter().map(|micros| u64::from(*micros)).collect();
        sorted.sort_unstable();
        spread::median(&sorted)
    }
}

fn peak_slot(at_ns: u64) -> u32 {
    u32::try_from(at_ns / PEAK_NS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regularity_needs_samples_and_forgives_a_pause() {
        let mut arrivals = Arrivals::default();
        for n in 1..=8 {
            arrivals.record(n * SECOND_NS, 1);
        }
        assert_eq!((arrivals.interval_cv(), arrivals.regularity()), (None, None));
        arrivals.record(9 * SECOND_NS, 1);
        assert_eq!((arrivals.interval_cv(), arrivals.regularity()), (Some(0.0), Some(1.0)));
        assert_eq!(arrivals.interval_median_ns(), Some(SECOND_NS));
        for n in 0..2 {
            arrivals.record((100 + n * 50) * SECOND_NS, 1);
        }
        assert_eq!(arrivals.regularity(), Some(0.8));
        assert!(arrivals.interval_cv() > Some(1.0));
    }

    #[test]
    fn peaks_are_of_the_last_minute() {
        let mut arrivals = Arrivals::default();
        arrivals.record(5 * SECOND_NS, 7);
        arrivals.record(25 * SECOND_NS, 3);
        assert_eq!(arrivals.peak(30 * SECOND_NS, 2), 7);
        assert_eq!(arrivals.peak(61 * SECOND_NS, 2), 3);
        assert_eq!(arrivals.peak(600 * SECOND_NS, 2), 2);
    }
}
