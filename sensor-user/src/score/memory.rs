//! Rules with decay: when each was met last, so that its points fall to nothing over a while.
//!
//! Bounded. What forged packets made rules count is kept apart, so that it pushes out nothing that
//! a source earned.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use weir_common::abi::{SourceKey, time::SECOND_NS};

use super::{feature::Evidence, plan::RulePlan};
use crate::{policy::Rule, profile::lru::Lru};

/// Whose, and which rule: a hash of the names of policy and rule.
type Key = ([u32; 2], u64);

/// When rules with decay were met last.
#[derive(Debug)]
pub(super) struct Memory {
    authentic: Lru<Key, u64>,
    forgeable: Lru<Key, u64>,
}

/// What a policy's and a rule's names become.
pub(super) fn rule_key(policy: &str, rule: &str) -> u64 {
    // The standard hasher with its fixed keys: the same on every run.
    BuildHasherDefault::<DefaultHasher>::default().hash_one((policy, rule))
}

impl Memory {
    pub(super) fn new(capacity: usize) -> Self {
        Self { authentic: Lru::new(capacity), forgeable: Lru::new(capacity / 4) }
    }

    /// What is remembered of a source. `notes`: whether what is met now is remembered too.
    pub(super) const fn of(&mut self, source: &SourceKey, now_ns: u64, notes: bool) -> Recall<'_> {
        Recall { memory: self, source: source.words, now_ns, notes }
    }

    pub(super) fn resize(&mut self, capacity: usize) {
        self.authentic.resize(capacity);
        self.forgeable.resize(capacity / 4);
    }
}

/// What is remembered of one source at one time.
#[derive(Debug)]
pub(super) struct Recall<'m> {
    memory: &'m mut Memory,
    source: [u32; 2],
    now_ns: u64,
    notes: bool,
}

impl Recall<'_> {
    /// How long ago a rule was met, if that counts still.
    pub(super) fn rule(
        &mut self,
        rule: &Rule,
        plan: &RulePlan,
        decay_ns: u64,
        met: bool,
    ) -> Option<Faded> {
        let key = (self.source, plan.key);
        let table = match rule.evidence {
            Evidence::Authentic => &mut self.memory.authentic,
            Evidence::Forgeable => &mut self.memory.forgeable,
        };
        if met {
            if self.notes {
                *table.get_or_insert(&key, || 0).0 = self.now_ns;
            }
            return None;
        }
        let ago_ns = self.now_ns.saturating_sub(*table.get(&key)?);
        let faded = Faded { ago_ns, decay_ns };
        (faded.points(rule.points) != 0).then_some(faded)
    }
}

/// How long ago a rule was met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Faded {
    ago_ns: u64,
    decay_ns: u64,
}

impl Faded {
    /// What is left of its points.
    pub(super) fn points(&self, points: i8) -> i32 {
        let left_ns = self.decay_ns.saturating_sub(self.ago_ns);
        (f64::from(points) * left_ns as f64 / self.decay_ns.max(1) as f64) as i32
    }

    pub(super) fn sentence(&self, points: i8) -> String {
        let left = self.points(points);
        format!("was met {} s ago: {left} of {points} points are left", self.ago_ns / SECOND_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_fall_evenly_to_nothing() {
        let faded = |ago_s: u64| Faded { ago_ns: ago_s * SECOND_NS, decay_ns: 600 * SECOND_NS };
        assert_eq!(faded(0).points(30), 30);
        assert_eq!((faded(300).points(30), faded(300).points(-30)), (15, -15));
        assert_eq!((faded(599).points(30), faded(601).points(30)), (0, 0));
        assert_eq!(faded(300).sentence(30), "was met 300 s ago: 15 of 30 points are left");
        assert_ne!(rule_key("a", "bc"), rule_key("ab", "c"));
    }
}
