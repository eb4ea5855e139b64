//! What of the ledger the store was not told yet.
//!
//! Only places are noted, not what happened there: what is wanted at them is looked up when the store
//! is told, so changes that come faster than the disk takes them are merged, and need memory for as many
//! places as there are. Where nobody ever takes them, as in replay, that is the bound as well.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use ipnet::IpNet;

use super::{
    Ledger, Origin,
    board::Changes,
    durable::{Batch, KeptFingerprint, KeptOffence, net_bytes, subject_bytes},
    table::Key,
};
use crate::{
    enforce::{dataplane::Subject, fingerprint::FingerprintName},
    score::Decision,
};

/// Places in one batch: some megabytes.
const MOST_IN_BATCH: usize = 1 << 16;

/// Most offences, and most lifted places, that are noted. Beyond it, an offence counts anew after a
/// restart.
const MOST_NOTED: usize = 1 << 20;

/// What changed.
#[derive(Debug, Default)]
pub(super) struct Unkept {
    changes: Changes,
    // Taken out of `changes`, and not yet in a batch.
    waiting: Vec<Key>,
    names: HashSet<FingerprintName>,
    is_everything: bool,
    // Lifted, which the kernel may not have been told yet.
    lifted: BTreeSet<Key>,
    lifted_subjects: HashSet<Subject>,
    // What of that the store has.
    stored: HashSet<Vec<u8>>,
    offences: Vec<KeptOffence>,
}

impl Unkept {
    /// The entries of a prefix changed. `entries`: how many there are in all.
    pub(super) fn note(&mut self, key: Key, entries: usize) {
        self.changes.note(key, entries);
    }

    pub(super) fn note_name(&mut self, name: &FingerprintName) {
        self.names.insert(name.clone());
    }

    pub(super) fn note_lifted(&mut self, key: Key) {
        if self.lifted.len() < MOST_NOTED {
            self.lifted.insert(key);
        }
    }

    pub(super) fn note_lifted_subjects(&mut self, subjects: Vec<Subject>) {
        self.lifted_subjects.extend(subjects);
    }

    /// What rests on forgeable evidence is forgiven with the restart: nobody is made to look like an
    /// old offender by forged packets.
    pub(super) fn note_offence(&mut self, net: IpNet, decision: &Decision) {
        if decision.unproven_only() || self.offences.len() >= MOST_NOTED {
            return;
        }
        self.offences.push(KeptOffence {
            net,
            policy: Arc::clone(&decision.policy),
            times: decision.offence,
            action: decision.action,
            until_ns: decision.until_ns(),
            ago_ns: 0,
        });
    }

    /// The store knows all of it.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The store says that these were lifted.
    pub(super) fn has_lifted(&mut self, stored: HashSet<Vec<u8>>) {
        self.stored = stored;
    }

    fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.waiting.is_empty()
            && self.names.is_empty()
            && !self.is_everything
            && self.offences.is_empty()
    }
}

impl Ledger {
    /// Whether the store still has to be told something.
    #[must_use]
    pub fn is_unkept(&self) -> bool {
        !self.unkept.is_empty() || self.classes.has_news()
    }

    /// Everything has to be told anew: the store lost what it had.
    pub fn keep_everything(&mut self) {
        self.unkept.is_everything = true;
    }

    /// What these had when they were last kept has ended.
    pub(super) fn note_ended(&mut self, nets: &[IpNet], names: &[String]) {
        for net in nets {
            self.unkept.waiting.push(Key::from(*net));
        }
        for name in names {
            if let Ok(fingerprint) = name.parse::<crate::enforce::fingerprint::Fingerprint>() {
                self.unkept.note_name(fingerprint.name());
            }
        }
    }

    /// What the store is to be told: call it until [`Self::is_unkept`] is false, or when the store has
    /// room for more. A batch that is lost has to be followed by [`Self::keep_everything`].
    pub fn take_batch(&mut self) -> Batch {
        let is_first_of_all = self.gather();
        let taken = self.unkept.waiting.len().saturating_sub(MOST_IN_BATCH);
        let keys = self.unkept.waiting.split_off(taken);
        let mut batch = Batch { is_everything: is_first_of_all, ..Batch::default() };
        for key in keys {
            let net = IpNet::from(key);
            if !is_first_of_all {
                batch.places.push(net);
            }
            let own = self.slots.get(key).into_iter().flat_map(|slot| &slot.own);
            let own = own.filter(|entry| entry.meaning.origin != Origin::Guard);
            batch.entries.extend(own.map(|entry| (net, entry.clone())));
        }
        batch.fingerprints = self.take_fingerprints(is_first_of_all);
        let news = self.classes.take_news(is_first_of_all);
        batch.classes = news.classes;
        batch.rules = news.rules;
        batch.offences = std::mem::take(&mut self.unkept.offences);
        self.take_lifted(&mut batch);
        batch
    }

    /// Turns what changed into places. Whether that is everything, from the beginning.
    fn gather(&mut self) -> bool {
        let changed = self.unkept.changes.take();
        let is_everything = self.unkept.is_everything || changed.is_none();
        let waiting = &mut self.unkept.waiting;
        if is_everything {
            *waiting = self.slots.iter().map(|(key, _)| key).collect();
            self.unkept.is_everything = false;
        } else {
            waiting.extend(changed.unwrap_or_default());
            waiting.sort_unstable();
            waiting.dedup();
        }
        is_everything
    }

    fn take_fingerprints(&mut self, everything: bool) -> Vec<(String, Option<KeptFingerprint>)> {
        let mut names = std::mem::take(&mut self.unkept.names);
        if everything {
            names = self.subjects.all_names().cloned().collect();
        }
        let kept = names.iter().map(|name| (name.to_string(), self.subjects.kept(name)));
        let mut kept: Vec<_> = kept.collect();
        kept.sort_unstable_by(|(left, _), (right, _)| left.cmp(right));
        kept
    }

    /// What was lifted, as long as the kernel has not been told: should the daemon die before, the
    /// next one knows.
    fn take_lifted(&mut self, batch: &mut Batch) {
        let unkept = &mut self.unkept;
        if unkept.lifted.is_empty() && unkept.lifted_subjects.is_empty() && unkept.stored.is_empty()
        {
            return;
        }
        let mut open: HashSet<Vec<u8>> = HashSet::new();
        if !self.due.is_empty() {
            let due: HashSet<Key> = self.due.iter().copied().collect();
            unkept.lifted.retain(|key| due.contains(key));
            open.extend(unkept.lifted.iter().map(|key| net_bytes(&(*key).into())));
        } else {
            unkept.lifted.clear();
        }
        let due: HashSet<Subject> = self.subjects.due.iter().copied().collect();
        unkept.lifted_subjects.retain(|subject| due.contains(subject));
        open.extend(unkept.lifted_subjects.iter().filter_map(subject_bytes));
        if batch.is_everything {
            unkept.stored.clear();
        }
        batch.settled = unkept.stored.difference(&open).cloned().collect();
        batch.settled.sort_unstable();
        batch.lifted = open.difference(&unkept.stored).cloned().collect();
        batch.lifted.sort_unstable();
        unkept.stored = open;
    }
}
