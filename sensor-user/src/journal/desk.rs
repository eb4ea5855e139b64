//! The daemon's end of the journal: records wait in bounded memory, and go to the store together.
//!
//! Nothing here waits for the disk. While the store has no room, records wait; decisions are the first
//! that find no place, then everything. What is lost is counted by kind, and written down as a gap as
//! soon as anything can be written again.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use rusqlite::Connection;
use serde_json::json;

use self::shared::Shared;
use super::{
    append::{Entry, Sign, append},
    chain::hex,
    checkpoint::Tail,
    conceal::{conceal, impersonal},
    privacy::{AddressForm, PrivacySettings},
    pseudonym::PseudonymKeys,
    record::{Actor, Kind, Record},
    retain::retain,
    secret::KeyError,
    signature::{PublicKey, SigningKey},
    verify::{Head, verify_tail},
};
use crate::{
    store::{Ack, Store, StoreError},
    system::paths::Paths,
};

mod rotate;
mod shared;

/// Records that wait for the store at most.
const MOST: usize = 16_384;
/// Memory that they take at most, bytes.
const MOST_BYTES: usize = 16 << 20;
/// Records that go to the store in one work.
const BATCH: usize = 1024;
/// How often it is looked for what is too old, seconds.
const RETAINED_EVERY_S: u64 = 3600;

/// Where the journal's files are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The key of signatures.
    pub signature_key: PathBuf,
    /// The keys of pseudonyms.
    pub pseudonym_keys: PathBuf,
    /// The file beside the database that has the latest checkpoint.
    pub head: PathBuf,
}

impl Places {
    /// Those in the state directory.
    #[must_use]
    pub fn of(paths: &Paths) -> Self {
        Self {
            signature_key: paths.state_dir.join("journal-signature.key"),
            pseudonym_keys: paths.state_dir.join("journal-pseudonyms.key"),
            head: paths.state_dir.join("journal.head"),
        }
    }
}

/// How the journal is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JournalHealth {
    /// Records that wait here for the store.
    pub waiting: usize,
    /// Records that were lost since the start and found no place.
    pub lost: u64,
    /// Records that the store has.
    pub written: u64,
    /// The last record that is signed; 0 = none yet.
    pub signed_through: i64,
    /// What is wrong with its keys or its chain, in words.
    pub trouble: Vec<String>,
}

/// The daemon's end.
#[derive(Debug)]
pub struct Desk {
    store: Store,
    shared: Arc<Shared>,
    places: Places,
    privacy: PrivacySettings,
    pseudonyms: Option<PseudonymKeys>,
    waiting: Vec<Entry>,
    waiting_bytes: usize,
    /// What is wrong with the keys of pseudonyms.
    pseudonym_trouble: Option<String>,
    /// What is wrong with the key of signatures.
    signature_trouble: Option<String>,
    retained_s: Option<u64>,
    signed_s: u64,
    ended_well: Option<bool>,
}

impl Desk {
    /// Opens the journal in a store that has its tables ([`super::SCHEMA`]). What is wrong with the
    /// chain's end is written down.
    #[must_use]
    pub fn open(store: Store, places: Places, privacy: PrivacySettings) -> Self {
        // Before the database is read: then it knows no more than that.
        let head = Head::read(&places.head);
        let shared = Arc::new(Shared::new(places.head.clone()));
        let mut desk = Self {
            store,
            shared,
            places,
            privacy,
            pseudonyms: None,
            waiting: Vec::new(),
            waiting_bytes: 0,
            pseudonym_trouble: None,
            signature_trouble: None,
            retained_s: None,
            signed_s: 0,
            ended_well: None,
        };
        desk.open_signature_key();
        desk.open_pseudonym_keys();
        desk.look_at_end(&head);
        desk
    }

    fn open_signature_key(&mut self) {
        match SigningKey::open(&self.places.signature_key) {
            Ok(key) => self.shared.set_key(key),
            Err(error) => {
                tracing::error!("{error}; the journal goes on without signatures");
                self.signature_trouble = Some(error.to_string());
            }
        }
    }

    fn open_pseudonym_keys(&mut self) {
        if self.privacy.addresses != AddressForm::Pseudonymise {
            return;
        }
        match PseudonymKeys::open(&self.places.pseudonym_keys, now_s()) {
            Ok(keys) => {
                self.pseudonyms = Some(keys);
                self.pseudonym_trouble = None;
            }
            Err(error) => {
                tracing::error!(
                    "{error}; the journal goes on without saying whom records are about"
                );
                self.pseudonym_trouble = Some(error.to_string());
            }
        }
    }

