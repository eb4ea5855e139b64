//! The kernel's tables in memory, for tests and replay: the same limits and the same look-up, and
//! failures on demand.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use ipnet::{IpNet, Ipv6Net};
use weir_common::abi::{
    Action, Control, Flow, FlowKey, Guard, Mode, Tally, Verdict, VerdictClass, map,
    tally::TALLY_SLOTS,
};

use super::dataplane::{Dataplane, DataplaneError, ServicePort, TallySnapshot};

/// How many entries fit into the verdict maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacities {
    /// `V4_EXACT` and `V6_EXACT`, each.
    pub exact: usize,
    /// `V4_PREFIXES` and `V6_PREFIXES`, each.
    pub prefixes: usize,
}

impl Default for Capacities {
    fn default() -> Self {
        Self { exact: map::capacity::EXACT, prefixes: map::capacity::PREFIXES }
    }
}

/// The tables.
#[derive(Debug, Default)]
pub struct MemoryDataplane {
    /// How much fits.
    pub capacities: Capacities,
    /// So many operations from now on succeed; the next ones fail until this is set again.
    pub fails_after: Option<usize>,
    /// Entries that were written, over all calls.
    pub writes: usize,
    /// What was set last.
    pub control: Control,
    /// What was set last.
    pub services: Vec<ServicePort>,
    /// Guards by service.
    pub guards: BTreeMap<u8, Guard>,
    /// The last pulse.
    pub pulse_tick: u32,
    /// Flows that [`Dataplane::flow`] finds.
    pub flows: HashMap<FlowKey, Flow>,
    verdicts: BTreeMap<IpNet, Verdict>,
    // Entries by map, see `map_of`.
    sizes: [usize; 4],
    classes: BTreeMap<u16, VerdictClass>,
}

impl MemoryDataplane {
    /// Tables of these capacities.
    #[must_use]
    pub fn new(capacities: Capacities) -> Self {
        Self { capacities, ..Self::default() }
    }

    /// Number of verdicts, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// Whether there is no verdict.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }

    /// What the kernel does with a packet that is not part of a flow that this host opened: the
    /// class that decides, if one does. Mirrors `pipeline::verdict`.
    #[must_use]
    pub fn judge(&self, address: IpAddr, service: u8, now_tick: u32) -> Option<&VerdictClass> {
        let own = IpNet::from(address);
        let mut found = None;
        let mut exacts = vec![own];
        if let IpNet::V6(net) = own {
            let network = Ipv6Net::new(net.addr(), 64).unwrap_or(net).trunc();
            // `fe80::` and its like are both the address and its /64: the same key, found once.
            exacts.push(IpNet::V6(network));
        }
        for net in exacts {
            found = stronger(found, self.consider(&net, service, now_tick));
            if found.is_some_and(is_final) {
                return found;
            }
        }
        let width = own.max_prefix_len();
        for length in (0..width).rev() {
            let Ok(net) = IpNet::new(address, length) else { continue };
            if map_of(&net).1 {
                continue;
            }
            if let Some(class) = self.consider(&net.trunc(), service, now_tick) {
                return stronger(found, Some(class));
            }
        }
        found
    }

    /// What one entry says, if it is live, for this service, and more than a count.
    fn consider(&self, net: &IpNet, service: u8, now_tick: u32) -> Option<&VerdictClass> {
        let verdict = self.verdicts.get(net).filter(|verdict| verdict.is_live(now_tick))?;
        let class = self.classes.get(&verdict.class)?;
        let speaks = class.services.contains(service)
            && match class.action() {
                Action::Allow | Action::Limit => true,
                Action::Mark => false,
                Action::Reject | Action::Drop => class.mode() == Mode::Enforce,
            };
        speaks.then_some(class)
    }

