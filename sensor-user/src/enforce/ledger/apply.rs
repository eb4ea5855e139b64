//! Brings the kernel's maps to what is wanted.
//!
//! Only what changed, and what it covers, is looked at. The order of writing never refuses more
//! than is wanted in between: first what allows, then what ceases to refuse, then what refuses,
//! and last what ceases to allow.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;
use weir_common::abi::{Action, Verdict, time};

use super::{
    Entry, Ledger, Meaning, Origin, Slot, Written, settle::Settlement, table::Key, walk::Walk,
};
use crate::enforce::dataplane::{Dataplane, DataplaneError};

/// What an [`Ledger::apply`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// Verdicts written, new or changed.
    pub written: usize,
    /// Verdicts removed.
    pub removed: usize,
}

/// A prefix whose verdict in the kernel has to change.
struct Change {
    key: Key,
    settlement: Settlement,
}

/// A verdict to be written.
struct Write {
    key: Key,
    written: Written,
}

impl Ledger {
    /// Whether the kernel still has to be told something.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Tells the kernel what changed.
    ///
    /// # Errors
    /// The first one met. Everything that could be written was; the rest stays due.
    pub fn apply(
        &mut self,
        dataplane: &mut dyn Dataplane,
        now_ns: u64,
    ) -> Result<Applied, DataplaneError> {
        let due = std::mem::take(&mut self.due);
        let changes = self.changes(due, now_ns);
        let mut outcome = Outcome::default();
        let (writes, removals) = self.plan(changes, now_ns, &mut outcome);
        let writes = self.write_classes(dataplane, writes, now_ns, &mut outcome);
        let (allows, refusals): (Vec<Write>, Vec<Write>) =
            writes.into_iter().partition(|write| self.allows(write.written.class));
        let (allowances, releases): (Vec<Key>, Vec<Key>) = removals.into_iter().partition(|key| {
            let written = self.slots.get(*key).and_then(|slot| slot.written);
            written.is_some_and(|written| self.allows(written.class))
        });
        self.write(dataplane, allows, now_ns, &mut outcome);
        self.remove(dataplane, releases, now_ns, &mut outcome);
        self.write(dataplane, refusals, now_ns, &mut outcome);
        self.remove(dataplane, allowances, now_ns, &mut outcome);
        match outcome.error {
            Some(error) => Err(error),
            None => Ok(outcome.applied),
        }
    }

    /// Settles every due prefix and what it covers; those of which the kernel has to be told.
    fn changes(&mut self, mut due: Vec<Key>, now_ns: u64) -> Vec<Change> {
        due.sort_unstable();
        due.dedup();
        // One walk over everything is cheaper than many that each find their covers first.
        if due.len() > self.slots.len() / 4 {
            due = Key::EVERYTHING.to_vec();
        }
        let mut changes = Vec::new();
        let mut done: Option<Key> = None;
        let mut unchanged = Vec::new();
        for root in due {
            if done.is_some_and(|done| done.covers(root)) {
                continue;
            }
            done = Some(root);
            let mut walk = Walk::at(&self.slots, root, now_ns);
            for (key, slot) in self.slots.within(root) {
                let settlement = walk.settle(key, slot);
                if self.is_as_written(slot, &settlement) {
                    unchanged.push((key, settlement));
                } else {
                    changes.push(Change { key, settlement });
                }
            }
        }
        for (key, settlement) in unchanged {
            self.note(key, &settlement);
        }
        changes
    }

    fn is_as_written(&self, slot: &Slot, settlement: &Settlement) -> bool {
        if !slot.doubtful.is_empty() {
            return false;
        }
        match (&settlement.verdict, slot.written) {
            (None, None) => true,
            (Some((meaning, expires_ns)), Some(written)) => {
                written.expires_tick == expires_tick(*expires_ns)
                    && self.classes.expresses(written.class, meaning)
            }
            _ => false,
        }
    }

