//! A bounded table in which what is new cannot push out what is established.
//!
//! Keys that one sender can make up (fingerprints) would let him empty a plain table by sending
//! many of them. Here a key is on probation until its owner says that it is established; those on
//! probation share a quarter of the room, and only push out each other.

use std::hash::Hash;

use super::lru::Lru;

/// The table.
#[derive(Debug)]
pub(crate) struct Probation<K, V> {
    new: Lru<K, V>,
    established: Lru<K, V>,
}

impl<K: Hash + Eq + Clone, V> Probation<K, V> {
    /// A table of this capacity, at least one entry of each kind.
    pub(crate) fn new(capacity: usize) -> Self {
        let (new, established) = shares(capacity);
        Self { new: Lru::new(new), established: Lru::new(established) }
    }

    pub(crate) fn len(&self) -> usize {
        self.new.len() + self.established.len()
    }

    /// Looks without using.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.established.get(key).or_else(|| self.new.get(key))
    }

    /// Looks without using.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match self.established.get_mut(key) {
            Some(value) => Some(value),
            None => self.new.get_mut(key),
        }
    }

    /// Uses an entry, made first if it is not there. Says whether another one had to go for it.
    pub(crate) fn get_or_insert(&mut self, key: &K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        if self.established.get(key).is_some() {
            return self.established.get_or_insert(key, make);
        }
        self.new.get_or_insert(key, make)
    }

    /// Ends an entry's probation. Says whether another one had to go for it.
    pub(crate) fn establish(&mut self, key: &K) -> bool {
        match self.new.remove(key) {
            Some(value) => self.established.get_or_insert(key, || value).1,
            None => false,
        }
    }

    /// Takes another capacity; returns how many entries had to go.
    pub(crate) fn resize(&mut self, capacity: usize) -> u64 {
        let (new, established) = shares(capacity);
        self.new.resize(new) + self.established.resize(established)
    }

    /// Every entry: the established ones first, each kind from the one that was used longest ago.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.established.iter().chain(self.new.iter())
    }
}

/// How many may be on probation, and how many established.
fn shares(capacity: usize) -> (usize, usize) {
    let new = (capacity / 4).max(1);
    (new, capacity.saturating_sub(new).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flood_of_new_keys_leaves_the_established_ones() {
        let mut table = Probation::new(8);
        for key in 0..6 {
            table.get_or_insert(&key, || key);
            assert!(!table.establish(&key));
        }
        let evicted = (100..200).filter(|key| table.get_or_insert(key, || *key).1).count();
        assert_eq!((evicted, table.len()), (98, 8));
        assert!((0..6).all(|key| table.get(&key) == Some(&key)));
        assert_eq!(table.get(&199), Some(&199));
        assert!(table.establish(&199), "the established one that was used longest ago goes");
        assert_eq!((table.get(&0), table.len()), (None, 7));
        assert!(!table.establish(&1), "it is already");
        assert_eq!((table.resize(4), table.len()), (3, 4));
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_capacity(
            capacity in 2usize..20,
            uses in prop::collection::vec((0u8..40, any::<bool>()), 0..300),
        ) {
            let mut table = Probation::new(capacity);
            for (key, establish) in uses {
                table.get_or_insert(&key, || key);
                if establish {
                    table.establish(&key);
                }
                prop_assert!(table.len() <= capacity);
                prop_assert_eq!(table.get(&key), Some(&key));
                prop_assert_eq!(table.iter().count(), table.len());
            }
        }
    }
}
