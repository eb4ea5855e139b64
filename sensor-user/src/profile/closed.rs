//! The last connections that ended: how long they lasted, how much they carried.

use std::collections::VecDeque;

use weir_common::abi::{Flow, FlowKey, time::SECOND_NS};

use super::{is_same_proof, spread};

/// Connections kept.
const SAMPLES: usize = 64;

/// Fewest that say something about spread.
pub(crate) const FEWEST: usize = 16;

/// Older ones say nothing about now.
const WINDOW_NS: u64 = 600 * SECOND_NS;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sample {
    proven_ns: u64,
    closed_ns: u64,
    remote_port: u16,
    exchanges: u32,
    request_bytes: u64,
    response_bytes: u64,
}

/// What is read from a sample.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measure {
    /// From proof to end, nanoseconds.
    Duration,
    /// Requests.
    Exchanges,
    /// Payload bytes from the client.
    RequestBytes,
    /// Payload bytes from the server.
    ResponseBytes,
}

/// The last connections that ended.
#[derive(Debug, Default)]
pub(crate) struct ClosedConnections {
    samples: VecDeque<Sample>,
}

impl ClosedConnections {
    /// A connection ended; whether that is news.
    pub(crate) fn record(&mut self, key: &FlowKey, flow: &Flow, closed_ns: u64) -> bool {
        if self.is_known(key, flow.proven_ns) {
            return false;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            proven_ns: flow.proven_ns,
            closed_ns,
            remote_port: key.remote_port,
            exchanges: flow.exchanges,
            request_bytes: flow.ingress.bytes,
            response_bytes: flow.egress.bytes,
        });
        true
    }

    /// Whether a connection that was proven at this time is among those that ended.
    pub(crate) fn is_known(&self, key: &FlowKey, proven_ns: u64) -> bool {
        let same =
            |s: &Sample| s.remote_port == key.remote_port && is_same_proof(s.proven_ns, proven_ns);
        self.samples.iter().rev().any(same)
    }

    /// Spread of a measure; unknown below [`FEWEST`] recent connections.
    pub(crate) fn variation(&self, measure: Measure, now_ns: u64) -> Option<f64> {
        let values = self.sorted(measure, now_ns);
        (values.len() >= FEWEST).then(|| spread::middle_variation(&values))
    }

    /// Median of a measure; unknown below [`FEWEST`] recent connections.
    pub(crate) fn median(&self, measure: Measure, now_ns: u64) -> Option<u64> {
        let values = self.sorted(measure, now_ns);
        if values.len() < FEWEST { None } else { spread::median(&values) }
    }

    fn sorted(&self, measure: Measure, now_ns: u64) -> Vec<u64> {
        let mut values: Vec<u64> = self
            .samples
            .iter()
            .filter(|sample| now_ns.saturating_sub(sample.closed_ns) <= WINDOW_NS)
            .map(|sample| match measure {
                Measure::Duration => sample.closed_ns.saturating_sub(sample.proven_ns),
                Measure::Exchanges => u64::from(sample.exchanges),
                Measure::RequestBytes => sample.request_bytes,
                Measure::ResponseBytes => sample.response_bytes,
            })
            .collect();
        values.sort_unstable();
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(closed: &mut ClosedConnections, n: u16, bytes: u64, at_ns: u64) -> bool {
        let key = FlowKey { remote_port: n, ..FlowKey::default() };
        let mut flow = Flow { proven_ns: at_ns - SECOND_NS, ..Flow::default() };
        flow.ingress.bytes = bytes;
        closed.record(&key, &flow, at_ns)
    }

    #[test]
    fn spread_and_median_need_samples() {
        let mut closed = ClosedConnections::default();
        for n in 0..15 {
            assert!(record(&mut closed, n, 500, 10 * SECOND_NS));
        }
        assert_eq!(closed.variation(Measure::RequestBytes, 10 * SECOND_NS), None);
        assert!(!record(&mut closed, 3, 500, 10 * SECOND_NS), "a duplicate is no sample");
        assert!(record(&mut closed, 15, 500, 10 * SECOND_NS));
        let now = 10 * SECOND_NS;
        assert_eq!(closed.variation(Measure::RequestBytes, now), Some(0.0));
        assert_eq!(closed.median(Measure::Duration, now), Some(SECOND_NS));
        assert_eq!(closed.median(Measure::Duration, now + WINDOW_NS + 1), None, "too long ago");
    }

    #[test]
    fn bounded() {
        let mut closed = ClosedConnections::default();
        for n in 0..1000 {
            record(&mut closed, n, 500, 10 * SECOND_NS);
        }
        assert_eq!(closed.samples.len(), SAMPLES);
    }
}
