//! A cap on new drops: how many a rule makes in a minute. A rule that is wrong, or a list of sources that
//! an attacker grows, cannot cut off everybody at once; what exceeds the cap is limited instead.
//!
//! Those who came first have what room there is. Who exceeds it waits, and when room returns it is the
//! highest score's; while somebody waits, nobody goes first. Driven by the decisions' own times, so that a
//! replay decides the same. Bounded: rules are a policy's, and of too many who wait the lowest score goes
//! (it stays limited, and waits again at its next event).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use weir_common::abi::{SourceKey, time::SECOND_NS};

/// How finely a minute is divided.
const SLOT_NS: u64 = 5 * SECOND_NS;
/// Slots that any 60 seconds lie in.
const SLOTS: usize = 13;
/// Sources that wait, over all rules.
const MOST_WAITING: usize = 4096;

/// What is capped: a rule of a policy, apart where it acts and where it only counts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CappedRule {
    /// The policy.
    pub policy: Arc<str>,
    /// Its rule that weighs most in a decision.
    pub rule: Arc<str>,
    /// Whether decisions act.
    pub acts: bool,
}

/// A source that waits for room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// By which rule.
    pub rule: CappedRule,
    /// Who.
    pub source: SourceKey,
    /// The service that led to it.
    pub service: Option<u8>,
}

/// What a rule did since it was last told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CapReport {
    /// The policy.
    pub policy: Arc<str>,
    /// Its rule.
    pub rule: Arc<str>,
    /// Whether its decisions act.
    pub acts: bool,
    /// The cap, a minute.
    pub cap: u32,
    /// New drops.
    pub dropped: u64,
    /// Sources that were limited instead.
    pub limited: u64,
    /// Sources that wait for room now.
    pub waiting: usize,
}

/// The latest minute of a rule.
#[derive(Clone, Debug, Default)]
struct Minute {
    slots: [u32; SLOTS],
    newest: u64,
    cap: u32,
    dropped: u64,
    limited: u64,
    queue: BTreeSet<(Reverse<u8>, u64, [u32; 2])>,
}

impl Minute {
    fn advance(&mut self, at_ns: u64) {
        let now = at_ns / SLOT_NS;
        if now <= self.newest {
            return;
        }
        let steps = usize::try_from(now - self.newest).unwrap_or(SLOTS).min(SLOTS);
        self.slots.rotate_right(steps);
        self.slots.iter_mut().take(steps).for_each(|slot| *slot = 0);
        self.newest = now;
    }

    fn room(&self) -> usize {
        let used: u64 = self.slots.iter().map(|slot| u64::from(*slot)).sum();
        usize::try_from(u64::from(self.cap).saturating_sub(used)).unwrap_or(usize::MAX)
    }
}

/// Where a source stands in its rule's queue: the highest score first, then who came first; and the
/// service that it came to.
type Place = (Reverse<u8>, u64, Option<u8>);

/// All rules.
#[derive(Clone, Debug, Default)]
pub struct DropCap {
    rules: BTreeMap<CappedRule, Minute>,
    waiting: BTreeMap<(CappedRule, [u32; 2]), Place>,
    arrivals: u64,
}

impl DropCap {
    /// Whether a rule has room for one more drop. `is_turn`: it waited, and it is its turn.
    pub fn has_room(&mut self, rule: &CappedRule, cap: u32, at_ns: u64, is_turn: bool) -> bool {
        let minute = self.rules.entry(rule.clone()).or_default();
        minute.cap = cap;
        minute.advance(at_ns);
        minute.room() > 0 && (is_turn || minute.queue.is_empty())
    }

    /// A source is dropped by it.
    pub fn take(&mut self, rule: &CappedRule, source: &SourceKey, at_ns: u64) {
        self.leave(rule, source);
        let minute = self.rules.entry(rule.clone()).or_default();
        minute.advance(at_ns);
        if let Some(newest) = minute.slots.first_mut() {
            *newest = newest.saturating_add(1);
        }
        minute.dropped += 1;
    }

