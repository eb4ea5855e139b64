//! What the ledger holds, and what of it acts.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use weir_common::abi::Action;

use super::{Entry, Ledger, Origin, apply::is_same_origin, table::Key};

/// How an entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// The kernel acts on it (or counts it, in observe mode).
    Active,
    /// The kernel acts on it for some of its services; for others an allow or something stronger
    /// holds.
    Partial,
    /// An allow or something stronger holds instead.
    Covered,
    /// The kernel has not been told yet.
    Due,
    /// What its hash stands for is not known: nobody was seen with it.
    Waiting,
    /// Only the daemon can act on it, by ending flows: QUIC.
    Daemon,
}

/// An entry as listed.
#[derive(Clone, Debug)]
pub struct Listed<'a> {
    /// For whom.
    pub prefix: IpNet,
    /// What.
    pub entry: &'a Entry,
    /// Whether it acts.
    pub state: State,
}

impl Ledger {
    /// Every live entry, in order of prefixes; those of guards are left out.
    pub fn list(&self, now_ns: u64) -> impl Iterator<Item = Listed<'_>> {
        let due: std::collections::HashSet<Key> = self.due.iter().copied().collect();
        self.slots.iter().flat_map(move |(key, slot)| {
            let is_due = due.contains(&key);
            let live = slot.own.iter().filter(move |entry| {
                entry.is_live(now_ns) && entry.meaning.origin != Origin::Guard
            });
            let written = slot.written.and_then(|written| self.classes.meaning(written.class));
            live.map(move |entry| {
                let state = match written {
                    _ if is_due => State::Due,
                    Some(meaning) if !is_same_origin(meaning, entry) => State::Covered,
                    Some(meaning) if entry.meaning.services.minus(meaning.services).is_empty() => {
                        State::Active
                    }
                    Some(_) => State::Partial,
                    None => State::Covered,
                };
                Listed { prefix: key.into(), entry, state }
            })
        })
    }

    /// The live entries of exactly this prefix.
    pub fn entries(&self, net: &IpNet, now_ns: u64) -> impl Iterator<Item = &Entry> {
        let slot = self.slots.get(Key::from(*net));
        slot.into_iter().flat_map(|slot| &slot.own).filter(move |entry| entry.is_live(now_ns))
    }

    /// Whether the kernel still has to be told something about one of these prefixes, or about what
    /// is inside.
    #[must_use]
    pub fn is_due_within(&self, prefixes: &[IpNet]) -> bool {
        let due: BTreeSet<Key> = self.due.iter().copied().collect();
        prefixes.iter().any(|prefix| {
            let key = Key::from(*prefix);
            due.range(key..=key.last()).next().is_some()
        })
    }

    /// What is wanted for a packet from an address to a service: an allow, or the strongest of
    /// what applies; `None` if nothing does.
    #[must_use]
    pub fn lookup(&self, address: IpAddr, service: u8, now_ns: u64) -> Option<(IpNet, &Entry)> {
        let key = Key::from(IpNet::from(address.to_canonical()));
        let own = self.slots.get(key).map(|slot| (key, slot));
        let applying: Vec<(Key, &Entry)> = self
            .slots
            .above(key)
            .chain(own)
            .flat_map(|(key, slot)| slot.own.iter().map(move |entry| (key, entry)))
            .filter(|(_, entry)| entry.is_live(now_ns) && entry.meaning.services.contains(service))
            .collect();
        applying
            .into_iter()
            .max_by_key(|(_, entry)| {
                let is_allow = entry.meaning.action == Action::Allow;
                (is_allow, entry.meaning.strength(), entry.end())
            })
            .map(|(key, entry)| (key.into(), entry))
    }

    /// What a number of the kernel's verdict classes means.
    #[must_use]
    pub fn meaning(&self, class: u16) -> Option<&std::sync::Arc<super::Meaning>> {
        self.classes.meaning(class)
    }

    /// Prefixes for which something that is wanted cannot be expressed in the kernel.
    pub fn unmet(&self) -> impl Iterator<Item = IpNet> {
        self.slots.iter().filter(|(_, slot)| slot.has_unmet).map(|(key, _)| key.into())
    }

    /// How many prefixes the kernel has a verdict for, by the ledger's account.
    #[must_use]
    pub fn written(&self) -> usize {
        self.slots.iter().filter(|(_, slot)| slot.written.is_some()).count()
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.slots.len()
    }
}
