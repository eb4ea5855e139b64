//! What the ledger says that it wrote, against what the kernel has.
//!
//! A sweep gives every entry that it finds to [`Ledger::compare`], and asks [`Ledger::unseen`] for
//! what it did not find. What looks wrong is only suspected: what was read may be older than the last
//! write. The entry is looked up again, and [`Ledger::drift`] decides; from then until the answer is
//! acted upon, nobody else writes. A repair goes the way of every other write: the place becomes due,
//! and [`Ledger::apply`] settles it.
//!
//! What has expired is no drift, whether it is still there or gone: the kernel ignores it. Neither is
//! a verdict on a flow that is missing: its map makes room by itself.

use ipnet::IpNet;
use weir_common::abi::{Verdict, VerdictClass};

use super::{Ledger, Slot, Written, place::Place, table::Key};
use crate::enforce::{
    audit::{ClassDrift, Drift, Site},
    dataplane::{Dataplane, DataplaneError, Subject},
};

/// A walk over the ledger for what was not seen. On its way it counts what is in the kernel and picks
/// a sample, so that nobody goes through the whole ledger at once.
#[derive(Clone, Debug)]
pub struct Unseen {
    at: At,
    picks: Picks,
    held: usize,
    sample: Vec<IpNet>,
}

#[derive(Clone, Debug)]
enum At {
    /// Behind this prefix; `None`: at the first.
    Prefixes(Option<Key>),
    Subjects,
    Over,
}

/// Which prefixes make the sample: every `stride`th behind `skip` others, `most` of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Picks {
    /// How many come before the first one.
    pub skip: usize,
    /// From one to the next; 0 is taken for 1.
    pub stride: usize,
    /// When it is enough.
    pub most: usize,
}

impl Unseen {
    /// From the beginning.
    #[must_use]
    pub const fn new(picks: Picks) -> Self {
        Self { at: At::Prefixes(None), picks, held: 0, sample: Vec::new() }
    }

    /// Prefixes that hold a written verdict and everything that is wanted of them, spread over all.
    #[must_use]
    pub fn take_sample(&mut self) -> Vec<IpNet> {
        std::mem::take(&mut self.sample)
    }

    fn pass(&mut self, key: Key, slot: &Slot) {
        if slot.written.is_none() {
            return;
        }
        self.held += 1;
        if slot.has_unmet || self.sample.len() >= self.picks.most {
            return;
        }
        if self.picks.skip > 0 {
            self.picks.skip -= 1;
        } else {
            self.picks.skip = self.picks.stride.saturating_sub(1);
            self.sample.push(key.into());
        }
    }
}

impl From<Site> for Place {
    fn from(site: Site) -> Self {
        match site {
            Site::Prefix(net) => Self::Prefix(net.into()),
            Site::Subject(subject) => Self::Subject(subject),
        }
    }
}

impl Ledger {
    /// Begins a sweep: what is found or written from now on is seen.
    pub fn begin_sweep(&mut self) {
        self.sweep = self.sweep.wrapping_add(1);
    }