    /// A source is limited instead; `is_new`: it was not before.
    pub fn wait(
        &mut self,
        rule: &CappedRule,
        source: &SourceKey,
        service: Option<u8>,
        score: u8,
        is_new: bool,
    ) {
        let since = self.leave(rule, source);
        if self.waiting.len() >= MOST_WAITING && !self.make_place(score) {
            return;
        }
        self.arrivals += 1;
        let place = (Reverse(score), since.unwrap_or(self.arrivals));
        let minute = self.rules.entry(rule.clone()).or_default();
        minute.limited += u64::from(is_new);
        minute.queue.insert((place.0, place.1, source.words));
        self.waiting.insert((rule.clone(), source.words), (place.0, place.1, service));
    }

    /// Whose turn it is: of each rule as many as it has room for, the highest scores first.
    pub fn turns(&mut self, at_ns: u64) -> Vec<Waiting> {
        let mut turns = Vec::new();
        for (rule, minute) in &mut self.rules {
            minute.advance(at_ns);
            for _ in 0..minute.room() {
                let Some((_, _, words)) = minute.queue.pop_first() else { break };
                let known = self.waiting.remove(&(rule.clone(), words));
                let service = known.and_then(|(_, _, service)| service);
                turns.push(Waiting { rule: rule.clone(), source: SourceKey { words }, service });
            }
        }
        turns
    }

    /// Forgets what is no rule any more.
    pub fn retain(&mut self, is_known: impl Fn(&CappedRule) -> bool) {
        self.rules.retain(|rule, _| is_known(rule));
        let rules = &self.rules;
        self.waiting.retain(|(rule, _), _| rules.contains_key(rule));
    }

