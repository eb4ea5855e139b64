//! The kernel's tables in memory, for tests and replay: the same limits and the same look-up, and
//! failures on demand.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use ipnet::{IpNet, Ipv6Net};
use weir_common::{
    abi::{
        Action, Control, Flow, FlowKey, Guard, Mode, Tally, Verdict, VerdictClass, map,
        tally::TALLY_SLOTS,
    },
    tls::Seed,
};

use super::dataplane::{
    Dataplane, DataplaneError, ServiceName, ServicePort, Subject, TallySnapshot,
};

/// How many prefixes the kernel tries, longest first, until one says something.
const PREFIX_STEPS: usize = 4;

/// How many entries fit into the verdict maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacities {
    /// `V4_EXACT` and `V6_EXACT`, each.
    pub exact: usize,
    /// `V4_PREFIXES` and `V6_PREFIXES`, each.
    pub prefixes: usize,
    /// `FINGERPRINT_VERDICTS` and `SYN_VERDICTS`, each.
    pub fingerprints: usize,
}

impl Default for Capacities {
    fn default() -> Self {
        Self {
            exact: map::capacity::EXACT,
            prefixes: map::capacity::PREFIXES,
            fingerprints: map::capacity::FINGERPRINTS,
        }
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
    /// What was set last.
    pub names: Vec<ServiceName>,
    /// What was set last.
    pub proxies: Vec<IpNet>,
    /// The secret of fingerprints' keys.
    pub seed: Seed,
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
    subjects: HashMap<Subject, Verdict>,
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
        self.verdicts.len() + self.subjects.len()
    }

    /// Whether there is no verdict.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the kernel does with a packet that is not part of a flow that this host opened: the
    /// class that decides, if one does. The same steps as `weir_common::pipeline::verdict`.
    #[must_use]
    pub fn judge(&self, address: IpAddr, service: u8, now_tick: u32) -> Option<&VerdictClass> {
        let mut ruling = Ruling::default();
        let mut exact = vec![IpNet::from(address)];
        if let IpAddr::V6(v6) = address {
            let network = Ipv6Net::new(v6, 64).map(|net| IpNet::V6(net.trunc()));
            exact.extend(network);
        }
        for net in exact.iter().filter(|net| map_of(net).1) {
            if !ruling.is_final() {
                self.consider(net, service, now_tick, &mut ruling);
            }
        }
        let stored = (0..=exact.first().map_or(0, IpNet::max_prefix_len))
            .rev()
            .filter_map(|length| IpNet::new(address, length).ok())
            .map(|net| net.trunc())
            .filter(|net| !map_of(net).1 && self.verdicts.contains_key(net));
        for net in stored.take(PREFIX_STEPS) {
            if ruling.is_final() || self.consider(&net, service, now_tick, &mut ruling) {
                break;
            }
        }
        ruling.refuse.or(ruling.limit).or(ruling.allow)
    }

    /// What the verdict on a subject that is not an address says of a packet, if it says anything.
    #[must_use]
    pub fn judge_subject(
        &self,
        subject: &Subject,
        service: u8,
        now_tick: u32,
    ) -> Option<&VerdictClass> {
        let verdict = self.subjects.get(subject).filter(|verdict| verdict.is_live(now_tick))?;
        let class = self.classes.get(&verdict.class)?;
        class.services.contains(service).then_some(class)
    }