    fn step(&mut self, operation: &'static str, object: &str) -> Result<(), DataplaneError> {
        match &mut self.fails_after {
            Some(0) => Err(DataplaneError::Kernel {
                operation,
                object: object.to_owned(),
                source: std::io::Error::other("injected"),
            }),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

const fn is_final(class: &VerdictClass) -> bool {
    matches!(class.action(), Action::Allow | Action::Reject | Action::Drop)
}

fn stronger<'a>(
    exact: Option<&'a VerdictClass>,
    prefix: Option<&'a VerdictClass>,
) -> Option<&'a VerdictClass> {
    match (exact, prefix) {
        (None, _) => prefix,
        (Some(exact), Some(prefix))
            if exact.action() == Action::Limit
                && (matches!(prefix.action(), Action::Reject | Action::Drop)
                    || (exact.mode() != Mode::Enforce && prefix.action() == Action::Limit)) =>
        {
            Some(prefix)
        }
        _ => exact,
    }
}

/// The map of a prefix: its index, whether it is an exact one, and its name.
fn map_of(net: &IpNet) -> (usize, bool, &'static str) {
    match (net, net.prefix_len()) {
        (IpNet::V4(_), 32) => (0, true, map::V4_EXACT.name),
        (IpNet::V6(_), 64 | 128) => (1, true, map::V6_EXACT.name),
        (IpNet::V4(_), _) => (2, false, map::V4_PREFIXES.name),
        (IpNet::V6(_), _) => (3, false, map::V6_PREFIXES.name),
    }
}

impl Dataplane for MemoryDataplane {
    fn write_class(&mut self, id: u16, class: &VerdictClass) -> Result<(), DataplaneError> {
        self.step("write", map::VERDICT_CLASSES.name)?;
        self.classes.insert(id, *class);
        Ok(())
    }

    fn write_verdicts(&mut self, entries: &[(IpNet, Verdict)]) -> Result<(), DataplaneError> {
        for (done, (net, verdict)) in entries.iter().enumerate() {
            let (index, is_exact, name) = map_of(net);
            self.step("update", name)?;
            let capacity = if is_exact { self.capacities.exact } else { self.capacities.prefixes };
            if !self.verdicts.contains_key(net)
                && let Some(size) = self.sizes.get_mut(index)
            {
                if *size >= capacity {
                    let wanted = entries.len();
                    return Err(DataplaneError::Full { map: name, written: done, wanted });
                }
                *size += 1;
            }
            self.verdicts.insert(*net, *verdict);
            self.writes += 1;
        }
        Ok(())
    }

    fn remove_verdicts(&mut self, prefixes: &[IpNet]) -> Result<usize, DataplaneError> {
        let mut removed = 0;
        for net in prefixes {
            let (index, _, name) = map_of(net);
            self.step("remove from", name)?;
            if self.verdicts.remove(net).is_some() {
                removed += 1;
                if let Some(size) = self.sizes.get_mut(index) {
                    *size -= 1;
                }
            }
        }
        Ok(removed)
    }

    fn read_verdicts(&self) -> Result<Vec<(IpNet, Verdict)>, DataplaneError> {
        Ok(self.verdicts.iter().map(|(net, verdict)| (*net, *verdict)).collect())
    }

    fn read_classes(&self) -> Result<Vec<(u16, VerdictClass)>, DataplaneError> {
        Ok(self.classes.iter().map(|(id, class)| (*id, *class)).collect())
    }

    fn set_services(&mut self, ports: &[ServicePort]) -> Result<(), DataplaneError> {
        self.step("write", map::SERVICES.name)?;
        self.services = ports.to_vec();
        Ok(())
    }

    fn set_guards(&mut self, guards: &[(u8, Guard)]) -> Result<(), DataplaneError> {
        self.step("write", map::GUARDS.name)?;
        self.guards.extend(guards.iter().copied());
        Ok(())
    }

    fn set_control(&mut self, control: &Control) -> Result<(), DataplaneError> {
        self.step("write", map::CONTROL.name)?;
        self.control = *control;
        Ok(())
    }

    fn pulse(&mut self, now_tick: u32) -> Result<(), DataplaneError> {
        self.step("write", map::HEARTBEAT.name)?;
        self.pulse_tick = now_tick;
        Ok(())
    }

    fn tally(&self) -> Result<TallySnapshot, DataplaneError> {
        Ok(vec![Tally::default(); TALLY_SLOTS])
    }

    fn flow(&self, key: &FlowKey) -> Result<Option<Flow>, DataplaneError> {
        Ok(self.flows.get(key).copied())
    }
}