    /// Whether the chain ends where the last run left it.
    fn look_at_end(&mut self, head: &Head) {
        let read = self.store.reader().map_err(|error| error.to_string());
        let read = read.and_then(|reader| {
            self.shared.begin(Tail::of(&reader).ok());
            self.ended_well = ended_well(&reader);
            verify_tail(&reader, head).map_err(|error| error.to_string())
        });
        let report = match read {
            Ok(report) => report,
            Err(error) => {
                tracing::error!("cannot read the journal: {error}");
                self.shared.complain(format!("cannot read the journal: {error}"));
                return;
            }
        };
        if let Some(finding) = report.findings.first() {
            let findings = json!(report.findings.iter().take(10).collect::<Vec<_>>());
            tracing::error!(
                "the journal is not as it was left: {}; `weir journal verify` says more",
                finding.text
            );
            self.shared.complain(format!("not as it was left: {}", finding.text));
            let set_aside = self.store.health().set_aside;
            let body = json!({"journal": "not as it was left", "findings": findings, "set_aside": set_aside});
            self.note(&Record::new(Kind::Audit, &Actor::Daemon, body));
        }
    }

    /// Whether the last daemon ended by itself: then its last records are there. `None`: there was none.
    #[must_use]
    pub const fn last_run_ended_well(&self) -> Option<bool> {
        self.ended_well
    }

    /// Writes a fact down. Never waits.
    pub fn note(&mut self, record: &Record) {
        let concealed = conceal(record, self.privacy.addresses, self.pseudonyms.as_ref());
        // Whom it is about is left out rather than told in another form.
        let entry = concealed.unwrap_or_else(|_| impersonal(record));
        let is_decision = record.kind == Kind::Decision;
        let room = if is_decision { 3 * MOST / 4 } else { MOST };
        let bytes = if is_decision { 3 * MOST_BYTES / 4 } else { MOST_BYTES };
        if self.waiting.len() >= room || self.waiting_bytes + entry.size() > bytes {
            self.shared.lose([record.kind]);
            return;
        }
        self.waiting_bytes += entry.size();
        self.waiting.push(entry);
        // Before what its cause leads to: who is answered finds it written down.
        if !is_decision || self.waiting.len() >= BATCH {
            self.flush();
        }
    }

    /// Hands over what waits, if the store has room.
    pub fn flush(&mut self) {
        self.hand_over(Sign::WhenDue);
    }

    fn hand_over(&mut self, sign: Sign) {
        let has_room = self.store.has_room() && self.store.health().is_writable();
        if !has_room && sign == Sign::WhenDue {
            return;
        }
        if let Some(gap) = self.shared.take_gap() {
            self.waiting.push(gap);
        }
        if self.waiting.is_empty() && sign == Sign::WhenDue {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let mut rest = waiting.as_slice();
        while rest.len() > BATCH {
            let (batch, after) = rest.split_at(BATCH);
            self.submit(batch.to_vec(), Sign::WhenDue, None);
            rest = after;
        }
        self.submit(rest.to_vec(), sign, None);
    }

    fn submit(&self, batch: Vec<Entry>, sign: Sign, then: Option<Ack>) {
        let bytes = batch.iter().map(Entry::size).sum::<usize>() + 256;
        let batch = Arc::new(batch);
        let written = Arc::new(Mutex::new(None));
        let (shared, entries, slot) =
            (Arc::clone(&self.shared), Arc::clone(&batch), Arc::clone(&written));
        let work = move |transaction: &rusqlite::Transaction<'_>| {
            shared.expect(Tail::of(transaction)?);
            let key = shared.key();
            let now = unix_ns();
            let appended = append(transaction, &entries, key.as_deref(), sign, now)?;
            shared.attempt(appended.tail);
            *lock(&slot) = Some(appended);
            Ok(())
        };
        let shared = Arc::clone(&self.shared);
        let ack = move |became: Result<(), StoreError>| {
            match &became {
                Ok(()) => {
                    if let Some(appended) = lock(&written).take() {
                        shared.commit(&appended, batch.len());
                    }
                }
                // It is not lost, and is written later.
                Err(StoreError::Waiting(_)) => {}
                Err(_) => shared.lose_batch(&batch),
            }
            if let Some(then) = then {
                then(became);
            }
        };
        self.store.submit_sized(bytes, Box::new(work), Some(Box::new(ack)));
    }

    /// A second passed: what waits, what is not signed yet, what is too old, keys that are too old.
    pub fn tick(&mut self) {
        let now_s = now_s();
        if let Some(surprise) = self.shared.take_surprise() {
            tracing::error!("the journal was changed behind Weir's back: {surprise}");
            let body = json!({"journal": "changed behind Weir's back", "what": surprise});
            self.note(&Record::new(Kind::Audit, &Actor::Daemon, body));
        }
        let is_unsigned = self.shared.is_unsigned();
        if is_unsigned && now_s.abs_diff(self.signed_s) >= 60 && self.store.has_room() {
            self.signed_s = now_s;
            self.hand_over(Sign::Now);
        } else {
            self.flush();
        }
        let is_due = self.retained_s.is_none_or(|at| now_s.abs_diff(at) >= RETAINED_EVERY_S);
        if (is_due || self.shared.take_unfinished()) && self.store.has_room() {
            self.retained_s = Some(now_s);
            self.retain();
        }
        if is_due {
            self.renew_pseudonyms(now_s);
        }
    }

