//! The last connections that ended: how long they lasted, how much they carried, how they ended.

use weir_common::abi::{
    CloseReason, Closed, Flow, FlowKey, flow::hello, records::state, time::SECOND_NS,
};

use super::{is_same_proof, latest::Latest, spread};

/// Connections kept.
const SAMPLES: u8 = 64;

/// Fewest that have a median, or of which a share says something.
pub(crate) const FEWEST_FOR_MEDIAN: usize = 4;
/// Fewest that say something about spread.
pub(crate) const FEWEST_FOR_SPREAD: usize = 8;

/// Older ones say nothing about now.
const WINDOW_NS: u64 = 3600 * SECOND_NS;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sample {
    proven_ns: u64,
    closed_ns: u64,
    request_bytes: u32,
    response_bytes: u32,
    exchanges: u32,
    longest_gap_ms: u32,
    remote_port: u16,
    // Of 255.
    quiet: u8,
    kinds: u8,
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
    /// The longest time in which neither side sent, nanoseconds.
    LongestGap,
}

/// What a connection can be among others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The client asked once, and that was all.
    SingleExchange = 1 << 0,
    /// It ended before the client got an answer to anything.
    Empty = 1 << 1,
    /// The client sent nothing at all.
    Silent = 1 << 2,
    /// The client reset it.
    Reset = 1 << 3,
    /// No ClientHello was read on it.
    WithoutHello = 1 << 4,
    /// A ClientHello began on it and did not end.
    UnfinishedHello = 1 << 5,
    /// The client sent something again.
    Retransmitted = 1 << 6,
}

/// The last connections that ended.
#[derive(Debug, Default)]
pub(crate) struct ClosedConnections {
    samples: Latest<Sample>,
}

impl ClosedConnections {
    /// A connection ended; whether that is news.
    pub(crate) fn record(&mut self, event: &Closed) -> bool {
        let Closed { header, key, flow } = event;
        if self.is_known(key, flow.proven_ns) {
            return false;
        }
        let sample = Sample {
            proven_ns: flow.proven_ns,
            closed_ns: header.at_ns,
            request_bytes: clamped(flow.ingress.bytes),
            response_bytes: clamped(flow.egress.bytes),
            exchanges: exchanges(flow),
            longest_gap_ms: flow.longest_gap_ms,
            remote_port: key.remote_port,
            quiet: quiet(flow, header.at_ns),
            kinds: kinds(flow, header.detail),
        };
        self.samples.push(sample, SAMPLES);
        true
    }

    /// Whether any ended.
    pub(crate) fn has_any(&self) -> bool {
        self.samples.len() > 0
    }

    /// Whether a connection that was proven at this time is among those that ended.
    pub(crate) fn is_known(&self, key: &FlowKey, proven_ns: u64) -> bool {
        let same =
            |s: &Sample| s.remote_port == key.remote_port && is_same_proof(s.proven_ns, proven_ns);
        self.samples.iter().any(same)
    }

    /// Spread of a measure; unknown below [`FEWEST_FOR_SPREAD`] recent connections.
    pub(crate) fn variation(&self, measure: Measure, now_ns: u64) -> Option<f64> {
        let values = self.sorted(measure, now_ns);
        (values.len() >= FEWEST_FOR_SPREAD).then(|| spread::middle_variation(&values))
    }

    /// Median of a measure; unknown below [`FEWEST_FOR_MEDIAN`] recent connections.
    pub(crate) fn median(&self, measure: Measure, now_ns: u64) -> Option<u64> {
        let values = self.sorted(measure, now_ns);
        if values.len() < FEWEST_FOR_MEDIAN { None } else { spread::median(&values) }
    }

    /// The share that is of a kind; unknown below [`FEWEST_FOR_MEDIAN`] recent connections.
    pub(crate) fn share(&self, kind: Kind, now_ns: u64) -> Option<f64> {
        let (mut all, mut of_kind) = (0, 0);
        for sample in self.recent(now_ns) {
            all += 1;
            of_kind += usize::from(sample.kinds & kind as u8 != 0);
        }
        (all >= FEWEST_FOR_MEDIAN).then(|| of_kind as f64 / all as f64)
    }

    /// How many of the last are of a kind.
    pub(crate) fn count(&self, kind: Kind, now_ns: u64) -> usize {
        self.recent(now_ns).filter(|sample| sample.kinds & kind as u8 != 0).count()
    }

    /// The share of their time in which neither side sent, in the mean; unknown below
    /// [`FEWEST_FOR_MEDIAN`] recent connections.
    pub(crate) fn quiet_share(&self, now_ns: u64) -> Option<f64> {
        let (mut all, mut sum) = (0, 0.0);
        for sample in self.recent(now_ns) {
            all += 1;
            sum += f64::from(sample.quiet) / 255.0;
        }
        (all >= FEWEST_FOR_MEDIAN).then(|| sum / all as f64)
    }

    fn recent(&self, now_ns: u64) -> impl Iterator<Item = &Sample> {
        let recent = move |s: &&Sample| now_ns.saturating_sub(s.closed_ns) <= WINDOW_NS;
        self.samples.iter().filter(recent)
    }