    /// Adds what one entry says; whether it says anything.
    fn consider<'a>(
        &'a self,
        net: &IpNet,
        service: u8,
        now_tick: u32,
        ruling: &mut Ruling<'a>,
    ) -> bool {
        let verdict = self.verdicts.get(net).filter(|verdict| verdict.is_live(now_tick));
        let class = verdict.and_then(|verdict| self.classes.get(&verdict.class));
        let Some(class) = class.filter(|class| class.services.contains(service)) else {
            return false;
        };
        match class.action() {
            Action::Mark => return false,
            Action::Allow => ruling.allow = Some(class),
            Action::Limit => {
                if ruling.limit.is_none_or(|limit| limit.mode() != Mode::Enforce) {
                    ruling.limit = Some(class);
                }
            }
            Action::Reject | Action::Drop if class.mode() != Mode::Enforce => return false,
            Action::Reject | Action::Drop => ruling.refuse = Some(class),
        }
        true
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

/// What entries say of a packet, as it is gathered.
#[derive(Default)]
struct Ruling<'a> {
    allow: Option<&'a VerdictClass>,
    refuse: Option<&'a VerdictClass>,
    limit: Option<&'a VerdictClass>,
}

impl Ruling<'_> {
    const fn is_final(&self) -> bool {
        self.allow.is_some() || self.refuse.is_some()
    }
}

/// The map of a prefix: its index, whether it is an exact one, and its name. An IPv6 address whose
/// lower half is zero would have the key of its /64, and is kept among the prefixes.
fn map_of(net: &IpNet) -> (usize, bool, &'static str) {
    let is_exact = match net {
        IpNet::V4(v4) => v4.prefix_len() == 32,
        IpNet::V6(v6) if v6.prefix_len() == 128 => v6.addr().to_bits() as u64 != 0,
        IpNet::V6(v6) => v6.prefix_len() == 64,
    };
    match (net, is_exact) {
        (IpNet::V4(_), true) => (0, true, map::V4_EXACT.name),
        (IpNet::V6(_), true) => (1, true, map::V6_EXACT.name),
        (IpNet::V4(_), false) => (2, false, map::V4_PREFIXES.name),
        (IpNet::V6(_), false) => (3, false, map::V6_PREFIXES.name),
    }
}

/// The name of the map of a subject.
fn subject_map(subject: &Subject) -> &'static str {
    match subject {
        Subject::Fingerprint(_) => map::FINGERPRINT_VERDICTS.name,
        Subject::Syn(_) => map::SYN_VERDICTS.name,
        Subject::Flow(_) => map::FLOW_VERDICTS.name,
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

    fn write_subjects(&mut self, entries: &[(Subject, Verdict)]) -> Result<(), DataplaneError> {
        for (done, (subject, verdict)) in entries.iter().enumerate() {
            let name = subject_map(subject);
            self.step("update", name)?;
            // The map of flows makes room by itself.
            let is_bounded = !matches!(subject, Subject::Flow(_));
            if is_bounded && !self.subjects.contains_key(subject) {
                let held = self.subjects.keys().filter(|held| subject_map(held) == name).count();
                if held >= self.capacities.fingerprints {
                    let wanted = entries.len();
                    return Err(DataplaneError::Full { map: name, written: done, wanted });
                }
            }
            self.subjects.insert(*subject, *verdict);
            self.writes += 1;
        }
        Ok(())
    }

    fn remove_subjects(&mut self, subjects: &[Subject]) -> Result<usize, DataplaneError> {
        let mut removed = 0;
        for subject in subjects {
            self.step("remove from", subject_map(subject))?;
            removed += usize::from(self.subjects.remove(subject).is_some());
        }
        Ok(removed)
    }

    fn read_subjects(&self) -> Result<Vec<(Subject, Verdict)>, DataplaneError> {
        Ok(self.subjects.iter().map(|(subject, verdict)| (*subject, *verdict)).collect())
    }

    fn key_seed(&self) -> Seed {
        self.seed
    }

    fn set_names(&mut self, names: &[ServiceName]) -> Result<(), DataplaneError> {
        self.step("write", map::SNI_SERVICES.name)?;
        self.names = names.to_vec();
        Ok(())
    }

    fn set_proxies(&mut self, proxies: &[IpNet]) -> Result<(), DataplaneError> {
        self.step("write", map::PROXIES.name)?;
        self.proxies = proxies.to_vec();
        Ok(())
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
