//! What goes on inside connections: requests, bytes and packets over time, how long the client takes
//! from one request to the next, how large its packets are.
//!
//! Fed with what connections add: a connection that goes on adds at each report, and at its end
//! only what came since.

use weir_common::abi::{
    Flow,
    flow::{GAP_BUCKETS, SIZE_BUCKETS},
    time::SECOND_NS,
};

use super::{
    closed::{clamped, exchanges, gap_ns, has_hello},
    windows::Windows,
};

/// Fewest requests after another, or packets, that say something.
const FEWEST: u32 = 4;
/// Fewest packets of which a share says something.
const FEWEST_PACKETS: u32 = 8;
/// A longer run replaces one that is older than this.
const RUN_KEPT_S: u32 = 600;
/// Counts are halved when there are more: the latest weigh most.
const MOST: u32 = 4096;
/// Payloads in these buckets are below 64 bytes.
const SMALL: usize = 2;
/// Gaps in these buckets are below 134 ms: no person reads so fast.
const QUICK: usize = 15;
/// Gaps in these buckets are below a millisecond.
const SHORT: usize = 8;

/// What a flow's record said when it was looked at last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    exchanges: u32,
    // Requests after another: those with a time between.
    waits: u32,
    request_bytes: u64,
    response_bytes: u64,
    packets_in: u32,
    packets_out: u32,
    records: u32,
    gaps: [u16; GAP_BUCKETS],
    sizes: [u16; SIZE_BUCKETS],
    quiet_ms: u32,
    // Exchanges before the run that goes on; those that may have been before a pause count as such.
    before_run: u32,
}

impl Totals {
    pub(crate) fn of(flow: &Flow) -> Self {
        Self {
            exchanges: exchanges(flow),
            // The first exchange of a TLS connection is its handshake.
            waits: flow.exchanges.saturating_sub(u32::from(has_hello(flow))),
            request_bytes: flow.ingress.bytes,
            response_bytes: flow.egress.bytes,
            packets_in: flow.ingress.packets,
            packets_out: flow.egress.packets,
            records: larger_records(flow),
            gaps: flow.ingress.gaps,
            sizes: flow.ingress.sizes,
            quiet_ms: flow.quiet_ms,
            before_run: if flow.quiet_ms == 0 { 0 } else { exchanges(flow) },
        }
    }

    /// The same, knowing how it stood before: without a pause since, the run goes on.
    pub(crate) const fn after(mut self, before: Option<&Self>) -> Self {
        if let Some(before) = before
            && before.quiet_ms == self.quiet_ms
        {
            self.before_run = before.before_run;
        }
        self
    }

    /// Requests since the last pause that is known.
    const fn run(&self) -> u32 {
        self.exchanges.saturating_sub(self.before_run)
    }

    /// What came since an earlier look.
    fn since(&self, before: &Self) -> Self {
        let mut since = Self {
            exchanges: self.exchanges.saturating_sub(before.exchanges),
            waits: self.waits.saturating_sub(before.waits),
            request_bytes: self.request_bytes.saturating_sub(before.request_bytes),
            response_bytes: self.response_bytes.saturating_sub(before.response_bytes),
            packets_in: self.packets_in.saturating_sub(before.packets_in),
            packets_out: self.packets_out.saturating_sub(before.packets_out),
            records: self.records.saturating_sub(before.records),
            gaps: self.gaps,
            sizes: self.sizes,
            ..*self
        };
        for (gap, before) in since.gaps.iter_mut().zip(&before.gaps) {
            *gap = gap.saturating_sub(*before);
        }
        for (size, before) in since.sizes.iter_mut().zip(&before.sizes) {
            *size = size.saturating_sub(*before);
        }
        since
    }
}

/// What is counted over time, in the order in which it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Volume {
    /// Requests.
    Exchanges,
    /// Payload bytes from the client.
    RequestBytes,
    /// Payload bytes from the server.
    ResponseBytes,
    /// Packets from the client.
    RequestPackets,
    /// Packets from the server.
    ResponsePackets,
    /// TLS records of 64 bytes and more from the client.
    RequestRecords,
}

const VOLUMES: usize = 6;

