//! What the ledger wants, for other threads to read: a proxy that asks about a client is answered
//! from here, and never waits for events, for the kernel's tables or for an operator's long list.
//!
//! The ledger belongs to the daemon's loop, which can be busy for milliseconds with a batch of events
//! and for seconds with a list. A snapshot that is swapped would be copied whole for every decision,
//! and a question put to the loop would wait its turn. So there is a second table, to which the
//! loop posts what changed, [`CHUNK`] prefixes at a time: a reader waits at most for one chunk.
//!
//! Memory: some 90 bytes for each prefix that has a verdict, beside the ledger's own.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use ipnet::IpNet;
use weir_common::abi::{Action, Mode};

use super::{
    Entry, Ledger, Meaning, Origin,
    table::{Key, Table},
};

/// Prefixes that are posted under one lock: some ten microseconds.
const CHUNK: usize = 256;

/// The decision behind a verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decided {
    /// Its id.
    pub id: Arc<str>,
    /// Its score, 0..=100.
    pub score: u8,
}

/// A verdict as posted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Posted {
    /// What is wanted.
    pub meaning: Arc<Meaning>,
    /// When it ends, `CLOCK_MONOTONIC` ns; `u64::MAX` = never.
    pub until_ns: u64,
    /// The decision, where this run of the daemon made it.
    pub decided: Option<Arc<Decided>>,
}

/// What applies to an address.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Finding {
    /// What acts: an allow, or the strongest verdict in force.
    pub enforced: Option<Posted>,
    /// What would act, stronger than that, if its policy did more than observe.
    pub observed: Option<Posted>,
}

/// The board. Readers and the one writer share it by reference.
#[derive(Debug)]
pub struct Board(RwLock<State>);

#[derive(Debug)]
struct State {
    slots: Table<Slot>,
    services: Vec<(String, u8)>,
    ceiling: Mode,
}

/// Nearly every prefix has one verdict.
#[derive(Debug)]
enum Slot {
    One(Posted),
    Some(Vec<Posted>),
}

