//! A bounded table in which the least recently used entry goes first.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// The table. What goes first depends only on the order of use, never on hashing.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    capacity: usize,
    entries: HashMap<K, (u64, V)>,
    // Key by the stamp of its last use.
    order: BTreeMap<u64, K>,
    stamp: u64,
}

impl<K: Hash + Eq + Clone, V> Lru<K, V> {
    /// A table for at least one entry.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: HashMap::new(),
            order: BTreeMap::new(),
            stamp: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Looks without using.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    /// Looks without using.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }

    /// Uses an entry, made first if it is not there. Says whether another one had to go for it.
    pub(crate) fn get_or_insert(&mut self, key: &K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        self.stamp += 1;
        let stamp = self.stamp;
        let mut evicted = false;
        if let Some((used, _)) = self.entries.get_mut(key) {
            self.order.remove(used);
            *used = stamp;
        } else if self.entries.len() >= self.capacity {
            evicted = self.pop_oldest_if(|_| true).is_some();
        }
        self.order.insert(stamp, key.clone());
        let (_, value) = self.entries.entry(key.clone()).or_insert_with(|| (stamp, make()));
        (value, evicted)
    }

    /// Removes the least recently used entry if `condition` holds for it.
    pub(crate) fn pop_oldest_if(&mut self, condition: impl Fn(&V) -> bool) -> Option<(K, V)> {
        let (stamp, key) = self.order.first_key_value()?;
        let (stamp, key) = (*stamp, key.clone());
        if !self.get(&key).is_some_and(condition) {
            return None;
        }
        self.order.remove(&stamp);
        self.entries.remove(&key).map(|(_, value)| (key, value))
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (stamp, value) = self.entries.remove(key)?;
        self.order.remove(&stamp);
        Some(value)
    }

    /// Every entry, from the one that was used longest ago.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order.values().filter_map(|key| Some((key, self.get(key)?)))
    }

    /// Visits every entry, in no particular order.
    pub(crate) fn for_each(&mut self, mut visit: impl FnMut(&mut V)) {
        for (_, value) in self.entries.values_mut() {
            visit(value);
        }
    }

    /// Takes another capacity; returns how many entries had to go.
    pub(crate) fn resize(&mut self, capacity: usize) -> u64 {
        self.capacity = capacity.max(1);
        let mut evicted = 0;
        while self.entries.len() > self.capacity && self.pop_oldest_if(|_| true).is_some() {
            evicted += 1;
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