    /// What every rule did that did anything since the last time.
    pub fn reports(&mut self) -> Vec<CapReport> {
        let mut reports = Vec::new();
        for (rule, minute) in &mut self.rules {
            let (dropped, limited) =
                (std::mem::take(&mut minute.dropped), std::mem::take(&mut minute.limited));
            if dropped == 0 && limited == 0 {
                continue;
            }
            reports.push(CapReport {
                policy: Arc::clone(&rule.policy),
                rule: Arc::clone(&rule.rule),
                acts: rule.acts,
                cap: minute.cap,
                dropped,
                limited,
                waiting: minute.queue.len(),
            });
        }
        reports
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// It waits no longer; since when it did, in the order of arrivals.
    fn leave(&mut self, rule: &CappedRule, source: &SourceKey) -> Option<u64> {
        let (score, since, _) = self.waiting.remove(&(rule.clone(), source.words))?;
        if let Some(minute) = self.rules.get_mut(rule) {
            minute.queue.remove(&(score, since, source.words));
        }
        Some(since)
    }

    /// Sends the lowest score away, if it is lower than this one.
    fn make_place(&mut self, score: u8) -> bool {
        let lowest = self
            .rules
            .iter()
            .filter_map(|(rule, minute)| minute.queue.last().map(|place| (*place, rule.clone())));
        let Some((place, rule)) = lowest.max() else { return false };
        let (Reverse(lowest), _, words) = place;
        if lowest >= score {
            return false;
        }
        self.leave(&rule, &SourceKey { words });
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(name: &str) -> CappedRule {
        CappedRule { policy: "p".into(), rule: name.into(), acts: true }
    }

    fn source(number: u32) -> SourceKey {
        SourceKey { words: [number, 0] }
    }

    /// Asks for a drop; whether it is one.
    fn ask(cap: &mut DropCap, number: u32, score: u8, at_s: u64) -> bool {
        let (rule, source) = (rule("r"), source(number));
        let has_room = cap.has_room(&rule, 2, at_s * SECOND_NS, false);
        if has_room {
            cap.take(&rule, &source, at_s * SECOND_NS);
        } else {
            cap.wait(&rule, &source, None, score, true);
        }
        has_room
    }

    fn turns(cap: &mut DropCap, at_s: u64) -> Vec<u32> {
        cap.turns(at_s * SECOND_NS).into_iter().map(|it| it.source.words[0]).collect()
    }

    #[test]
    fn what_exceeds_the_cap_waits_and_the_highest_score_goes_first() {
        let mut cap = DropCap::default();
        assert!(ask(&mut cap, 1, 80, 0) && ask(&mut cap, 2, 80, 1));
        assert!(!ask(&mut cap, 3, 81, 2) && !ask(&mut cap, 4, 99, 3) && !ask(&mut cap, 5, 99, 4));
        assert!(turns(&mut cap, 59).is_empty());
        assert!(!ask(&mut cap, 6, 100, 70), "there is room, but others wait");
        assert_eq!(turns(&mut cap, 70), [6, 4]);
        assert_eq!(cap.waiting(), 2);
        let [report] = &cap.reports()[..] else { panic!("one rule") };
        assert_eq!((report.cap, report.dropped, report.limited, report.waiting), (2, 2, 4, 2));
        assert!(cap.reports().is_empty(), "each is told once");
    }

    #[test]
    fn rules_are_apart_and_so_is_what_only_counts() {
        let mut cap = DropCap::default();
        let watched = CappedRule { acts: false, ..rule("r") };
        for each in [rule("r"), rule("s"), watched] {
            assert!(cap.has_room(&each, 1, 0, false));
            cap.take(&each, &source(1), 0);
            assert!(!cap.has_room(&each, 1, 0, false));
        }
        cap.retain(|it| &*it.rule == "s");
        assert!(cap.has_room(&rule("r"), 1, 0, false));
        assert!(!cap.has_room(&rule("s"), 1, 0, false));
    }

    #[test]
    fn of_too_many_who_wait_the_lowest_score_goes() {
        let mut cap = DropCap::default();
        let most = u32::try_from(MOST_WAITING).unwrap();
        for number in 0..most {
            cap.wait(&rule("r"), &source(number), None, 50, true);
        }
        cap.wait(&rule("r"), &source(most), None, 40, true);
        cap.wait(&rule("s"), &source(most + 1), None, 60, true);
        assert_eq!(cap.waiting(), MOST_WAITING);
        assert!(cap.has_room(&rule("s"), 1, 0, true));
        let first = cap.turns(0).into_iter().next().map(|it| it.source.words[0]);
        assert_eq!(first, Some(most + 1));
    }

    proptest! {
        /// However they come, no 60 seconds see more drops than the cap.
        #[test]
        fn no_minute_sees_more_than_the_cap(
            steps in prop::collection::vec((0_u64..20_000, 0_u8..=100), 1..300), most in 1_u32..20,
        ) {
            let mut cap = DropCap::default();
            let (mut now_ms, mut drops) = (0, Vec::new());
            for (number, (pause_ms, score)) in steps.into_iter().enumerate() {
                now_ms += pause_ms;
                let at_ns = now_ms * 1_000_000;
                for turn in cap.turns(at_ns) {
                    prop_assert!(cap.has_room(&turn.rule, most, at_ns, true));
                    cap.take(&turn.rule, &turn.source, at_ns);
                    drops.push(now_ms);
                }
                let source = source(u32::try_from(number).unwrap());
                if cap.has_room(&rule("r"), most, at_ns, false) {
                    cap.take(&rule("r"), &source, at_ns);
                    drops.push(now_ms);
                } else {
                    cap.wait(&rule("r"), &source, None, score, true);
                }
            }
            for (index, begun) in drops.iter().enumerate() {
                let within = drops[index..].iter().filter(|at| **at - begun < 60_000).count();
                prop_assert!(within <= most as usize, "{within} drops from {begun} ms on");
            }
        }
    }
}
