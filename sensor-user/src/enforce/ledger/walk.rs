//! Settles prefixes one after the other.

use super::{
    Entry, Slot,
    settle::{Settlement, settle},
    table::{Key, Table},
};

/// A walk through prefixes in order, with what covers the current one at hand.
pub(super) struct Walk<'a> {
    now_ns: u64,
    covers: Vec<(Key, &'a Slot)>,
    // Their live entries.
    entries: Vec<&'a Entry>,
}

impl<'a> Walk<'a> {
    pub(super) fn at(slots: &'a Table<Slot>, root: Key, now_ns: u64) -> Self {
        let mut walk = Self { now_ns, covers: Vec::new(), entries: Vec::new() };
        for (key, slot) in slots.above(root) {
            walk.enter(key, slot);
        }
        walk
    }

    pub(super) fn settle(&mut self, key: Key, slot: &'a Slot) -> Settlement {
        self.leave_for(key);
        let own: Vec<&Entry> = self.live(slot).collect();
        let settlement = settle(&own, &self.entries, key.is_exact());
        if !key.is_address() {
            self.enter(key, slot);
        }
        settlement
    }

    fn enter(&mut self, key: Key, slot: &'a Slot) {
        self.covers.push((key, slot));
        let live = self.live(slot);
        self.entries.extend(live);
    }

    fn leave_for(&mut self, key: Key) {
        while let Some((cover, slot)) = self.covers.last()
            && !cover.covers(key)
        {
            let left = self.entries.len() - self.live(slot).count();
            self.entries.truncate(left);
            self.covers.pop();
        }
    }

    fn live(&self, slot: &'a Slot) -> impl Iterator<Item = &'a Entry> + use<'a> {
        let now_ns = self.now_ns;
        slot.own.iter().filter(move |entry| entry.is_live(now_ns))
    }
}
