//! Entries on what is not an address: fingerprints, and flows that the daemon found out about too
//! late for the kernel.
//!
//! An operator's entry goes by a fingerprint's name and stands at as many keys of the kernel as the
//! name is known to have: none as long as nobody was seen with a JA4 that is only a hash, and none
//! for QUIC. At a key, it is settled and written as at a prefix that nothing covers.

mod adopt;
mod list;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use weir_common::{
    abi::{Action, FlowKey, map::capacity},
    tls::Seed,
};

pub use self::list::ListedFingerprint;
use super::{
    Entry, Ledger, LedgerError, Meaning, Slot, apply::Change, place::Place, settle::settle,
};
use crate::{
    enforce::{
        dataplane::Subject,
        fingerprint::{Fingerprint, FingerprintName},
    },
    fingerprint::ja4::{Ja4, Ja4Raw},
};

/// Most names. The kernel's maps hold as many keys, each, unless the site says otherwise.
const MOST_NAMES: usize = capacity::FINGERPRINTS;

/// Most flows that are ended at a time; the oldest goes first. Fewer than the kernel's map holds, so
/// that it does not choose.
const MOST_FLOWS: usize = capacity::FLOW_VERDICTS / 2;

/// Most forms that one hash stands for. More than one takes a collision of truncated SHA-256.
const MOST_FORMS: usize = 8;

/// Everything that is wanted of subjects.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    pub(super) slots: HashMap<Subject, Slot>,
    // Subjects whose entries changed, or whose writing failed.
    pub(super) due: Vec<Subject>,
    names: HashMap<FingerprintName, Named>,
    holders: HashMap<Subject, FingerprintName>,
    // Oldest first.
    flows: VecDeque<FlowKey>,
    // Nothing ends before; `None`: nothing ends.
    next_end_ns: Option<u64>,
    seed: Seed,
}

/// What is wanted of a fingerprint.
#[derive(Debug)]
struct Named {
    entry: Entry,
    // What its hash is known to stand for.
    forms: Vec<Ja4Raw>,
    // Where it stands in the kernel.
    subjects: Vec<Subject>,
}

impl Subjects {
    pub(super) const fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len() + self.flows.len()
    }

    /// A subject for messages.
    pub(super) fn shown(&self, subject: &Subject) -> String {
        match (self.holders.get(subject), subject) {
            (Some(name), _) => name.to_string(),
            (None, Subject::Flow(_)) => "a flow".into(),
            (None, Subject::Fingerprint(key)) => FingerprintName::FoundTls(*key).to_string(),
            (None, Subject::Syn(key)) => FingerprintName::FoundSyn(*key).to_string(),
        }
    }

    /// Files an entry under a name, at every key that the name is known to have.
    fn file(&mut self, fingerprint: &Fingerprint, entry: Entry) -> bool {
        let name = fingerprint.name();
        self.note_end(entry.expires_ns);
        let known = self.names.get_mut(name);
        let replaced = known.is_some();
        let subjects = match known {
            Some(named) => {
                named.entry = entry.clone();
                named.subjects.clone()
            }
            None => {
                let named = Named { entry: entry.clone(), forms: Vec::new(), subjects: Vec::new() };
                self.names.insert(name.clone(), named);
                Vec::new()
            }
        };
        for subject in subjects {
            self.want(subject, entry.clone());
        }
        match fingerprint.raw() {
            Some(raw) => {
                self.add_form(name, raw);
            }
            None => {
                if let Some(subject) = fingerprint.subject(self.seed) {
                    self.hold(name, subject);
                }
            }
        }
        replaced
    }

    /// A hash stands for this. Whether that is new.
    fn add_form(&mut self, name: &FingerprintName, raw: &Ja4Raw) -> bool {
        let subject = name.subject_of(raw, self.seed);
        let Some(named) = self.names.get_mut(name) else { return false };
        if named.subjects.contains(&subject) || named.forms.len() >= MOST_FORMS {
            return false;
        }
        if name.is_quic() {
            return false;
        }
        named.forms.push(raw.clone());
        self.hold(name, subject);
        true
    }

    /// A name stands at this key from now on. A name that was only found there gives way.
    fn hold(&mut self, name: &FingerprintName, subject: Subject) {
        let before = self.holders.insert(subject, name.clone());
        if let Some(before) = before.filter(|before| before != name)
            && let Some(named) = self.names.get_mut(&before)
        {
            named.subjects.retain(|held| *held != subject);
            if named.subjects.is_empty() && before.ja4().is_none() {
                self.names.remove(&before);
            }
        }
        let Some(named) = self.names.get_mut(name) else { return };
        if !named.subjects.contains(&subject) {
            named.subjects.push(subject);
        }
        let entry = named.entry.clone();
        self.want(subject, entry);
    }

    /// Wants this at a key, in place of what was wanted there.
    fn want(&mut self, subject: Subject, entry: Entry) {
        self.slots.entry(subject).or_default().own = vec![entry];
        self.due.push(subject);
    }

    /// Wants nothing at a key.
    fn unwant(&mut self, subject: Subject) {
        if let Some(slot) = self.slots.get_mut(&subject) {
            slot.own.clear();
            self.due.push(subject);
        }
    }

    /// The keys at which it stood; `None` if there was no such name.
    fn remove(&mut self, name: &FingerprintName) -> Option<Vec<Subject>> {
        let named = self.names.remove(name)?;
        for subject in &named.subjects {
            self.holders.remove(subject);
            self.unwant(*subject);
        }
        Some(named.subjects)
    }

    fn note_end(&mut self, end: Option<u64>) {
        self.next_end_ns = [self.next_end_ns, end].into_iter().flatten().min();
    }

    fn flow_end(&self, key: &FlowKey) -> u64 {
        let slot = self.slots.get(&Subject::Flow(*key));
        slot.and_then(|slot| slot.own.first()).map_or(0, Entry::end)
    }
}

