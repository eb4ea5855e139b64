//! What one source's hellos say: how many fingerprints, whether it resumes, how soon it speaks, and
//! whether what it shows over TCP and QUIC agrees.

use weir_common::abi::{hello::HELLO_CONFLICT, time::SECOND_NS};

use super::{
    latest::{Latest, grow_exactly},
    spread,
    windows::Windows,
};
use crate::{
    event::Hello,
    fingerprint::{agreement::SuiteOrder, ja4::Ja4, traits::HelloTraits},
};

/// Fingerprints kept of one source; counts end there.
pub(crate) const MOST_FINGERPRINTS: usize = 32;
/// Suite orders kept of one source.
const MOST_ORDERS: usize = 8;
/// Delays kept.
const DELAYS: u8 = 64;
/// Fewest delays that say something.
const FEWEST_DELAYS: usize = 4;
/// Fewest handshakes of a source that had been here before of which a share says something.
const FEWEST_RETURNS: u64 = 4;
/// Fewest chances to resume that say something.
const FEWEST_CHANCES: u32 = 8;

const HOUR_NS: u64 = 3600 * SECOND_NS;
/// A ticket has arrived a second after the first hello…
const TICKET_FROM_NS: u64 = SECOND_NS;
/// …and servers take it for five minutes at least (nginx' default; others take it longer).
const TICKET_FOR_NS: u64 = 300 * SECOND_NS;

#[derive(Clone, Copy, Debug)]
struct Seen {
    fingerprint: Ja4,
    first_ns: u64,
    last_ns: u64,
}

/// What is counted over time, in the order in which it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Count {
    /// Hellos over TCP.
    Handshake,
    /// Those that offered no resumption although the source had been here before.
    Full,
    /// Those of them where it had been here a second before.
    LateFull,
    /// Hellos that did offer it, of a source that had been here before.
    Resumed,
    /// Hellos that did not although a connection had ended before.
    Needless,
    /// Over QUIC, of proven connections.
    Quic,
}

const COUNTS: usize = 6;

/// Hellos of one source.
#[derive(Debug, Default)]
pub(crate) struct Hellos {
    // From the one that was used longest ago.
    seen: Vec<Seen>,
    // From the latest: whether a chance to resume was taken.
    resumed: u64,
    chances: u32,
    // Microseconds.
    delays: Latest<u32>,
    conflicts: u32,
    traits: HelloTraits,
    counts: Windows<COUNTS>,
    came_by_quic: bool,
    tcp_orders: Vec<SuiteOrder>,
    quic_orders: Vec<SuiteOrder>,
}

impl Hellos {
    /// A hello over TCP, of a source that had ended a connection before or not. Says whether the source
    /// resumed where it could.
    pub(crate) fn over_tcp(&mut self, hello: &Hello, has_ended: bool) -> bool {
        let at_ns = hello.at_ns;
        self.conflicts =
            self.conflicts.saturating_add(u32::from(hello.flags & HELLO_CONFLICT != 0));
        if let Some(delay_ns) = hello.delay_ns {
            self.delays.push(u32::try_from(delay_ns / 1000).unwrap_or(u32::MAX), DELAYS);
        }
        self.traits = hello.traits;
        self.count(Count::Handshake, at_ns);
        if hello.offers_resumption {
            if !self.seen.is_empty() {
                self.count(Count::Resumed, at_ns);
            }
        } else {
            self.count_full(at_ns);
            if has_ended {
                self.count(Count::Needless, at_ns);
            }
        }
        keep_distinct(&mut self.tcp_orders, hello.suites);
        let before = self.note(&hello.stable, at_ns);
        let had_a_ticket = before.is_some_and(|seen| {
            at_ns.saturating_sub(seen.first_ns) >= TICKET_FROM_NS
                && at_ns.saturating_sub(seen.last_ns) <= TICKET_FOR_NS
        });
        if had_a_ticket {
            self.resumed = self.resumed << 1 | u64::from(hello.offers_resumption);
            self.chances = (self.chances + 1).min(u64::BITS);
        }
        had_a_ticket && hello.offers_resumption
    }

