//! Samples that are gathered before they count, one a network.
//!
//! A batch counts when enough networks are in it, so that none has more than its share; whoever
//! holds one network and many addresses in it has one voice. Where more networks come than a batch
//! holds, those with the least hashes stay: neither the first nor the busiest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_common::abi::SourceKey;

/// Networks that a batch needs before it counts. Hence the largest share of one network.
pub const FEWEST_NETWORKS: usize = 200;

/// Networks that a batch holds.
pub(super) const MOST_NETWORKS: usize = 256;

/// Networks of one IPv6 /32 in a batch: it is what a provider gets at once.
const MOST_OF_ALLOCATION: usize = 2;

/// What a sender is told by here: an IPv4 /24, or an IPv6 /48.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Network(u64);

impl Network {
    /// The network of a source.
    pub(super) fn of(source: &SourceKey) -> Self {
        let [high, low] = source.words.map(u32::from_be);
        let low = if source.v4().is_some() { low & !0xff } else { low & 0xffff_0000 };
        Self(u64::from(high) << 32 | u64::from(low))
    }

    /// Its hash under a seed (the finaliser of SplitMix64).
    pub(super) const fn hash(self, seed: u64) -> u64 {
        let mut z = self.0 ^ seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The provider's allocation that it is of, hashed; `None` for IPv4.
    fn allocation(self, seed: u64) -> Option<u64> {
        let high = self.0 >> 32;
        (high != u64::from(u32::MAX)).then(|| Self(high).hash(seed ^ u64::MAX))
    }
}

/// What a network's source had in an hour: the least and the most.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Extremes {
    pub(super) least: f32,
    pub(super) most: f32,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Member {
    allocation: Option<u64>,
    value: Extremes,
}

/// A batch.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Batch {
    // By the network's hash: addresses themselves are not kept.
    members: BTreeMap<u64, Member>,
}

impl Batch {
    /// Adds a network's sample, unless it has one here already or there is no room for it.
    pub(super) fn add(&mut self, network: Network, seed: u64, value: Extremes) {
        let hash = network.hash(seed);
        if self.members.contains_key(&hash) {
            return;
        }
        let allocation = network.allocation(seed);
        if allocation.is_some() {
            let same = self.members.values().filter(|member| member.allocation == allocation);
            if same.count() >= MOST_OF_ALLOCATION {
                return;
            }
        }
        self.members.insert(hash, Member { allocation, value });
        if self.members.len() > MOST_NETWORKS {
            self.members.pop_last();
        }
    }

    /// Takes the samples if there are enough of them.
    pub(super) fn take(&mut self) -> Option<Vec<Extremes>> {
        if self.members.len() < FEWEST_NETWORKS {
            return None;
        }
        Some(std::mem::take(&mut self.members).into_values().map(|member| member.value).collect())
    }

    /// Whether this can be what a batch was saved as.
    pub(super) fn is_sound(&self) -> bool {
        let finite =
            |member: &Member| member.value.least.is_finite() && member.value.most.is_finite();
        self.members.len() <= MOST_NETWORKS && self.members.values().all(finite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::address;

    fn network(text: &str) -> Network {
        Network::of(&SourceKey::from_address(&address::words(text.parse().unwrap())))
    }

    const VALUE: Extremes = Extremes { least: 1.0, most: 2.0 };

    #[test]
    fn a_network_is_a_24_or_a_48() {
        assert_eq!(network("192.0.2.1"), network("192.0.2.254"));
        assert_ne!(network("192.0.2.1"), network("192.0.3.1"));
        assert_eq!(network("2001:db8:1::1"), network("2001:db8:1:ffff::1"));
        assert_ne!(network("2001:db8:1::1"), network("2001:db8:2::1"));
    }

    #[test]
    fn a_network_counts_once_and_a_provider_twice() {
        let mut batch = Batch::default();
        for last in 0..=255 {
            batch.add(network(&format!("192.0.2.{last}")), 7, VALUE);
        }
        assert_eq!(batch.members.len(), 1);
        for customer in 0..500 {
            batch.add(network(&format!("2001:db8:{customer:x}::1")), 7, VALUE);
        }
        assert_eq!(batch.members.len(), 3);
        assert_eq!(batch.take(), None);
    }

    #[test]
    fn it_counts_with_enough_networks_and_keeps_the_same_ones_in_any_order() {
        let networks: Vec<Network> =
            (0..1000).map(|n| network(&format!("10.{}.{}.1", n / 250, n % 250))).collect();
        let (mut forth, mut back) = (Batch::default(), Batch::default());
        for (index, network) in networks.iter().enumerate() {
            assert_eq!(forth.clone().take().is_some(), index >= FEWEST_NETWORKS);
            forth.add(*network, 7, VALUE);
        }
        networks.iter().rev().for_each(|network| back.add(*network, 7, VALUE));
        assert_eq!(forth, back);
        assert!(forth.is_sound());
        assert_eq!(forth.take().unwrap().len(), MOST_NETWORKS);
        assert_eq!(forth, Batch::default());
    }
}
