//! Counts over sliding windows, from a second to an hour.
//!
//! One sparse list of slots serves all windows: quarters of a second for the last minute, and
//! quarters of a minute for the rest of the hour. A window covers at most the time that it names,
//! and at least that less one of its slots. An hour without a break takes 4 KiB, a single event 16
//! bytes.

use weir_common::abi::time::SECOND_NS;

/// The finer resolution.
const SLOT_NS: u64 = SECOND_NS / 4;
/// Slots in a second.
const A_SECOND: u32 = 4;
/// Slots of the finer resolution: a minute.
const FINE: u32 = 60 * A_SECOND;
/// The coarser resolution: a quarter of a minute.
const COARSE: u32 = 15 * A_SECOND;
/// How long anything is kept: an hour.
const KEPT: u32 = 3600 * A_SECOND;

/// What happened when, in slots: `N` counts side by side.
#[derive(Debug)]
pub(crate) struct Windows<const N: usize = 1> {
    // Ascending; in none are all counts zero.
    slots: Vec<(u32, [u32; N])>,
}

impl<const N: usize> Default for Windows<N> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl Windows {
    /// So much happened at a time. What is late is put where it belongs.
    pub(crate) fn record(&mut self, at_ns: u64, by: u32) {
        self.add(at_ns, [by]);
    }

    /// How much happened in the last `seconds`, at most 3600.
    pub(crate) fn within(&self, now_ns: u64, seconds: u32) -> u64 {
        self.count(0, now_ns, seconds)
    }
}

impl<const N: usize> Windows<N> {
    /// So much of each happened at a time. What is late is put where it belongs.
    pub(crate) fn add(&mut self, at_ns: u64, by: [u32; N]) {
        let slot = slot(at_ns);
        let newest = self.slots.last().map_or(slot, |(newest, _)| slot.max(*newest));
        if by == [0; N] || slot.saturating_add(KEPT) <= newest {
            return;
        }
        let index = self.slots.partition_point(|(known, _)| *known < slot);
        match self.slots.get_mut(index) {
            Some((known, counts)) if *known == slot => merge(counts, &by),
            _ => {
                if self.slots.len() == self.slots.capacity() {
                    self.make_room(newest);
                    return self.add(at_ns, by);
                }
                self.slots.insert(index, (slot, by));
            }
        }
    }

    /// One thing that happened then, of the first kind, does not count after all.
    pub(crate) fn take_back(&mut self, at_ns: u64) {
        let slot = slot(at_ns);
        let newest = self.slots.last().map_or(0, |(newest, _)| *newest);
        let find = |slot| self.slots.binary_search_by_key(&slot, |(known, _)| *known).ok();
        let is_merged = slot.saturating_add(FINE) <= newest;
        let merged = || is_merged.then(|| find(slot - slot % COARSE)).flatten();
        let Some(index) = find(slot).or_else(merged) else { return };
        if let Some((_, counts)) = self.slots.get_mut(index) {
            if let Some(first) = counts.first_mut() {
                *first = first.saturating_sub(1);
            }
            if *counts == [0; N] {
                self.slots.remove(index);
            }
        }
    }

    /// How much of a kind happened in the last `seconds`, at most 3600.
    pub(crate) fn count(&self, kind: usize, now_ns: u64, seconds: u32) -> u64 {
        let counts = self.recent(now_ns, seconds).filter_map(|(_, counts)| counts.get(kind));
        counts.map(|count| u64::from(*count)).sum()
    }

    /// In how many stretches of `seconds` of the last `stretches` something happened. They are
    /// counted back from now.
    pub(crate) fn busy(&self, now_ns: u64, seconds: u32, stretches: u32) -> u64 {
        let now = slot(now_ns);
        let mut busy = 0;
        let mut last = None;
        for (slot, _) in self.recent(now_ns, seconds.saturating_mul(stretches)) {
            let stretch = now.saturating_sub(*slot) / (seconds * A_SECOND).max(1);
            if last != Some(stretch) {
                busy += 1;
                last = Some(stretch);
            }
        }
        busy
    }

