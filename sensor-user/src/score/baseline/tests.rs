//! Baselines from outside: warm-up, seasons, and what an attacker can do to them.

use weir_common::abi::{ServiceSet, SourceKey, time::SECOND_NS};

use super::*;
use crate::score::feature::Feature;

const SERVICE: Place = Place::new(&ServiceSet::one(3), 3);
const HOUR_NS: u64 = 3600 * SECOND_NS;

fn feature() -> FeatureId {
    Feature::OpenConnections.into()
}

/// An address of one of 65,536 networks.
fn source(network: u16, last: u8) -> SourceKey {
    let [high, low] = network.to_be_bytes();
    SourceKey { words: [u32::MAX, u32::from_ne_bytes([high, low, 7, last])] }
}

/// A number below `below`, different for each `n`, the same in each run.
fn arbitrary(n: u64, below: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb) % below
}

/// An honest value with a long tail; the `place` of 1000 equal ones.
fn honest_value(place: u64) -> f64 {
    let place = place as f64 / 1000.0;
    1.0 / (1.001 - place)
}

/// A service that `networks` visit in each of some hours.
fn teach(baselines: &mut Baselines, hours: u64, networks: u64, also: impl Fn(&mut Baselines, u64)) {
    for hour in 0..hours {
        let at_ns = (hour + 1) * HOUR_NS;
        also(baselines, at_ns);
        for visit in 0..networks {
            let n = hour * networks + visit;
            let network = u16::try_from(arbitrary(n, 40_000)).unwrap();
            let value = honest_value(arbitrary(n * 31, 1000));
            let of_day = (hour % 24) as u8;
            let at_ns = at_ns + visit;
            baselines.observe(SERVICE, feature(), &source(network, 1), value, at_ns, of_day);
        }
    }
    baselines.tick((hours + 4) * HOUR_NS);
}

/// The honest rank of the value that the baseline takes for its `rank`.
fn honest_rank_of(baselines: &Baselines, rank: f64) -> f64 {
    let places = 0..=1000;
    let at = |place: &u64| {
        baselines.rank(SERVICE, feature(), honest_value(*place) * 1.0001, 5).unwrap() >= rank
    };
    places.clone().find(at).map_or(1.0, |place| place as f64 / 1000.0)
}

#[test]
fn it_warms_up_for_a_day_and_with_two_hundred_networks() {
    let mut few = Baselines::new(1);
    teach(&mut few, 216, 1, |_, _| {});
    assert!(few.counters().believed > 150);
    assert_eq!(few.rank(SERVICE, feature(), 1.0, 5), None, "too few networks");
    let mut young = Baselines::new(1);
    teach(&mut young, 20, 400, |_, _| {});
    assert_eq!(young.rank(SERVICE, feature(), 1.0, 5), None, "not a day old");
    young.tick(30 * HOUR_NS);
    assert!(young.rank(SERVICE, feature(), 1.0, 5).is_some());
    assert_eq!(
        young.rank(Place::new(&ServiceSet::one(3), 4), feature(), 1.0, 5),
        None,
        "another service"
    );
}

#[test]
fn ranks_are_those_of_what_was_taught() {
    let mut baselines = Baselines::new(1);
    teach(&mut baselines, 120, 300, |_, _| {});
    for place in [20, 250, 500, 750, 900, 990] {
        let rank = baselines.rank(SERVICE, feature(), honest_value(place), 5).unwrap();
        let expected = place as f64 / 1000.0;
        let error = if (0.05..=0.95).contains(&expected) { 0.03 } else { 0.012 };
        assert!((rank - expected).abs() < error, "{rank} for {expected}");
    }
}

#[test]
fn an_attacker_with_one_network_moves_no_rank_by_more_than_half_a_percent() {
    for addresses in [1u8, 200] {
        for value in [0.0, 1e9, f64::MAX] {
            let mut baselines = Baselines::new(1);
            teach(&mut baselines, 120, 300, |baselines, at_ns| {
                let of_day = (at_ns / HOUR_NS % 24) as u8;
                for last in 0..addresses {
                    let attacker = source(50_000, last);
                    baselines.observe(SERVICE, feature(), &attacker, value, at_ns, of_day);
                }
            });
            let share = 1.0 / batch::FEWEST_NETWORKS as f64;
            for (rank, sketched) in [(0.99, 0.004), (0.5, 0.03), (0.02, 0.008)] {
                let found = honest_rank_of(&baselines, rank);
                let off = (found - rank).abs();
                assert!(off <= share + sketched, "{addresses} with {value}: {found} for {rank}");
            }
        }
    }
}

#[test]
fn who_is_judged_teaches_nothing() {
    let taught = |judged: bool| {
        let mut baselines = Baselines::new(1);
        teach(&mut baselines, 72, 300, |baselines, at_ns| {
            // A third of all networks, far above everybody.
            for network in 50_000..50_150 {
                baselines.observe(SERVICE, feature(), &source(network, 1), 1e6, at_ns, 5);
                if judged {
                    baselines.withdraw(&source(network, 1));
                }
            }
        });
        (baselines.rank(SERVICE, feature(), 1e5, 5).unwrap(), baselines.counters().withdrawn)
    };
    let (rank, withdrawn) = taught(true);
    assert!(rank > 0.99 && withdrawn == 3 * 24 * 150, "{rank} {withdrawn}");
    let (rank, _) = taught(false);
    assert!(rank < 0.8, "{rank}: the test would see them");
}

