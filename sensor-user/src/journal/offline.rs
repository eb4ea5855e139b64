//! Writing to the journal where no daemon runs: the kill switch, keys, requests to be forgotten.

use std::{path::PathBuf, time::Duration};

use super::{
    desk::{Desk, Places},
    privacy::PrivacySettings,
    record::Record,
    schema::SCHEMA,
};
use crate::{
    daemon::lock::{DaemonLock, LockError},
    enforce::{cohort, ledger::durable},
    label,
    store::{Store, StoreError},
    system::paths::Paths,
};

/// How long the end waits for the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// The journal cannot be written without a daemon.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// There is one, or the lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no database yet.
    #[error("there is no journal at {}: it begins with the first `weir run`", path.display())]
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be written.
    #[error("cannot write the journal: {0}")]
    Unwritable(String),
}

/// The journal, while this process keeps daemons away.
#[derive(Debug)]
pub struct Offline {
    /// What is written to.
    pub desk: Desk,
    store: Store,
    _lock: DaemonLock,
}

impl Offline {
    /// Opens it.
    ///
    /// # Errors
    /// If a daemon runs, or there is no journal, or it cannot be written.
    pub fn open(paths: &Paths) -> Result<Self, OfflineError> {
        let path = paths.store_file();
        let lock = DaemonLock::take(&paths.daemon_lock())?;
        if !path.exists() {
            return Err(OfflineError::Missing { path });
        }
        let schemas = [SCHEMA, label::SCHEMA, cohort::SCHEMA, durable::SCHEMA];
        let (store, _) = Store::open(&path, &schemas)?;
        if let Some(trouble) = store.health().trouble {
            return Err(OfflineError::Unwritable(trouble));
        }
        // The policy is not known here; what is kept by default names nobody.
        let privacy = PrivacySettings::default();
        let desk = Desk::open(store.clone(), Places::of(paths), privacy);
        Ok(Self { desk, store, _lock: lock })
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self) -> Result<(), OfflineError> {
        self.desk.finish();
        self.store.close(PATIENCE);
        let health = self.store.health();
        match health.trouble {
            Some(trouble) => Err(OfflineError::Unwritable(trouble)),
            None if health.lost > 0 => Err(OfflineError::Unwritable("there was no time".into())),
            None => Ok(()),
        }
    }

    /// Writes a record down, if no daemon runs and there is a journal: for commands that work whether or
    /// not it can be.
    ///
    /// # Errors
    /// If it was not written.
    pub fn note(paths: &Paths, record: &Record) -> Result<(), OfflineError> {
        let mut offline = Self::open(paths)?;
        offline.desk.note(record);
        offline.finish()
    }
}
