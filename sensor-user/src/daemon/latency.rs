//! How long it takes from the packet that crossed a threshold to the verdict in the kernel.

use std::collections::VecDeque;

use crate::api::message::Latency;

/// Verdicts that the figures are of: the latest.
const KEPT: usize = 4096;

/// The latest measurements, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Latencies(VecDeque<u64>);

impl Latencies {
    /// One verdict took this long.
    pub(super) fn record(&mut self, elapsed_ns: u64) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(elapsed_ns);
    }

    /// The figures.
    pub(super) fn summary(&self) -> Latency {
        let mut sorted: Vec<u64> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        // The smallest value that at least this share of all are not above.
        let quantile = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).map_or(0.0, |ns| *ns as f64 / 1e6)
        };
        Latency { samples: sorted.len(), median_ms: quantile(0.5), p99_ms: quantile(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_latest_only() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), Latency::default());
        latencies.record(3_000_000);
        assert_eq!(latencies.summary().median_ms, 3.0);
        for _ in 0..KEPT {
            latencies.record(1_000_000_000);
        }
        for ns in 1..=100 {
            latencies.record(ns * 1_000_000);
        }
        let summary = latencies.summary();
        assert_eq!((summary.samples, summary.median_ms), (KEPT, 1000.0));
        let mut hundred = Latencies::default();
        (1..=100).for_each(|ns| hundred.record(ns * 1_000_000));
        assert_eq!((hundred.summary().median_ms, hundred.summary().p99_ms), (50.0, 99.0));
    }
}
