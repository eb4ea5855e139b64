//! One distribution, sketched: a t-digest whose old weight fades.
//!
//! Values are kept on a scale that is a logarithm in straight pieces, so that one absurd value
//! cannot pull the ranks of ordinary ones along, and in single precision. Ranks are off by at most
//! [`RANK_ERROR`], and by [`TAIL_RANK_ERROR`] in the outer twentieths.

use serde::{Deserialize, Serialize};
use tdigests::{Centroid, TDigest};

/// Centroids kept: 16 bytes each.
const CENTROIDS: usize = 128;

/// How far a rank is off at most, against the exact one.
pub const RANK_ERROR: f64 = 0.02;

/// How far it is off at most below 0.05 and above 0.95.
pub const TAIL_RANK_ERROR: f64 = 0.008;

/// Half of the weight is gone after so many days.
pub const HALF_LIFE_DAYS: u64 = 14;

/// Its 14th power is one half.
const DAILY: f64 = 0.951_695_153_5;

/// After so many days nothing is left.
const FORGOTTEN_DAYS: u64 = 365;

/// Weights below this are nothing.
const LEAST_WEIGHT: f64 = 1e-6;

/// A distribution.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sketch {
    /// Place on the scale, and weight; ascending.
    #[serde(with = "exactly")]
    centroids: Vec<(f64, f64)>,
    /// Weight of all before each, and of all: so that a rank is one binary search.
    #[serde(skip)]
    before: Vec<f64>,
}

impl Sketch {
    /// Adds values, each with weight 1.
    pub(super) fn add(&mut self, values: impl IntoIterator<Item = f32>) {
        let added = values.into_iter().map(|value| Centroid::new(scale(value), 1.0));
        let before = self.centroids.iter().map(|(mean, weight)| Centroid::new(*mean, *weight));
        let all: Vec<Centroid> = before.chain(added).collect();
        // The digest refuses to be made of nothing.
        if all.iter().all(|centroid| centroid.mean.is_nan() || centroid.weight <= 0.0) {
            return;
        }
        let mut digest = TDigest::from_centroids(all);
        digest.compress(CENTROIDS);
        self.centroids = digest.centroids().iter().map(|c| (c.mean, c.weight)).collect();
        self.sum();
    }

    /// Lets days pass.
    pub(super) fn age(&mut self, days: u64) {
        if days >= FORGOTTEN_DAYS {
            self.centroids.clear();
        }
        let factor = (0..days.min(FORGOTTEN_DAYS)).fold(1.0, |factor, _| factor * DAILY);
        for (_, weight) in &mut self.centroids {
            *weight *= factor;
        }
        self.centroids.retain(|(_, weight)| *weight > LEAST_WEIGHT);
        self.sum();
    }

    /// What follows from the centroids; after reading a saved one too.
    pub(super) fn sum(&mut self) {
        let mut total = 0.0;
        self.before.clear();
        self.before.push(total);
        for (_, weight) in &self.centroids {
            total += weight;
            self.before.push(total);
        }
    }

    /// How much there is: one for every value, less what faded.
    pub(super) fn weight(&self) -> f64 {
        self.before.last().copied().unwrap_or_default()
    }

    /// How much lies below a value.
    pub(super) fn below(&self, value: f32) -> f64 {
        let at = scale(value);
        let index = self.centroids.partition_point(|(mean, _)| *mean < at);
        let below = self.before.get(index).copied().unwrap_or_default();
        let left = index.checked_sub(1).and_then(|left| self.centroids.get(left));
        match (left, self.centroids.get(index)) {
            // Half of a centroid lies above its mean, and half of the next one below that's. A value
            // that is a centroid's own is most likely one of many equal ones.
            (Some((left, left_weight)), Some((right, right_weight))) if *right > at => {
                let passed = (at - left) / (right - left);
                below - left_weight / 2.0 + passed * (left_weight + right_weight) / 2.0
            }
            _ => below,
        }
    }

    /// Whether this can be what a sketch was saved as.
    pub(super) fn is_sound(&self) -> bool {
        let finite =
            |&(mean, weight): &(f64, f64)| mean.is_finite() && weight > 0.0 && weight < 1e15;
        self.centroids.len() <= CENTROIDS
            && self.centroids.iter().all(finite)
            && self.centroids.is_sorted_by(|(left, _), (right, _)| left <= right)
    }
}