    /// A hello over QUIC. Forgeable: whose it is was not proven.
    pub(crate) fn over_quic(&mut self, hello: &Hello) {
        keep_distinct(&mut self.quic_orders, hello.suites);
    }

    /// A QUIC connection of the source was proven, whose hello offered to resume a session or not.
    /// Nothing says when one ends, so any before counts.
    pub(crate) fn quic_handshake(&mut self, at_ns: u64, resumption: bool) {
        self.count(Count::Quic, at_ns);
        match (std::mem::replace(&mut self.came_by_quic, true), resumption) {
            (false, _) => {}
            (true, true) => self.count(Count::Resumed, at_ns),
            (true, false) => self.count(Count::Needless, at_ns),
        }
    }

    /// Handshakes in the last `seconds` that offered no resumption although the source had ended a
    /// connection before.
    pub(crate) fn needless_handshakes(&self, now_ns: u64, seconds: u32) -> u64 {
        self.within(Count::Needless, now_ns, seconds)
    }

    /// QUIC connections proven in the last `seconds`.
    pub(crate) fn quic_handshakes(&self, now_ns: u64, seconds: u32) -> u64 {
        self.within(Count::Quic, now_ns, seconds)
    }

    /// The share of its handshakes in the last `seconds` that offered to resume, of those where it had
    /// been here before; unknown below [`FEWEST_RETURNS`].
    pub(crate) fn resumed_share(&self, now_ns: u64, seconds: u32) -> Option<f64> {
        let within = |count| self.within(count, now_ns, seconds);
        let resumed = within(Count::Resumed);
        let full = within(Count::Full).max(within(Count::Needless));
        let all = resumed + full;
        (all >= FEWEST_RETURNS).then(|| resumed as f64 / all as f64)
    }

    /// The fingerprint that it used last.
    pub(crate) fn latest(&self) -> Option<&Ja4> {
        self.seen.last().map(|seen| &seen.fingerprint)
    }

    /// Its fingerprints: the latest [`MOST_FINGERPRINTS`].
    pub(crate) fn fingerprints(&self) -> impl ExactSizeIterator<Item = &Ja4> {
        self.seen.iter().map(|seen| &seen.fingerprint)
    }

    /// How many of them it used in the last hour.
    pub(crate) fn fingerprints_last_hour(&self, now_ns: u64) -> usize {
        self.seen.iter().filter(|seen| now_ns.saturating_sub(seen.last_ns) <= HOUR_NS).count()
    }

    /// Of its last 64 chances to resume, the share that it took; unknown below
    /// [`FEWEST_CHANCES`].
    pub(crate) fn resumption_share(&self) -> Option<f64> {
        let mask = u64::MAX.checked_shr(u64::BITS - self.chances).unwrap_or(0);
        let taken = (self.resumed & mask).count_ones();
        (self.chances >= FEWEST_CHANCES).then(|| f64::from(taken) / f64::from(self.chances))
    }

    /// Median time from proof to hello, nanoseconds; unknown below [`FEWEST_DELAYS`].
    pub(crate) fn median_delay_ns(&self) -> Option<u64> {
        if self.delays.len() < FEWEST_DELAYS {
            return None;
        }
        let mut sorted: Vec<u64> = self.delays.iter().map(|micros| u64::from(*micros)).collect();
        sorted.sort_unstable();
        spread::median(&sorted).map(|micros| micros * 1000)
    }

    /// TLS handshakes begun in the last `seconds`.
    pub(crate) fn handshakes(&self, now_ns: u64, seconds: u32) -> u64 {
        self.within(Count::Handshake, now_ns, seconds)
    }

    /// Those of them that offered no resumption although the source had begun one before; with
    /// `late`, at least a second before.
    pub(crate) fn full_handshakes(&self, now_ns: u64, seconds: u32, late: bool) -> u64 {
        self.within(if late { Count::LateFull } else { Count::Full }, now_ns, seconds)
    }

    /// How much the last hello looks like a browser's, 0–1; unknown without one.
    pub(crate) fn browser_likeness(&self) -> Option<f64> {
        (!self.seen.is_empty()).then(|| self.traits.browser_likeness())
    }

