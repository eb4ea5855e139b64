//! What of subjects outlives the daemon: the store has the names, the kernel the verdicts.

use std::{collections::HashSet, sync::Arc};

use weir_common::abi::{Mode, Verdict, time};

use super::{
    super::{
        Entry, Ledger, Written,
        durable::{KeptFingerprint, subject_bytes},
    },
    Named, Subjects,
};
use crate::{
    enforce::{
        dataplane::{Dataplane, DataplaneError, Subject},
        fingerprint::{Fingerprint, FingerprintName},
    },
    fingerprint::ja4::Ja4Raw,
};

impl Subjects {
    /// What the store is to keep of a name; nothing of one that was only found in these maps.
    pub(in super::super) fn kept(&self, name: &FingerprintName) -> Option<KeptFingerprint> {
        if matches!(name, FingerprintName::FoundTls(_) | FingerprintName::FoundSyn(_)) {
            return None;
        }
        let Named { entry, forms, .. } = self.names.get(name)?;
        let forms = forms.iter().map(ToString::to_string).collect();
        Some(KeptFingerprint { name: name.to_string(), forms, entry: entry.clone() })
    }

    pub(in super::super) fn all_names(&self) -> impl Iterator<Item = &FingerprintName> {
        self.names.keys()
    }
}

impl Ledger {
    /// Takes up the names that the store has; told of the kernel by [`Self::adopt_subjects`].
    pub(in super::super) fn restore_fingerprints(
        &mut self,
        dataplane: &dyn Dataplane,
        kept: &[KeptFingerprint],
    ) {
        self.subjects.seed = dataplane.key_seed();
        for kept in kept {
            // A name that this version does not read: what stands in the kernel is found there.
            let Ok(fingerprint) = kept.name.parse::<Fingerprint>() else { continue };
            self.subjects.file(&fingerprint, kept.entry.clone());
            for raw in kept.forms.iter().filter_map(|form| form.parse::<Ja4Raw>().ok()) {
                self.subjects.add_form(fingerprint.name(), &raw);
            }
        }
    }

    /// Takes up what an earlier run left in the kernel.
    pub(in super::super) fn adopt_subjects(
        &mut self,
        dataplane: &dyn Dataplane,
        lifted: &HashSet<Vec<u8>>,
        now_ns: u64,
    ) -> Result<(), DataplaneError> {
        let found = dataplane.read_subjects()?;
        for (subject, verdict) in &found {
            let written = Written { class: verdict.class, expires_tick: verdict.expires_tick };
            self.classes.retain(verdict.class);
            self.subjects.slots.entry(*subject).or_default().written = Some(written);
            self.subjects.due.push(*subject);
        }
        for (subject, verdict) in &found {
            let is_lifted = || subject_bytes(subject).is_some_and(|place| lifted.contains(&place));
            if !self.subjects.holders.contains_key(subject) && !is_lifted() {
                self.adopt_found(*subject, verdict, now_ns);
            }
        }
        Ok(())
    }

    fn adopt_found(&mut self, subject: Subject, verdict: &Verdict, now_ns: u64) {
        let Some(meaning) = self.classes.meaning(verdict.class).map(Arc::clone) else { return };
        if meaning.mode == Mode::Off {
            return;
        }
        let expires_ns =
            (verdict.expires_tick != 0).then(|| time::tick_start_ns(verdict.expires_tick));
        let fingerprint = match subject {
            Subject::Fingerprint(key) => Fingerprint::found(FingerprintName::FoundTls(key)),
            Subject::Syn(key) => Fingerprint::found(FingerprintName::FoundSyn(key)),
            Subject::Flow(key) => {
                self.end_flow(key, &meaning, expires_ns.unwrap_or(now_ns), now_ns);
                return;
            }
        };
        self.subjects.file(&fingerprint, Entry { meaning, created_ns: now_ns, expires_ns });
    }
}
