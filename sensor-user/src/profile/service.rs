//! What comes to one service as a whole.

use std::collections::HashMap;

use weir_common::abi::{SourceKey, time::SECOND_NS};

use super::windows::Windows;

/// Sources of one service that are told apart within an hour; counts end there.
const MOST_SOURCES: usize = 16_384;

const MINUTE_NS: u64 = 60 * SECOND_NS;
const MINUTES: usize = 60;

/// Fewest first SYNs of which a share says something.
const FEWEST_SYNS: u64 = 32;

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    connections: Windows,
    // The minute in which each source was seen last, and how many were by minute.
    last_seen: HashMap<SourceKey, u32>,
    by_minute: [u32; MINUTES],
    minute: u32,
    // The minute in which room was made last.
    swept: u32,
    // As the kernel reports them: forgeable.
    syns: Windows,
    proven: Windows,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            connections: Windows::default(),
            last_seen: HashMap::new(),
            by_minute: [0; MINUTES],
            minute: 0,
            swept: 0,
            syns: Windows::default(),
            proven: Windows::default(),
        }
    }
}

impl Service {
    /// A connection was proven.
    pub(crate) fn established(&mut self, source: &SourceKey, at_ns: u64) {
        self.connections.record(at_ns, 1);
        let minute = minute(at_ns);
        self.turn_to(minute);
        if let Some(last) = self.last_seen.get_mut(source) {
            let before = std::mem::replace(last, minute.max(*last));
            self.count(before, -1);
            self.count(minute.max(before), 1);
            return;
        }
        if self.last_seen.len() >= MOST_SOURCES && self.swept < self.minute {
            let minute = self.minute;
            self.last_seen.retain(|_, last| last.saturating_add(MINUTES as u32) > minute);
            self.swept = self.minute;
        }
        if self.last_seen.len() < MOST_SOURCES {
            self.last_seen.insert(*source, minute);
            self.count(minute, 1);
        }
    }

    /// So many first SYNs came, and so many of them were followed by a proof.
    pub(crate) fn pressure(&mut self, syns: u32, proven: u32, at_ns: u64) {
        self.syns.record(at_ns, syns);
        self.proven.record(at_ns, proven);
    }

    /// Connections in the last `seconds`, at most 3600.
    pub(crate) fn connections(&self, now_ns: u64, seconds: u32) -> u64 {
        self.connections.within(now_ns, seconds)
    }

    /// Distinct sources in the last `minutes`, at most 60.
    pub(crate) fn sources(&self, now_ns: u64, minutes: usize) -> u64 {
        let passed = usize::try_from(minute(now_ns).saturating_sub(self.minute));
        let kept = minutes.saturating_sub(passed.unwrap_or(MINUTES));
        self.by_minute.iter().take(kept).map(|count| u64::from(*count)).sum()
    }

    /// First SYNs in the last `seconds`.
    pub(crate) fn syns(&self, now_ns: u64, seconds: u32) -> u64 {
        self.syns.within(now_ns, seconds)
    }

    /// Of the first SYNs in the last `seconds`, the share that was followed by a proof; unknown below
    /// [`FEWEST_SYNS`].
    pub(crate) fn proven_share(&self, now_ns: u64, seconds: u32) -> Option<f64> {
        let syns = self.syns.within(now_ns, seconds);
        let proven = self.proven.within(now_ns, seconds).min(syns);
        (syns >= FEWEST_SYNS).then(|| proven as f64 / syns as f64)
    }

    fn turn_to(&mut self, minute: u32) {
        if minute > self.minute {
            let by = usize::try_from(minute - self.minute).unwrap_or(MINUTES).min(MINUTES);
            self.by_minute.rotate_right(by);
            self.by_minute.iter_mut().take(by).for_each(|count| *count = 0);
            self.minute = minute;
        }
    }

    fn count(&mut self, minute: u32, by: i32) {
        let age = usize::try_from(self.minute.saturating_sub(minute)).unwrap_or(MINUTES);
        if let Some(count) = self.by_minute.get_mut(age) {
            *count = count.saturating_add_signed(by);
        }
    }
}

fn minute(at_ns: u64) -> u32 {
    u32::try_from(at_ns / MINUTE_NS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn source(n: u32) -> SourceKey {
        SourceKey { words: [u32::MAX, n] }
    }

    #[test]
    fn bounded_and_counts_end_there() {
        let mut service = Service::default();
        for n in 0..20_000 {
            service.established(&source(n), SECOND_NS);
        }
        assert_eq!(service.sources(SECOND_NS, 10), MOST_SOURCES as u64);
        let later = 2 * 3600 * SECOND_NS;
        service.established(&source(77_777), later);
        assert_eq!((service.sources(later, 60), service.last_seen.len()), (1, 1));
    }

    #[test]
    fn shares_of_syns_need_some() {
        let mut service = Service::default();
        service.pressure(20, 2, SECOND_NS);
        assert_eq!(service.proven_share(SECOND_NS, 10), None);
        service.pressure(20, 2, SECOND_NS);
        assert_eq!(service.proven_share(SECOND_NS, 10), Some(0.1));
        assert_eq!((service.syns(SECOND_NS, 10), service.syns(20 * SECOND_NS, 10)), (40, 0));
    }

    proptest! {
        #[test]
        fn sources_equal_a_map_of_times(
            steps in prop::collection::vec((0u32..20, 0u64..90), 1..200),
            minutes in 1usize..60,
        ) {
            let mut service = Service::default();
            let mut map = BTreeMap::new();
            let mut now_s = 0;
            for (n, after_s) in steps {
                now_s += after_s;
                service.established(&source(n), now_s * SECOND_NS);
                map.insert(n, now_s / 60);
            }
            let expected = map.values().filter(|at| now_s / 60 - **at < minutes as u64).count();
            prop_assert_eq!(service.sources(now_s * SECOND_NS, minutes), expected as u64);
        }
    }
}
