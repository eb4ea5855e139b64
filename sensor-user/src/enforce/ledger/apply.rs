//! Brings the kernel's maps to what is wanted.
//!
//! Only what changed, and what it covers, is looked at. The order of writing never refuses more
//! than is wanted in between: first what allows, then what ceases to refuse, then what refuses,
//! and last what ceases to allow.

use std::sync::Arc;

use weir_common::abi::{Action, time};

use super::{
    Entry, Ledger, Meaning, Slot, Written,
    place::{Place, by_map, remove_from, write_to},
    settle::Settlement,
    table::Key,
    walk::Walk,
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

/// A place at which the verdict in the kernel has to change.
pub(super) struct Change {
    pub(super) place: Place,
    pub(super) settlement: Settlement,
}

/// A verdict to be written.
struct Write {
    place: Place,
    written: Written,
}

impl Ledger {
    /// Whether the kernel still has to be told something.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.due.is_empty() || self.subjects.is_due()
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
        let mut changes = self.changes(due, now_ns);
        changes.extend(self.subject_changes(now_ns));
        let mut outcome = Outcome::default();
        let (writes, removals) = self.plan(changes, now_ns, &mut outcome);
        let writes = self.write_classes(dataplane, writes, now_ns, &mut outcome);
        let (allows, refusals): (Vec<Write>, Vec<Write>) =
            writes.into_iter().partition(|write| self.allows(write.written.class));
        let (allowances, releases): (Vec<Place>, Vec<Place>) =
            removals.into_iter().partition(|place| {
                let written = self.slot(*place).and_then(|slot| slot.written);
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
                    changes.push(Change { place: Place::Prefix(key), settlement });
                }
            }
        }
        for (key, settlement) in unchanged {
            self.note(Place::Prefix(key), &settlement);
        }
        changes
    }

    pub(super) fn is_as_written(&self, slot: &Slot, settlement: &Settlement) -> bool {
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
    pub(super) fn note(&mut self, place: Place, settlement: &Settlement) {
        let Some(slot) = self.slot_mut(place) else { return };
        slot.has_unmet = settlement.has_unmet;
        let is_empty = slot.is_empty();
        if is_empty {
            self.remove_slot(place);
        }
    }

    fn plan(
        &mut self,
        changes: Vec<Change>,
        now_ns: u64,
        outcome: &mut Outcome,
    ) -> (Vec<Write>, Vec<Place>) {
        let mut writes = Vec::new();
        let mut removals = Vec::new();
        let mut last: Option<(Arc<Meaning>, u16)> = None;
        for Change { place, settlement } in changes {
            self.note(place, &settlement);
            let Some((meaning, expires_ns)) = settlement.verdict else {
                removals.push(place);
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
                    writes.push(Write { place, written: Written { class, expires_tick } });
                }
                Err(full) => {
                    self.push_due(place);
                    outcome.note(DataplaneError::Kernel {
                        operation: "define a class for",
                        object: self.shown(place),
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
        writes.retain(|write| {
            let is_known = self.classes.is_written(write.written.class);
            if !is_known {
                self.classes.release(write.written.class, now_ns);
                self.push_due(write.place);
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
        for writes in by_map(writes, |write| write.place) {
            let (done, rest) = match write_to(
                dataplane,
                writes.iter().map(|write| (write.place, write.written)),
            ) {
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
                    self.mark_written(write.place, Some(write.written), now_ns);
                    continue;
                }
                self.push_due(write.place);
                match rest {
                    Fate::Unwritten => self.classes.release(write.written.class, now_ns),
                    Fate::Unknown => self.doubt(write.place, write.written.class),
                }
            }
        }
    }

    fn remove(
        &mut self,
        dataplane: &mut dyn Dataplane,
        removals: Vec<Place>,
        now_ns: u64,
        outcome: &mut Outcome,
    ) {
        for places in by_map(removals, |place| *place) {
            match remove_from(dataplane, &places) {
                Ok(_) => {
                    outcome.applied.removed += places.len();
                    for place in places {
                        self.mark_written(place, None, now_ns);
                    }
                }
                Err(error) => {
                    outcome.note(error);
                    for place in places {
                        self.push_due(place);
                        let written = self.slot(place).and_then(|slot| slot.written);
                        if let Some(written) = written {
                            self.classes.retain(written.class);
                            self.doubt(place, written.class);
                        }
                    }
                }
            }
        }
    }

    /// The kernel may or may not name this class, which is held until that is settled.
    fn doubt(&mut self, place: Place, class: u16) {
        self.slot_entry(place).doubtful.push(class);
    }

    /// The kernel has this, and nothing else.
    fn mark_written(&mut self, place: Place, written: Option<Written>, now_ns: u64) {
        let sweep = self.sweep;
        let Some(slot) = self.slot_mut(place) else { return };
        slot.seen = sweep;
        let before = std::mem::replace(&mut slot.written, written);
        let doubtful = std::mem::take(&mut slot.doubtful);
        let is_empty = slot.is_empty();
        for class in before.map(|before| before.class).into_iter().chain(doubtful) {
            self.classes.release(class, now_ns);
        }
        if is_empty {
            self.remove_slot(place);
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

/// The kernel's form of an end: rounded up, never early; 0 = never.
fn expires_tick(expires_ns: Option<u64>) -> u32 {
    expires_ns.map_or(0, |end| time::tick_ceil(end).max(1))
}

/// Whether what was written is what this entry wants, if perhaps for fewer services.
pub(super) fn is_same_origin(written: &Arc<Meaning>, entry: &Entry) -> bool {
    written.origin == entry.meaning.origin && written.action == entry.meaning.action
}