    fn sorted(&self, measure: Measure, now_ns: u64) -> Vec<u64> {
        let value = |sample: &Sample| match measure {
            Measure::Duration => sample.closed_ns.saturating_sub(sample.proven_ns),
            Measure::Exchanges => u64::from(sample.exchanges),
            Measure::RequestBytes => u64::from(sample.request_bytes),
            Measure::ResponseBytes => u64::from(sample.response_bytes),
            Measure::LongestGap => u64::from(sample.longest_gap_ms) * 1_000_000,
        };
        let mut values: Vec<u64> = self.recent(now_ns).map(value).collect();
        values.sort_unstable();
        values
    }
}

/// Requests of a connection. Without TLS, what the client says first is one already.
pub(crate) fn exchanges(flow: &Flow) -> u32 {
    let speaks_first = !has_hello(flow) && flow.ingress.payloads > 0;
    flow.exchanges.saturating_add(u32::from(speaks_first))
}

/// Whether it is a TLS connection as far as the sensor could see.
pub(crate) const fn has_hello(flow: &Flow) -> bool {
    matches!(flow.hello, hello::READ | hello::FORWARDED | hello::COLLECTING)
}

fn kinds(flow: &Flow, reason: u8) -> u8 {
    let exchanges = exchanges(flow);
    // What a handshake of TLS 1.3 ends with is a record too.
    let is_handshake_only = flow.ingress_records.state == state::FOLLOWED
        && flow.ingress_records.count <= 1
        && flow.exchanges <= 1;
    let answered = exchanges > 0 && flow.egress.bytes > 0 && !is_handshake_only;
    let flags = [
        (Kind::SingleExchange, answered && exchanges == 1),
        (Kind::Empty, !answered),
        (Kind::Silent, flow.ingress.bytes == 0),
        (Kind::Reset, reason == CloseReason::ClientReset as u8),
        (Kind::WithoutHello, !has_hello(flow)),
        (Kind::UnfinishedHello, flow.hello == hello::COLLECTING),
        (Kind::Retransmitted, flow.retransmissions > 0),
    ];
    let bits = flags.iter().filter(|(_, is)| *is).map(|(kind, _)| *kind as u8);
    bits.fold(0, |all, bit| all | bit)
}

/// Of 255: how much of its time lies in pauses of a second and more.
fn quiet(flow: &Flow, closed_ns: u64) -> u8 {
    let lasting_ns = closed_ns.saturating_sub(flow.proven_ns).max(1);
    let quiet_ns = u64::from(flow.quiet_ms) * 1_000_000;
    u8::try_from(quiet_ns.min(lasting_ns).saturating_mul(255) / lasting_ns).unwrap_or(u8::MAX)
}

/// The middle of a bucket of gaps, by its logarithm.
pub(crate) const fn gap_ns(bucket: usize) -> u64 {
    (1 << (12 + bucket)) / 5 * 7
}

pub(crate) fn clamped(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use weir_common::abi::EventHeader;

    use super::*;

    fn record(closed: &mut ClosedConnections, n: u16, bytes: u64, at_ns: u64) -> bool {
        let key = FlowKey { remote_port: n, ..FlowKey::default() };
        let mut flow = Flow { proven_ns: at_ns - SECOND_NS, exchanges: 1, ..Flow::default() };
        (flow.ingress.bytes, flow.egress.bytes) = (bytes, bytes);
        let header = EventHeader { at_ns, ..EventHeader::default() };
        closed.record(&Closed { header, key, flow })
    }

    #[test]
    fn medians_need_four_samples_and_spreads_eight() {
        let mut closed = ClosedConnections::default();
        let now = 10 * SECOND_NS;
        for n in 0..3 {
            assert!(record(&mut closed, n, 500, now));
        }
        assert_eq!(closed.median(Measure::Duration, now), None);
        assert!(!record(&mut closed, 2, 500, now), "a duplicate is no sample");
        for n in 3..7 {
            assert!(record(&mut closed, n, 500, now));
        }
        assert_eq!(closed.median(Measure::Duration, now), Some(SECOND_NS));
        assert_eq!(closed.variation(Measure::RequestBytes, now), None);
        assert!(record(&mut closed, 7, 500, now));
        assert_eq!(closed.variation(Measure::RequestBytes, now), Some(0.0));
        assert_eq!(closed.median(Measure::Duration, now + WINDOW_NS + 1), None, "too long ago");
    }

    #[test]
    fn kinds_are_told() {
        let mut closed = ClosedConnections::default();
        for n in 0..3 {
            record(&mut closed, n, 500, SECOND_NS);
        }
        record(&mut closed, 3, 0, SECOND_NS);
        let share = |kind| closed.share(kind, SECOND_NS);
        assert_eq!(share(Kind::SingleExchange), Some(0.75));
        assert_eq!((share(Kind::Silent), share(Kind::Empty)), (Some(0.25), Some(0.25)));
        assert_eq!((share(Kind::WithoutHello), share(Kind::Reset)), (Some(1.0), Some(0.0)));
        assert_eq!(closed.count(Kind::UnfinishedHello, SECOND_NS), 0);
    }

    #[test]
    fn bounded() {
        let mut closed = ClosedConnections::default();
        for n in 0..1000 {
            record(&mut closed, n, 500, 10 * SECOND_NS);
        }
        assert_eq!(closed.samples.len(), usize::from(SAMPLES));
    }

    #[test]
    fn what_a_client_says_first_is_a_request_only_without_tls() {
        let mut flow = Flow { exchanges: 2, ..Flow::default() };
        assert_eq!(exchanges(&flow), 2);
        flow.ingress.payloads = 1;
        assert_eq!(exchanges(&flow), 3);
        flow.hello = hello::READ;
        assert_eq!(exchanges(&flow), 2);
    }
}
