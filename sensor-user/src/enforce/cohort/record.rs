//! Who completed sessions, on how many occasions, and whom a verdict acted on. Bounded.

use weir_common::abi::SourceKey;

use super::{TrustRule, crowd::Crowd};
use crate::profile::lru::Lru;

/// Sources that are on the way to be trusted.
const NEWCOMERS: usize = 65_536;
/// Sources that have the sessions that trust needs.
const REGULARS: usize = 131_072;
/// Sources that a verdict acted on.
const PUNISHED: usize = 65_536;

/// Sessions of one source. Times are nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Visits {
    /// Occasions so far, no more than are needed.
    pub occasions: u32,
    /// When the last occasion that counted was.
    pub counted: u64,
    /// When there were enough of them; 0 = not yet.
    pub enough: u64,
    /// The last session.
    pub last: u64,
}

/// When verdicts acted on a source: nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Punished {
    /// For the first time.
    pub first: u64,
    /// For the last time.
    pub last: u64,
}

/// What is known of everybody.
#[derive(Debug)]
pub(super) struct Records {
    newcomers: Crowd<Visits>,
    regulars: Crowd<Visits>,
    punished: Lru<SourceKey, Punished>,
}

impl Records {
    pub(super) fn new() -> Self {
        Self {
            newcomers: Crowd::new(NEWCOMERS),
            regulars: Crowd::new(REGULARS),
            punished: Lru::new(PUNISHED),
        }
    }

    /// A session was completed. Returns whether something is to be kept.
    pub(super) fn session(&mut self, source: &SourceKey, rule: &TrustRule, at: u64) -> bool {
        if self.regulars.get(source).is_some() {
            if let Some(visits) = self.regulars.get_or_insert(source, Visits::default) {
                visits.last = visits.last.max(at);
            }
            return true;
        }
        let Some(visits) = self.newcomers.get_or_insert(source, Visits::default) else {
            return false;
        };
        visits.last = visits.last.max(at);
        let is_another = at >= visits.counted.saturating_add(rule.gap_ns);
        if visits.occasions > 0 && !is_another {
            return false;
        }
        visits.occasions = visits.occasions.saturating_add(1);
        visits.counted = at;
        if visits.occasions < rule.sessions {
            return true;
        }
        let visits = Visits { enough: at, ..*visits };
        if let Some(place) = self.regulars.get_or_insert(source, || visits) {
            *place = visits;
            self.newcomers.remove(source);
        }
        true
    }

    /// Takes up what was kept.
    pub(super) fn recall(&mut self, source: &SourceKey, visits: Visits, was: Option<Punished>) {
        let crowd = if visits.enough > 0 { &mut self.regulars } else { &mut self.newcomers };
        if visits.occasions > 0
            && let Some(place) = crowd.get_or_insert(source, || visits)
        {
            *place = visits;
        }
        if let Some(punished) = was {
            *self.punished.get_or_insert(source, || punished).0 = punished;
        }
    }

    /// A verdict acted on it.
    pub(super) fn punish(&mut self, source: &SourceKey, at: u64) {
        let (punished, _) =
            self.punished.get_or_insert(source, || Punished { first: at, last: at });
        punished.last = punished.last.max(at);
    }

    /// That was wrong.
    pub(super) fn forgive(&mut self, source: &SourceKey) -> bool {
        self.punished.remove(source).is_some()
    }

    /// Whether it had enough sessions, and no verdict had acted on it, by a time.
    pub(super) fn is_trusted(&self, source: &SourceKey, by: u64) -> bool {
        let is_regular = self.regulars.get(source).is_some_and(|visits| visits.enough <= by);
        is_regular && self.punished.get(source).is_none_or(|punished| punished.first > by)
    }

    /// What is known of one.
    pub(super) fn of(&self, source: &SourceKey) -> (Visits, Option<Punished>) {
        let visits = self.regulars.get(source).or_else(|| self.newcomers.get(source));
        (visits.copied().unwrap_or_default(), self.punished.get(source).copied())
    }

    /// Forgets who was not here since a time.
    pub(super) fn sweep(&mut self, since: u64) {
        while self.newcomers.pop_oldest_if(|visits| visits.last < since).is_some() {}
        while self.regulars.pop_oldest_if(|visits| visits.last < since).is_some() {}
        while self.punished.pop_oldest_if(|punished| punished.last < since).is_some() {}
    }

    /// Forgets somebody.
    pub(super) fn forget(&mut self, source: &SourceKey) {
        self.newcomers.remove(source);
        self.regulars.remove(source);
        self.punished.remove(source);
    }

    /// Everybody of whom something is known, for whom a condition holds.
    pub(super) fn matching(&self, is: impl Fn(&SourceKey) -> bool) -> Vec<SourceKey> {
        let punished = self.punished.iter().map(|(source, _)| source);
        let all = self.newcomers.sources().chain(self.regulars.sources()).chain(punished);
        all.copied().filter(is).collect()
    }

    /// How many have the sessions that trust needs.
    pub(super) fn regulars(&self) -> usize {
        self.regulars.len()
    }

    /// How many could not be taken because their network has its part, and how many had to go for
    /// others.
    pub(super) fn turned_away(&self) -> (u64, u64) {
        (
            self.newcomers.refused + self.regulars.refused,
            self.newcomers.evicted + self.regulars.evicted,
        )
    }
}
