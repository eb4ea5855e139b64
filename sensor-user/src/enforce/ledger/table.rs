//! Prefixes of one address family in order, so that what covers a prefix and what it covers are
//! found without looking at anything else.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Bound,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Bits of the longest prefix.
const WIDTH: u8 = 128;

/// A prefix: the address from the top bit down, and the length. In this order a prefix comes
/// before everything that it covers, and nothing else stands between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Key {
    /// Whether it is IPv6.
    pub(super) is_v6: bool,
    bits: u128,
    length: u8,
}

impl From<IpNet> for Key {
    fn from(net: IpNet) -> Self {
        let net = net.trunc();
        match net.addr() {
            IpAddr::V4(address) => Self {
                is_v6: false,
                bits: u128::from(address.to_bits()) << 96,
                length: net.prefix_len(),
            },
            IpAddr::V6(address) => {
                Self { is_v6: true, bits: address.to_bits(), length: net.prefix_len() }
            }
        }
    }
}

impl From<Key> for IpNet {
    fn from(key: Key) -> Self {
        // The length was a prefix's, so it is never too long.
        if key.is_v6 {
            let address = Ipv6Addr::from_bits(key.bits);
            Ipv6Net::new(address, key.length).unwrap_or_else(|_| address.into()).into()
        } else {
            let address = Ipv4Addr::from_bits(u32::try_from(key.bits >> 96).unwrap_or(u32::MAX));
            Ipv4Net::new(address, key.length).unwrap_or_else(|_| address.into()).into()
        }
    }
}

impl Key {
    /// The prefixes that cover everything.
    pub(super) const EVERYTHING: [Self; 2] =
        [Self { is_v6: false, bits: 0, length: 0 }, Self { is_v6: true, bits: 0, length: 0 }];

    /// Whether it goes to an exact map: addresses, and IPv6 /64s.
    pub(super) const fn is_exact(self) -> bool {
        if self.is_v6 { matches!(self.length, 64 | 128) } else { self.length == 32 }
    }

    /// Whether it is a single address, which covers nothing else.
    pub(super) const fn is_address(self) -> bool {
        self.length == if self.is_v6 { 128 } else { 32 }
    }

    /// Whether it covers another prefix, or is it.
    pub(super) const fn covers(self, other: Self) -> bool {
        self.is_v6 == other.is_v6
            && self.length <= other.length
            && mask(other.bits, self.length) == self.bits
    }

    /// The last key that it can cover.
    pub(super) const fn last(self) -> Self {
        let host = match u128::MAX.checked_shr(self.length as u32) {
            Some(host) => host,
            None => 0,
        };
        Self { bits: self.bits | host, length: WIDTH, ..self }
    }

    const fn shortened(self, length: u8) -> Self {
        Self { bits: mask(self.bits, length), length, ..self }
    }
}

const fn mask(bits: u128, length: u8) -> u128 {
    match u128::MAX.checked_shl(WIDTH as u32 - length as u32) {
        Some(network) => bits & network,
        None => 0,
    }
}

/// Prefixes of both families with a value each.
#[derive(Debug)]
pub(super) struct Table<T> {
    slots: BTreeMap<Key, T>,
    // How many prefixes there are of each length: lengths that nobody uses are not looked up.
    lengths: [Vec<usize>; 2],
}

impl<T: Default> Table<T> {
    pub(super) fn new() -> Self {
        let none = vec![0; usize::from(WIDTH) + 1];
        Self { slots: BTreeMap::new(), lengths: [none.clone(), none] }
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots.get_mut(&key)
    }

    pub(super) fn entry(&mut self, key: Key) -> &mut T {
        let lengths = &mut self.lengths;
        self.slots.entry(key).or_insert_with(|| {
            if let Some(count) = count_of(lengths, key) {
                *count += 1;
            }
            T::default()
        })
    }

    pub(super) fn remove(&mut self, key: Key) {
        if self.slots.remove(&key).is_some()
            && let Some(count) = count_of(&mut self.lengths, key)
        {
            *count -= 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Everything, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().map(|(key, value)| (*key, value))
    }

    /// What comes behind a prefix, in order; everything without one.
    pub(super) fn after(&self, key: Option<Key>) -> impl Iterator<Item = (Key, &T)> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.slots.range((from, Bound::Unbounded)).map(|(key, value)| (*key, value))
    }

    /// A prefix and everything that it covers, in order.
    pub(super) fn within(&self, key: Key) -> impl Iterator<Item = (Key, &T)> {
        self.slots.range(key..=key.last()).map(|(key, value)| (*key, value))
    }

    /// What covers a prefix, itself not included, shortest first.
    pub(super) fn above(&self, key: Key) -> impl Iterator<Item = (Key, &T)> {
        let [v4, v6] = &self.lengths;
        let lengths = if key.is_v6 { v6 } else { v4 };
        (0..key.length).zip(lengths).filter(|(_, count)| **count > 0).filter_map(
            move |(length, _)| {
                let shorter = key.shortened(length);
                self.slots.get(&shorter).map(|value| (shorter, value))
            },
        )
    }
}

fn count_of(lengths: &mut [Vec<usize>; 2], key: Key) -> Option<&mut usize> {
    let [v4, v6] = lengths;
    if key.is_v6 { v6 } else { v4 }.get_mut(usize::from(key.length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::from(text.parse::<IpNet>().unwrap())
    }

    #[test]
    fn keys_are_prefixes_and_back() {
        for text in ["0.0.0.0/0", "10.1.0.0/16", "255.255.255.255/32", "::/0", "2001:db8::/32"] {
            assert_eq!(IpNet::from(key(text)).to_string(), text);
        }
        assert_eq!(key("10.1.2.3/16"), key("10.1.0.0/16"));
        assert!(key("::/0").covers(key("2001:db8::7/128")));
        assert!(!key("::/0").covers(key("10.0.0.0/8")));
        assert!(!key("10.0.0.0/9").covers(key("10.0.0.0/8")));
    }

    #[test]
    fn finds_what_covers_and_what_is_covered() {
        let mut table = Table::<()>::new();
        let all = [
            "0.0.0.0/0",
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.0.0/32",
            "10.1.255.255/32",
            "10.2.0.0/16",
            "::/0",
        ];
        for text in all {
            table.entry(key(text));
        }
        let names = |found: Vec<(Key, &())>| -> Vec<String> {
            found.iter().map(|(key, ())| IpNet::from(*key).to_string()).collect()
        };
        assert_eq!(
            names(table.within(key("10.1.0.0/16")).collect()),
            ["10.1.0.0/16", "10.1.0.0/32", "10.1.255.255/32"]
        );
        assert_eq!(
            names(table.above(key("10.1.0.0/32")).collect()),
            ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16"]
        );
        assert_eq!(names(table.within(key("::/0")).collect()), ["::/0"]);
        table.remove(key("10.0.0.0/8"));
        table.remove(key("10.0.0.0/8"));
        assert_eq!(names(table.above(key("10.2.0.0/16")).collect()), ["0.0.0.0/0"]);
    }
}
