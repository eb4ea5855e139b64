//! What is wanted of fingerprints, and what of it acts.

use std::collections::HashSet;

use weir_common::abi::Action;

use super::super::{Entry, Ledger, State};
use crate::{
    enforce::{dataplane::Subject, fingerprint::FingerprintName},
    fingerprint::ja4::Ja4,
};

/// An entry on a fingerprint, as listed.
#[derive(Clone, Debug)]
pub struct ListedFingerprint<'a> {
    /// Which.
    pub name: &'a FingerprintName,
    /// What is wanted.
    pub entry: &'a Entry,
    /// Whether it acts.
    pub state: State,
    /// Where it stands in the kernel.
    pub subjects: &'a [Subject],
}

impl Ledger {
    /// What is wanted for a hello to a service, which the kernel did not judge: an allow, or the
    /// stronger of what applies to its JA4 and to its stable form.
    #[must_use]
    pub fn lookup_fingerprint(
        &self,
        ja4: &Ja4,
        stable: &Ja4,
        service: u8,
        now_ns: u64,
    ) -> Option<(&FingerprintName, &Entry)> {
        let names = [FingerprintName::Ja4(*ja4), FingerprintName::Stable(*stable)];
        names
            .iter()
            .filter_map(|name| self.subjects.names.get_key_value(name))
            .map(|(name, named)| (name, &named.entry))
            .filter(|(_, entry)| entry.is_live(now_ns) && entry.meaning.services.contains(service))
            .max_by_key(|(_, entry)| {
                (entry.meaning.action == Action::Allow, entry.meaning.strength())
            })
    }

    /// Every live entry on a fingerprint, in no order.
    pub fn list_fingerprints(&self, now_ns: u64) -> impl Iterator<Item = ListedFingerprint<'_>> {
        let due: HashSet<Subject> = self.subjects.due.iter().copied().collect();
        let live = self.subjects.names.iter().filter(move |(_, named)| named.entry.is_live(now_ns));
        live.map(move |(name, named)| ListedFingerprint {
            name,
            entry: &named.entry,
            state: if named.subjects.iter().any(|subject| due.contains(subject)) {
                State::Due
            } else if !named.subjects.is_empty() {
                State::Active
            } else if name.is_quic() {
                State::Daemon
            } else {
                State::Waiting
            },
            subjects: &named.subjects,
        })
    }

    /// How the entry on a fingerprint stands.
    #[must_use]
    pub fn fingerprint_state(&self, name: &FingerprintName, now_ns: u64) -> Option<State> {
        self.list_fingerprints(now_ns).find(|listed| listed.name == name).map(|listed| listed.state)
    }

    /// Whether the kernel still has to be told something about one of these.
    #[must_use]
    pub fn are_fingerprints_due(&self, names: &[FingerprintName]) -> bool {
        let due = self.subjects.due.iter().filter_map(|due| self.subjects.holders.get(due));
        let due: HashSet<&FingerprintName> = due.collect();
        names.iter().any(|name| due.contains(name))
    }
}