impl Ledger {
    /// Wants something for a fingerprint. What was wanted for it before is replaced. Returns whether
    /// there was something.
    ///
    /// # Errors
    /// If it cannot be wanted for this fingerprint.
    pub fn block_fingerprint(
        &mut self,
        fingerprint: &Fingerprint,
        meaning: &Arc<Meaning>,
        expires_ns: Option<u64>,
        now_ns: u64,
    ) -> Result<bool, LedgerError> {
        let name = fingerprint.name();
        if meaning.action == Action::Limit && name.is_hello() {
            return Err(LedgerError::LimitOnHello(name.clone()));
        }
        let is_new = !self.subjects.names.contains_key(name);
        if is_new && self.subjects.names.len() >= MOST_NAMES {
            return Err(LedgerError::FingerprintsFull(MOST_NAMES));
        }
        let by_fingerprint = name.is_hello();
        let meaning = if meaning.by_fingerprint == by_fingerprint {
            Arc::clone(meaning)
        } else {
            Arc::new(Meaning { by_fingerprint, ..Meaning::clone(meaning) })
        };
        self.unkept.note_name(name);
        let entry = Entry { meaning, created_ns: now_ns, expires_ns };
        Ok(self.subjects.file(fingerprint, entry))
    }

    /// Wants nothing for a fingerprint any more. Whether something was wanted.
    pub fn unblock_fingerprint(&mut self, name: &FingerprintName) -> bool {
        let Some(subjects) = self.subjects.remove(name) else { return false };
        self.unkept.note_name(name);
        self.unkept.note_lifted_subjects(subjects);
        true
    }

    /// A hello was seen: an entry that goes by its JA4 or by its stable form, and waited for what
    /// that stands for, takes effect with the next [`Self::apply`]. Returns whether one did.
    pub fn learned(&mut self, ja4: &Ja4, stable: &Ja4, raw: &Ja4Raw) -> bool {
        if self.subjects.names.is_empty() {
            return false;
        }
        let names = [FingerprintName::Ja4(*ja4), FingerprintName::Stable(*stable)];
        let mut is_news = false;
        for name in names {
            if self.subjects.add_form(&name, raw) {
                self.unkept.note_name(&name);
                is_news = true;
            }
        }
        is_news
    }

    /// Ends a flow that the kernel let pass, until a moment. Only so many are kept: the oldest goes
    /// first.
    pub fn end_flow(&mut self, key: FlowKey, meaning: &Arc<Meaning>, until_ns: u64, now_ns: u64) {
        let subjects = &mut self.subjects;
        let subject = Subject::Flow(key);
        subjects.flows.retain(|known| *known != key);
        if subjects.flows.len() >= MOST_FLOWS
            && let Some(oldest) = subjects.flows.pop_front()
        {
            subjects.unwant(Subject::Flow(oldest));
        }
        subjects.flows.push_back(key);
        subjects.note_end(Some(until_ns));
        let meaning = Arc::clone(meaning);
        subjects.want(subject, Entry { meaning, created_ns: now_ns, expires_ns: Some(until_ns) });
    }

    /// Removes what has ended. Returns how many entries that were.
    pub(super) fn sweep_subjects(&mut self, now_ns: u64) -> usize {
        let subjects = &mut self.subjects;
        if subjects.next_end_ns.is_none_or(|end| end > now_ns) {
            return 0;
        }
        let names = subjects.names.iter().filter(|(_, named)| !named.entry.is_live(now_ns));
        let ended: Vec<FingerprintName> = names.map(|(name, _)| name.clone()).collect();
        for name in &ended {
            subjects.remove(name);
            self.unkept.note_name(name);
        }
        let (live, over): (VecDeque<FlowKey>, VecDeque<FlowKey>) =
            subjects.flows.iter().partition(|key| subjects.flow_end(key) > now_ns);
        for key in &over {
            subjects.unwant(Subject::Flow(*key));
        }
        subjects.flows = live;
        let ends = subjects.names.values().filter_map(|named| named.entry.expires_ns);
        let flow_ends = subjects.flows.iter().map(|key| subjects.flow_end(key));
        subjects.next_end_ns = ends.chain(flow_ends).min();
        ended.len() + over.len()
    }

    /// Settles every subject that is due; those of which the kernel has to be told.
    pub(super) fn subject_changes(&mut self, now_ns: u64) -> Vec<Change> {
        let mut seen = HashSet::new();
        let mut changes = Vec::new();
        for subject in std::mem::take(&mut self.subjects.due) {
            if !seen.insert(subject) {
                continue;
            }
            let Some(slot) = self.subjects.slots.get(&subject) else { continue };
            let own: Vec<&Entry> = slot.own.iter().filter(|entry| entry.is_live(now_ns)).collect();
            let settlement = settle(&own, &[], true);
            let place = Place::Subject(subject);
            if self.is_as_written(slot, &settlement) {
                self.note(place, &settlement);
            } else {
                changes.push(Change { place, settlement });
            }
        }
        changes
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
