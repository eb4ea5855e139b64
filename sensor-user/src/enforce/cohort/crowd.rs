//! A bounded table of sources in which no network takes more than its part: whoever owns many
//! addresses cannot push the others out.

use std::{collections::HashMap, hash::Hash};

use weir_common::abi::SourceKey;

use super::network::{Network, Region};
use crate::profile::lru::Lru;

/// Most of one IPv4 /24 or IPv6 /48.
const PER_NETWORK: u32 = 64;
/// Most of one IPv4 /16 or IPv6 /32.
const PER_REGION: u32 = 4096;

/// The table. Least recently used go first.
#[derive(Debug)]
pub(super) struct Crowd<V> {
    table: Lru<SourceKey, V>,
    capacity: usize,
    networks: HashMap<Network, u32>,
    regions: HashMap<Region, u32>,
    /// Sources that were not taken because their network has its part.
    pub(super) refused: u64,
    /// Sources that had to go for others.
    pub(super) evicted: u64,
}

impl<V> Crowd<V> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            table: Lru::new(capacity),
            capacity,
            networks: HashMap::new(),
            regions: HashMap::new(),
            refused: 0,
            evicted: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn get(&self, source: &SourceKey) -> Option<&V> {
        self.table.get(source)
    }

    /// Uses an entry, made first if it is not there; `None`: its network has its part.
    pub(super) fn get_or_insert(
        &mut self,
        source: &SourceKey,
        make: impl FnOnce() -> V,
    ) -> Option<&mut V> {
        if self.table.get(source).is_none() {
            let (network, region) = (Network::of(source), Region::of(source));
            let part = |count: Option<&u32>| count.copied().unwrap_or(0);
            if part(self.networks.get(&network)) >= PER_NETWORK
                || part(self.regions.get(&region)) >= PER_REGION
            {
                self.refused += 1;
                return None;
            }
            if self.table.len() >= self.capacity && self.pop_oldest_if(|_| true).is_some() {
                self.evicted += 1;
            }
            *self.networks.entry(network).or_default() += 1;
            *self.regions.entry(region).or_default() += 1;
        }
        Some(self.table.get_or_insert(source, make).0)
    }

    pub(super) fn remove(&mut self, source: &SourceKey) -> Option<V> {
        let value = self.table.remove(source)?;
        self.discount(source);
        Some(value)
    }

    pub(super) fn pop_oldest_if(
        &mut self,
        condition: impl Fn(&V) -> bool,
    ) -> Option<(SourceKey, V)> {
        let (source, value) = self.table.pop_oldest_if(condition)?;
        self.discount(&source);
        Some((source, value))
    }

    /// Every one, from the one that was used longest ago.
    pub(super) fn sources(&self) -> impl Iterator<Item = &SourceKey> {
        self.table.iter().map(|(source, _)| source)
    }

    fn discount(&mut self, source: &SourceKey) {
        one_less(&mut self.networks, &Network::of(source));
        one_less(&mut self.regions, &Region::of(source));
    }
}

fn one_less<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::cohort::tests::source;

    #[test]
    fn one_network_takes_no_more_than_its_part_and_gets_it_back() {
        let mut crowd: Crowd<()> = Crowd::new(1000);
        let one = |n: u32| source(&format!("2001:db8:7:{n:x}::"));
        for n in 0..200 {
            crowd.get_or_insert(&one(n), || ());
        }
        assert_eq!((crowd.len(), crowd.refused), (64, 136));
        assert!(crowd.get_or_insert(&source("2001:db8:8::"), || ()).is_some(), "a neighbour");
        assert!(crowd.remove(&one(0)).is_some());
        assert!(crowd.get_or_insert(&one(199), || ()).is_some());
        assert!(crowd.get_or_insert(&one(198), || ()).is_none());
    }

    #[test]
    fn one_region_takes_no_more_than_its_part_either() {
        let mut crowd: Crowd<()> = Crowd::new(100_000);
        for network in 0..100 {
            for n in 0..64 {
                crowd.get_or_insert(&source(&format!("2001:db8:{network:x}:{n:x}::")), || ());
            }
        }
        assert_eq!(crowd.len(), 4096);
    }

    #[test]
    fn bounded_and_the_least_recently_used_goes_first() {
        let mut crowd: Crowd<()> = Crowd::new(2);
        for address in ["192.0.2.1", "198.51.100.1", "192.0.2.1", "203.0.113.1"] {
            crowd.get_or_insert(&source(address), || ());
        }
        assert!(crowd.get(&source("198.51.100.1")).is_none());
        assert_eq!((crowd.len(), crowd.evicted), (2, 1));
        while crowd.pop_oldest_if(|()| true).is_some() {}
        assert!(crowd.networks.is_empty() && crowd.regions.is_empty());
    }
}
