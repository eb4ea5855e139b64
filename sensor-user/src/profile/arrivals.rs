//! New connections over time: how many in the last seconds, and how regularly they come.

use std::collections::VecDeque;

use weir_common::abi::time::SECOND_NS;

use super::spread;

/// Resolution of windows. A window covers at most the time that it names, and at least that less
/// one slot.
const SLOT_NS: u64 = SECOND_NS / 4;

/// Slots kept: a minute.
const SLOTS: u64 = 240;

/// Intervals kept.
const INTERVALS: usize = 64;

/// Fewest intervals that say something about regularity.
pub(crate) const FEWEST: usize = 16;

/// When connections came.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    // Slots with at least one, ascending.
    slots: VecDeque<(u64, u32)>,
    last_ns: u64,
    // Microseconds.
    intervals: VecDeque<u32>,
}

impl Arrivals {
    /// A connection came. Slightly late events are put where they belong.
    pub(crate) fn record(&mut self, at_ns: u64) {
        let slot = at_ns / SLOT_NS;
        let newest = self.slots.back().map_or(slot, |(newest, _)| slot.max(*newest));
        if slot + SLOTS <= newest {
            return;
        }
        let index = self.slots.partition_point(|(known, _)| *known < slot);
        match self.slots.get_mut(index) {
            Some((known, count)) if *known == slot => *count = count.saturating_add(1),
            _ => self.slots.insert(index, (slot, 1)),
        }
        while self.slots.front().is_some_and(|(oldest, _)| oldest + SLOTS <= newest) {
            self.slots.pop_front();
        }
        if self.last_ns != 0 && at_ns >= self.last_ns {
            if self.intervals.len() == INTERVALS {
                self.intervals.pop_front();
            }
            let micros = (at_ns - self.last_ns) / 1000;
            self.intervals.push_back(u32::try_from(micros).unwrap_or(u32::MAX));
        }
        self.last_ns = self.last_ns.max(at_ns);
    }

    /// A connection does not count after all. The interval before it stays.
    pub(crate) fn take_back(&mut self, at_ns: u64) {
        let slot = at_ns / SLOT_NS;
        if let Ok(index) = self.slots.binary_search_by_key(&slot, |(known, _)| *known)
            && let Some((_, count)) = self.slots.get_mut(index)
        {
            *count -= 1;
            if *count == 0 {
                self.slots.remove(index);
            }
        }
    }

    /// Connections in the last `seconds`, at most 60.
    pub(crate) fn within(&self, now_ns: u64, seconds: u64) -> u64 {
        self.recent(now_ns, seconds).map(|(_, count)| u64::from(*count)).sum()
    }

    /// How many of the last `seconds` had a connection.
    pub(crate) fn busy_seconds(&self, now_ns: u64, seconds: u64) -> u64 {
        let per_second = SECOND_NS / SLOT_NS;
        let now = now_ns / SLOT_NS;
        let mut busy = 0;
        let mut last = None;
        for (slot, _) in self.recent(now_ns, seconds) {
            // Seconds are counted back from now, so that a window never has one more of them.
            let second = now.saturating_sub(*slot) / per_second;
            if last != Some(second) {
                busy += 1;
                last = Some(second);
            }
        }
        busy
    }

    /// Spread of the time between connections; unknown below [`FEWEST`].
    pub(crate) fn interval_cv(&self) -> Option<f64> {
        (self.intervals.len() >= FEWEST)
            .then(|| spread::variation(self.intervals.iter().map(|micros| f64::from(*micros))))
    }

    fn recent(&self, now_ns: u64, seconds: u64) -> impl Iterator<Item = &(u64, u32)> {
        let slots = (seconds * (SECOND_NS / SLOT_NS)).min(SLOTS);
        let now = now_ns / SLOT_NS;
        self.slots
            .iter()
            .rev()
            .skip_while(move |(slot, _)| *slot > now)
            .take_while(move |(slot, _)| slot + slots > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_slide() {
        let mut arrivals = Arrivals::default();
        for n in 0..100 {
            arrivals.record(n * SECOND_NS / 10);
        }
        let now = 99 * SECOND_NS / 10;
        assert_eq!(arrivals.within(now, 60), 100);
        assert!((8..=10).contains(&arrivals.within(now, 1)));
        assert_eq!(arrivals.within(now + 5 * SECOND_NS, 1), 0);
        assert_eq!(arrivals.within(now + 61 * SECOND_NS, 60), 0);
        assert_eq!(arrivals.busy_seconds(now, 30), 10);
    }

    #[test]
    fn a_minute_of_slots_is_all_that_is_kept() {
        let mut arrivals = Arrivals::default();
        for n in 0..100_000 {
            arrivals.record(n * SECOND_NS / 10);
        }
        assert!(arrivals.slots.len() <= SLOTS as usize);
        assert_eq!(arrivals.intervals.len(), INTERVALS);
        let now = 99_999 * SECOND_NS / 10;
        assert!((595..=600).contains(&arrivals.within(now, 60)));
        assert_eq!(arrivals.busy_seconds(now, 30), 30);
    }

    #[test]
    fn what_is_taken_back_is_not_counted() {
        let mut arrivals = Arrivals::default();
        for at_ms in [100, 200, 900] {
            arrivals.record(at_ms * SECOND_NS / 1000);
        }
        arrivals.take_back(SECOND_NS / 10);
        arrivals.take_back(9 * SECOND_NS / 10);
        arrivals.take_back(9 * SECOND_NS / 10);
        arrivals.take_back(50 * SECOND_NS);
        assert_eq!((arrivals.within(SECOND_NS, 60), arrivals.slots.len()), (1, 1));
    }

    #[test]
    fn late_and_ancient_events_do_no_harm() {
        let mut arrivals = Arrivals::default();
        arrivals.record(100 * SECOND_NS);
        arrivals.record(99 * SECOND_NS);
        arrivals.record(SECOND_NS);
        assert_eq!(arrivals.within(100 * SECOND_NS, 10), 2);
        assert_eq!(arrivals.within(u64::MAX, 10), 0);
        assert_eq!(arrivals.within(0, 10), 0);
    }

    #[test]
    fn regularity_needs_samples() {
        let mut arrivals = Arrivals::default();
        for n in 1..=16 {
            arrivals.record(n * SECOND_NS);
        }
        assert_eq!(arrivals.interval_cv(), None);
        arrivals.record(17 * SECOND_NS);
        assert_eq!(arrivals.interval_cv(), Some(0.0));
    }
}
