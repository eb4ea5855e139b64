//! Allows are retroactive: what stood against somebody ends when an allow comes, in the kernel and in the
//! ledger, and is not in force again when the allow goes.
//!
//! Only entries at or inside what is allowed end, and only those for no other services: what covers more
//! than the allow stays for the rest, and the kernel is told to leave the allowed alone.

use std::{collections::HashMap, sync::Arc};

use ipnet::IpNet;
use weir_common::abi::{Action, ServiceSet};

use super::{Entry, Ledger, Meaning, Origin, table::Key};
use crate::enforce::guard::{AllowedKind, Guards};

/// A verdict that an allow ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lifted {
    /// On whom it was.
    pub net: IpNet,
    /// What it meant.
    pub meaning: Arc<Meaning>,
}

impl Ledger {
    /// Guards these addresses from now on. What stood against them, whoever wanted it, ends; that of
    /// peers of sessions only where it was for the management port alone.
    pub fn set_guards(&mut self, guards: Guards, now_ns: u64) -> Vec<Lifted> {
        let before: Vec<IpNet> = self.guards.allowed().map(|allowed| allowed.net).collect();
        for net in before {
            self.unblock(&net, Some(&Origin::Guard));
        }
        let mut lifted = Vec::new();
        for (net, (services, kind)) in together(&guards) {
            lifted.extend(self.lift(&net, services, now_ns, |_| true));
            let meaning = Arc::new(Meaning {
                origin: Origin::Guard,
                ..Meaning::operator(Action::Allow, services, kind.reason())
            });
            self.insert(net.into(), Entry { meaning, created_ns: 0, expires_ns: None });
        }
        self.guards = guards;
        lifted
    }

    /// Ends verdicts at or inside a prefix that refuse or limit, are for none but these services, and
    /// that `ends` says end.
    pub fn lift(
        &mut self,
        net: &IpNet,
        services: ServiceSet,
        now_ns: u64,
        ends: impl Fn(&Meaning) -> bool,
    ) -> Vec<Lifted> {
        let is_lifted = |entry: &Entry| {
            let meaning = &entry.meaning;
            meaning.action != Action::Allow
                && meaning.services.minus(services).is_empty()
                && ends(meaning)
        };
        let within = self.slots.within(Key::from(*net));
        let keys = within.filter(|(_, slot)| slot.own.iter().any(is_lifted)).map(|(key, _)| key);
        let keys: Vec<Key> = keys.collect();
        let mut lifted = Vec::new();
        for key in keys {
            let own = self.slots.get(key).map(|slot| slot.own.as_slice()).unwrap_or_default();
            let ended = own.iter().filter(|entry| is_lifted(entry) && entry.is_live(now_ns));
            let ended =
                ended.map(|it| Lifted { net: key.into(), meaning: Arc::clone(&it.meaning) });
            lifted.extend(ended);
            if self.retain(key, |entry| !is_lifted(entry)) > 0 {
                self.unkept.note_lifted(key);
                self.touch(key);
            }
        }
        lifted
    }
}

