//! What of subjects outlives the daemon: the memo has the names, the kernel the verdicts.

use std::sync::Arc;

use weir_common::{
    abi::{Mode, Verdict, time},
    tls::Seed,
};

use super::{
    super::{
        Entry, Ledger, Written,
        memo::{FingerprintRecord, FingerprintRecords},
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
    /// What a later run needs.
    pub(in super::super) fn memo(&self) -> FingerprintRecords {
        let record = |(name, named): (&FingerprintName, &Named)| FingerprintRecord {
            name: name.to_string(),
            forms: named.forms.iter().map(ToString::to_string).collect(),
            meaning: Arc::clone(&named.entry.meaning),
            created_ns: named.entry.created_ns,
            expires_ns: named.entry.expires_ns,
        };
        let mut entries: Vec<FingerprintRecord> = self.names.iter().map(record).collect();
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        FingerprintRecords { maps: maps_id(self.seed), entries }
    }
}

impl Ledger {
    /// Takes up what an earlier run left in the kernel, with the names that the memo has for it.
    pub(in super::super) fn adopt_subjects(
        &mut self,
        dataplane: &dyn Dataplane,
        records: FingerprintRecords,
        now_ns: u64,
    ) -> Result<(), DataplaneError> {
        self.subjects.seed = dataplane.key_seed();
        let found = dataplane.read_subjects()?;
        for (subject, verdict) in &found {
            let written = Written { class: verdict.class, expires_tick: verdict.expires_tick };
            self.classes.retain(verdict.class);
            self.subjects.slots.entry(*subject).or_default().written = Some(written);
            self.subjects.due.push(*subject);
        }
        // Maps that were made since are empty because somebody wanted them so (`weir detach`).
        if records.maps == maps_id(self.subjects.seed) {
            for record in &records.entries {
                self.adopt_record(record);
            }
        }
        for (subject, verdict) in &found {
            if !self.subjects.holders.contains_key(subject) {
                self.adopt_found(*subject, verdict, now_ns);
            }
        }
        Ok(())
    }

    fn adopt_record(&mut self, record: &FingerprintRecord) {
        // A name that this version does not read: what stands in the kernel is found there.
        let Ok(fingerprint) = record.name.parse::<Fingerprint>() else { return };
        let entry = Entry {
            meaning: Arc::clone(&record.meaning),
            created_ns: record.created_ns,
            expires_ns: record.expires_ns,
        };
        self.subjects.file(&fingerprint, entry);
        for raw in record.forms.iter().filter_map(|form| form.parse::<Ja4Raw>().ok()) {
            self.subjects.add_form(fingerprint.name(), &raw);
        }
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

/// Tells maps from others that were made later: their secret is another. A digest, because the
/// memo is no place for a secret.
fn maps_id(seed: Seed) -> String {
    let secret = [seed.add.to_le_bytes(), seed.multiply.to_le_bytes()].concat();
    let digest = ring::digest::digest(&ring::digest::SHA256, &secret);
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