    /// Merges what is older than a minute, drops what is older than an hour, and lets the list grow
    /// where that frees too little.
    fn make_room(&mut self, newest: u32) {
        self.slots.retain_mut(|(slot, _)| {
            if slot.saturating_add(FINE) <= newest {
                *slot -= *slot % COARSE;
            }
            slot.saturating_add(KEPT) > newest
        });
        self.slots.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                merge(&mut kept.1, &next.1);
            }
            same
        });
        let capacity = self.slots.capacity();
        if self.slots.len() + capacity / 8 >= capacity {
            self.slots.reserve_exact((capacity - self.slots.len()).max(1) + capacity / 2);
        }
    }

    fn recent(&self, now_ns: u64, seconds: u32) -> impl Iterator<Item = &(u32, [u32; N])> {
        let slots = seconds.saturating_mul(A_SECOND).min(KEPT);
        let now = slot(now_ns);
        self.slots
            .iter()
            .rev()
            .skip_while(move |(slot, _)| *slot > now)
            .take_while(move |(slot, _)| slot.saturating_add(slots) > now)
    }
}

fn merge<const N: usize>(counts: &mut [u32; N], more: &[u32; N]) {
    for (count, more) in counts.iter_mut().zip(more) {
        *count = count.saturating_add(*more);
    }
}

fn slot(at_ns: u64) -> u32 {
    u32::try_from(at_ns / SLOT_NS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_slide() {
        let mut windows = Windows::default();
        for n in 0..100 {
            windows.record(n * SECOND_NS / 10, 1);
        }
        let now = 99 * SECOND_NS / 10;
        assert_eq!(windows.within(now, 60), 100);
        assert!((8..=10).contains(&windows.within(now, 1)));
        assert_eq!(windows.within(now + 5 * SECOND_NS, 1), 0);
        assert_eq!(windows.within(now + 61 * SECOND_NS, 60), 0);
        assert_eq!(windows.within(now + 61 * SECOND_NS, 600), 100);
        assert_eq!(windows.busy(now, 1, 30), 10);
    }

    #[test]
    fn an_hour_is_all_that_is_kept_and_takes_a_bounded_list() {
        let mut windows = Windows::default();
        for n in 0..100_000 {
            windows.record(n * SECOND_NS / 10, 1);
        }
        assert!(windows.slots.capacity() <= 1024, "{}", windows.slots.capacity());
        let now = 99_999 * SECOND_NS / 10;
        assert!((595..=600).contains(&windows.within(now, 60)));
        assert!((35_700..=36_000).contains(&windows.within(now, 3600)));
        assert_eq!((windows.busy(now, 1, 30), windows.busy(now, 60, 60)), (30, 60));
    }

    #[test]
    fn what_is_taken_back_is_not_counted() {
        let mut windows = Windows::default();
        for at_ms in [100, 200, 900] {
            windows.record(at_ms * SECOND_NS / 1000, 1);
        }
        windows.take_back(SECOND_NS / 10);
        windows.take_back(9 * SECOND_NS / 10);
        windows.take_back(9 * SECOND_NS / 10);
        windows.take_back(50 * SECOND_NS);
        assert_eq!((windows.within(SECOND_NS, 60), windows.slots.len()), (1, 1));
    }

    #[test]
    fn late_and_ancient_events_do_no_harm() {
        let mut windows = Windows::default();
        windows.record(10_000 * SECOND_NS, 1);
        windows.record(9_999 * SECOND_NS, 1);
        windows.record(SECOND_NS, 1);
        assert_eq!(windows.within(10_000 * SECOND_NS, 10), 2);
        assert_eq!((windows.within(u64::MAX, 10), windows.within(0, 10)), (0, 0));
    }

    proptest! {
        /// Never more than a list of times says, and never less than the list says of a window that
        /// is shorter by a slot.
        #[test]
        fn they_equal_a_list_of_times_to_a_slot(
            steps in prop::collection::vec((0u64..40_000, 1u32..4), 1..400),
            window in prop::sample::select(vec![1u32, 10, 60, 600, 3600]),
            later_ms in 0u64..10_000,
        ) {
            let mut windows = Windows::default();
            let mut times = Vec::new();
            let mut at_ns = 0;
            for (after_ms, count) in steps {
                at_ns += after_ms * 1_000_000;
                windows.record(at_ns, count);
                times.push((at_ns, count));
            }
            let now_ns = at_ns + later_ms * 1_000_000;
            let naive = |span_ns: u64| -> u64 {
                let within = times.iter().filter(|(at, _)| now_ns - at < span_ns);
                within.map(|(_, count)| u64::from(*count)).sum()
            };
            let span_ns = u64::from(window) * SECOND_NS;
            let slot_ns = if window > 60 { SLOT_NS * u64::from(COARSE) } else { SLOT_NS };
            let counted = windows.within(now_ns, window);
            prop_assert!(counted <= naive(span_ns), "{counted} of {}", naive(span_ns));
            prop_assert!(counted >= naive(span_ns - slot_ns), "{counted} of {}", naive(span_ns - slot_ns));
        }
    }
}
