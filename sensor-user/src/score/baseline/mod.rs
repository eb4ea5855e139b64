//! Baselines: what is usual at each service, learned from its own visitors.
//!
//! For every service ([`Place`]), every feature that a policy asks the rank of, and every hour of the day, there is a sketch of what networks have; old weight fades by half in
//! [`sketch::HALF_LIFE_DAYS`] days. [`Baselines::rank`] says which share of the baseline lies below a
//! value. An upper rank (above 0.5) compares with the *most* that each source had in an hour, a lower
//! one with the *least*: a rank of 0.99 is what one source in a hundred reaches in an hour.
//!
//! **Who is judged does not teach.** The engine gives no sample of a source with a live verdict or of
//! forgeable evidence. A sample waits for an hour and a half; if its source is judged meanwhile
//! ([`Baselines::withdraw`]), it is gone.
//!
//! **Nobody has more than one voice.** A network (an IPv4 /24 or an IPv6 /48) has one sample at a time,
//! however many addresses it has, and samples count in batches of at least
//! [`batch::FEWEST_NETWORKS`] networks: hence a network's share is at most 0.5 % for ever, and it can
//! move any rank by at most 0.005. Whoever commands `k` networks among `n` can move it by `k / n`. Of
//! one IPv6 /32, two networks count.
//!
//! **Unknown before it is warm:** a day, and 200 networks. Small services that 200 networks never
//! visit have no ranks: among few, the most unusual is nothing unusual.
//!
//! Driven by events' times alone; the same samples give the same ranks. Bounded:
//! [`MOST_BASELINES`] of at most half a MiB each, and 16,384 waiting samples of a network in an hour.
//! What finds no room is counted and not learned.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_common::abi::{ServiceSet, SourceKey};

pub mod batch;
mod season;
pub mod sketch;
mod waiting;

pub use self::season::{WARM_UP_NS, WARM_UP_WEIGHT};
use self::{
    batch::Extremes,
    season::Seasons,
    waiting::{Sample, Waiting},
};
use super::registry::{FeatureId, Registry};

/// Pairs of a service and a feature that are learned.
pub const MOST_BASELINES: usize = 128;

/// Version of what [`Baselines::save`] gives.
const FORMAT: u32 = 1;

/// What baselines did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct BaselineCounters {
    /// Pairs of a service and a feature.
    pub baselines: usize,
    /// Sources whose samples wait.
    pub waiting: usize,
    /// Samples that were believed.
    pub believed: u64,
    /// Sources that were judged while they waited.
    pub withdrawn: u64,
    /// Values not learned from because there was no room.
    pub no_room: u64,
}

/// Every baseline.
#[derive(Debug)]
pub struct Baselines {
    seed: u64,
    seasons: BTreeMap<(Place, FeatureId), Seasons>,
    waiting: Waiting,
    now_ns: u64,
    counters: BaselineCounters,
}

/// What a baseline is of: the visitors of a service, by what they do at all services that are judged
/// together with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Place {
    // The words of their set.
    together: [u64; 4],
    service: u8,
}

impl Place {
    /// Of the visitors of `service`, which is judged `together` with these.
    #[must_use]
    pub const fn new(together: &ServiceSet, service: u8) -> Self {
        Self { together: together.words, service }
    }
}

/// What is kept over a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    format: u32,
    seed: u64,
    baselines: Vec<SavedBaseline>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedBaseline {
    place: Place,
    feature: String,
    seasons: Seasons,
}

/// What [`Baselines::save`] gives.
#[derive(Debug)]
pub struct SavedBaselines(Saved);

impl SavedBaselines {
    /// As JSON.
    ///
    /// # Errors
    /// None that can be met: the values are numbers and texts.
    pub fn write(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&self.0)
    }
}