    /// Takes entries that were found; returns those that look wrong.
    pub fn compare<'a>(
        &mut self,
        found: impl IntoIterator<Item = &'a (Site, Verdict)>,
        now_tick: u32,
    ) -> Vec<Site> {
        let mut suspects = Vec::new();
        let sweep = self.sweep;
        for (site, verdict) in found {
            let slot = self.slot_mut((*site).into());
            let slot = slot.map(|slot| {
                slot.seen = sweep;
                &*slot
            });
            if judge(slot, *site, Some(verdict), now_tick).is_some() {
                suspects.push(*site);
            }
        }
        suspects
    }

    /// The next suspects among what was written and not seen by this sweep, of about `limit` that are
    /// looked at; `None`: that was all.
    pub fn unseen(&self, walk: &mut Unseen, limit: usize, now_tick: u32) -> Option<Vec<Site>> {
        let is_unseen = |slot: &Slot| {
            slot.seen != self.sweep && slot.written.is_some_and(|written| written.is_live(now_tick))
        };
        match walk.at {
            At::Prefixes(after) => {
                let mut last = None;
                let mut suspects = Vec::new();
                for (key, slot) in self.slots.after(after).take(limit) {
                    last = Some(key);
                    walk.pass(key, slot);
                    if is_unseen(slot) {
                        suspects.push(Site::Prefix(key.into()));
                    }
                }
                walk.at = if last.is_some() { At::Prefixes(last) } else { At::Subjects };
                Some(suspects)
            }
            At::Subjects => {
                walk.at = At::Over;
                let slots = &self.subjects.slots;
                walk.held += slots.values().filter(|slot| slot.written.is_some()).count();
                let unseen = slots.iter().filter(|(_, slot)| is_unseen(slot));
                Some(unseen.map(|(subject, _)| Site::Subject(*subject)).collect())
            }
            At::Over => None,
        }
    }

    /// Whether what the kernel has at a place just now is other than what was written.
    #[must_use]
    pub fn drift(&self, site: Site, found: Option<&Verdict>, now_tick: u32) -> Option<Drift> {
        judge(self.slot(site.into()), site, found, now_tick)
    }

    /// The kernel has something else at these places: the next [`Self::apply`] settles them anew.
    pub fn distrust(&mut self, site: Site, found: Option<&Verdict>) {
        let place = Place::from(site);
        // Held until it is settled, so that no other meaning gets the number that is named there.
        let class = found.map_or(0, |found| found.class);
        let class = if self.classes.meaning(class).is_some() { class } else { 0 };
        self.classes.retain(class);
        self.slot_entry(place).doubtful.push(class);
        self.push_due(place);
    }

    /// Compares what the kernel says that classes mean.
    #[must_use]
    pub fn compare_classes(&mut self, found: &[(u16, VerdictClass)]) -> Vec<ClassDrift> {
        self.classes.differing(found)
    }

    /// Whether a class of ours means something else in the kernel.
    #[must_use]
    pub fn is_class_amiss(&mut self, id: u16, found: &VerdictClass) -> bool {
        let Some(meaning) = self.classes.meaning(id).map(std::sync::Arc::clone) else {
            return false;
        };
        self.classes.is_written(id) && self.classes.kernel_class(&meaning) != *found
    }

    /// Writes classes again as they are meant.
    ///
    /// # Errors
    /// The first one met; the others were written.
    pub fn rewrite_classes(
        &mut self,
        dataplane: &mut dyn Dataplane,
        ids: &[u16],
    ) -> Result<(), DataplaneError> {
        let mut result = Ok(());
        for id in ids {
            let Some(meaning) = self.classes.meaning(*id).map(std::sync::Arc::clone) else {
                continue;
            };
            let class = self.classes.kernel_class(&meaning);
            result = result.and(dataplane.write_class(*id, &class));
        }
        result
    }

    /// How many places the kernel still has to be told of.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        let mut due = self.due.clone();
        due.sort_unstable();
        due.dedup();
        due.len() + self.subjects.due.len()
    }

    /// How many verdicts the kernel should have by a walk that is over, those that are due included.
    #[must_use]
    pub fn wanted_in_kernel(&self, walk: &Unseen) -> usize {
        let is_in = |slot: &Slot| slot.written.is_some();
        let due = self.due.iter().filter(|key| !self.slots.get(**key).is_some_and(is_in)).count();
        walk.held + due
    }
}

/// Whether a place is other than what was written there.
fn judge(slot: Option<&Slot>, site: Site, found: Option<&Verdict>, now_tick: u32) -> Option<Drift> {
    // Nobody knows what is there, and the next `apply` settles it.
    if slot.is_some_and(|slot| !slot.doubtful.is_empty()) {
        return None;
    }
    let written = slot.and_then(|slot| slot.written);
    match (written, found) {
        (None, None) => None,
        (None, Some(found)) => found.is_live(now_tick).then_some(Drift::Foreign),
        (Some(written), None) => {
            let evicts = matches!(site, Site::Subject(Subject::Flow(_)));
            (written.is_live(now_tick) && !evicts).then_some(Drift::Missing)
        }
        (Some(written), Some(found)) => {
            let is_same = found.class == written.class
                && found.expires_tick == written.expires_tick
                && found.prefix_len == site.prefix_len()
                && found.reserved == 0;
            let matters = written.is_live(now_tick) || found.is_live(now_tick);
            (!is_same && matters).then_some(Drift::Changed)
        }
    }
}

impl Written {
    const fn is_live(self, now_tick: u32) -> bool {
        self.expires_tick == 0 || now_tick < self.expires_tick
    }
}

#[cfg(test)]
mod tests;
