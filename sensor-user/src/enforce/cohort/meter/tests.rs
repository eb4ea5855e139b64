//! Counts that are kept up to date equal those that are made anew.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::enforce::cohort::tests::source;

const WINDOW_NS: u64 = 1200;

fn address(number: u8) -> SourceKey {
    source(&format!("10.0.{}.{}", number / 8, number % 8))
}

/// What was done to one, and when.
type Step = (u8, u8, u64);

/// The figures, by looking at everything that happened.
fn naive(steps: &[(Step, u64)], now: u64) -> (Affected, Affected, f64) {
    let is_live = |at: u64| at / 100 + PIECES > now / 100;
    let mut seen: BTreeMap<u8, (bool, bool)> = BTreeMap::new();
    for ((number, outcome, _), at) in steps {
        if is_live(*at) {
            let it = seen.entry(*number).or_default();
            it.0 |= *outcome == 1;
            it.1 |= *outcome == 2;
        }
    }
    let count = |is: fn(&(bool, bool)) -> bool| seen.values().filter(|it| is(it)).count() as u64;
    let sources = Affected {
        seen: seen.len() as u64,
        would: count(|(would, _)| *would),
        dropped: count(|(_, dropped)| *dropped),
    };
    let mut networks: BTreeMap<u8, Census> = BTreeMap::new();
    for (number, (would, dropped)) in &seen {
        let census = networks.entry(number / 8).or_default();
        census.seen += 1;
        census.would += u64::from(*would);
        census.dropped += u64::from(*dropped);
    }
    let has = |is: fn(&Census) -> bool| networks.values().filter(|it| is(it)).count() as u64;
    let presence = Affected {
        seen: networks.len() as u64,
        would: has(|it| it.would > 0),
        dropped: has(|it| it.dropped > 0),
    };
    let weight: u64 = networks.values().map(Census::weight).sum();
    let dropped: u64 = networks.values().map(|it| it.weight_of(it.dropped)).sum();
    (sources, presence, dropped as f64 / (weight as f64).max(1.0))
}

proptest! {
    #[test]
    fn sliding_equals_counting_anew(
        steps in prop::collection::vec((0u8..40, 0u8..3, 0u64..150), 1..120),
    ) {
        let mut meter = Meter::new(WINDOW_NS);
        let mut happened: Vec<(Step, u64)> = Vec::new();
        let mut now = 0;
        for step in steps {
            let (number, outcome, later) = step;
            now += later;
            let outcome = [Outcome::Served, Outcome::Would, Outcome::Dropped][usize::from(outcome)];
            meter.source(&address(number), false, outcome, now);
            happened.push((step, now));
            let harm = meter.harm();
            let (sources, networks, share) = naive(&happened, now);
            prop_assert_eq!(harm.sources, sources);
            prop_assert_eq!(harm.networks, networks);
            prop_assert!((harm.dropped_share - share).abs() < 1e-9);
        }
        meter.pass(now + 2 * WINDOW_NS);
        prop_assert_eq!(meter.harm().sources, Affected::default());
        prop_assert!(meter.marks.is_empty() && meter.networks.is_empty());
        prop_assert_eq!(meter.weights, Affected::default());
    }
}

#[test]
fn bounded_and_one_network_takes_only_so_much() {
    let mut meter = Meter::new(WINDOW_NS);
    let mut seen = BTreeSet::new();
    for number in 0..SOURCES as u32 + 5000 {
        let [a, b, c] = [number >> 16, number >> 8 & 0xff, number & 0xff];
        let one = source(&format!("{}.{b}.{c}.1", a + 1));
        seen.insert(one.words);
        meter.source(&one, false, Outcome::Served, 0);
    }
    assert_eq!(meter.marks.len(), SOURCES);
    assert_eq!(meter.harm().overlooked, 5000);
    let mut meter = Meter::new(WINDOW_NS);
    for number in 0..200 {
        meter.source(&source(&format!("192.0.2.{number}")), false, Outcome::Dropped, 0);
    }
    assert_eq!((meter.harm().sources.seen, meter.harm().overlooked), (64, 136));
}

#[test]
fn who_is_removed_or_acquitted_counts_no_more() {
    let mut meter = Meter::new(WINDOW_NS);
    for number in 0..2 {
        meter.source(&address(number), false, Outcome::Dropped, 0);
    }
    meter.acquit(&address(0));
    assert_eq!(meter.dropped(), [address(1)]);
    assert_eq!(meter.harm().sources, Affected { seen: 2, would: 0, dropped: 1 });
    meter.remove(&address(1));
    meter.remove(&address(1));
    assert_eq!(meter.harm().sources, Affected { seen: 1, would: 0, dropped: 0 });
}

#[test]
fn connections_are_counted_apart_and_slide_too() {
    let mut meter = Meter::new(WINDOW_NS);
    for outcome in [Outcome::Served, Outcome::Served, Outcome::Would, Outcome::Dropped] {
        meter.connection(outcome, 0);
    }
    assert_eq!(meter.harm().connections, Affected { seen: 2, would: 1, dropped: 1 });
    meter.pass(WINDOW_NS);
    assert_eq!(meter.harm().connections, Affected::default());
}