#[test]
fn what_is_usual_at_night_is_not_at_noon() {
    let mut baselines = Baselines::new(1);
    for hour in 0..24 * 8u64 {
        let of_day = (hour % 24) as u8;
        for visit in 0..250u16 {
            let value = f64::from(visit) * if of_day == 3 { 100.0 } else { 1.0 };
            let at_ns = (hour + 1) * HOUR_NS + u64::from(visit);
            baselines.observe(SERVICE, feature(), &source(visit, 1), value, at_ns, of_day);
        }
    }
    baselines.tick(24 * 9 * HOUR_NS);
    let rank = |hour| baselines.rank(SERVICE, feature(), 1000.0, hour).unwrap();
    assert!(rank(3) < 0.2 && rank(12) > 0.95, "{} {}", rank(3), rank(12));
}

#[test]
fn peaks_are_compared_with_peaks_and_lows_with_lows() {
    let mut baselines = Baselines::new(1);
    for hour in 0..48u64 {
        for visit in 0..250u16 {
            for value in [2.0, 20.0, 4.0] {
                let at_ns = (hour + 1) * HOUR_NS;
                baselines.observe(SERVICE, feature(), &source(visit, 1), value, at_ns, 0);
            }
        }
    }
    baselines.tick(60 * HOUR_NS);
    let rank = |value| baselines.rank(SERVICE, feature(), value, 0).unwrap();
    assert!(rank(21.0) > 0.99, "{}", rank(21.0));
    assert!(rank(1.0) < 0.01, "{}", rank(1.0));
    assert_eq!([2.5, 10.0, 20.0].map(rank), [0.5; 3], "all of these are usual");
}

#[test]
fn the_same_samples_give_the_same_and_a_restart_changes_nothing() {
    let taught = || {
        let mut baselines = Baselines::new(9);
        teach(&mut baselines, 72, 260, |_, _| {});
        baselines
    };
    let registry = Registry::default();
    let (first, second) = (taught(), taught());
    let saved = first.save(&registry).write().unwrap();
    assert!(saved == second.save(&registry).write().unwrap());
    let mut loaded = Baselines::load(&saved, &registry, 500_000 * HOUR_NS).unwrap();
    assert!(saved == loaded.save(&registry).write().unwrap());
    // Monotonic time begins anew with a boot.
    loaded = Baselines::load(&saved, &registry, SECOND_NS).unwrap();
    assert!(saved == loaded.save(&registry).write().unwrap());
    for place in 0..100 {
        let value = honest_value(place * 10);
        let rank = |baselines: &Baselines| baselines.rank(SERVICE, feature(), value, 7).unwrap();
        assert_eq!(rank(&first).to_bits(), rank(&loaded).to_bits());
    }
}

#[test]
fn what_was_tampered_with_is_not_loaded() {
    let mut baselines = Baselines::new(9);
    teach(&mut baselines, 48, 260, |_, _| {});
    let registry = Registry::default();
    let saved = String::from_utf8(baselines.save(&registry).write().unwrap()).unwrap();
    let load = |text: &str| Baselines::load(text.as_bytes(), &registry, 0);
    assert!(load(&saved).is_ok());
    let infinite = format!("[[{},1],[", f64::INFINITY.to_bits());
    let negative = format!("[[{},{}],[", 1f64.to_bits(), (-1f64).to_bits());
    let unsorted = format!("[[{},{}],[", 1e9f64.to_bits(), 1f64.to_bits());
    for wrong in [
        saved.replacen("\"format\":1", "\"format\":2", 1),
        saved[..saved.len() / 2].to_owned(),
        saved.replacen("[[", &infinite, 1),
        saved.replacen("[[", &negative, 1),
        saved.replacen("[[", &unsorted, 1),
    ] {
        assert!(wrong != saved);
        assert!(load(&wrong).is_err());
    }
}

#[test]
fn another_registry_keeps_what_it_still_knows() {
    use crate::score::{
        feature::{Evidence, FeatureInfo, Unit},
        registry::Declared,
    };
    let declare = |registry: &mut Registry, name: &'static str| {
        let info = FeatureInfo {
            id: feature(),
            name: name.into(),
            unit: Unit::Count,
            window: "now".into(),
            evidence: Evidence::Authentic,
            most: 1.0,
            meaning: "x".into(),
        };
        registry.declare(info, Declared::Feed(0))
    };
    let (mut before, mut after) = (Registry::default(), Registry::default());
    let (old, gone) = (declare(&mut before, "feed.a"), declare(&mut before, "feed.b"));
    declare(&mut after, "feed.c");
    let new = declare(&mut after, "feed.a");
    let mut baselines = Baselines::new(1);
    for visit in 0..2u16 {
        for feature in [old, gone] {
            baselines.observe(SERVICE, feature, &source(visit, 1), 1.0, 0, 0);
        }
    }
    baselines.tick(9 * HOUR_NS);
    assert_eq!(baselines.counters().baselines, 2);
    baselines.replace_registry(&before, &after);
    let kept: Vec<_> = baselines.seasons.keys().copied().collect();
    assert_eq!(kept, [(SERVICE, new)]);
}

#[test]
fn it_learns_a_bounded_number_of_things() {
    let mut baselines = Baselines::new(1);
    for service in 0..=255 {
        baselines.observe(
            Place::new(&ServiceSet::ALL, service),
            feature(),
            &source(u16::from(service), 1),
            1.0,
            0,
            0,
        );
        baselines.observe(
            Place::new(&ServiceSet::ALL, service),
            feature(),
            &source(u16::from(service), 1),
            f64::NAN,
            0,
            0,
        );
    }
    baselines.tick(9 * HOUR_NS);
    let counters = baselines.counters();
    assert_eq!((counters.baselines, counters.no_room), (MOST_BASELINES, 128));
}
