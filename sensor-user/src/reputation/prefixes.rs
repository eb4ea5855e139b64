//! A set of prefixes, made for being asked often: sorted ranges, and for IPv4 an index by the first
//! 16 bits.
//!
//! IPv6 is kept by /64, which is what sources are: a longer prefix counts for its /64. A look-up is
//! a step in the index and a binary search.

use ipnet::IpNet;
use weir_common::abi::SourceKey;

/// From so many IPv4 ranges on an index is worth its 256 KiB.
const INDEXED_FROM: usize = 256;

/// Prefixes, merged where they touch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PrefixSet {
    // First and last, disjoint and ascending.
    v4: Vec<(u32, u32)>,
    // Index: the first 16 bits. The first range that ends there or later.
    index: Vec<u32>,
    v6: Vec<(u64, u64)>,
}

impl PrefixSet {
    /// The set of these prefixes.
    #[must_use]
    pub fn new(nets: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match Range::of(net) {
                Range::V4(first, last) => v4.push((first, last)),
                Range::V6(first, last) => v6.push((first, last)),
            }
        }
        let v4 = merged(v4, |last, first| first <= last.saturating_add(1));
        let v6 = merged(v6, |last, first| first <= last.saturating_add(1));
        let index = if v4.len() < INDEXED_FROM { Vec::new() } else { index_of(&v4) };
        Self { v4, index, v6 }
    }

    /// Whether a source is in it.
    #[must_use]
    pub fn contains(&self, source: &SourceKey) -> bool {
        match source.v4() {
            // In wire order, like every key.
            Some(word) => self.contains_v4(u32::from_be(word)),
            None => {
                let [high, low] = source.words.map(u32::from_be);
                holds(&self.v6, u64::from(high) << 32 | u64::from(low))
            }
        }
    }

    fn contains_v4(&self, address: u32) -> bool {
        if self.index.is_empty() {
            return holds(&self.v4, address);
        }
        let place = (address >> 16) as usize;
        let bound = |place: usize| self.index.get(place).map_or(self.v4.len(), |at| *at as usize);
        // One more: a range can begin below the next place and end beyond it.
        let (from, to) = (bound(place), bound(place + 1).saturating_add(1).min(self.v4.len()));
        self.v4.get(from..to).is_some_and(|ranges| holds(ranges, address))
    }

    /// Whether all of a prefix is in it.
    #[must_use]
    pub fn covers(&self, net: &IpNet) -> bool {
        match Range::of(net) {
            Range::V4(first, last) => {
                spans(&self.v4, first).is_some_and(|(from, to)| from <= first && last <= to)
            }
            Range::V6(first, last) => {
                spans(&self.v6, first).is_some_and(|(from, to)| from <= first && last <= to)
            }
        }
    }

    /// Whether any of a prefix is in it.
    #[must_use]
    pub fn touches(&self, net: &IpNet) -> bool {
        match Range::of(net) {
            Range::V4(first, last) => spans(&self.v4, first).is_some_and(|(from, _)| from <= last),
            Range::V6(first, last) => spans(&self.v6, first).is_some_and(|(from, _)| from <= last),
        }
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How much it covers: IPv4 addresses, and IPv6 /64s.
    #[must_use]
    pub fn size(&self) -> Size {
        Size { v4: total(&self.v4), v6: total(&self.v6) }
    }

    /// How much is in one of two sets and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Size {
        let apart = |both: u128, one: u128, other: u128| one + other - 2 * both;
        let (ours, theirs) = (self.size(), other.size());
        Size {
            v4: apart(common(&self.v4, &other.v4), ours.v4, theirs.v4),
            v6: apart(common(&self.v6, &other.v6), ours.v6, theirs.v6),
        }
    }

    /// The same set as prefixes, ascending.
    #[must_use]
    pub fn prefixes(&self) -> Vec<IpNet> {
        let v4 = self.v4.iter().flat_map(|(first, last)| {
            ipnet::Ipv4Subnets::new((*first).into(), (*last).into(), 0).map(IpNet::V4)
        });
        let v6 = self.v6.iter().flat_map(|(first, last)| {
            let (first, last) = (u128::from(*first) << 64, u128::from(*last) << 64 | LOW_HALF);
            ipnet::Ipv6Subnets::new(first.into(), last.into(), 0).map(IpNet::V6)
        });
        v4.chain(v6).collect()
    }
}

const LOW_HALF: u128 = u64::MAX as u128;

/// How much a set covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Size {
    /// IPv4 addresses.
    pub v4: u128,
    /// IPv6 /64s.
    pub v6: u128,
}

/// A prefix as it is kept.
enum Range {
    V4(u32, u32),
    V6(u64, u64),
}

impl Range {
    fn of(net: &IpNet) -> Self {
        match net {
            IpNet::V4(v4) => Self::V4(v4.network().to_bits(), v4.broadcast().to_bits()),
            IpNet::V6(v6) => {
                let (first, last) = (v6.network().to_bits(), v6.broadcast().to_bits());
                Self::V6(high_half(first), high_half(last))
            }
        }
    }
}

const fn high_half(address: u128) -> u64 {
    (address >> 64) as u64
}

fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>, touch: impl Fn(T, T) -> bool) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if touch(*end, first) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged.shrink_to_fit();
    merged
}

