//! The verdict maps as the kernel has them: exact entries, and prefixes by longest match.

use std::{cell::RefCell, collections::HashMap};

use crate::abi::{Verdict, key::Address};

/// Entries by masked address and prefix length. IPv4 addresses are held as their one word.
#[derive(Debug, Default)]
pub struct VerdictTable {
    entries: RefCell<HashMap<(Address, u32), Verdict>>,
}

impl VerdictTable {
    /// Adds or replaces the verdict of a prefix. `bits` is the address family's width.
    pub fn insert(&self, address: &Address, length: u32, verdict: Verdict) {
        self.entries.borrow_mut().insert((mask(address, length), length), verdict);
    }

    /// Removes a prefix.
    pub fn remove(&self, address: &Address, length: u32) -> Option<Verdict> {
        self.entries.borrow_mut().remove(&(mask(address, length), length))
    }

    /// Calls `f` with the longest entry of at most `max_len` bits that covers `address`.
    pub fn longest<R>(
        &self,
        address: &Address,
        max_len: u32,
        f: impl FnOnce(&mut Verdict) -> R,
    ) -> Option<R> {
        let mut entries = self.entries.borrow_mut();
        let length = (0..=max_len).rev().find(|&n| entries.contains_key(&(mask(address, n), n)))?;
        entries.get_mut(&(mask(address, length), length)).map(f)
    }

    /// Calls `f` with the entry of exactly this prefix.
    pub fn exact<R>(
        &self,
        address: &Address,
        length: u32,
        f: impl FnOnce(&mut Verdict) -> R,
    ) -> Option<R> {
        self.entries.borrow_mut().get_mut(&(mask(address, length), length)).map(f)
    }
}

/// The first `length` bits of a wire-order address.
fn mask(address: &Address, length: u32) -> Address {
    let mut masked = [0; 4];
    for (index, (word, out)) in address.iter().zip(&mut masked).enumerate() {
        let bits = length.saturating_sub(32 * index as u32).min(32);
        let keep = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
        *out = *word & keep.to_be();
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(class: u16) -> Verdict {
        Verdict { class, ..Verdict::default() }
    }

    #[test]
    fn the_longest_covering_prefix_wins() {
        let table = VerdictTable::default();
        let address =
            |text: &str| [u32::from(text.parse::<std::net::Ipv4Addr>().unwrap()).to_be(), 0, 0, 0];
        table.insert(&address("10.0.0.0"), 8, verdict(8));
        table.insert(&address("10.1.0.0"), 16, verdict(16));
        let class = |text, max| table.longest(&address(text), max, |entry| entry.class);
        assert_eq!(class("10.1.2.3", 32), Some(16));
        assert_eq!(class("10.1.2.3", 15), Some(8));
        assert_eq!(class("10.2.2.3", 32), Some(8));
        assert_eq!(class("11.2.2.3", 32), None);
    }
}
