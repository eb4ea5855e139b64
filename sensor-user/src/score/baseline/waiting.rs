//! Samples that wait to be believed: a source that is judged meanwhile never gets into a baseline.

use std::collections::{BTreeMap, VecDeque};

use weir_common::abi::{SourceKey, time::SECOND_NS};

use super::{
    Place,
    batch::{Extremes, Network},
};
use crate::score::registry::FeatureId;

/// For so long a source's least and most are gathered, within an hour of the day.
pub(super) const GATHERED_NS: u64 = 3600 * SECOND_NS;

/// And for so long it must stay unjudged after that.
pub(super) const HELD_NS: u64 = 1800 * SECOND_NS;

/// Networks and hours of which a source waits.
const MOST_WAITING: usize = 16_384;

/// Features and services of one source.
const MOST_SAMPLES: usize = 64;

/// One feature of a source at one service.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Sample {
    pub(super) place: Place,
    pub(super) feature: FeatureId,
    /// Hour of the day at which it was first seen.
    pub(super) hour: u8,
    pub(super) value: Extremes,
}

#[derive(Debug)]
struct Candidate {
    source: SourceKey,
    first_ns: u64,
    samples: Vec<Sample>,
}

/// A network at an hour of the day. No sample waits for as long as a day.
type Slot = (Network, u8);

/// One source of each network and hour, from its first sample until it is believed.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    candidates: BTreeMap<Slot, Candidate>,
    // When each is due, and when it came; those that were withdrawn stay here until then.
    due: VecDeque<(u64, Slot, u64)>,
}

impl Waiting {
    /// Notes a value. False: there is no room for the source.
    pub(super) fn note(&mut self, source: &SourceKey, sample: Sample, at_ns: u64) -> bool {
        let slot = (Network::of(source), sample.hour);
        if !self.candidates.contains_key(&slot) {
            if self.due.len() >= MOST_WAITING {
                return false;
            }
            // Events can be late, by little.
            let after = at_ns.saturating_add(GATHERED_NS + HELD_NS);
            let due = self.due.back().map_or(after, |(last, ..)| after.max(*last));
            self.due.push_back((due, slot, at_ns));
            let candidate = Candidate { source: *source, first_ns: at_ns, samples: Vec::new() };
            self.candidates.insert(slot, candidate);
        }
        let Some(candidate) = self.candidates.get_mut(&slot) else { return false };
        let is_over = at_ns.saturating_sub(candidate.first_ns) > GATHERED_NS;
        if candidate.source != *source || is_over {
            // Another one speaks for the network, or has spoken.
            return true;
        }
        let samples = &mut candidate.samples;
        let is_same =
            |known: &&mut Sample| (known.place, known.feature) == (sample.place, sample.feature);
        if let Some(known) = samples.iter_mut().find(is_same) {
            known.value.least = known.value.least.min(sample.value.least);
            known.value.most = known.value.most.max(sample.value.most);
            return true;
        }
        let has_room = samples.len() < MOST_SAMPLES;
        if has_room {
            samples.push(sample);
        }
        has_room
    }

    /// Forgets a source: it is judged. Says whether there was anything.
    pub(super) fn withdraw(&mut self, source: &SourceKey) -> bool {
        let network = Network::of(source);
        let slots = self.candidates.range((network, u8::MIN)..=(network, u8::MAX));
        let its: Vec<Slot> =
            slots.filter(|(_, waits)| waits.source == *source).map(|(slot, _)| *slot).collect();
        for slot in &its {
            self.candidates.remove(slot);
        }
        !its.is_empty()
    }

    /// The next one that has waited long enough.
    pub(super) fn believed(&mut self, now_ns: u64) -> Option<(Network, Vec<Sample>)> {
        while let Some((due, slot, first_ns)) = self.due.front().copied()
            && due <= now_ns
        {
            self.due.pop_front();
            let is_it = |candidate: &Candidate| candidate.first_ns == first_ns;
            if self.candidates.get(&slot).is_some_and(is_it)
                && let Some(candidate) = self.candidates.remove(&slot)
            {
                return Some((slot.0, candidate.samples));
            }
        }
        None
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }
}

