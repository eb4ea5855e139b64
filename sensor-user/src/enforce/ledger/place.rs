//! Where verdicts stand: at a prefix or at a subject, each in a map of the kernel's.

use std::collections::BTreeMap;

use ipnet::IpNet;
use weir_common::abi::Verdict;

use super::{Ledger, Slot, Written, table::Key};
use crate::enforce::dataplane::{Dataplane, DataplaneError, Subject};

/// Where a verdict stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Prefix(Key),
    Subject(Subject),
}

impl Ledger {
    pub(super) fn slot(&self, place: Place) -> Option<&Slot> {
        match place {
            Place::Prefix(key) => self.slots.get(key),
            Place::Subject(subject) => self.subjects.slots.get(&subject),
        }
    }

    pub(super) fn slot_mut(&mut self, place: Place) -> Option<&mut Slot> {
        match place {
            Place::Prefix(key) => self.slots.get_mut(key),
            Place::Subject(subject) => self.subjects.slots.get_mut(&subject),
        }
    }

    pub(super) fn slot_entry(&mut self, place: Place) -> &mut Slot {
        match place {
            Place::Prefix(key) => self.slots.entry(key),
            Place::Subject(subject) => self.subjects.slots.entry(subject).or_default(),
        }
    }

    pub(super) fn remove_slot(&mut self, place: Place) {
        match place {
            Place::Prefix(key) => self.slots.remove(key),
            Place::Subject(subject) => drop(self.subjects.slots.remove(&subject)),
        }
    }

    pub(super) fn push_due(&mut self, place: Place) {
        match place {
            Place::Prefix(key) => self.due.push(key),
            Place::Subject(subject) => self.subjects.due.push(subject),
        }
    }

    pub(super) fn shown(&self, place: Place) -> String {
        match place {
            Place::Prefix(key) => IpNet::from(key).to_string(),
            Place::Subject(subject) => self.subjects.shown(&subject),
        }
    }
}

/// Writes verdicts that all go to one map.
pub(super) fn write_to(
    dataplane: &mut dyn Dataplane,
    writes: impl Iterator<Item = (Place, Written)>,
) -> Result<(), DataplaneError> {
    let mut nets = Vec::new();
    let mut subjects = Vec::new();
    for (place, written) in writes {
        match place {
            Place::Prefix(key) => {
                let net = IpNet::from(key);
                nets.push((net, written.verdict(net.prefix_len())));
            }
            Place::Subject(subject) => subjects.push((subject, written.verdict(0))),
        }
    }
    if subjects.is_empty() {
        dataplane.write_verdicts(&nets)
    } else {
        dataplane.write_subjects(&subjects)
    }
}

/// Removes verdicts that are all in one map.
pub(super) fn remove_from(
    dataplane: &mut dyn Dataplane,
    places: &[Place],
) -> Result<usize, DataplaneError> {
    let mut nets = Vec::new();
    let mut subjects = Vec::new();
    for place in places {
        match *place {
            Place::Prefix(key) => nets.push(IpNet::from(key)),
            Place::Subject(subject) => subjects.push(subject),
        }
    }
    if subjects.is_empty() {
        dataplane.remove_verdicts(&nets)
    } else {
        dataplane.remove_subjects(&subjects)
    }
}

/// Groups by kernel map, so that one that is full does not keep others from being written.
pub(super) fn by_map<T>(
    items: Vec<T>,
    place: impl Fn(&T) -> Place,
) -> impl Iterator<Item = Vec<T>> {
    let mut maps: BTreeMap<u8, Vec<T>> = BTreeMap::new();
    for item in items {
        let map = match place(&item) {
            Place::Prefix(key) => u8::from(key.is_v6) << 1 | u8::from(key.is_exact()),
            Place::Subject(Subject::Fingerprint(_)) => 4,
            Place::Subject(Subject::Syn(_)) => 5,
            Place::Subject(Subject::Flow(_)) => 6,
        };
        maps.entry(map).or_default().push(item);
    }
    maps.into_values()
}

impl Written {
    const fn verdict(self, prefix_len: u8) -> Verdict {
        Verdict {
            class: self.class,
            prefix_len,
            reserved: 0,
            expires_tick: self.expires_tick,
            hits: 0,
            last_hit_tick: 0,
        }
    }
}
