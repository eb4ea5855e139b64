//! Distinct senders, counted exactly up to a bound: an estimate by hashes could be driven up by
//! whoever may choose among many addresses.

use weir_common::abi::SourceKey;

/// Senders told apart: an IPv4 address, or an IPv6 /48, which is what one customer may have.
#[derive(Debug, Default)]
pub(crate) struct Senders {
    // Ascending.
    keys: Vec<u64>,
}

impl Senders {
    /// Adds a sender, unless there are `most` already. Says whether it was added.
    pub(crate) fn add(&mut self, source: &SourceKey, most: usize) -> bool {
        let key = sender(source);
        match self.keys.binary_search(&key) {
            Err(at) if self.keys.len() < most => {
                self.keys.insert(at, key);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// What a sender is told by.
pub(crate) const fn sender(source: &SourceKey) -> u64 {
    let [high, low] = source.words;
    let low = if source.v4().is_some() { low } else { low & 0xffff_0000_u32.to_be() };
    (high as u64) << 32 | low as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::address;

    fn source(text: &str) -> SourceKey {
        SourceKey::from_address(&address::words(text.parse().unwrap()))
    }

    #[test]
    fn a_customers_many_prefixes_are_one_sender() {
        let mut senders = Senders::default();
        assert!(senders.add(&source("2001:db8:1::1"), 3));
        assert!(!senders.add(&source("2001:db8:1:ffff::1"), 3));
        assert!(senders.add(&source("2001:db8:2::1"), 3));
        assert!(senders.add(&source("192.0.2.1"), 3));
        assert!(!senders.add(&source("192.0.2.2"), 3), "full");
        assert_eq!(senders.len(), 3);
        assert_ne!(sender(&source("192.0.2.1")), sender(&source("192.0.2.2")));
    }
}