#[cfg(test)]
mod tests {
    use weir_common::abi::ServiceSet;

    use super::*;
    use crate::score::feature::Feature;

    fn source(third: u8, last: u8) -> SourceKey {
        SourceKey { words: [u32::MAX, u32::from_ne_bytes([10, 0, third, last])] }
    }

    fn sample(value: f32) -> Sample {
        let value = Extremes { least: value, most: value };
        Sample {
            place: Place::new(&ServiceSet::one(1), 1),
            feature: Feature::OpenConnections.into(),
            hour: 3,
            value,
        }
    }

    #[test]
    fn an_hours_least_and_most_count_after_the_wait() {
        let mut waiting = Waiting::default();
        for (at_s, value) in [(0, 5.0), (10, 2.0), (3600, 9.0), (3601, 90.0)] {
            assert!(waiting.note(&source(1, 1), sample(value), at_s * SECOND_NS));
        }
        let due = GATHERED_NS + HELD_NS;
        assert_eq!(waiting.believed(due - 1), None);
        let (network, samples) = waiting.believed(due).unwrap();
        assert_eq!(network, Network::of(&source(1, 1)));
        assert_eq!(samples, [Sample { value: Extremes { least: 2.0, most: 9.0 }, ..sample(0.0) }]);
        assert_eq!((waiting.believed(due), waiting.len()), (None, 0));
    }

    #[test]
    fn each_hour_has_a_sample_of_its_own_and_all_of_them_are_withdrawn() {
        let mut waiting = Waiting::default();
        let next = Sample { hour: 4, ..sample(7.0) };
        assert!(waiting.note(&source(1, 1), sample(1.0), 0));
        assert!(waiting.note(&source(1, 1), next, GATHERED_NS));
        assert_eq!(waiting.believed(GATHERED_NS + HELD_NS).unwrap().1, [sample(1.0)]);
        assert!(waiting.note(&source(1, 1), sample(1.0), 2 * GATHERED_NS));
        assert!(waiting.withdraw(&source(1, 1)));
        assert_eq!((waiting.believed(u64::MAX), waiting.len()), (None, 0));
    }

    #[test]
    fn one_source_speaks_for_a_network_and_a_judged_one_never() {
        let mut waiting = Waiting::default();
        assert!(waiting.note(&source(1, 1), sample(1.0), 0));
        assert!(waiting.note(&source(1, 2), sample(2.0), 0));
        assert!(!waiting.withdraw(&source(1, 2)));
        assert!(waiting.withdraw(&source(1, 1)) && !waiting.withdraw(&source(1, 1)));
        assert!(waiting.note(&source(1, 2), sample(2.0), SECOND_NS));
        assert_eq!(waiting.believed(GATHERED_NS + HELD_NS), None, "that one was withdrawn");
        let (_, samples) = waiting.believed(GATHERED_NS + HELD_NS + SECOND_NS).unwrap();
        assert_eq!(samples, [sample(2.0)]);
    }

    #[test]
    fn it_is_bounded() {
        let mut waiting = Waiting::default();
        let network =
            |n: usize| SourceKey { words: [u32::MAX, u32::try_from(n << 8).unwrap().to_be()] };
        let taken = (0..MOST_WAITING + 9)
            .filter(|n| {
                let taken = waiting.note(&network(*n), sample(1.0), 0);
                // Coming again and again makes no more room either.
                waiting.withdraw(&network(*n));
                taken
            })
            .count();
        assert_eq!(taken, MOST_WAITING);
        let many = (0..MOST_SAMPLES + 9).filter(|n| {
            let feature = FeatureId::declared(u16::try_from(*n).unwrap());
            Waiting::default().note(&source(1, 1), Sample { feature, ..sample(1.0) }, 0)
        });
        assert_eq!(many.count(), MOST_SAMPLES + 9);
        let mut waiting = Waiting::default();
        let many = (0..MOST_SAMPLES + 9).filter(|n| {
            let feature = FeatureId::declared(u16::try_from(*n).unwrap());
            waiting.note(&source(1, 1), Sample { feature, ..sample(1.0) }, 0)
        });
        assert_eq!(many.count(), MOST_SAMPLES);
    }
}