    fn count_full(&mut self, at_ns: u64) {
        let Some(first_ns) = self.seen.iter().map(|seen| seen.first_ns).min() else { return };
        self.count(Count::Full, at_ns);
        if at_ns.saturating_sub(first_ns) >= TICKET_FROM_NS {
            self.count(Count::LateFull, at_ns);
        }
    }

    fn count(&mut self, count: Count, at_ns: u64) {
        let mut by = [0; COUNTS];
        if let Some(slot) = by.get_mut(count as usize) {
            *slot = 1;
        }
        self.counts.add(at_ns, by);
    }

    fn within(&self, count: Count, now_ns: u64, seconds: u32) -> u64 {
        self.counts.count(count as usize, now_ns, seconds)
    }

    /// Hellos whose bytes came twice and differed.
    pub(crate) const fn conflicts(&self) -> u32 {
        self.conflicts
    }

    /// Suite orders of its QUIC hellos that none of its TCP hellos had; unknown as long as it
    /// used only one of the two.
    pub(crate) fn quic_disagreements(&self) -> Option<usize> {
        if self.tcp_orders.is_empty() || self.quic_orders.is_empty() {
            return None;
        }
        let differs = |order: &&SuiteOrder| !self.tcp_orders.contains(*order);
        Some(self.quic_orders.iter().filter(differs).count())
    }

    /// Notes a use; how it stood before, if it was known.
    fn note(&mut self, fingerprint: &Ja4, at_ns: u64) -> Option<Seen> {
        let known = self.seen.iter().position(|seen| seen.fingerprint == *fingerprint);
        let before = known.map(|at| self.seen.remove(at));
        if self.seen.len() == MOST_FINGERPRINTS {
            self.seen.remove(0);
        }
        grow_exactly(&mut self.seen);
        self.seen.push(Seen {
            fingerprint: *fingerprint,
            first_ns: before.map_or(at_ns, |seen| seen.first_ns.min(at_ns)),
            last_ns: before.map_or(at_ns, |seen| seen.last_ns.max(at_ns)),
        });
        before
    }
}

