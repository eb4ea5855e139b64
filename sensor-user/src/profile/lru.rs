//! A bounded table in which the least recently used entry goes first.

use std::{collections::HashMap, hash::Hash};

/// No entry.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: Box<V>,
    // Its neighbours in the order of use.
    older: u32,
    newer: u32,
}

/// The table: entries in one list, linked in the order of use, and where each key's is. What goes first
/// depends only on the order of use, never on hashing.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    capacity: usize,
    places: HashMap<K, u32>,
    entries: Vec<Option<Entry<K, V>>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    /// A table for at least one entry.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.clamp(1, NONE as usize - 1),
            places: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Looks without using.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entry(*self.places.get(key)?).map(|entry| &*entry.value)
    }

    /// Looks without using.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = *self.places.get(key)?;
        self.entry_mut(place).map(|entry| &mut *entry.value)
    }

    /// Uses an entry, made first if it is not there. Says whether another one had to go for it.
    pub(crate) fn get_or_insert(&mut self, key: &K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        let mut evicted = false;
        let place = if let Some(place) = self.places.get(key).copied() {
            if place != self.newest {
                self.unlink(place);
                self.link(place);
            }
            place
        } else {
            if self.places.len() >= self.capacity {
                evicted = self.pop_oldest_if(|_| true).is_some();
            }
            self.insert(key, make())
        };
        match self.entries.get_mut(place as usize).and_then(Option::as_mut) {
            Some(entry) => (&mut entry.value, evicted),
            None => unreachable!("a place of `places` has an entry"),
        }
    }

    /// Removes the least recently used entry if `condition` holds for it.
    pub(crate) fn pop_oldest_if(&mut self, condition: impl Fn(&V) -> bool) -> Option<(K, V)> {
        let oldest = self.oldest;
        if !self.entry(oldest).is_some_and(|entry| condition(&entry.value)) {
            return None;
        }
        let entry = self.take(oldest)?;
        self.places.remove(&entry.key);
        Some((entry.key, *entry.value))
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let place = self.places.remove(key)?;
        self.take(place).map(|entry| *entry.value)
    }

    /// Every entry, from the one that was used longest ago.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let first = self.entry(self.oldest);
        let all = std::iter::successors(first, |entry| self.entry(entry.newer));
        all.map(|entry| (&entry.key, &*entry.value))
    }

    /// Visits every entry, in no particular order.
    pub(crate) fn for_each(&mut self, mut visit: impl FnMut(&mut V)) {
        for entry in self.entries.iter_mut().flatten() {
            visit(&mut entry.value);
        }
    }

    /// Takes another capacity; returns how many entries had to go.
    pub(crate) fn resize(&mut self, capacity: usize) -> u64 {
        self.capacity = capacity.clamp(1, NONE as usize - 1);
        let mut evicted = 0;
        while self.places.len() > self.capacity && self.pop_oldest_if(|_| true).is_some() {
            evicted += 1;
        }
        evicted
    }

    fn entry(&self, place: u32) -> Option<&Entry<K, V>> {
        self.entries.get(place as usize)?.as_ref()
    }

    fn entry_mut(&mut self, place: u32) -> Option<&mut Entry<K, V>> {
        self.entries.get_mut(place as usize)?.as_mut()
    }

    fn insert(&mut self, key: &K, value: V) -> u32 {
        let entry = Entry { key: key.clone(), value: Box::new(value), older: NONE, newer: NONE };
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            // The capacity is below the largest number.
            u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
        });
        if let Some(slot) = self.entries.get_mut(place as usize) {
            *slot = Some(entry);
        }
        self.places.insert(key.clone(), place);
        self.link(place);
        place
    }

    fn take(&mut self, place: u32) -> Option<Entry<K, V>> {
        self.unlink(place);
        let entry = self.entries.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(entry)
    }

    /// Puts an entry in as the newest.
    fn link(&mut self, place: u32) {
        let before = std::mem::replace(&mut self.newest, place);
        if let Some(entry) = self.entry_mut(place) {
            (entry.older, entry.newer) = (before, NONE);
        }
        match self.entry_mut(before) {
            Some(entry) => entry.newer = place,
            None => self.oldest = place,
        }
    }

    /// Takes an entry out of the order.
    fn unlink(&mut self, place: u32) {
        let Some(entry) = self.entry(place) else { return };
        let (older, newer) = (entry.older, entry.newer);
        match self.entry_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entry_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_equals_a_list_in_the_order_of_use(
            capacity in 1usize..8,
            steps in prop::collection::vec((0u8..12, 0u8..4), 0..200),
        ) {
            let mut lru = Lru::new(capacity);
            let mut list: VecDeque<u8> = VecDeque::new();
            for (key, step) in steps {
                match step {
                    0 => {
                        prop_assert_eq!(lru.remove(&key).is_some(), list.contains(&key));
                        list.retain(|known| *known != key);
                    }
                    1 => {
                        prop_assert_eq!(lru.pop_oldest_if(|_| true).map(|(key, _)| key), list.pop_front());
                    }
                    _ => {
                        let was_full = list.len() == capacity && !list.contains(&key);
                        list.retain(|known| *known != key);
                        if was_full {
                            list.pop_front();
                        }
                        list.push_back(key);
                        prop_assert_eq!(lru.get_or_insert(&key, || key).1, was_full);
                    }
                }
                prop_assert_eq!(lru.iter().map(|(key, _)| *key).collect::<VecDeque<u8>>(), list.clone());
                prop_assert!(lru.entries.len() <= capacity);
            }
        }
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut lru = Lru::new(2);
        assert!(!lru.get_or_insert(&1, || 'a').1);
        assert!(!lru.get_or_insert(&2, || 'b').1);
        assert_eq!(lru.get_or_insert(&1, || 'x'), (&mut 'a', false));
        assert!(lru.get_or_insert(&3, || 'c').1);
        assert_eq!((lru.get(&1), lru.get(&2), lru.get(&3)), (Some(&'a'), None, Some(&'c')));
        assert_eq!(lru.len(), 2);
    }

    #[test]
    fn looking_is_not_using() {
        let mut lru = Lru::new(2);
        lru.get_or_insert(&1, || ());
        lru.get_or_insert(&2, || ());
        assert!(lru.get(&1).is_some() && lru.get_mut(&1).is_some());
        lru.get_or_insert(&3, || ());
        assert!(lru.get(&1).is_none());
    }

    #[test]
    fn oldest_go_while_a_condition_holds_and_when_room_shrinks() {
        let mut lru = Lru::new(8);
        for n in 0..8 {
            lru.get_or_insert(&n, || n);
        }
        assert_eq!(lru.pop_oldest_if(|n| *n > 0), None);
        assert_eq!(lru.pop_oldest_if(|n| *n == 0), Some((0, 0)));
        assert_eq!(lru.resize(3), 4);
        assert_eq!(lru.len(), 3);
        assert!(lru.get(&5).is_some());
        assert_eq!((lru.remove(&6), lru.remove(&6)), (Some(6), None));
        assert_eq!(lru.iter().collect::<Vec<_>>(), [(&5, &5), (&7, &7)]);
    }
}