/// A source's rhythm.
#[derive(Debug, Default)]
pub(crate) struct Rhythm {
    volume: Windows<VOLUMES>,
    waits: u32,
    gaps: [u16; GAP_BUCKETS],
    sizes: [u16; SIZE_BUCKETS],
    longest_run: u32,
    longest_run_ns: u64,
}

impl Rhythm {
    /// A connection's record, and how it stood when it was looked at before.
    pub(crate) fn add(&mut self, at_ns: u64, now: &Totals, before: Option<&Totals>) {
        let added = before.map_or(*now, |before| now.since(before));
        let volume = [
            added.exchanges,
            clamped(added.request_bytes),
            clamped(added.response_bytes),
            added.packets_in,
            added.packets_out,
            added.records,
        ];
        self.volume.add(at_ns, volume);
        self.waits = self.waits.saturating_add(added.waits);
        let pairs = self.gaps.iter_mut().zip(added.gaps);
        pairs.for_each(|(gap, added)| *gap = gap.saturating_add(added));
        let pairs = self.sizes.iter_mut().zip(added.sizes);
        pairs.for_each(|(size, added)| *size = size.saturating_add(added));
        if sum(&self.gaps) > MOST || sum(&self.sizes) > MOST {
            self.waits /= 2;
            self.gaps.iter_mut().chain(&mut self.sizes).for_each(|count| *count /= 2);
        }
    }

    /// How much of something there was in the last `seconds`, at most 3600.
    pub(crate) fn within(&self, volume: Volume, now_ns: u64, seconds: u32) -> u64 {
        self.volume.count(volume as usize, now_ns, seconds)
    }

    /// A connection over TCP goes on or ended, with so many requests since its last pause. Over QUIC,
    /// acknowledgements fill the pauses.
    pub(crate) fn note_run(&mut self, at_ns: u64, totals: &Totals) {
        let run = totals.run();
        if run >= self.longest_run || self.longest_run(at_ns, RUN_KEPT_S) == 0 {
            (self.longest_run, self.longest_run_ns) = (run, at_ns);
        }
    }

    /// The longest run of requests on one connection without a pause, that was seen in the last
    /// `seconds`.
    pub(crate) fn longest_run(&self, now_ns: u64, seconds: u32) -> u32 {
        let age_ns = now_ns.saturating_sub(self.longest_run_ns);
        if age_ns <= u64::from(seconds) * SECOND_NS { self.longest_run } else { 0 }
    }

    /// Median time from one request to the next inside a connection, nanoseconds, to a power of two:
    /// of all gaps between the client's packets, the longest are those between requests. Unknown
    /// below [`FEWEST`].
    pub(crate) fn wait_median_ns(&self) -> Option<u64> {
        let waits = self.waits.min(sum(&self.gaps));
        if waits < FEWEST {
            return None;
        }
        let mut longer = 0;
        for (bucket, count) in self.gaps.iter().enumerate().rev() {
            longer += u32::from(*count);
            if longer > waits / 2 {
                // The middle of the bucket, by its logarithm.
                return Some(gap_ns(bucket));
            }
        }
        None
    }

    /// The share of times from one request to the next that are too short for a person to have read
    /// the answer; unknown below [`FEWEST`].
    pub(crate) fn quick_share(&self) -> Option<f64> {
        let waits = self.waits.min(sum(&self.gaps));
        let slow: u32 = self.gaps.iter().skip(QUICK).map(|count| u32::from(*count)).sum();
        (waits >= FEWEST).then(|| 1.0 - f64::from(slow.min(waits)) / f64::from(waits))
    }

    /// The share of the client's packets with less than 64 bytes of payload; unknown below
    /// [`FEWEST_PACKETS`].
    pub(crate) fn small_share(&self) -> Option<f64> {
        share(self.sizes.get(..SMALL)?, &self.sizes)
    }

    /// The share of gaps between the client's packets below a millisecond; unknown below
    /// [`FEWEST_PACKETS`].
    pub(crate) fn short_gap_share(&self) -> Option<f64> {
        share(self.gaps.get(..SHORT)?, &self.gaps)
    }
}

/// Records of application data from the client, without the small ones: control frames, alerts.
fn larger_records(flow: &Flow) -> u32 {
    flow.ingress_records.lengths.iter().skip(1).map(|count| u32::from(*count)).sum()
}