impl Baselines {
    /// None yet. `seed` decides which networks a batch keeps where more come than it holds; two runs
    /// over the same events need the same one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            seasons: BTreeMap::new(),
            waiting: Waiting::default(),
            now_ns: 0,
            counters: BaselineCounters::default(),
        }
    }

    /// A source that nothing is held against had this value at a service, at this time (`CLOCK_MONOTONIC` ns) and
    /// hour of the day (0 to 23). As often as the value is known: an hour's extremes count, once.
    pub fn observe(
        &mut self,
        place: Place,
        feature: FeatureId,
        source: &SourceKey,
        value: f64,
        at_ns: u64,
        hour: u8,
    ) {
        self.tick(at_ns);
        if !value.is_finite() {
            return;
        }
        let value = single(value);
        let value = Extremes { least: value, most: value };
        let sample = Sample { place, feature, hour, value };
        if !self.waiting.note(source, sample, at_ns) {
            self.counters.no_room += 1;
        }
    }

    /// A source is judged: what it showed lately is not learned.
    pub fn withdraw(&mut self, source: &SourceKey) {
        self.counters.withdrawn += u64::from(self.waiting.withdraw(source));
    }

    /// Time passes: samples that waited long enough count.
    pub fn tick(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some((network, samples)) = self.waiting.believed(self.now_ns) {
            for sample in samples {
                let key = (sample.place, sample.feature);
                if !self.seasons.contains_key(&key) && self.seasons.len() >= MOST_BASELINES {
                    self.counters.no_room += 1;
                    continue;
                }
                let now_ns = self.now_ns;
                let seasons = self.seasons.entry(key).or_insert_with(|| Seasons::new(now_ns));
                seasons.add(network, self.seed, sample.hour, sample.value, now_ns);
                self.counters.believed += 1;
            }
        }
    }

    /// The share of a service's baseline at an hour of the day that lies below a value, 0 to 1; `None`
    /// while the baseline warms up. Exact to [`sketch::RANK_ERROR`], in the outer twentieths to
    /// [`sketch::TAIL_RANK_ERROR`].
    #[must_use]
    pub fn rank(&self, place: Place, feature: FeatureId, value: f64, hour: u8) -> Option<f64> {
        self.seasons.get(&(place, feature))?.rank(single(value), hour, self.now_ns)
    }

    /// What they did.
    #[must_use]
    pub fn counters(&self) -> BaselineCounters {
        BaselineCounters {
            baselines: self.seasons.len(),
            waiting: self.waiting.len(),
            ..self.counters
        }
    }

    /// Takes another registry: declared features may have other numbers there, or be gone.
    pub fn replace_registry(&mut self, before: &Registry, after: &Registry) {
        let renumbered = |feature: FeatureId| after.find(&before.info(feature)?.name);
        self.seasons = std::mem::take(&mut self.seasons)
            .into_iter()
            .filter_map(|((place, feature), seasons)| {
                Some(((place, renumbered(feature)?), seasons))
            })
            .collect();
        // An hour and a half of samples: not worth a second way to renumber.
        self.waiting = Waiting::default();
    }

    /// All that is learned, to be kept; without what waits.
    #[must_use]
    pub fn save(&self, registry: &Registry) -> SavedBaselines {
        let baselines = self.seasons.iter().filter_map(|((place, feature), seasons)| {
            let feature = registry.info(*feature)?.name.to_string();
            let seasons = seasons.clone().turned_around(self.now_ns);
            Some(SavedBaseline { place: *place, feature, seasons })
        });
        let baselines = baselines.collect();
        SavedBaselines(Saved { format: FORMAT, seed: self.seed, baselines })
    }

    /// What an earlier run learned. Features that the registry does not know any more are left out.
    ///
    /// # Errors
    /// If this is not what [`SavedBaselines::write`] gave.
    pub fn load(text: &[u8], registry: &Registry, now_ns: u64) -> Result<Self, BaselineError> {
        let saved: Saved = serde_json::from_slice(text)?;
        if saved.format != FORMAT {
            return Err(BaselineError::Format { found: saved.format });
        }
        let mut baselines = Self { now_ns, ..Self::new(saved.seed) };
        for saved in saved.baselines.into_iter().take(MOST_BASELINES) {
            if !saved.seasons.is_sound() {
                return Err(BaselineError::Unsound { feature: saved.feature });
            }
            if let Some(feature) = registry.find(&saved.feature) {
                let seasons = saved.seasons.turned_around(now_ns);
                baselines.seasons.insert((saved.place, feature), seasons);
            }
        }
        Ok(baselines)
    }
}

/// In single precision: what is compared must be equal where it was equal.
fn single(value: f64) -> f32 {
    (value as f32).clamp(f32::MIN, f32::MAX)
}

/// Why saved baselines cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BaselineError {
    /// They are of another version.
    #[error("baselines are saved in format {found}, this is {FORMAT}: they are learned anew")]
    Format {
        /// Which.
        found: u32,
    },
    /// They are no JSON of this form.
    #[error("cannot read saved baselines: {0}; they are learned anew")]
    Json(#[from] serde_json::Error),
    /// A number in them is none that was ever saved.
    #[error("the saved baseline of {feature} does not hold together; all are learned anew")]
    Unsound {
        /// Of which feature.
        feature: String,
    },
}

#[cfg(test)]
mod tests;
