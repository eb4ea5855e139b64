//! Verdicts on fingerprints: what an operator's words stand for, and what he should know of them.

use std::{collections::HashMap, sync::Arc};

use weir_common::abi::Action;

use super::{Daemon, Sensor, counted};
use crate::{
    api::message::{Failure, FailureKind},
    enforce::{
        fingerprint::{Fingerprint, FingerprintName},
        ledger::{LedgerError, Meaning, State},
    },
    fingerprint::{ja4::Ja4Raw, known::Known},
};

/// Senders from which on a fingerprint is told to be many people's.
const MANY_SENDERS: u32 = 8;

/// Whether all of a list can be given an action, before any of it is.
pub(super) fn check(fingerprints: &[Fingerprint], action: Action) -> Result<(), Failure> {
    for fingerprint in fingerprints {
        let name = fingerprint.name();
        if matches!(name, FingerprintName::FoundTls(_) | FingerprintName::FoundSyn(_)) {
            let message = format!(
                "{name} is what was found in the kernel without its name: it can be taken back; to \
                 block, write ja4:…, ja4_r:… or tcp:…; nothing was changed"
            );
            return Err(Failure::new(FailureKind::BadRequest, message));
        }
        if action == Action::Mark {
            let message = format!(
                "{name} is no address, and proxies ask about addresses: mark those; nothing was changed"
            );
            return Err(Failure::new(FailureKind::BadRequest, message));
        }
        if action == Action::Limit && name.is_hello() {
            let error = LedgerError::LimitOnHello(name.clone());
            let message = format!("{error}; nothing was changed");
            return Err(Failure::new(FailureKind::BadRequest, message));
        }
    }
    Ok(())
}

impl<S: Sensor> Daemon<S> {
    /// The fingerprints of a list, each once; JA4s as their stable forms where that is asked for.
    pub(super) fn designated(
        &self,
        list: &[Fingerprint],
        stable: bool,
    ) -> Result<Vec<Fingerprint>, Failure> {
        let mut designated: Vec<Fingerprint> = Vec::with_capacity(list.len());
        let mut places: HashMap<FingerprintName, usize> = HashMap::new();
        let mut add = |fingerprint: Fingerprint| {
            let next = places.len();
            let place = *places.entry(fingerprint.name().clone()).or_insert(next);
            match designated.get_mut(place) {
                // The same, by the hash and by all that it is made of: the latter says more.
                Some(known) if known.raw().is_none() => *known = fingerprint,
                Some(_) => {}
                None => designated.push(fingerprint),
            }
        };
        for fingerprint in list {
            if !stable {
                add(fingerprint.clone());
                continue;
            }
            let known = self.hellos(fingerprint.name()).first().map(|raw| (*raw).clone());
            let resolved =
                known.map_or_else(|| fingerprint.clone(), |raw| fingerprint.clone().resolved(&raw));
            add(resolved.stable().ok_or_else(|| {
                let message = format!(
                    "the stable form of {} is not known, because nobody was seen with it: give its \
                     JA4_r (ja4_r:…), or the stable form that `weir fingerprint` shows (stable:…); \
                     nothing was changed",
                    fingerprint.name()
                );
                Failure::new(FailureKind::BadRequest, message)
            })?);
        }
        Ok(designated)
    }

    /// Sets a verdict on a fingerprint, and on everything that is known to have it.
    pub(super) fn block_fingerprint(
        &mut self,
        fingerprint: &Fingerprint,
        meaning: &Arc<Meaning>,
        expires_ns: Option<u64>,
        now_ns: u64,
    ) -> Result<bool, LedgerError> {
        let replaced = self.ledger.block_fingerprint(fingerprint, meaning, expires_ns, now_ns)?;
        let hellos: Vec<Ja4Raw> = self.hellos(fingerprint.name()).into_iter().cloned().collect();
        for raw in hellos {
            self.ledger.learned(&raw.ja4(), &raw.stable(), &raw);
        }
        Ok(replaced)
    }

    /// Those that take effect only when somebody is seen with them.
    pub(super) fn waiting(&self, names: &[FingerprintName], now_ns: u64) -> Vec<FingerprintName> {
        self.in_state(names, State::Waiting, now_ns)
    }

    /// What the operator should know of these.
    pub(super) fn fingerprint_notes(
        &self,
        names: &[FingerprintName],
        action: Action,
        now_ns: u64,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |about: &[FingerprintName], text: &str| {
            if let Some((first, others)) = about.split_first() {
                let others = match others.len() {
                    0 => String::new(),
                    more => format!(" (and likewise {})", counted(more, "other", "others")),
                };
                notes.push(format!("{first}{others} {text}"));
            }
        };
        note(
            &self.waiting(names, now_ns),
            "was not seen yet, and a JA4 is a hash: it takes effect when it is first seen, after \
             that connection. With its JA4_r (ja4_r:…), it would at once",
        );
        note(
            &self.in_state(names, State::Daemon, now_ns),
            "is of QUIC, whose hellos only the daemon can read: it ends the flow behind its first \
             datagrams, not before them",
        );
        if action > Action::Mark {
            for name in names {
                let senders = self.senders(name);
                if senders >= MANY_SENDERS {
                    notes.push(format!(
                        "{name} was seen from {senders} or more networks: a JA4 names a TLS library, \
                         and everybody who uses it is meant; `--observe` counts first"
                    ));
                }
            }
        }
        notes
    }

    fn in_state(
        &self,
        names: &[FingerprintName],
        state: State,
        now_ns: u64,
    ) -> Vec<FingerprintName> {
        let listed = self.ledger.list_fingerprints(now_ns);
        let these = listed.filter(|listed| listed.state == state && names.contains(listed.name));
        these.map(|listed| listed.name.clone()).collect()
    }

    /// Hellos that were seen with a fingerprint.
    fn hellos(&self, name: &FingerprintName) -> Vec<&Ja4Raw> {
        self.seen(name).into_iter().flat_map(Known::hellos).collect()
    }

    /// From how many networks a fingerprint was seen at least.
    fn senders(&self, name: &FingerprintName) -> u32 {
        self.seen(name).into_iter().map(Known::senders).max().unwrap_or_default()
    }

    fn seen(&self, name: &FingerprintName) -> Vec<&Known> {
        match name {
            FingerprintName::Ja4(ja4) => self.known.get(ja4).into_iter().collect(),
            FingerprintName::Stable(stable) => {
                let known = self.known.iter().filter(|(_, known)| known.stable() == *stable);
                known.map(|(_, known)| known).collect()
            }
            _ => Vec::new(),
        }
    }
}
