//! How many requests of a limited client go on: the rate of its verdict, counted in requests.
//!
//! The kernel counts connections of clients that connect directly. Behind a proxy or CDN it sees
//! none of theirs, and this is the only place where a limit holds.

use weir_common::abi::{SourceKey, time::SECOND_NS};

use crate::{enforce::ladder::RateLimit, profile::lru::Lru};

/// Clients that are remembered; who was forgotten begins with a whole burst.
const REMEMBERED: usize = 1 << 16;

/// The rate of a limit that does not say one.
pub(super) const UNSAID: RateLimit = RateLimit::new(SECOND_NS, 1);

/// One limiter a client.
#[derive(Debug)]
pub(super) struct Paces(Lru<SourceKey, u64>);

impl Default for Paces {
    fn default() -> Self {
        Self(Lru::new(REMEMBERED))
    }
}

impl Paces {
    /// Counts a request in, if it may go on; otherwise how long until one may, in nanoseconds.
    pub(super) fn take(
        &mut self,
        source: &SourceKey,
        limit: RateLimit,
        now_ns: u64,
    ) -> Option<u64> {
        // The time at which the requests so far would be done at the sustained rate, as in the
        // kernel's limiter.
        let (due_ns, _) = self.0.get_or_insert(source, || now_ns);
        let ahead_ns = due_ns.saturating_sub(now_ns);
        if ahead_ns > limit.burst_ns {
            return Some(ahead_ns - limit.burst_ns);
        }
        *due_ns = now_ns.max(*due_ns).saturating_add(limit.interval_ns);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut paces = Paces::default();
        let (one, other) = (SourceKey { words: [1, 2] }, SourceKey { words: [1, 3] });
        let limit = RateLimit::new(SECOND_NS / 5, 10);
        let mut passed =
            |source: &SourceKey, at_ns: u64| paces.take(source, limit, at_ns).is_none();
        assert_eq!((0..50).filter(|_| passed(&one, SECOND_NS)).count(), 10);
        assert_eq!((0..50).filter(|_| passed(&other, SECOND_NS)).count(), 10);
        assert_eq!((0..50).filter(|_| passed(&one, 2 * SECOND_NS)).count(), 5);
        assert_eq!((0..50).filter(|_| passed(&one, 60 * SECOND_NS)).count(), 10);
    }

    #[test]
    fn says_how_long_to_wait() {
        let mut paces = Paces::default();
        let source = SourceKey::default();
        assert_eq!(paces.take(&source, UNSAID, 7 * SECOND_NS), None);
        assert_eq!(paces.take(&source, UNSAID, 7 * SECOND_NS + 300), Some(SECOND_NS - 300));
        assert_eq!(paces.take(&source, UNSAID, 8 * SECOND_NS), None);
    }
}