    /// Notes what is and is not in the kernel once a settlement is, and forgets an empty slot.
    fn note(&mut self, key: Key, settlement: &Settlement) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.has_unmet = settlement.has_unmet;
        let is_kept = match (slot.own.as_slice(), &settlement.verdict) {
            ([], _) => false,
            ([entry], Some((meaning, _))) => *meaning != entry.meaning,
            ([entry], None) => entry.meaning.origin != Origin::Guard,
            _ => true,
        };
        // Revised even if it was kept before: the entries themselves may be others.
        if is_kept || slot.is_kept_in_memo {
            self.memo_revision += 1;
        }
        slot.is_kept_in_memo = is_kept;
        if slot.is_empty() {
            self.slots.remove(key);
        }
    }

    fn plan(
        &mut self,
        changes: Vec<Change>,
        now_ns: u64,
        outcome: &mut Outcome,
    ) -> (Vec<Write>, Vec<Key>) {
        let mut writes = Vec::new();
        let mut removals = Vec::new();
        let mut last: Option<(Arc<Meaning>, u16)> = None;
        for Change { key, settlement } in changes {
            self.note(key, &settlement);
            let Some((meaning, expires_ns)) = settlement.verdict else {
                removals.push(key);
                continue;
            };
            // Neighbours mostly mean the same, and then share more than content.
            let known = last.as_ref().filter(|(last, _)| Arc::ptr_eq(last, &meaning));
            let class = match known {
                Some((_, class)) => Ok(*class),
                None => self.classes.intern(&meaning, now_ns),
            };
            match class {
                Ok(class) => {
                    last = Some((meaning, class));
                    // Held until the write is settled, so that no later one takes the number.
                    self.classes.retain(class);
                    let expires_tick = expires_tick(expires_ns);
                    writes.push(Write { key, written: Written { class, expires_tick } });
                }
                Err(full) => {
                    self.due.push(key);
                    outcome.note(DataplaneError::Kernel {
                        operation: "define a class for",
                        object: IpNet::from(key).to_string(),
                        source: std::io::Error::other(full),
                    });
                }
            }
        }
        (writes, removals)
    }

    /// Defines the classes that verdicts name. Returns the verdicts whose class is there.
    fn write_classes(
        &mut self,
        dataplane: &mut dyn Dataplane,
        mut writes: Vec<Write>,
        now_ns: u64,
        outcome: &mut Outcome,
    ) -> Vec<Write> {
        let ids = writes.iter().map(|write| write.written.class);
        for (id, meaning) in self.classes.unwritten(ids) {
            let class = self.classes.kernel_class(&meaning);
            match dataplane.write_class(id, &class) {
                Ok(()) => self.classes.mark_written(id),
                Err(error) => outcome.note(error),
            }
        }
        let (classes, due) = (&mut self.classes, &mut self.due);
        writes.retain(|write| {
            let is_known = classes.is_written(write.written.class);
            if !is_known {
                classes.release(write.written.class, now_ns);
                due.push(write.key);
            }
            is_known
        });
        writes
    }

    fn allows(&self, class: u16) -> bool {
        self.classes.meaning(class).is_some_and(|meaning| meaning.action == Action::Allow)
    }

    fn write(
        &mut self,
        dataplane: &mut dyn Dataplane,
        writes: Vec<Write>,
        now_ns: u64,
        outcome: &mut Outcome,
    ) {
        for writes in by_map(writes, |write| write.key) {
            let entries: Vec<(IpNet, Verdict)> = writes.iter().map(Write::entry).collect();
            let (done, rest) = match dataplane.write_verdicts(&entries) {
                Ok(()) => (writes.len(), Fate::Unwritten),
                Err(error) => {
                    let fate = match &error {
                        DataplaneError::Full { written, .. } => (*written, Fate::Unwritten),
                        DataplaneError::Kernel { .. } => (0, Fate::Unknown),
                    };
                    outcome.note(error);
                    fate
                }
            };
            outcome.applied.written += done.min(writes.len());
            for (index, write) in writes.into_iter().enumerate() {
                if index < done {
                    self.mark_written(write.key, Some(write.written), now_ns);
                    continue;
                }
                self.due.push(write.key);
                match rest {
                    Fate::Unwritten => self.classes.release(write.written.class, now_ns),
                    Fate::Unknown => self.doubt(write.key, write.written.class),
                }
            }
        }
    }

    fn remove(
        &mut self,
        dataplane: &mut dyn Dataplane,
        removals: Vec<Key>,
        now_ns: u64,
        outcome: &mut Outcome,
    ) {
        for keys in by_map(removals, |key| *key) {
            let prefixes: Vec<IpNet> = keys.iter().map(|key| IpNet::from(*key)).collect();
            match dataplane.remove_verdicts(&prefixes) {
                Ok(_) => {
                    outcome.applied.removed += keys.len();
                    for key in keys {
                        self.mark_written(key, None, now_ns);
                    }
                }
                Err(error) => {
                    outcome.note(error);
                    for key in keys {
                        self.due.push(key);
                        let written = self.slots.get(key).and_then(|slot| slot.written);
                        if let Some(written) = written {
                            self.classes.retain(written.class);
                            self.doubt(key, written.class);
                        }
                    }
                }
            }
        }
    }

    /// The kernel may or may not name this class, which is held until that is settled.
    fn doubt(&mut self, key: Key, class: u16) {
        self.slots.entry(key).doubtful.push(class);
    }

    /// The kernel has this, and nothing else.
    fn mark_written(&mut self, key: Key, written: Option<Written>, now_ns: u64) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let before = std::mem::replace(&mut slot.written, written);
        let doubtful = std::mem::take(&mut slot.doubtful);
        let is_empty = slot.is_empty();
        for class in before.map(|before| before.class).into_iter().chain(doubtful) {
            self.classes.release(class, now_ns);
        }
        if is_empty {
            self.slots.remove(key);
        }
    }
}

/// What became of verdicts that a failed call was to write.
#[derive(Clone, Copy)]
enum Fate {
    /// They are not there.
    Unwritten,
    /// Nobody knows.
    Unknown,
}

#[derive(Default)]
struct Outcome {
    applied: Applied,
    error: Option<DataplaneError>,
}

impl Outcome {
    fn note(&mut self, error: DataplaneError) {
        self.error.get_or_insert(error);
    }
}

impl Write {
    fn entry(&self) -> (IpNet, Verdict) {
        let net = IpNet::from(self.key);
        let verdict = Verdict {
            class: self.written.class,
            prefix_len: net.prefix_len(),
            expires_tick: self.written.expires_tick,
            ..Verdict::default()
        };
        (net, verdict)
    }
}

/// Groups by kernel map, so that one that is full does not keep others from being written.
fn by_map<T>(items: Vec<T>, key: impl Fn(&T) -> Key) -> impl Iterator<Item = Vec<T>> {
    let mut maps: BTreeMap<(bool, bool), Vec<T>> = BTreeMap::new();
    for item in items {
        let key = key(&item);
        maps.entry((key.is_v6, key.is_exact())).or_default().push(item);
    }
    maps.into_values()
}

/// The kernel's form of an end: rounded up, never early; 0 = never.
fn expires_tick(expires_ns: Option<u64>) -> u32 {
    expires_ns.map_or(0, |end| time::tick_ceil(end).max(1))
}

/// Whether what was written is what this entry wants, if perhaps for fewer services.
pub(super) fn is_same_origin(written: &Arc<Meaning>, entry: &Entry) -> bool {
    written.origin == entry.meaning.origin && written.action == entry.meaning.action
}