/// A value's place: monotone, a straight line within each power of two. No call of `ln`, whose last
/// bit depends on the machine.
fn scale(value: f32) -> f64 {
    // The order of floating-point numbers is that of their bits, as integers.
    let magnitude = f64::from(value.abs().to_bits()) / f64::from(1u32 << 23);
    if value < 0.0 { -magnitude } else { magnitude }
}

/// Numbers as their bits: decimal ones come back from JSON a little different.
mod exactly {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(pairs: &[(f64, f64)], to: S) -> Result<S::Ok, S::Error> {
        let bits: Vec<(u64, u64)> =
            pairs.iter().map(|(mean, weight)| (mean.to_bits(), weight.to_bits())).collect();
        bits.serialize(to)
    }

    pub(super) fn deserialize<'de, D>(from: D) -> Result<Vec<(f64, f64)>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let bits = Vec::<(u64, u64)>::deserialize(from)?;
        let pair = |(mean, weight): (u64, u64)| (f64::from_bits(mean), f64::from_bits(weight));
        Ok(bits.into_iter().map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exact(values: &[f32], value: f32) -> f64 {
        values.iter().filter(|other| **other < value).count() as f64 / values.len() as f64
    }

    /// How far the sketch may be off beside a rank.
    fn allowed(rank: f64, count: usize) -> f64 {
        let bound = if (0.05..=0.95).contains(&rank) { RANK_ERROR } else { TAIL_RANK_ERROR };
        // A single value is not divisible.
        bound + 1.0 / count as f64
    }

    fn check(values: &[f32], batch: usize) -> Result<(), TestCaseError> {
        let mut sketch = Sketch::default();
        for batch in values.chunks(batch) {
            sketch.add(batch.iter().copied());
        }
        prop_assert!(sketch.centroids.len() <= CENTROIDS);
        prop_assert!(sketch.is_sound());
        prop_assert!((sketch.weight() - values.len() as f64).abs() < 1e-6 * values.len() as f64);
        for value in values.iter().step_by(7) {
            let (rank, expected) = (sketch.below(*value) / sketch.weight(), exact(values, *value));
            // Where many are equal, any place among them is theirs.
            let next = f32::from_bits(value.to_bits() + 1);
            let upper = exact(values, next);
            let off = (expected - rank).max(rank - upper).max(0.0);
            prop_assert!(
                off <= allowed(expected, values.len()).max(allowed(upper, values.len())),
                "{value}: {rank} for {expected} to {upper}"
            );
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn ranks_are_near_exact_ones(
            values in prop::collection::vec(0.0f32..1e6, 200..6000),
            batch in 1usize..300,
        ) {
            check(&values, batch.max(values.len() / 200))?;
        }

        #[test]
        fn and_for_counts_of_which_many_are_equal(
            values in prop::collection::vec(0u8..30, 200..6000),
        ) {
            let values: Vec<f32> = values.into_iter().map(|n| f32::from(u16::from(n).pow(2) / 30)).collect();
            check(&values, 256)?;
        }

        #[test]
        fn and_where_they_spread_over_many_magnitudes(
            values in prop::collection::vec((-20i32..60, 1.0f32..2.0), 200..6000),
        ) {
            let values: Vec<f32> = values.into_iter().map(|(e, m)| m * 2f32.powi(e)).collect();
            check(&values, 256)?;
        }
    }

    #[test]
    fn old_weight_fades_by_half_in_two_weeks() {
        let mut sketch = Sketch::default();
        sketch.add([1.0; 1000]);
        sketch.age(HALF_LIFE_DAYS);
        assert!((sketch.weight() - 500.0).abs() < 0.01, "{}", sketch.weight());
        sketch.add([5.0; 500]);
        let share = sketch.below(3.0) / sketch.weight();
        assert!((share - 0.5).abs() < RANK_ERROR, "{share}");
        sketch.age(FORGOTTEN_DAYS);
        assert_eq!((sketch.weight(), sketch.below(9.0)), (0.0, 0.0));
    }

    #[test]
    fn absurd_values_move_nobody_else() {
        let mut sketch = Sketch::default();
        let values: Vec<f32> = (0..2000u16).map(f32::from).collect();
        for chunk in values.chunks(200) {
            sketch.add(chunk.iter().copied().chain([f32::MAX, f32::NAN]));
        }
        let rank = sketch.below(1000.0) / 2000.0;
        assert!((rank - 0.5).abs() < RANK_ERROR, "{rank}");
        assert!((sketch.below(1999.5) - 2000.0).abs() < 8.0, "{}", sketch.below(1999.5));
    }
}