/// What guards allow, each prefix once: an address that is guarded for several reasons is allowed for
/// all of their services.
fn together(guards: &Guards) -> Vec<(IpNet, (ServiceSet, AllowedKind))> {
    let mut order = Vec::new();
    let mut known: HashMap<IpNet, (ServiceSet, AllowedKind)> = HashMap::new();
    for allowed in guards.allowed() {
        let services = guards.services(allowed.kind);
        if let Some((together, kind)) = known.get_mut(&allowed.net) {
            *together = together.union(services);
            *kind = (*kind).min(allowed.kind);
        } else {
            known.insert(allowed.net, (services, allowed.kind));
            order.push(allowed.net);
        }
    }
    order.into_iter().filter_map(|net| Some((net, *known.get(&net)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::memory::MemoryDataplane;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn drop_by(policy: Option<&str>, services: ServiceSet) -> Arc<Meaning> {
        let by_operator = Meaning::operator(Action::Drop, services, "x");
        let origin = policy.map_or(Origin::Operator, |name| Origin::Policy {
            name: name.into(),
            forgeable: false,
        });
        Arc::new(Meaning { origin, ..by_operator })
    }

    fn action(dataplane: &MemoryDataplane, address: &str, service: u8) -> Option<Action> {
        let class = dataplane.judge(address.parse().unwrap(), service, 1);
        class.map(|class| class.action())
    }

    #[test]
    fn a_guard_ends_what_stood_against_its_address_for_good() {
        let mut ledger = Ledger::new(Guards::default());
        let mut dataplane = MemoryDataplane::default();
        ledger.block(net("10.0.0.1/32"), &drop_by(Some("p"), ServiceSet::ALL), None, 0).unwrap();
        ledger.block(net("10.0.0.1/32"), &drop_by(None, ServiceSet::ALL), None, 0).unwrap();
        ledger.block(net("10.0.0.0/24"), &drop_by(None, ServiceSet::ALL), None, 0).unwrap();
        ledger.apply(&mut dataplane, 0).unwrap();
        assert_eq!(action(&dataplane, "10.0.0.1", 1), Some(Action::Drop));

        let guards = Guards::default().with_gateways(["10.0.0.1".parse().unwrap()]);
        let lifted = ledger.set_guards(guards, 0);
        ledger.apply(&mut dataplane, 0).unwrap();
        assert_eq!(lifted.len(), 2);
        assert!(lifted.iter().all(|lifted| lifted.net == net("10.0.0.1/32")));
        assert_eq!(action(&dataplane, "10.0.0.1", 1), Some(Action::Allow));
        assert_eq!(action(&dataplane, "10.0.0.2", 1), Some(Action::Drop), "the others' stays");

        assert!(ledger.set_guards(Guards::default(), 0).is_empty());
        ledger.unblock(&net("10.0.0.0/24"), None);
        ledger.apply(&mut dataplane, 0).unwrap();
        assert_eq!(action(&dataplane, "10.0.0.1", 1), None, "it does not come back");
        assert!(dataplane.is_empty());
    }

    #[test]
    fn a_sessions_peer_is_allowed_at_the_management_port_and_keeps_its_verdicts_elsewhere() {
        let management = ServiceSet::one(255);
        let mut ledger = Ledger::new(Guards::default());
        let mut dataplane = MemoryDataplane::default();
        ledger.block(net("10.0.0.1/32"), &drop_by(None, ServiceSet::ALL), None, 0).unwrap();
        ledger.block(net("10.0.0.1/32"), &drop_by(Some("ssh"), management), None, 0).unwrap();
        let guards = Guards::default().with_sessions(["10.0.0.1".parse().unwrap()], management);
        let lifted = ledger.set_guards(guards, 0);
        ledger.apply(&mut dataplane, 0).unwrap();
        assert_eq!(lifted.len(), 1);
        assert_eq!(lifted[0].meaning.services, management);
        assert_eq!(action(&dataplane, "10.0.0.1", 255), None, "nothing holds it there");
        assert_eq!(action(&dataplane, "10.0.0.1", 1), Some(Action::Drop));
        assert_eq!(action(&dataplane, "10.0.0.1", 0), Some(Action::Drop));
    }

    #[test]
    fn an_address_that_is_guarded_for_two_reasons_is_allowed_for_both() {
        let guards = Guards::default()
            .with_gateways(["10.0.0.1".parse().unwrap()])
            .with_sessions(["10.0.0.1".parse().unwrap()], ServiceSet::one(255));
        let mut ledger = Ledger::new(Guards::default());
        let mut dataplane = MemoryDataplane::default();
        ledger.block(net("10.0.0.0/24"), &drop_by(None, ServiceSet::ALL), None, 0).unwrap();
        ledger.set_guards(guards, 0);
        ledger.apply(&mut dataplane, 0).unwrap();
        for service in [0, 1, 255] {
            assert_eq!(action(&dataplane, "10.0.0.1", service), Some(Action::Allow), "{service}");
        }
    }

    #[test]
    fn what_is_for_other_services_too_is_covered_and_not_ended() {
        let mut ledger = Ledger::new(Guards::default());
        let drop = drop_by(Some("p"), ServiceSet::ALL);
        ledger.block(net("10.0.0.1/32"), &drop, None, 0).unwrap();
        assert!(ledger.lift(&net("10.0.0.0/8"), ServiceSet::one(1), 0, |_| true).is_empty());
        assert!(ledger.lift(&net("10.0.0.0/8"), ServiceSet::ALL, 0, |_| false).is_empty());
        assert_eq!(ledger.lift(&net("10.0.0.0/8"), ServiceSet::ALL, 0, |_| true).len(), 1);
        assert!(ledger.is_empty());
    }
}
