//! The ledger: what operators and rules want, and what of it the kernel was told.
//!
//! Changes are made here first and take effect in the kernel with [`Ledger::apply`], in batches and
//! in an order that never refuses more than is wanted. What could not be written stays due and is
//! tried again by the next `apply`.

mod adopt;
mod apply;
mod audit;
mod board;
mod class;
pub mod durable;
mod entry;
mod lift;
mod list;
mod modes;
mod place;
mod settle;
mod subjects;
mod table;
mod unkept;
mod walk;

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use ipnet::IpNet;
use weir_common::abi::Action;

pub use self::{
    apply::Applied,
    audit::{Picks, Unseen},
    board::{Board, Decided, Finding, Posted},
    class::{ClassRecord, ClassTable, ClassesFull},
    entry::{Entry, Meaning, Origin},
    lift::Lifted,
    list::{Listed, State},
    subjects::ListedFingerprint,
};
use self::{
    board::Changes,
    subjects::Subjects,
    table::{Key, Table},
    unkept::Unkept,
};
use super::{
    fingerprint::FingerprintName,
    guard::{Guards, Protection},
};

/// Most entries, over all prefixes and origins, unless told otherwise: both exact maps and both
/// prefix stores at their default capacity fit.
const DEFAULT_CAPACITY: usize = 3 << 20;

/// Why a verdict was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LedgerError {
    /// It is one of this host's own addresses, or a gateway.
    #[error("{0} is this host's own address or its gateway: it cannot be blocked")]
    Protected(IpNet),
    /// It is a declared proxy.
    #[error(
        "{net} belongs to the proxy `{proxy}`, which many clients come through: block the clients, or \
         take it out of the policy's `proxies` first"
    )]
    Proxy {
        /// What was to be blocked.
        net: IpNet,
        /// The proxy's name.
        proxy: String,
    },
    /// It is in a declared range.
    #[error(
        "{net} lies in the range `{range}`, in which nobody is blocked: take it out of the policy's \
         `never_block.ranges` first"
    )]
    Range {
        /// What was to be blocked.
        net: IpNet,
        /// The range's name.
        range: String,
    },
    /// It is everybody.
    #[error("{0} is everybody: stop the service, or block smaller prefixes")]
    Everybody(IpNet),
    /// A prefix inside an IPv6 /64.
    #[error(
        "{0} is part of a /64, in which a host chooses its addresses freely: take the /64, or single addresses (/128)"
    )]
    PartOf64(IpNet),
    /// The address that is a /64's own.
    #[error(
        "{0} is the address of a network, which no host uses (RFC 4291, section 2.6.1): take the prefix that is meant, such as the /64"
    )]
    FirstOf64(IpNet),
    /// A limit on what is known too late for it.
    #[error(
        "{0} is known when its hello is complete, and the connection is made by then: drop, reject or \
         allow it; limits are for addresses and SYN signatures"
    )]
    LimitOnHello(FingerprintName),
    /// There are too many fingerprints.
    #[error("there is no room for more than {0} fingerprints: unblock some")]
    FingerprintsFull(usize),
    /// There are too many entries.
    #[error("the ledger is full with {0} entries: unblock some, or merge them into prefixes")]
    Full(usize),
}

/// What is wanted for one prefix, and what the kernel has for it.
#[derive(Debug, Default)]
struct Slot {
    own: Vec<Entry>,
    written: Option<Written>,
    // Classes that the kernel may name instead, because a write or removal failed on the way.
    doubtful: Vec<u16>,
    has_unmet: bool,
    // The sweep that last found it in the kernel.
    seen: u32,
}

