//! Verdict classes: what the small numbers in the kernel's verdicts mean.
//!
//! Entries that mean the same share a class. A class that nobody uses keeps its number for a
//! while, because counters are kept by it, and gives it away when another one needs it.

use std::{
    collections::{BTreeSet, HashMap},
    ops::RangeInclusive,
    sync::Arc,
};

use weir_common::abi::{VerdictClass, time::SECOND_NS, verdict::CLASS_COUNT};

use super::entry::Meaning;
use crate::enforce::audit::ClassDrift;

/// How long an unused class keeps its number.
const KEPT_NS: u64 = 600 * SECOND_NS;

/// The numbers of classes with a reason of their own …
const OWN: RangeInclusive<u16> = 1..=LAST - 64;

/// … and those kept back for when there are more reasons than numbers.
const SHARED: RangeInclusive<u16> = LAST - 63..=LAST;

const LAST: u16 = CLASS_COUNT as u16 - 1;

/// Highest number of a rule that is believed to be one if it is found in the kernel.
const MOST_FOUND_RULES: usize = 1 << 16;

/// Reason of entries whose own reason found no number. The ledger still knows it.
const SHARED_REASON: &str = "one of many: see the ledger";

/// No number is left. Only more than 64 different actions, service sets and rates can cause it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "all {CLASS_COUNT} verdict classes are in use: give verdicts the same reason, services and rate where they can have it"
)]
pub struct ClassesFull;

/// A class as it is kept over restarts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClassRecord {
    /// Its number.
    pub id: u16,
    /// What it means.
    pub meaning: Arc<Meaning>,
}

/// What the store is to be told of classes.
#[derive(Debug)]
pub(super) struct ClassNews {
    pub(super) classes: Vec<ClassRecord>,
    pub(super) rules: Vec<(u32, Arc<str>)>,
}

#[derive(Debug)]
struct Class {
    meaning: Arc<Meaning>,
    // Kernel entries that name it.
    users: usize,
    // When the last of them went.
    idle_since_ns: u64,
    is_written: bool,
}

/// All classes, and the numbers of rules.
#[derive(Debug)]
pub struct ClassTable {
    classes: HashMap<u16, Class>,
    ids: HashMap<Arc<Meaning>, u16>,
    unused: BTreeSet<u16>,
    // Classes without users, by when the last one went.
    idle: BTreeSet<(u64, u16)>,
    // Index + 1: the rule's number. Append-only.
    rules: Vec<Arc<str>>,
    shared: u64,
    // Numbers that mean something else than the store was last told.
    news: BTreeSet<u16>,
    // How many rules the store was told.
    told_rules: usize,
}

impl Default for ClassTable {
    fn default() -> Self {
        Self {
            classes: HashMap::new(),
            ids: HashMap::new(),
            unused: (1..=LAST).collect(),
            idle: BTreeSet::new(),
            rules: Vec::new(),
            shared: 0,
            news: BTreeSet::new(),
            told_rules: 0,
        }
    }
}

impl ClassTable {
    /// The number of a meaning; a new one if it has none yet.
    ///
    /// # Errors
    /// If no number is left.
    pub(super) fn intern(
        &mut self,
        meaning: &Arc<Meaning>,
        now_ns: u64,
    ) -> Result<u16, ClassesFull> {
        if let Some(id) = self.ids.get(meaning) {
            return Ok(*id);
        }
        if let Some(id) = self.free(&OWN, now_ns) {
            self.define(id, meaning, false);
            return Ok(id);
        }
        self.shared += 1;
        let shared = Arc::new(Meaning {
            reason: SHARED_REASON.into(),
            rule: None,
            ..Meaning::clone(meaning)
        });
        if let Some(id) = self.ids.get(&shared) {
            return Ok(*id);
        }
        let id = self.free(&SHARED, now_ns).ok_or(ClassesFull)?;
        self.define(id, &shared, false);
        Ok(id)
    }

    /// What a number means.
    #[must_use]
    pub fn meaning(&self, id: u16) -> Option<&Arc<Meaning>> {
        self.classes.get(&id).map(|class| &class.meaning)
    }