fn sum(counts: &[u16]) -> u32 {
    counts.iter().map(|count| u32::from(*count)).sum()
}

fn share(some: &[u16], all: &[u16]) -> Option<f64> {
    let all = sum(all);
    (all >= FEWEST_PACKETS).then(|| f64::from(sum(some)) / f64::from(all))
}

#[cfg(test)]
mod tests {
    use weir_common::abi::flow::{gap_bucket, hello};

    use super::*;

    fn flow(exchanges: u32, gap_ns: u64) -> Flow {
        let mut flow = Flow { exchanges, hello: hello::READ, ..Flow::default() };
        flow.ingress.bytes = u64::from(exchanges) * 100;
        flow.ingress.gaps[gap_bucket(gap_ns)] = exchanges as u16 - 1;
        // Each request has two packets.
        flow.ingress.gaps[3] = exchanges as u16;
        flow.ingress.sizes[1] = 3;
        flow.ingress.sizes[4] = 9;
        flow
    }

    #[test]
    fn a_connection_that_goes_on_adds_what_came_since() {
        let mut rhythm = Rhythm::default();
        let first = Totals::of(&flow(8, SECOND_NS));
        rhythm.add(SECOND_NS, &first, None);
        let second = Totals::of(&flow(20, SECOND_NS));
        rhythm.add(30 * SECOND_NS, &second, Some(&first));
        let now = 30 * SECOND_NS;
        assert_eq!(rhythm.within(Volume::Exchanges, now, 60), 20);
        assert_eq!(rhythm.within(Volume::Exchanges, now, 10), 12);
        assert_eq!(rhythm.within(Volume::RequestBytes, now, 60), 2000);
        assert_eq!((sum(&rhythm.gaps), rhythm.waits), (39, 19));
    }

    #[test]
    fn times_between_requests_are_the_longest_gaps() {
        let mut rhythm = Rhythm::default();
        rhythm.add(1, &Totals::of(&flow(3, SECOND_NS)), None);
        assert_eq!((rhythm.wait_median_ns(), rhythm.quick_share()), (None, None));
        rhythm.add(1, &Totals::of(&flow(11, SECOND_NS)), None);
        let median = rhythm.wait_median_ns().unwrap();
        assert!((SECOND_NS / 2..2 * SECOND_NS).contains(&median), "{median}");
        assert_eq!((rhythm.quick_share(), rhythm.small_share()), (Some(0.0), Some(0.25)));
        let mut machine = Rhythm::default();
        machine.add(1, &Totals::of(&flow(50, 3_000_000)), None);
        assert!(machine.wait_median_ns() < Some(6_000_000));
        assert_eq!(machine.quick_share(), Some(1.0));
    }

    #[test]
    fn a_run_ends_with_a_pause_and_is_forgotten_in_time() {
        let mut rhythm = Rhythm::default();
        let at = |exchanges, quiet_ms| Totals::of(&Flow { quiet_ms, ..flow(exchanges, 3_000_000) });
        let first = at(64, 0).after(None);
        rhythm.note_run(SECOND_NS, &first);
        assert_eq!(rhythm.longest_run(SECOND_NS, 600), 64);
        let paused = at(100, 1500).after(Some(&first));
        let later = at(130, 1500).after(Some(&paused));
        for totals in [&paused, &later] {
            rhythm.note_run(2 * SECOND_NS, totals);
        }
        assert_eq!(later.run(), 30, "where before that the pause was is not known");
        assert_eq!(rhythm.longest_run(2 * SECOND_NS, 600), 64);
        assert_eq!(rhythm.longest_run(602 * SECOND_NS, 600), 0);
        rhythm.note_run(700 * SECOND_NS, &later);
        assert_eq!(rhythm.longest_run(700 * SECOND_NS, 600), 30, "it replaces what is old");
    }

    #[test]
    fn the_latest_weigh_most() {
        let mut rhythm = Rhythm::default();
        for _ in 0..100 {
            rhythm.add(1, &Totals::of(&flow(200, SECOND_NS)), None);
        }
        assert!(sum(&rhythm.gaps) <= MOST);
        for _ in 0..100 {
            rhythm.add(1, &Totals::of(&flow(200, 3_000_000)), None);
        }
        assert!(rhythm.quick_share() > Some(0.9));
    }
}