impl Slot {
    /// Whether there is nothing to remember.
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.written.is_none() && self.doubtful.is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Written {
    class: u16,
    expires_tick: u32,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    slots: Table<Slot>,
    entries: usize,
    capacity: usize,
    classes: ClassTable,
    guards: Guards,
    // Prefixes whose entries changed, or whose writing failed.
    due: Vec<Key>,
    // Prefixes whose entries changed, for the board.
    changes: Changes,
    ends: BinaryHeap<Reverse<(u64, Key)>>,
    subjects: Subjects,
    // What changed, for the store.
    unkept: Unkept,
    // Counts sweeps of the self-audit.
    sweep: u32,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(guards: Guards) -> Self {
        let mut ledger = Self {
            slots: Table::new(),
            entries: 0,
            capacity: DEFAULT_CAPACITY,
            classes: ClassTable::default(),
            guards: Guards::default(),
            due: Vec::new(),
            changes: Changes::default(),
            ends: BinaryHeap::new(),
            subjects: Subjects::default(),
            unkept: Unkept::default(),
            sweep: 0,
        };
        ledger.set_guards(guards, 0);
        ledger
    }

    /// A ledger of at most so many entries.
    #[must_use]
    pub fn with_capacity(mut self, entries: usize) -> Self {
        self.capacity = entries;
        self
    }

    /// Wants something for a prefix. What the same origin wanted for it before is replaced; a
    /// rule's verdict that lasts longer keeps its end. Returns whether there was one before.
    ///
    /// # Errors
    /// If it cannot be wanted for this prefix.
    pub fn block(
        &mut self,
        net: IpNet,
        meaning: &Arc<Meaning>,
        expires_ns: Option<u64>,
        now_ns: u64,
    ) -> Result<bool, LedgerError> {
        let net = net.trunc();
        self.check(&net, meaning.action)?;
        if self.entries >= self.capacity && self.find(net.into(), &meaning.origin).is_none() {
            return Err(LedgerError::Full(self.capacity));
        }
        let meaning = Arc::clone(meaning);
        Ok(self.insert(net.into(), Entry { meaning, created_ns: now_ns, expires_ns }))
    }

    /// Wants what a decision says. The source is the prefix.
    ///
    /// # Errors
    /// If it cannot be wanted for this source.
    pub fn decide(&mut self, decision: &crate::score::Decision) -> Result<(), LedgerError> {
        let net = crate::profile::source::net(&decision.source);
        let meaning = Arc::new(Meaning::decided(decision));
        self.block(net, &meaning, Some(decision.until_ns()), decision.at_ns)?;
        self.unkept.note_offence(net, decision);
        Ok(())
    }

    /// Wants nothing for exactly this prefix any more, whoever wanted it; only `origin`, if one is
    /// given. Returns how many entries that were.
    pub fn unblock(&mut self, net: &IpNet, origin: Option<&Origin>) -> usize {
        let key = Key::from(*net);
        let removed = self.retain(key, |entry| match origin {
            Some(origin) => entry.meaning.origin != *origin,
            None => entry.meaning.origin == Origin::Guard,
        });
        if removed > 0 {
            if origin != Some(&Origin::Guard) {
                self.unkept.note_lifted(key);
            }
            self.touch(key);
        }
        removed
    }

    /// Removes what has ended. Returns how many entries that were.
    pub fn sweep(&mut self, now_ns: u64) -> usize {
        let mut removed = 0;
        while let Some(Reverse((end, key))) = self.ends.peek().copied()
            && end <= now_ns
        {
            self.ends.pop();
            let ended = self.retain(key, |entry| entry.is_live(now_ns));
            if ended > 0 {
                self.touch(key);
            }
            removed += ended;
        }
        removed + self.sweep_subjects(now_ns)
    }

    /// The classes: what numbers in hits and counters mean.
    #[must_use]
    pub const fn classes(&self) -> &ClassTable {
        &self.classes
    }

    /// How many entries there are, those of guards and on fingerprints included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries + self.subjects.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn check(&self, net: &IpNet, action: Action) -> Result<(), LedgerError> {
        if let IpNet::V6(v6) = net {
            match v6.prefix_len() {
                65..=127 => return Err(LedgerError::PartOf64(*net)),
                128 if v6.addr().to_bits() as u64 == 0 => {
                    return Err(LedgerError::FirstOf64(*net));
                }
                _ => {}
            }
        }
        if action <= Action::Mark {
            return Ok(());
        }
        if net.prefix_len() == 0 {
            return Err(LedgerError::Everybody(*net));
        }
        match self.guards.protects(net) {
            Some(Protection::Own) => Err(LedgerError::Protected(*net)),
            Some(Protection::Proxy(proxy)) => Err(LedgerError::Proxy { net: *net, proxy }),
            Some(Protection::Range(range)) => Err(LedgerError::Range { net: *net, range }),
            None => Ok(()),
        }
    }

    fn find(&self, key: Key, origin: &Origin) -> Option<&Entry> {
        self.slots.get(key)?.own.iter().find(|entry| entry.meaning.origin == *origin)
    }

    /// Whether there was an entry of the same origin.
    fn insert(&mut self, key: Key, mut entry: Entry) -> bool {
        let slot = self.slots.entry(key);
        let known = slot.own.iter_mut().find(|own| own.meaning.origin == entry.meaning.origin);
        let replaced = known.is_some();
        if let Some(own) = &known
            && own.outlasts(&entry)
        {
            entry.expires_ns = own.expires_ns;
        }
        let end = entry.expires_ns;
        match known {
            Some(own) => *own = entry,
            None => {
                slot.own.push(entry);
                self.entries += 1;
            }
        }
        if let Some(end) = end {
            self.ends.push(Reverse((end, key)));
            self.prune_ends();
        }
        self.touch(key);
        replaced
    }

    /// Notes that the entries of a prefix changed.
    fn touch(&mut self, key: Key) {
        self.due.push(key);
        self.changes.note(key, self.entries);
        self.unkept.note(key, self.entries);
    }

    fn retain(&mut self, key: Key, keep: impl Fn(&Entry) -> bool) -> usize {
        let Some(slot) = self.slots.get_mut(key) else { return 0 };
        let before = slot.own.len();
        slot.own.retain(keep);
        let removed = before - slot.own.len();
        self.entries -= removed;
        removed
    }

    /// Ends of entries that were replaced or removed are left behind; not without bound.
    fn prune_ends(&mut self) {
        if self.ends.len() < 2 * self.entries + 1024 {
            return;
        }
        let slots = &self.slots;
        self.ends = slots
            .iter()
            .flat_map(|(key, slot)| {
                let ends = slot.own.iter().filter_map(|entry| entry.expires_ns);
                ends.map(move |end| Reverse((end, key)))
            })
            .collect();
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