    /// The name of a rule's number.
    #[must_use]
    pub fn rule(&self, number: u32) -> Option<&str> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        self.rules.get(index).map(|name| &**name)
    }

    /// How often a verdict had to share a class that does not carry its reason.
    #[must_use]
    pub const fn shared(&self) -> u64 {
        self.shared
    }

    /// Classes, ascending by number.
    #[must_use]
    pub fn records(&self) -> Vec<ClassRecord> {
        let mut records: Vec<ClassRecord> = self
            .classes
            .iter()
            .map(|(id, class)| ClassRecord { id: *id, meaning: Arc::clone(&class.meaning) })
            .collect();
        records.sort_unstable_by_key(|record| record.id);
        records
    }

    /// Classes that are new since the last time, and rules with their numbers; all of them, if
    /// everything is asked for.
    pub(super) fn take_news(&mut self, everything: bool) -> ClassNews {
        let news = std::mem::take(&mut self.news);
        let classes = if everything {
            self.records()
        } else {
            let known = news.iter().filter_map(|id| self.classes.get_key_value(id));
            known
                .map(|(id, class)| ClassRecord { id: *id, meaning: Arc::clone(&class.meaning) })
                .collect()
        };
        let told = if everything { 0 } else { self.told_rules };
        self.told_rules = self.rules.len();
        let rules = (1..).zip(&self.rules).skip(told);
        ClassNews {
            classes,
            rules: rules.map(|(number, name)| (number, Arc::clone(name))).collect(),
        }
    }

    /// Whether [`Self::take_news`] has any.
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty() || self.told_rules < self.rules.len()
    }

    /// Takes the numbers of rules over from an earlier run.
    pub(super) fn restore_rules(&mut self, rules: Vec<Arc<str>>) {
        self.told_rules = rules.len();
        self.rules = rules;
    }

    /// Gives no rule a number that the kernel has already, for one whose name was not stored.
    pub(super) fn reserve_rules(&mut self, highest: u32) {
        let highest = usize::try_from(highest).unwrap_or(usize::MAX).min(MOST_FOUND_RULES);
        while self.rules.len() < highest {
            self.rules.push(format!("unknown/{}", self.rules.len() + 1).into());
        }
    }

    /// Takes a class over that the kernel has; `is_told`: the store says the same of it.
    pub(super) fn restore(&mut self, id: u16, meaning: &Arc<Meaning>, is_told: bool) {
        self.define(id, meaning, true);
        if is_told {
            self.news.remove(&id);
        }
    }

    /// The kernel's form of a meaning. Numbers its rule.
    pub(super) fn kernel_class(&mut self, meaning: &Meaning) -> VerdictClass {
        let rule = meaning.rule.as_ref().map_or(0, |rule| self.rule_number(rule));
        meaning.class(rule)
    }

    /// Numbers that the kernel has to be told before it is given entries that name them.
    pub(super) fn unwritten(&self, ids: impl Iterator<Item = u16>) -> Vec<(u16, Arc<Meaning>)> {
        let mut unwritten: Vec<(u16, Arc<Meaning>)> = ids
            .filter_map(|id| {
                let class = self.classes.get(&id).filter(|class| !class.is_written)?;
                Some((id, Arc::clone(&class.meaning)))
            })
            .collect();
        unwritten.sort_unstable_by_key(|(id, _)| *id);
        unwritten.dedup_by_key(|(id, _)| *id);
        unwritten
    }

    /// Whether a class does what a meaning says, with its reason or the shared one.
    pub(super) fn expresses(&self, id: u16, meaning: &Arc<Meaning>) -> bool {
        let Some(own) = self.meaning(id) else { return false };
        own == meaning
            || (*own.reason == *SHARED_REASON
                && **own
                    == Meaning {
                        reason: SHARED_REASON.into(),
                        rule: None,
                        ..Meaning::clone(meaning)
                    })
    }

    /// Classes that were written and of which the kernel says something else.
    pub(super) fn differing(&mut self, found: &[(u16, VerdictClass)]) -> Vec<ClassDrift> {
        let found: HashMap<u16, &VerdictClass> =
            found.iter().map(|(id, class)| (*id, class)).collect();
        let written = self.classes.iter().filter(|(_, class)| class.is_written);
        let written: Vec<(u16, Arc<Meaning>, usize)> =
            written.map(|(id, class)| (*id, Arc::clone(&class.meaning), class.users)).collect();
        let mut differing: Vec<ClassDrift> = written
            .into_iter()
            .filter(|(id, meaning, _)| {
                let wanted = self.kernel_class(meaning);
                found.get(id).map_or(VerdictClass::default(), |class| **class) != wanted
            })
            .map(|(id, _, users)| ClassDrift { id, users })
            .collect();
        differing.sort_unstable_by_key(|drift| drift.id);
        differing
    }

    pub(super) fn is_written(&self, id: u16) -> bool {
        self.classes.get(&id).is_some_and(|class| class.is_written)
    }

    pub(super) fn mark_written(&mut self, id: u16) {
        if let Some(class) = self.classes.get_mut(&id) {
            class.is_written = true;
        }
    }

    /// An entry in the kernel names the class.
    pub(super) fn retain(&mut self, id: u16) {
        if let Some(class) = self.classes.get_mut(&id) {
            class.users += 1;
            self.idle.remove(&(class.idle_since_ns, id));
        }
    }

    /// An entry in the kernel names the class no longer.
    pub(super) fn release(&mut self, id: u16, now_ns: u64) {
        if let Some(class) = self.classes.get_mut(&id) {
            class.users = class.users.saturating_sub(1);
            if class.users == 0 {
                class.idle_since_ns = now_ns;
                self.idle.insert((now_ns, id));
            }
        }
    }

    /// A number for a new class: one never used, or the one that has been idle longest.
    fn free(&self, range: &RangeInclusive<u16>, now_ns: u64) -> Option<u16> {
        if let Some(id) = self.unused.range(range.clone()).next() {
            return Some(*id);
        }
        let (since_ns, id) = self.idle.iter().find(|(_, id)| range.contains(id))?;
        (now_ns.saturating_sub(*since_ns) >= KEPT_NS).then_some(*id)
    }

    fn define(&mut self, id: u16, meaning: &Arc<Meaning>, is_written: bool) {
        self.news.insert(id);
        let meaning = Arc::clone(meaning);
        let class = Class { meaning: Arc::clone(&meaning), users: 0, idle_since_ns: 0, is_written };
        if let Some(before) = self.classes.insert(id, class) {
            self.ids.remove(&before.meaning);
            self.idle.remove(&(before.idle_since_ns, id));
        }
        self.unused.remove(&id);
        self.idle.insert((0, id));
        self.ids.insert(meaning, id);
    }

    fn rule_number(&mut self, name: &Arc<str>) -> u32 {
        let index = self.rules.iter().position(|known| known == name).unwrap_or_else(|| {
            self.rules.push(Arc::clone(name));
            self.rules.len() - 1
        });
        u32::try_from(index + 1).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use weir_common::abi::{Action, ServiceSet};

    use super::*;

    fn meaning(reason: &str) -> Arc<Meaning> {
        Meaning::operator(Action::Drop, ServiceSet::ALL, reason).into()
    }

    #[test]
    fn equal_meanings_share_a_number() {
        let mut classes = ClassTable::default();
        let first = classes.intern(&meaning("a"), 0).unwrap();
        assert_eq!(classes.intern(&meaning("a"), 0), Ok(first));
        assert_ne!(classes.intern(&meaning("b"), 0), Ok(first));
        assert!(first >= 1);
    }

    #[test]
    fn too_many_reasons_share_one_without_losing_what_is_done() {
        let mut classes = ClassTable::default();
        for n in 0..5000 {
            let id = classes.intern(&meaning(&n.to_string()), 0).unwrap();
            classes.retain(id);
            let shared = classes.meaning(id).unwrap();
            assert_eq!((shared.action, shared.services), (Action::Drop, ServiceSet::ALL));
        }
        assert_eq!(classes.shared(), 5000 - (4095 - 64));
        assert_eq!(classes.records().len(), 4095 - 64 + 1);
    }

    #[test]
    fn numbers_are_given_away_after_a_while_and_never_while_in_use() {
        let mut classes = ClassTable::default();
        let mut ids = Vec::new();
        for n in 0..4095 - 64 {
            ids.push(classes.intern(&meaning(&n.to_string()), 0).unwrap());
            classes.retain(ids[n]);
        }
        classes.release(ids[7], 100);
        let early = classes.intern(&meaning("early"), 100 + KEPT_NS - 1).unwrap();
        assert_ne!(early, ids[7], "it is kept for a while");
        assert_eq!(classes.intern(&meaning("later"), 100 + KEPT_NS), Ok(ids[7]));
        assert_eq!(&*classes.meaning(ids[7]).unwrap().reason, "later");
        assert_eq!(classes.unwritten([ids[7]].into_iter()).len(), 1, "the kernel is told again");
    }

    #[test]
    fn rules_are_numbered_for_good() {
        let mut classes = ClassTable::default();
        let with_rule = |rule: &str| Meaning { rule: Some(rule.into()), ..(*meaning("x")).clone() };
        assert_eq!(classes.kernel_class(&with_rule("login/a")).rule, 1);
        assert_eq!(classes.kernel_class(&with_rule("login/b")).rule, 2);
        assert_eq!(classes.kernel_class(&with_rule("login/a")).rule, 1);
        assert_eq!(classes.kernel_class(&meaning("x")).rule, 0);
        assert_eq!(classes.rule(2), Some("login/b"));
        assert_eq!((classes.rule(0), classes.rule(3)), (None, None));
    }
}