fn index_of(ranges: &[(u32, u32)]) -> Vec<u32> {
    let places = 0..=u32::from(u16::MAX);
    let first_at = |place: u32| ranges.partition_point(|(_, last)| *last < place << 16);
    places.map(|place| u32::try_from(first_at(place)).unwrap_or(u32::MAX)).collect()
}

/// The first range that ends at a value or beyond.
fn spans<T: Copy + Ord>(ranges: &[(T, T)], value: T) -> Option<(T, T)> {
    ranges.get(ranges.partition_point(|(_, last)| *last < value)).copied()
}

fn holds<T: Copy + Ord>(ranges: &[(T, T)], value: T) -> bool {
    spans(ranges, value).is_some_and(|(first, _)| first <= value)
}

fn total<T: Copy + Into<u128>>(ranges: &[(T, T)]) -> u128 {
    ranges.iter().map(|(first, last)| (*last).into() - (*first).into() + 1).sum()
}

/// How much two sets have in common.
fn common<T: Copy + Ord + Into<u128>>(one: &[(T, T)], other: &[(T, T)]) -> u128 {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut sum = 0;
    while let (Some((first, last)), Some((other_first, other_last))) = (one.peek(), other.peek()) {
        let (from, to) = (*first.max(other_first), *last.min(other_last));
        if from <= to {
            sum += to.into() - from.into() + 1;
        }
        if last < other_last {
            one.next();
        } else {
            other.next();
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::system::address;

    fn source(address: IpAddr) -> SourceKey {
        SourceKey::from_address(&address::words(address))
    }

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn finds_sources_of_both_families() {
        let set = PrefixSet::new(&nets(&[
            "10.0.0.0/25",
            "10.0.0.128/25",
            "255.255.255.255/32",
            "0.0.0.0/32",
            "2001:db8:1::/48",
            "2001:db8:2::7/128",
        ]));
        assert_eq!(set.len(), 4, "the two IPv6 ones touch");
        assert_eq!(set.size(), Size { v4: 258, v6: 65_537 });
        for (address, expected) in [
            ("10.0.0.255", true),
            ("10.0.1.0", false),
            ("9.255.255.255", false),
            ("255.255.255.255", true),
            ("0.0.0.0", true),
            ("0.0.0.1", false),
            ("2001:db8:1:ffff::1", true),
            ("2001:db8:2::8", true),
            ("2001:db8:2:1::8", false),
        ] {
            assert_eq!(set.contains(&source(address.parse().unwrap())), expected, "{address}");
        }
        let everything = PrefixSet::new(&nets(&["0.0.0.0/0", "::/0", "10.0.0.0/8"]));
        assert_eq!(everything.size(), Size { v4: 1 << 32, v6: 1 << 64 });
        assert_eq!(everything.prefixes(), nets(&["0.0.0.0/0", "::/0"]));
    }

    proptest! {
        #[test]
        fn it_agrees_with_looking_at_every_prefix(
            // Close together, so that they meet; many, so that the index is used.
            starts in prop::collection::vec((0u32..1 << 20, 16u8..=32), 1..600),
            v6 in prop::collection::vec((0u64..1 << 12, 50u8..=128), 0..30),
            asked in prop::collection::vec(0u32..1 << 20, 200),
        ) {
            let spread = |n: u32| n.wrapping_mul(4096 + 1);
            let v4 = starts.iter().map(|(start, length)| {
                IpNet::new(IpAddr::from(spread(*start).to_be_bytes()), *length).unwrap().trunc()
            });
            let v6 = v6.iter().map(|(start, length)| {
                let address = u128::from(*start) << 64;
                IpNet::new(IpAddr::from(address.to_be_bytes()), *length).unwrap().trunc()
            });
            let nets: Vec<IpNet> = v4.chain(v6).collect();
            let set = PrefixSet::new(&nets);
            for asked in asked {
                let address = IpAddr::from(spread(asked).to_be_bytes());
                let expected = nets.iter().any(|net| net.contains(&address));
                prop_assert_eq!(set.contains(&source(address)), expected);
                let address = IpAddr::from((u128::from(asked) << 64).to_be_bytes());
                let its_64 = IpNet::new(address, 64).unwrap();
                let expected = nets.iter().any(|net| net.contains(&its_64) || its_64.contains(net));
                prop_assert_eq!(set.contains(&source(address)), expected);
            }
            prop_assert_eq!(PrefixSet::new(&set.prefixes()), set);
        }

        #[test]
        fn differences_are_what_is_in_one_only(
            one in prop::collection::vec((0u8..64, 26u8..=32), 0..9),
            other in prop::collection::vec((0u8..64, 26u8..=32), 0..9),
        ) {
            let set = |starts: &[(u8, u8)]| {
                let nets: Vec<IpNet> = starts.iter().map(|(last, length)| {
                    IpNet::new(IpAddr::from([10, 0, 0, *last]), *length).unwrap().trunc()
                }).collect();
                PrefixSet::new(&nets)
            };
            let (one, other) = (set(&one), set(&other));
            let expected = (0..=255u8)
                .filter(|last| {
                    let source = source(IpAddr::from([10, 0, 0, *last]));
                    one.contains(&source) != other.contains(&source)
                })
                .count();
            prop_assert_eq!(one.difference(&other), Size { v4: expected as u128, v6: 0 });
        }
    }
}
