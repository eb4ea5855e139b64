//! One feature at one service: what is usual at each hour of the day, and at any.

use serde::{Deserialize, Serialize};
use weir_common::abi::time::SECOND_NS;

use super::{
    batch::{Batch, Extremes, Network},
    sketch::Sketch,
};

/// Hours of the day.
const HOURS: usize = 24;

const HOUR_NS: u64 = 3600 * SECOND_NS;
const DAY_NS: u64 = 24 * HOUR_NS;

/// A baseline says nothing before it is so old.
pub const WARM_UP_NS: u64 = DAY_NS;

/// And before it has so much weight, in networks.
pub const WARM_UP_WEIGHT: f64 = 200.0;

/// An hour of the day speaks for itself with so much weight; with less, in proportion.
const GROWN_UP_WEIGHT: f64 = 1000.0;

/// Two sketches: of the least that each network had, and of the most.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Usual {
    batch: Batch,
    least: Sketch,
    most: Sketch,
}

impl Usual {
    fn take_in(&mut self) {
        if let Some(values) = self.batch.take() {
            self.least.add(values.iter().map(|value| value.least));
            self.most.add(values.iter().map(|value| value.most));
        }
    }

    fn age(&mut self, days: u64) {
        self.least.age(days);
        self.most.age(days);
    }

    /// The share below a value of the leasts, and of the mosts. As if there were one network more,
    /// which lies where it makes the value less unusual.
    fn shares(&self, value: f32) -> (f64, f64) {
        let low = (self.least.below(value) + 1.0) / (self.least.weight() + 1.0);
        let high = self.most.below(value) / (self.most.weight() + 1.0);
        (low, high)
    }
}

/// What is usual.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Seasons {
    /// Since when it is, faded last and counted last. Signed, because that can be before this boot; as
    /// it is kept over a restart, how long ago.
    first_ns: i64,
    faded_ns: i64,
    gathered_ns: i64,
    any: Usual,
    // Index: hour.
    hours: Vec<Usual>,
}

impl Seasons {
    pub(super) fn new(now_ns: u64) -> Self {
        let hours = (0..HOURS).map(|_| Usual::default()).collect();
        let any = Usual::default();
        let now_ns = signed(now_ns);
        Self { first_ns: now_ns, faded_ns: now_ns, gathered_ns: now_ns, any, hours }
    }

    /// A network's sample of an hour that was believed now.
    pub(super) fn add(
        &mut self,
        network: Network,
        seed: u64,
        hour: u8,
        value: Extremes,
        now_ns: u64,
    ) {
        self.pass(now_ns);
        self.any.batch.add(network, seed, value);
        if let Some(usual) = self.hours.get_mut(usize::from(hour) % HOURS) {
            usual.batch.add(network, seed, value);
        }
    }

    /// Time passes: what was gathered for an hour counts, if it is enough; and all fades.
    fn pass(&mut self, now_ns: u64) {
        if since(self.gathered_ns, now_ns) < HOUR_NS {
            return;
        }
        self.gathered_ns = signed(now_ns);
        let days = since(self.faded_ns, now_ns) / DAY_NS;
        self.faded_ns = self.faded_ns.saturating_add(signed(days.saturating_mul(DAY_NS)));
        for usual in self.hours.iter_mut().chain([&mut self.any]) {
            usual.age(days);
            usual.take_in();
        }
    }

    /// The share of what is usual at an hour that lies below a value.
    pub(super) fn rank(&self, value: f32, hour: u8, now_ns: u64) -> Option<f64> {
        let is_warm =
            since(self.first_ns, now_ns) >= WARM_UP_NS && self.any.most.weight() >= WARM_UP_WEIGHT;
        if !is_warm || value.is_nan() {
            return None;
        }
        let (mut low, mut high) = self.any.shares(value);
        if let Some(usual) = self.hours.get(usize::from(hour) % HOURS) {
            let own = (usual.most.weight() / GROWN_UP_WEIGHT).min(1.0);
            let (low_then, high_then) = usual.shares(value);
            low += own * (low_then - low);
            high += own * (high_then - high);
        }
        // Unusually much is more than most have at most, unusually little less than most have at
        // least; between the two nothing is unusual.
        let middle = 0.5;
        Some(if high > middle { high } else { low.min(middle) })
    }

    /// Times as ages, to be kept over a restart; and back.
    pub(super) fn turned_around(mut self, now_ns: u64) -> Self {
        for time in [&mut self.first_ns, &mut self.faded_ns, &mut self.gathered_ns] {
            *time = signed(now_ns).saturating_sub(*time);
        }
        for usual in self.hours.iter_mut().chain([&mut self.any]) {
            usual.least.sum();
            usual.most.sum();
        }
        self
    }

    /// Whether this can be what one was saved as.
    pub(super) fn is_sound(&self) -> bool {
        let sound = |usual: &Usual| {
            usual.batch.is_sound() && usual.least.is_sound() && usual.most.is_sound()
        };
        self.hours.len() == HOURS && self.hours.iter().chain([&self.any]).all(sound)
    }
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

/// How long ago a time was; 0 if it is yet to come.
fn since(then_ns: i64, now_ns: u64) -> u64 {
    u64::try_from(signed(now_ns).saturating_sub(then_ns)).unwrap_or(0)
}
