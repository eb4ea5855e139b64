//! What was sent in a source's name and proves nothing: SYNs that were not followed up, segments that
//! belong to no connection, datagrams nobody asked for, ports tried. Forgeable, all of it.
//!
//! A table of its own, so that forged packets push out no source that proved itself.

use weir_common::abi::{Milestone, SourceKey, time::SECOND_NS};

use super::lru::Lru;

/// How long a report counts.
const WINDOW_NS: u64 = 60 * SECOND_NS;

/// What the kernel counts of a source that proves nothing: the number is that of the milestone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Count {
    /// Distinct ports tried.
    Ports,
    /// Handshakes that were not completed.
    HalfOpen,
    /// Segments that belong to no connection.
    Strays,
    /// Segments with flags that make no sense together.
    OddFlags,
    /// Datagrams to services that are no QUIC, or of no connection.
    Datagrams,
}

const COUNTS: usize = 5;

/// Values as the kernel reported them last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reported {
    values: [u32; COUNTS],
    at_ns: [u64; COUNTS],
}

impl Reported {
    /// The value, if it was reported in the last minute; 0 otherwise.
    pub(crate) fn get(&self, count: Count, now_ns: u64) -> u64 {
        let (value, at_ns) = (self.values.get(count as usize), self.at_ns.get(count as usize));
        let is_recent = |at_ns: &&u64| **at_ns > 0 && now_ns.saturating_sub(**at_ns) <= WINDOW_NS;
        at_ns.filter(is_recent).and(value).map_or(0, |value| u64::from(*value))
    }

    fn note(&mut self, count: Count, value: u64, at_ns: u64) {
        let before = self.get(count, at_ns);
        let value = u32::try_from(value.max(before)).unwrap_or(u32::MAX);
        if let Some(slot) = self.values.get_mut(count as usize) {
            *slot = value;
        }
        if let Some(slot) = self.at_ns.get_mut(count as usize) {
            *slot = at_ns.max(*slot);
        }
    }

    /// When anything was reported.
    pub(crate) fn last_ns(&self) -> u64 {
        self.at_ns.iter().copied().max().unwrap_or(0)
    }
}

/// All of them, bounded.
#[derive(Debug)]
pub(crate) struct Unproven {
    sources: Lru<SourceKey, Reported>,
}

impl Unproven {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { sources: Lru::new(capacity) }
    }

    /// The kernel reported a count. Says whether another source had to go for this one.
    pub(crate) fn note(&mut self, source: &SourceKey, count: Count, event: &Milestone) -> bool {
        let (reported, evicted) = self.sources.get_or_insert(source, Reported::default);
        reported.note(count, event.value, event.header.at_ns);
        evicted
    }

    pub(crate) fn get(&self, source: &SourceKey) -> Reported {
        self.sources.get(source).copied().unwrap_or_default()
    }

    /// Forgets what is too old to count.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        let old = |it: &Reported| now_ns.saturating_sub(it.last_ns()) > WINDOW_NS;
        while self.sources.pop_oldest_if(old).is_some() {}
    }

    /// Takes another capacity; returns how many sources had to go.
    pub(crate) fn resize(&mut self, capacity: usize) -> u64 {
        self.sources.resize(capacity)
    }
}

#[cfg(test)]
mod tests {
    use weir_common::abi::EventHeader;

    use super::*;

    fn report(value: u64, at_s: u64) -> Milestone {
        let header = EventHeader { at_ns: at_s * SECOND_NS, ..EventHeader::default() };
        Milestone { header, value, ..Milestone::default() }
    }

    #[test]
    fn the_highest_of_the_last_minute_counts() {
        let mut unproven = Unproven::new(2);
        let source = |n| SourceKey { words: [u32::MAX, n] };
        unproven.note(&source(1), Count::Ports, &report(16, 1));
        unproven.note(&source(1), Count::Ports, &report(32, 2));
        unproven.note(&source(1), Count::Ports, &report(16, 3));
        unproven.note(&source(1), Count::Strays, &report(7, 30));
        let at = |unproven: &Unproven, count, s| unproven.get(&source(1)).get(count, s * SECOND_NS);
        assert_eq!(at(&unproven, Count::Ports, 10), 32);
        assert_eq!((at(&unproven, Count::Ports, 64), at(&unproven, Count::Strays, 64)), (0, 7));
        unproven.note(&source(1), Count::Ports, &report(16, 70));
        assert_eq!(at(&unproven, Count::Ports, 70), 16, "a new minute");
        assert!(!unproven.note(&source(2), Count::Ports, &report(16, 71)));
        assert!(unproven.note(&source(3), Count::Ports, &report(16, 72)));
        unproven.tick(200 * SECOND_NS);
        assert_eq!(unproven.sources.len(), 0);
    }
}
