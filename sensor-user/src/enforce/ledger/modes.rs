//! Whether verdicts of policies act, when that changes while they hold: a policy that is taken back
//! stops acting at once, and one that goes further acts on whom it found before.

use std::{collections::HashMap, sync::Arc};

use ipnet::IpNet;
use weir_common::abi::Mode;

use super::{Entry, Ledger, Meaning, Origin, table::Key};

impl Ledger {
    /// Gives verdicts of policies the mode that `mode` says; `None` leaves one as it is. It counts in
    /// the kernel with the next [`Ledger::apply`]. Returns what changed, as it is now.
    pub fn set_modes(
        &mut self,
        mode: impl Fn(&str, &IpNet) -> Option<Mode>,
    ) -> Vec<(IpNet, Arc<Meaning>)> {
        let wanted = |key: Key, entry: &Entry| {
            let Origin::Policy { name, .. } = &entry.meaning.origin else { return None };
            mode(name, &key.into()).filter(|mode| *mode != entry.meaning.mode)
        };
        let keys: Vec<Key> = self
            .slots
            .iter()
            .filter(|(key, slot)| slot.own.iter().any(|entry| wanted(*key, entry).is_some()))
            .map(|(key, _)| key)
            .collect();
        // Entries that mean the same go on sharing what they mean.
        let mut shared: HashMap<(Arc<Meaning>, bool), Arc<Meaning>> = HashMap::new();
        let mut changed = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            for entry in &mut slot.own {
                let Some(mode) = wanted(key, entry) else { continue };
                let before = (Arc::clone(&entry.meaning), mode == Mode::Enforce);
                let after = shared.entry(before).or_insert_with_key(|(before, _)| {
                    Arc::new(Meaning { mode, ..Meaning::clone(before) })
                });
                entry.meaning = Arc::clone(after);
                changed.push((key.into(), Arc::clone(&entry.meaning)));
            }
            self.touch(key);
        }
        changed
    }

    /// Removes every verdict of a policy, as of one that only watched and gives way. Returns how many
    /// there were.
    pub fn forget_policy(&mut self, policy: &str) -> usize {
        let is_of = |entry: &Entry| matches!(&entry.meaning.origin, Origin::Policy { name, .. } if **name == *policy);
        let of_policy = self.slots.iter().filter(|(_, slot)| slot.own.iter().any(is_of));
        let keys: Vec<Key> = of_policy.map(|(key, _)| key).collect();
        let mut removed = 0;
        for key in keys {
            removed += self.retain(key, |entry| !is_of(entry));
            self.unkept.note_lifted(key);
            self.touch(key);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use weir_common::abi::{Action, ServiceSet};

    use super::*;
    use crate::enforce::{dataplane::Dataplane as _, guard::Guards, memory::MemoryDataplane};

    fn of(policy: &str) -> Arc<Meaning> {
        Arc::new(Meaning {
            origin: Origin::Policy { name: policy.into(), forgeable: false },
            rule: Some(format!("{policy}/busy").into()),
            mode: Mode::Observe,
            ..Meaning::operator(Action::Drop, ServiceSet::ALL, "busy")
        })
    }

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn verdicts_of_a_policy_act_or_watch_as_it_moves_and_no_others_do() {
        let mut ledger = Ledger::new(Guards::default());
        let mut tables = MemoryDataplane::default();
        let hosts: Vec<IpNet> = (1..=9).map(|n| net(&format!("192.0.2.{n}/32"))).collect();
        for host in &hosts {
            ledger.block(*host, &of("login"), Some(900), 1).unwrap();
        }
        let other = net("198.51.100.1/32");
        ledger.block(other, &of("api"), Some(900), 1).unwrap();
        let operators = net("198.51.100.2/32");
        let meaning = Meaning {
            mode: Mode::Observe,
            ..Meaning::operator(Action::Drop, ServiceSet::ALL, "ticket")
        };
        ledger.block(operators, &meaning.into(), Some(900), 1).unwrap();
        ledger.apply(&mut tables, 2).unwrap();
        let acting = |tables: &MemoryDataplane| {
            let classes: HashMap<u16, Mode> =
                tables.read_classes().unwrap().iter().map(|(id, c)| (*id, c.mode())).collect();
            let verdicts = tables.read_verdicts().unwrap().into_iter();
            let acts = verdicts.filter(|(_, it)| classes.get(&it.class) == Some(&Mode::Enforce));
            let mut acting: Vec<IpNet> = acts.map(|(net, _)| net).collect();
            acting.sort();
            acting
        };
        assert!(acting(&tables).is_empty());
        // A canary acts on some.
        let some: Vec<IpNet> = hosts.iter().copied().take(3).collect();
        let canary = |policy: &str, net: &IpNet| {
            let mode = if some.contains(net) { Mode::Enforce } else { Mode::Observe };
            (policy == "login").then_some(mode)
        };
        assert_eq!(ledger.set_modes(canary).len(), 3);
        ledger.apply(&mut tables, 3).unwrap();
        assert_eq!(acting(&tables), some);
        let all = |mode| move |policy: &str, _: &IpNet| (policy == "login").then_some(mode);
        assert_eq!(ledger.set_modes(all(Mode::Enforce)).len(), 6);
        ledger.apply(&mut tables, 4).unwrap();
        assert_eq!(acting(&tables), hosts);
        assert_eq!(ledger.set_modes(all(Mode::Observe)).len(), 9);
        ledger.apply(&mut tables, 5).unwrap();
        assert!(acting(&tables).is_empty());
        assert!(ledger.set_modes(all(Mode::Observe)).is_empty(), "nothing changes twice");
    }

    #[test]
    fn what_gave_way_leaves_nothing_behind() {
        let mut ledger = Ledger::new(Guards::default());
        let mut tables = MemoryDataplane::default();
        let host = net("192.0.2.1/32");
        ledger.block(host, &of("login"), Some(900), 1).unwrap();
        ledger.block(host, &of("login~shadow"), Some(900), 1).unwrap();
        ledger.apply(&mut tables, 2).unwrap();
        assert_eq!(ledger.forget_policy("login~shadow"), 1);
        ledger.apply(&mut tables, 3).unwrap();
        let left: Vec<_> = ledger.entries(&host, 4).map(|entry| entry.meaning.clone()).collect();
        assert_eq!(left, [of("login")]);
    }
}