impl Default for Slot {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl Slot {
    fn as_slice(&self) -> &[Posted] {
        match self {
            Self::One(posted) => std::slice::from_ref(posted),
            Self::Some(posted) => posted,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [Posted] {
        match self {
            Self::One(posted) => std::slice::from_mut(posted),
            Self::Some(posted) => posted,
        }
    }

    /// Takes what is wanted now; a decision that is known of the same origin stays.
    fn post(&mut self, entries: &[Entry]) {
        let known = self.as_slice();
        let posted = entries.iter().map(|entry| Posted {
            meaning: Arc::clone(&entry.meaning),
            until_ns: entry.expires_ns.unwrap_or(u64::MAX),
            decided: known
                .iter()
                .find(|known| known.meaning.origin == entry.meaning.origin)
                .and_then(|known| known.decided.clone()),
        });
        let mut posted: Vec<Posted> = posted.collect();
        *self = match (posted.len(), posted.pop()) {
            (1, Some(only)) => Self::One(only),
            (_, Some(last)) => {
                posted.push(last);
                Self::Some(posted)
            }
            (_, None) => Self::default(),
        };
    }
}

impl Default for Board {
    fn default() -> Self {
        Self(RwLock::new(State { slots: Table::new(), services: Vec::new(), ceiling: Mode::Off }))
    }
}

impl Board {
    /// What applies to requests of an address to a service; to any service without one.
    #[must_use]
    pub fn find(&self, address: IpAddr, service: Option<u8>, now_ns: u64) -> Finding {
        let key = Key::from(IpNet::from(address.to_canonical()));
        let state = self.read();
        let own = state.slots.get(key).map(|slot| (key, slot));
        let applying = state
            .slots
            .above(key)
            .chain(own)
            .flat_map(|(_, slot)| slot.as_slice())
            .filter(|posted| posted.applies(service, now_ns));
        let mut finding = Finding::default();
        for posted in applying {
            let mode = posted.meaning.mode;
            let slot = match mode {
                _ if posted.is_allow() => &mut finding.enforced,
                Mode::Enforce => &mut finding.enforced,
                Mode::Observe => &mut finding.observed,
                Mode::Off => continue,
            };
            if slot.as_ref().is_none_or(|best| best.rank() < posted.rank()) {
                *slot = Some(posted.clone());
            }
        }
        finding.settle()
    }

    /// The number of a service; what there is if there is no such one.
    ///
    /// # Errors
    /// The names of all services.
    pub fn service(&self, name: &str) -> Result<u8, Vec<String>> {
        let state = self.read();
        let found = state.services.iter().find(|(known, _)| known == name);
        match found {
            Some((_, id)) => Ok(*id),
            None => Err(state.services.iter().map(|(name, _)| name.clone()).collect()),
        }
    }

    /// How far enforcement goes: the policy's mode, and off under the kill switch.
    #[must_use]
    pub fn ceiling(&self) -> Mode {
        self.read().ceiling
    }

    /// Says how far enforcement goes.
    pub fn set_ceiling(&self, ceiling: Mode) {
        if self.ceiling() != ceiling {
            self.write().ceiling = ceiling;
        }
    }

    /// Says which services there are.
    pub fn set_services(&self, services: Vec<(String, u8)>) {
        self.write().services = services;
    }

    /// Says which decision led to a policy's verdict on a prefix, if that is posted.
    pub fn explain(&self, net: IpNet, origin: &Origin, decided: &Arc<Decided>) {
        let key = Key::from(net);
        let mut state = self.write();
        // Not by `entry`, which would make a place for a verdict that is not there.
        let Some(slot) = state.slots.get_mut(key) else { return };
        for posted in slot.as_mut_slice() {
            if posted.meaning.origin == *origin {
                posted.decided = Some(Arc::clone(decided));
            }
        }
    }

    /// How many prefixes are posted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().slots.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    // Every change leaves the table whole, so a panic elsewhere spoils nothing.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Posted {
    /// Whether it is about a request that was made: a client that asks something has proven that
    /// it exists, so what only reaches the unproven does not reach it.
    fn applies(&self, service: Option<u8>, now_ns: u64) -> bool {
        now_ns < self.until_ns
            && !self.meaning.is_unproven_only()
            && service.is_none_or(|service| self.meaning.services.contains(service))
    }

    fn is_allow(&self) -> bool {
        self.meaning.action == Action::Allow
    }

    /// Of two, the greater one acts; as in [`Ledger::lookup`].
    fn rank(&self) -> impl Ord + use<> {
        (self.is_allow(), self.meaning.strength(), self.until_ns)
    }
}

impl Finding {
    /// Nothing is said of what would change nothing.
    fn settle(mut self) -> Self {
        let held = self.enforced.as_ref();
        let is_moot = |observed: &Posted| {
            held.is_some_and(|held| {
                held.is_allow() || held.meaning.action >= observed.meaning.action
            })
        };
        if self.observed.as_ref().is_some_and(is_moot) {
            self.observed = None;
        }
        self
    }
}

/// Prefixes whose entries changed since somebody was last told.
#[derive(Debug, Default)]
pub(super) struct Changes {
    keys: Vec<Key>,
    // They were too many to be kept apart.
    is_everything: bool,
}

impl Changes {
    /// Notes one. Where nobody publishes, what is kept stays within `entries`.
    pub(super) fn note(&mut self, key: Key, entries: usize) {
        if self.is_everything {
            return;
        }
        self.keys.push(key);
        if self.keys.len() > 2 * entries + 1024 {
            self.keys.sort_unstable();
            self.keys.dedup();
            self.is_everything = self.keys.len() > entries + 512;
            if self.is_everything {
                self.keys = Vec::new();
            }
        }
    }
}

impl Changes {
    /// Which they are, in order; `None` = all.
    pub(super) fn take(&mut self) -> Option<Vec<Key>> {
        let Self { mut keys, is_everything } = std::mem::take(self);
        keys.sort_unstable();
        keys.dedup();
        (!is_everything).then_some(keys)
    }

    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.is_everything
    }
}

impl Ledger {
    /// Posts what changed since the last time.
    pub fn publish(&mut self, board: &Board) {
        let changes = std::mem::take(&mut self.changes);
        let mut keys = changes.keys;
        if changes.is_everything {
            keys = board.read().slots.iter().map(|(key, _)| key).collect();
            keys.extend(self.slots.iter().map(|(key, _)| key));
        }
        keys.sort_unstable();
        keys.dedup();
        for chunk in keys.chunks(CHUNK) {
            let mut state = board.write();
            for key in chunk {
                let own = self.slots.get(*key).map_or(&[][..], |slot| &slot.own);
                if own.is_empty() {
                    state.slots.remove(*key);
                } else {
                    state.slots.entry(*key).post(own);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::{guard::Guards, ladder::RateLimit};
    use weir_common::abi::ServiceSet;

    const NOW: u64 = 1_000_000;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn rule(policy: &str, action: Action, mode: Mode, forgeable: bool) -> Arc<Meaning> {
        Arc::new(Meaning {
            origin: Origin::Policy { name: policy.into(), forgeable },
            mode,
            limit: (action == Action::Limit).then(|| RateLimit::new(200, 5)),
            ..Meaning::operator(action, ServiceSet::one(1), "a rule")
        })
    }

    fn of(finding: &Finding) -> (Option<Action>, Option<Action>) {
        let action = |posted: &Option<Posted>| posted.as_ref().map(|it| it.meaning.action);
        (action(&finding.enforced), action(&finding.observed))
    }

    #[test]
    fn the_strongest_acts_and_the_observed_is_told_beside_it() {
        let mut ledger = Ledger::new(Guards::default());
        let board = Board::default();
        let whom = net("192.0.2.7/32");
        let mut set = |net: IpNet, meaning: &Arc<Meaning>, until_ns| {
            ledger.block(net, meaning, until_ns, NOW).unwrap();
            ledger.publish(&board);
        };
        let find = |service| of(&board.find("192.0.2.7".parse().unwrap(), service, NOW));
        assert_eq!(find(Some(1)), (None, None));
        set(whom, &rule("a", Action::Mark, Mode::Enforce, false), Some(NOW + 10));
        set(whom, &rule("b", Action::Drop, Mode::Observe, false), Some(NOW + 10));
        set(whom, &rule("b", Action::Limit, Mode::Enforce, true), Some(NOW + 10));
        assert_eq!(find(Some(1)), (Some(Action::Mark), Some(Action::Drop)));
        assert_eq!(find(None), (Some(Action::Mark), Some(Action::Drop)));
        assert_eq!(find(Some(2)), (None, None), "another service");
        let later = board.find("192.0.2.7".parse().unwrap(), Some(1), NOW + 10);
        assert_eq!(of(&later), (None, None), "it ended");

        let all = ServiceSet::ALL;
        set(net("192.0.2.0/24"), &Meaning::operator(Action::Reject, all, "x").into(), None);
        assert_eq!(find(Some(1)), (Some(Action::Reject), Some(Action::Drop)));
        set(net("192.0.0.0/16"), &Meaning::operator(Action::Allow, all, "x").into(), None);
        assert_eq!(find(Some(1)), (Some(Action::Allow), None), "an allow is the last word");
    }

    #[test]
    fn the_board_follows_the_ledger_and_keeps_decisions() {
        let mut ledger = Ledger::new(Guards::default());
        let board = Board::default();
        let meaning = rule("a", Action::Mark, Mode::Enforce, false);
        let (whom, other) = (net("2001:db8:7::/64"), net("192.0.2.8/32"));
        ledger.block(whom, &meaning, Some(NOW + 10), NOW).unwrap();
        ledger.block(other, &meaning, None, NOW).unwrap();
        ledger.publish(&board);
        let decided = Arc::new(Decided { id: "d1".into(), score: 40 });
        board.explain(whom, &meaning.origin, &decided);
        board.explain(net("192.0.2.9/32"), &meaning.origin, &decided);
        assert_eq!(board.len(), 2, "explaining posts nothing");
        // Renewed: the decision stays until another one is told.
        ledger.block(whom, &meaning, Some(NOW + 20), NOW).unwrap();
        ledger.publish(&board);
        let found = board.find("2001:db8:7::1234".parse().unwrap(), Some(1), NOW + 15);
        assert_eq!(found.enforced.unwrap().decided, Some(decided));

        ledger.sweep(NOW + 20);
        ledger.publish(&board);
        assert_eq!(board.len(), 1);
        ledger.unblock(&other, None);
        ledger.publish(&board);
        assert!(board.is_empty());
    }

    #[test]
    fn changes_that_nobody_reads_stay_bounded_and_are_made_up_for() {
        let mut ledger = Ledger::new(Guards::default());
        let board = Board::default();
        let meaning: Arc<Meaning> = Meaning::operator(Action::Drop, ServiceSet::ALL, "x").into();
        ledger.block(net("192.0.2.7/32"), &meaning, None, NOW).unwrap();
        ledger.publish(&board);
        ledger.unblock(&net("192.0.2.7/32"), None);
        for n in 0..4000u32 {
            let net = IpNet::from(IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
            ledger.block(net, &meaning, None, NOW).unwrap();
            ledger.unblock(&net, None);
        }
        assert!(ledger.changes.is_everything && ledger.changes.keys.is_empty());
        ledger.block(net("192.0.2.8/32"), &meaning, None, NOW).unwrap();
        ledger.publish(&board);
        assert_eq!(board.len(), 1);
        assert!(board.find("192.0.2.8".parse().unwrap(), None, NOW).enforced.is_some());
    }
}