fn keep_distinct(list: &mut Vec<SuiteOrder>, order: SuiteOrder) {
    if order.is_known() && !list.contains(&order) && list.len() < MOST_ORDERS {
        grow_exactly(list);
        list.push(order);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = SECOND_NS;

    fn hello(n: u64, at_ns: u64, offers_resumption: bool) -> Hello {
        let ja4: Ja4 = format!("t13d1516h2_8daaf6152771_{n:012x}").parse().unwrap();
        Hello { at_ns, offers_resumption, ja4, stable: ja4, ..Hello::test() }
    }

    #[test]
    fn fingerprints_are_counted_once_and_forgotten_by_the_hour() {
        let mut hellos = Hellos::default();
        for n in 0..10 {
            hellos.over_tcp(&hello(n % 3, n * 600 * S, false), true);
        }
        assert_eq!(hellos.fingerprints().len(), 3);
        assert_eq!(hellos.latest(), Some(&hello(0, 0, false).stable));
        assert_eq!(hellos.fingerprints_last_hour(5400 * S), 3);
        assert_eq!(hellos.fingerprints_last_hour(8400 * S), 2);
        for n in 0..1000 {
            hellos.over_tcp(&hello(n, 9000 * S, false), true);
        }
        assert_eq!(hellos.fingerprints().len(), MOST_FINGERPRINTS);
    }

    #[test]
    fn a_full_handshake_is_needless_once_a_connection_has_ended() {
        let mut hellos = Hellos::default();
        for n in 0..6 {
            hellos.over_tcp(&hello(1, n * S, false), false);
        }
        assert_eq!(hellos.needless_handshakes(6 * S, 600), 0, "none has ended");
        assert_eq!(hellos.resumed_share(6 * S, 600), Some(0.0));
        for n in 6..11 {
            hellos.over_tcp(&hello(1, n * S, n % 2 == 0), true);
        }
        assert_eq!(hellos.needless_handshakes(11 * S, 600), 2);
        // Seven full ones after the first, and three that resumed.
        assert_eq!(hellos.resumed_share(11 * S, 600), Some(0.3));
        assert_eq!(hellos.resumed_share(700 * S, 600), None, "too long ago");
    }

    #[test]
    fn over_quic_every_connection_after_the_first_could_have_resumed() {
        let mut hellos = Hellos::default();
        for n in 0..5 {
            hellos.quic_handshake(n * S, n == 4);
        }
        assert_eq!(hellos.quic_handshakes(5 * S, 10), 5);
        assert_eq!(hellos.needless_handshakes(5 * S, 600), 3);
        assert_eq!(hellos.resumed_share(5 * S, 600), Some(0.25));
    }

    #[test]
    fn a_chance_to_resume_needs_a_ticket_that_could_have_come() {
        let mut hellos = Hellos::default();
        for _ in 0..6 {
            assert!(!hellos.over_tcp(&hello(1, 10 * S, true), true), "six in parallel");
        }
        assert_eq!(hellos.chances, 0);
        for n in 0..8 {
            assert_eq!(hellos.over_tcp(&hello(1, (12 + n) * S, n % 2 == 0), true), n % 2 == 0);
        }
        assert_eq!(hellos.resumption_share(), Some(0.5));
        hellos.over_tcp(&hello(1, 1000 * S, true), true);
        assert_eq!(hellos.chances, 8, "a ticket may have ended");
        for n in 0..100 {
            hellos.over_tcp(&hello(1, (1001 + n) * S, false), true);
        }
        assert_eq!(hellos.resumption_share(), Some(0.0), "the last 64 count");
    }

    #[test]
    fn delays_need_samples() {
        let mut hellos = Hellos::default();
        for n in 0..FEWEST_DELAYS as u64 {
            assert_eq!(hellos.median_delay_ns(), None);
            hellos.over_tcp(&Hello { delay_ns: Some(n * 1_000_000), ..Hello::test() }, true);
        }
        assert_eq!(hellos.median_delay_ns(), Some(2_000_000));
    }

    #[test]
    fn quic_agrees_if_any_hello_over_tcp_was_written_alike() {
        let order = |ids: &[u16]| Hello { suites: SuiteOrder::of(ids), ..Hello::test() };
        let mut hellos = Hellos::default();
        hellos.over_quic(&order(&[0x1301, 0x1302, 0x1303]));
        assert_eq!(hellos.quic_disagreements(), None);
        hellos.over_tcp(&order(&[0x1302, 0x1303, 0x1301]), true);
        assert_eq!(hellos.quic_disagreements(), Some(1));
        hellos.over_tcp(&order(&[0x1301, 0x1302, 0x1303, 0xc02b]), true);
        assert_eq!(hellos.quic_disagreements(), Some(0));
    }

    #[test]
    fn a_full_handshake_counts_where_the_source_had_been_before() {
        let mut hellos = Hellos::default();
        for (at_ns, resumes) in [(0, false), (S / 2, false), (2 * S, false), (3 * S, true)] {
            hellos.over_tcp(&hello(1, 10 * S + at_ns, resumes), true);
        }
        let now = 14 * S;
        assert_eq!(hellos.handshakes(now, 60), 4);
        assert_eq!(hellos.full_handshakes(now, 600, false), 2);
        assert_eq!(hellos.full_handshakes(now, 600, true), 1);
        assert_eq!(hellos.browser_likeness(), Some(1.0));
        assert_eq!(Hellos::default().browser_likeness(), None);
    }

    proptest! {
        #[test]
        fn bounded_whatever_comes(
            steps in prop::collection::vec((0u64..1000, 0u64..10_000, any::<u8>()), 0..400),
        ) {
            let mut hellos = Hellos::default();
            for (n, at_s, suite) in steps {
                let mut hello = hello(n, at_s * S, n % 2 == 0);
                hello.suites = SuiteOrder::of(&[0x1300 | u16::from(suite)]);
                hellos.over_tcp(&hello, true);
                hellos.over_quic(&hello);
            }
            prop_assert!(hellos.seen.len() <= MOST_FINGERPRINTS);
            prop_assert!(hellos.tcp_orders.len().max(hellos.quic_orders.len()) <= MOST_ORDERS);
            prop_assert!(hellos.delays.len() <= usize::from(DELAYS) && hellos.chances <= 64);
            prop_assert!(hellos.resumption_share().is_none_or(|share| (0.0..=1.0).contains(&share)));
        }
    }
}
