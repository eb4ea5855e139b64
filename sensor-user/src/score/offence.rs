//! Which verdicts are live, and how often a source had one: so that decisions are made once, renewed
//! in time, and made for longer where they did not help.

use std::{collections::BTreeSet, sync::Arc};

use weir_common::abi::{Action, SourceKey, time::SECOND_NS};

use super::feature::Evidence;
use crate::{enforce::ladder::Step, profile::lru::Lru};

/// How long before its end a verdict is looked at again.
const RENEW_BEFORE_NS: u64 = 2 * SECOND_NS;

/// Whose verdict: authentic and forgeable evidence are apart, so that forged packets can neither
/// replace nor delay a verdict that a source earned.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Case {
    pub(super) source: [u32; 2],
    pub(super) policy: Arc<str>,
    pub(super) is_forgeable: bool,
    pub(super) is_service: bool,
}

impl Case {
    pub(super) fn new(source: &SourceKey, policy: &Arc<str>, evidence: Evidence) -> Self {
        Self {
            source: source.words,
            policy: Arc::clone(policy),
            is_forgeable: evidence == Evidence::Forgeable,
            is_service: false,
        }
    }

    /// About a service as a whole.
    pub(super) fn of_service(service: u8, policy: &Arc<str>) -> Self {
        let source = SourceKey { words: [0, u32::from(service)] };
        Self { is_service: true, ..Self::new(&source, policy, Evidence::Forgeable) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Offence {
    times: u32,
    action: Action,
    since_ns: u64,
    until_ns: u64,
    term_ns: u64,
    service: Option<u8>,
}

impl Offence {
    /// Whether a verdict holds that leaves nothing to decide.
    fn suffices(&self, action: Action, now_ns: u64) -> bool {
        let early = RENEW_BEFORE_NS.min(self.term_ns / 4);
        self.action >= action && self.until_ns.saturating_sub(early) > now_ns
    }
}

/// A verdict's term.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sentence {
    pub(super) offence: u32,
    pub(super) term_ns: u64,
}

/// All live and past verdicts, bounded.
#[derive(Debug)]
pub(super) struct Offences {
    cases: Lru<Case, Offence>,
    ends: BTreeSet<(u64, Case)>,
}

impl Offences {
    pub(super) fn new(capacity: usize) -> Self {
        Self { cases: Lru::new(capacity), ends: BTreeSet::new() }
    }

    /// The term of a verdict by this step, if one is needed now.
    /// `service` is what led to it.
    pub(super) fn sentence(
        &mut self,
        case: &Case,
        step: &Step,
        service: Option<u8>,
        now_ns: u64,
    ) -> Option<Sentence> {
        let before = self.cases.get(case).copied();
        if before.is_some_and(|offence| offence.suffices(step.action, now_ns)) {
            return None;
        }
        let offence = match before {
            Some(before) if now_ns.saturating_sub(before.until_ns) > step.forget_ns => 1,
            // A stronger answer to what is still going on is not another offence.
            Some(before) if before.suffices(Action::Allow, now_ns) => before.times,
            Some(before) => before.times.saturating_add(1),
            None => 1,
        };
        let sentence = Sentence { offence, term_ns: step.term(offence) };
        let until_ns = now_ns.saturating_add(sentence.term_ns);
        let term_ns = sentence.term_ns;
        let action = step.action;
        let since_ns = now_ns;
        self.record(case, Offence { times: offence, action, since_ns, until_ns, term_ns, service });
        Some(sentence)
    }

    /// Takes note of a verdict that is live already.
    pub(super) fn assume(&mut self, case: &Case, action: Action, now_ns: u64, until_ns: u64) {
        let term_ns = until_ns.saturating_sub(now_ns);
        let live = Offence { times: 1, action, since_ns: now_ns, until_ns, term_ns, service: None };
        self.record(case, live);
    }

    /// Takes note of how often there was a verdict before, the last one until then, so that the next
    /// term is as long as it would have been without a restart.
    pub(super) fn recall(&mut self, case: &Case, times: u32, action: Action, until_ns: u64) {
        let past =
            Offence { times, action, since_ns: until_ns, until_ns, term_ns: 0, service: None };
        // One that is live was assumed, and is looked at again when it ends; a past one is not.
        let (known, _) = self.cases.get_or_insert(case, || past);
        known.times = known.times.max(times);
    }

    /// The live verdicts of a source under a policy: what, since when, until when, how manieth.
    pub(super) fn live(&self, case: &Case, now_ns: u64) -> Option<(Action, u64, u64, u32)> {
        let offence = self.cases.get(case).filter(|offence| offence.until_ns > now_ns)?;
        Some((offence.action, offence.since_ns, offence.until_ns, offence.times))
    }

    /// Whether a verdict is live that refuses.
    pub(super) fn refuses(&self, case: &Case, now_ns: u64) -> bool {
        self.live(case, now_ns).is_some_and(|(action, ..)| action >= Action::Reject)
    }

    /// Verdicts on sources that are about to end, each once: what service led to it, and when.
    pub(super) fn ending(&mut self, now_ns: u64) -> Vec<(Case, Option<u8>, u64)> {
        let mut ending = Vec::new();
        while let Some((until_ns, _)) = self.ends.first()
            && *until_ns <= now_ns.saturating_add(RENEW_BEFORE_NS)
        {
            let Some((until_ns, case)) = self.ends.pop_first() else { break };
            let known = self.cases.get(&case).filter(|offence| offence.until_ns == until_ns);
            if let Some(offence) = known.copied()
                && !case.is_service
            {
                ending.push((case, offence.service, offence.since_ns));
            }
        }
        ending
    }

    /// Takes a verdict back that is live, as if it had not been.
    pub(super) fn lift(&mut self, case: &Case, now_ns: u64) {
        let live = self.cases.get_mut(case).filter(|offence| offence.until_ns > now_ns);
        if let Some(offence) = live {
            self.ends.remove(&(offence.until_ns, case.clone()));
            offence.until_ns = now_ns;
            offence.times = offence.times.saturating_sub(1);
        }
    }

    fn record(&mut self, case: &Case, offence: Offence) {
        let until_ns = offence.until_ns;
        let (known, _) = self.cases.get_or_insert(case, || offence);
        let before = std::mem::replace(known, offence);
        self.ends.remove(&(before.until_ns, case.clone()));
        self.ends.insert((until_ns, case.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(action: Action) -> Step {
        Step {
            at: 1,
            action,
            term_ns: 100 * SECOND_NS,
            doubles: true,
            longest_ns: 300 * SECOND_NS,
            limit: None,
            syns: None,
            forget_ns: 24 * 3600 * SECOND_NS,
        }
    }

    fn terms(offences: &mut Offences, action: Action, at_s: u64) -> Option<(u32, u64)> {
        let case = Case::new(&SourceKey::default(), &"p".into(), Evidence::Authentic);
        let sentence = offences.sentence(&case, &step(action), None, at_s * SECOND_NS)?;
        Some((sentence.offence, sentence.term_ns / SECOND_NS))
    }

    #[test]
    fn decides_once_renews_in_time_and_doubles() {
        let mut offences = Offences::new(8);
        assert_eq!(terms(&mut offences, Action::Limit, 0), Some((1, 100)));
        assert_eq!(terms(&mut offences, Action::Limit, 1), None);
        assert_eq!(terms(&mut offences, Action::Mark, 50), None, "a stronger one is live");
        assert_eq!(terms(&mut offences, Action::Drop, 50), Some((1, 100)), "escalation");
        assert_eq!(terms(&mut offences, Action::Drop, 147), None);
        assert_eq!(terms(&mut offences, Action::Drop, 148), Some((2, 200)), "about to end");
        assert_eq!(terms(&mut offences, Action::Drop, 900), Some((3, 300)), "up to the longest");
        assert_eq!(terms(&mut offences, Action::Drop, 200_000), Some((1, 100)), "forgotten");
    }

    #[test]
    fn names_what_is_about_to_end_once() {
        let mut offences = Offences::new(8);
        terms(&mut offences, Action::Drop, 0);
        assert!(offences.ending(97 * SECOND_NS).is_empty());
        assert_eq!(offences.ending(98 * SECOND_NS).len(), 1);
        assert!(offences.ending(99 * SECOND_NS).is_empty());
    }

    #[test]
    fn what_was_taken_back_is_decided_anew_and_does_not_count() {
        let mut offences = Offences::new(8);
        let case = Case::new(&SourceKey::default(), &"p".into(), Evidence::Authentic);
        offences.lift(&case, 0);
        assert_eq!(terms(&mut offences, Action::Mark, 1), Some((1, 100)));
        offences.lift(&case, 2 * SECOND_NS);
        assert!(offences.ending(200 * SECOND_NS).is_empty());
        assert_eq!(terms(&mut offences, Action::Mark, 3), Some((1, 100)));
        assert_eq!(terms(&mut offences, Action::Mark, 4), None);
    }

    #[test]
    fn forgeable_cases_are_apart() {
        let mut offences = Offences::new(8);
        let case = Case::new(&SourceKey::default(), &"p".into(), Evidence::Forgeable);
        assert!(offences.sentence(&case, &step(Action::Limit), None, 0).is_some());
        assert_eq!(terms(&mut offences, Action::Limit, 1), Some((1, 100)));
    }

    #[test]
    fn what_is_recalled_makes_the_next_term_longer_and_decides_nothing_by_itself() {
        let mut offences = Offences::new(8);
        let case = Case::new(&SourceKey { words: [7, 0] }, &"p".into(), Evidence::Authentic);
        offences.recall(&case, 1, Action::Drop, 50 * SECOND_NS);
        assert!(offences.ending(60 * SECOND_NS).is_empty());
        let sentence = offences.sentence(&case, &step(Action::Drop), None, 60 * SECOND_NS);
        assert_eq!(sentence.map(|it| (it.offence, it.term_ns / SECOND_NS)), Some((2, 200)));
        // One that is in force counts as often as it did, and is not decided again.
        let mut offences = Offences::new(8);
        offences.assume(&case, Action::Drop, 10 * SECOND_NS, 110 * SECOND_NS);
        offences.recall(&case, 2, Action::Drop, 110 * SECOND_NS);
        assert!(offences.sentence(&case, &step(Action::Drop), None, 60 * SECOND_NS).is_none());
        let sentence = offences.sentence(&case, &step(Action::Drop), None, 120 * SECOND_NS);
        assert_eq!(sentence.map(|it| it.offence), Some(3));
    }
}
