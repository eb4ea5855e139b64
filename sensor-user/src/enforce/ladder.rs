//! Ladders: which score has which consequence, for how long.

use serde::{Deserialize, Serialize};
use weir_common::abi::Action;

use super::names;
use crate::score::feature::Evidence;

/// A rate of new connections, or of SYNs, for one source.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Nanoseconds between connections at the sustained rate.
    pub interval_ns: u64,
    /// How far ahead of that rate a burst may run, in nanoseconds.
    pub burst_ns: u64,
}

impl RateLimit {
    /// A rate with room for `burst` connections at once (at least one).
    #[must_use]
    pub const fn new(interval_ns: u64, burst: u32) -> Self {
        Self { interval_ns, burst_ns: interval_ns.saturating_mul(burst.saturating_sub(1) as u64) }
    }
}

/// What a ladder does from a score upwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Score from which it acts, 1..=100.
    pub at: u8,
    /// What it does.
    #[serde(serialize_with = "names::action", deserialize_with = "names::read_action")]
    pub action: Action,
    /// For how long, at the first time.
    pub term_ns: u64,
    /// Whether every further time doubles the term.
    pub doubles: bool,
    /// Longest term.
    pub longest_ns: u64,
    /// For `Limit`: how many new connections.
    pub limit: Option<RateLimit>,
    /// For `Limit`: how many SYNs, where evidence is forgeable and only unproven SYNs are held
    /// back. Without it, as many as `limit` says.
    pub syns: Option<RateLimit>,
    /// After so long without a verdict an offender starts over with the first term.
    pub forget_ns: u64,
}

impl Step {
    /// The rate of a limit that rests on this kind of evidence.
    #[must_use]
    pub fn limit_on(&self, evidence: Evidence) -> Option<RateLimit> {
        match evidence {
            Evidence::Authentic => self.limit,
            Evidence::Forgeable => self.syns.or(self.limit),
        }
    }

    /// The term of the `offence`th time, counted from 1.
    #[must_use]
    pub const fn term(&self, offence: u32) -> u64 {
        let times = offence.saturating_sub(1);
        let doublings = if !self.doubles {
            0
        } else if times > 62 {
            62
        } else {
            times
        };
        let term = self.term_ns.saturating_mul(1 << doublings);
        if term > self.longest_ns { self.longest_ns } else { term }
    }
}

/// A named ladder: steps in ascending order of score and of strength.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ladder {
    /// Its name.
    pub name: String,
    /// Its steps.
    pub steps: Vec<Step>,
}

impl Ladder {
    /// The strongest step that a score reaches, among those whose action is `allowed`.
    pub fn reached(&self, score: u8, allowed: impl Fn(Action) -> bool) -> Option<&Step> {
        self.steps.iter().rev().find(|step| step.at <= score && allowed(step.action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at: u8, action: Action) -> Step {
        Step {
            at,
            action,
            term_ns: 10,
            doubles: true,
            longest_ns: 35,
            limit: None,
            syns: None,
            forget_ns: 100,
        }
    }

    #[test]
    fn the_strongest_reached_and_allowed_step_counts() {
        let ladder = Ladder {
            name: "x".into(),
            steps: vec![step(30, Action::Mark), step(55, Action::Limit), step(80, Action::Drop)],
        };
        let action = |score, forbidden| {
            ladder.reached(score, |action| Some(action) != forbidden).map(|step| step.action)
        };
        assert_eq!(action(29, None), None);
        assert_eq!(action(30, None), Some(Action::Mark));
        assert_eq!(action(80, None), Some(Action::Drop));
        assert_eq!(action(100, Some(Action::Drop)), Some(Action::Limit));
    }

    #[test]
    fn terms_double_up_to_the_longest() {
        let mut step = step(80, Action::Drop);
        let terms: Vec<u64> = [1, 2, 3, 4, u32::MAX].map(|nth| step.term(nth)).into();
        assert_eq!(terms, [10, 20, 35, 35, 35]);
        step.doubles = false;
        assert_eq!(step.term(3), 10);
    }

    #[test]
    fn what_is_forgeable_has_a_rate_of_its_own() {
        let mut step = step(55, Action::Limit);
        step.limit = Some(RateLimit::new(100, 1));
        assert_eq!(step.limit_on(Evidence::Forgeable), step.limit);
        step.syns = Some(RateLimit::new(7, 1));
        assert_eq!(step.limit_on(Evidence::Forgeable), step.syns);
        assert_eq!(step.limit_on(Evidence::Authentic), step.limit);
    }

    #[test]
    fn a_burst_of_one_leaves_no_room_ahead_of_the_rate() {
        assert_eq!(RateLimit::new(200, 1).burst_ns, 0);
        assert_eq!(RateLimit::new(200, 10).burst_ns, 1800);
    }
}