    /// Deletes what is too old, a step.
    fn retain(&self) {
        let (shared, privacy) = (Arc::clone(&self.shared), self.privacy);
        let written = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&written);
        let work = move |transaction: &rusqlite::Transaction<'_>| {
            shared.expect(Tail::of(transaction)?);
            let key = shared.key();
            let retained = retain(transaction, &privacy, key.as_deref(), unix_ns())?;
            if let Some(appended) = &retained.appended {
                shared.attempt(appended.tail);
            }
            *lock(&slot) = Some(retained);
            Ok(())
        };
        let shared = Arc::clone(&self.shared);
        let ack = move |became: Result<(), StoreError>| {
            let Some(retained) = lock(&written).take().filter(|_| became.is_ok()) else { return };
            if retained.is_unfinished() {
                let (records, personal) = (retained.records, retained.personal);
                tracing::info!(records, personal, "deleted from the journal what was too old");
                shared.set_unfinished();
            }
            if let Some(appended) = &retained.appended {
                shared.commit(appended, 1);
            }
        };
        self.store.submit(Box::new(work), Some(Box::new(ack)));
    }

    /// Writes what is left, and signs the end.
    pub fn finish(&mut self) {
        self.hand_over(Sign::Now);
    }

    /// Goes by other settings from now on.
    pub fn set_privacy(&mut self, privacy: PrivacySettings) {
        if privacy == self.privacy {
            return;
        }
        self.privacy = privacy;
        self.retained_s = None;
        self.open_pseudonym_keys();
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> JournalHealth {
        let mut health = self.shared.health();
        health.waiting = self.waiting.len();
        health.trouble.extend(self.signature_trouble.clone());
        health.trouble.extend(self.pseudonym_trouble.clone());
        health
    }

    /// The public half of the key that signs.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        self.shared.key().map(|key| key.public())
    }

    /// Where its files are.
    #[must_use]
    pub const fn places(&self) -> &Places {
        &self.places
    }

    /// What the works of others need that write to the chain.
    #[must_use]
    pub fn writer(&self) -> DeskWriter {
        DeskWriter { store: self.store.clone(), shared: Arc::clone(&self.shared) }
    }
}

/// Writes to the chain from a thread of its own, where something is waited for.
#[derive(Clone, Debug)]
pub struct DeskWriter {
    store: Store,
    shared: Arc<Shared>,
}

impl DeskWriter {
    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Carries out `write` in a transaction of the store's, and waits until it is on disk. What it does
    /// must depend on nothing that it changed itself.
    ///
    /// # Errors
    /// What became of it instead.
    pub fn write(
        &self,
        write: impl Fn(&Connection, Option<&SigningKey>, i64) -> rusqlite::Result<super::Appended>
        + Send
        + 'static,
    ) -> Result<(), StoreError> {
        let written = Arc::new(Mutex::new(None));
        let (shared, slot) = (Arc::clone(&self.shared), Arc::clone(&written));
        let work = move |transaction: &rusqlite::Transaction<'_>| {
            shared.expect(Tail::of(transaction)?);
            let appended = write(transaction, shared.key().as_deref(), unix_ns())?;
            shared.attempt(appended.tail);
            *lock(&slot) = Some(appended);
            Ok(())
        };
        self.wait(Box::new(work))?;
        if let Some(appended) = lock(&written).take() {
            self.shared.commit(&appended, 1);
        }
        Ok(())
    }

    /// Waits until everything that was handed over before is on disk.
    ///
    /// # Errors
    /// What became of it instead.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.wait(Box::new(|_| Ok(())))
    }

    fn wait(&self, work: crate::store::Work) -> Result<(), StoreError> {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let ack: Ack = Box::new(move |became| {
            // Who no longer waits is not told.
            let _ = tell.send(became);
        });
        self.store.submit(work, Some(ack));
        told.recv().unwrap_or(Err(StoreError::Ended))
    }
}

/// Whether the last that a daemon wrote says that it ended.
fn ended_well(reader: &Connection) -> Option<bool> {
    let sql = "SELECT kind FROM journal WHERE actor = '\"daemon\"' ORDER BY seq DESC LIMIT 1";
    let kind: String = reader.query_row(sql, [], |row| row.get(0)).ok()?;
    Some(kind == Kind::Stop.name())
}

fn unix_ns() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn now_s() -> u64 {
    u64::try_from(unix_ns() / 1_000_000_000).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change leaves what is locked whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
