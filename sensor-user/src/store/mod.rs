//! The embedded store: one SQLite database, one thread that writes it, and what is written is there
//! after a kill at any instruction, a power cut or a reboot.
//!
//! Whoever has something to keep hands over a [`Work`]; the thread gathers what waits into one
//! transaction (a *group commit*: one fsync for all of it) and calls the [`Ack`]s once it is on disk.
//! Works are carried out in the order in which they were handed over: if one is durable, so is
//! everything before it. A work that fails by its own fault is left out, and the rest goes on.
//!
//! Nothing that enforces depends on it. While the disk is full, read-only or broken, works wait in
//! bounded memory and are tried again; [`StoreHealth`] says why in words. A database that is corrupt, or
//! of a newer form than this version reads, is moved aside and a new one begun, which
//! [`StoreHealth::begun`] tells: owners then write all that they know once more.

mod error;
mod file;
mod queue;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, Transaction};

pub use self::error::StoreError;
use self::{
    file::Database,
    queue::{Item, Shared},
    writer::Writer,
};

/// Something to be written. It may be carried out more than once, whenever the transaction that it
/// was part of could not be committed: so it depends on nothing that it changed itself.
pub type Work = Box<dyn Fn(&Transaction<'_>) -> rusqlite::Result<()> + Send>;

/// Told once what became of a work, on the store's thread: `Ok` once it is on disk, and
/// [`StoreError::Waiting`] as soon as a write failed that will be tried again.
pub type Ack = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// What a work is taken to need of memory, unless it says so itself.
const USUAL_BYTES: usize = 512;

/// How long a store that is dropped waits for what is queued.
const PATIENCE: Duration = Duration::from_secs(3);

/// How the store is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreHealth {
    /// Why nothing can be written at present, in words; `None` if it can.
    pub trouble: Option<String>,
    /// Since when, seconds since 1970.
    pub trouble_since_s: Option<u64>,
    /// Works that wait.
    pub queued: usize,
    /// Memory that they need, bytes.
    pub queued_bytes: usize,
    /// Works that were on disk when they were acknowledged.
    pub written: u64,
    /// Transactions that held them.
    pub commits: u64,
    /// Works that found the queue full, or that were still waiting when the daemon ended.
    pub lost: u64,
    /// Works that failed by their own fault, which is a mistake in Weir.
    pub refused: u64,
    /// Size of the database on disk with its log, bytes.
    pub bytes: u64,
    /// How often a database was begun anew while this process ran.
    pub begun: u64,
    /// Where the last database went that could not be used, and why.
    pub set_aside: Option<String>,
    /// Whether what was kept could not be read when the store was opened: owners then write all that
    /// they know, in place of it.
    pub unread: bool,
}

impl StoreHealth {
    /// Whether what is handed over reaches the disk.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.trouble.is_none()
    }
}

/// The store. Clones share it; the last one that goes waits a little for what is queued.
#[derive(Clone, Debug)]
pub struct Store(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the database, or begins one, and starts the thread. `schemas` are statements such as
    /// `CREATE TABLE IF NOT EXISTS`, carried out at every opening. The connection is for reading what
    /// was kept; where there is nothing to be read, it is of an empty database with these tables.
    ///
    /// What cannot be opened for writing is a trouble that [`Self::health`] tells, and no error.
    ///
    /// # Errors
    /// If there can be no thread, or if the statements are wrong.
    pub fn open(path: &Path, schemas: &[&str]) -> Result<(Self, Connection), StoreError> {
        Self::open_beside(path, schemas, Path::new("/run"))
    }

    /// The same. `scratch` is a directory in memory, for a copy where the disk cannot be written, not
    /// even to read what was kept.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_beside(
        path: &Path,
        schemas: &[&str],
        scratch: &Path,
    ) -> Result<(Self, Connection), StoreError> {
        let database = Database::new(path, schemas, scratch);
        let opened = file::open(&database)?;
        let shared = Arc::new(Shared::default());
        shared.with_health(|health| {
            health.set_aside.clone_from(&opened.set_aside);
            health.unread = opened.is_unread;
            health.begun = u64::from(opened.set_aside.is_some());
        });
        if let Some(trouble) = &opened.trouble {
            shared.fails(trouble);
        }
        let writer = Writer::new(database, opened.writer, Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("weir-store".into())
            .spawn(move || writer.run())
            .map_err(|source| StoreError::Thread { source })?;
        let handle = Handle { path: path.to_owned(), shared, thread: Mutex::new(Some(thread)) };
        Ok((Self(Arc::new(handle)), opened.reader))
    }

    /// Hands something over to be written. Never waits. Whether it was taken: if the queue is full
    /// it is counted as lost, and its ack says so.
    pub fn submit(&self, work: Work, ack: Option<Ack>) -> bool {
        self.submit_sized(USUAL_BYTES, work, ack)
    }

    /// The same for a work that holds so many bytes of memory.
    pub fn submit_sized(&self, bytes: usize, work: Work, ack: Option<Ack>) -> bool {
        self.0.shared.push(Item { work, ack, bytes })
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        self.0.shared.health()
    }

    /// Whether there is room for more than what waits now. Who can keep changes and hand them over
    /// later, together, does so while there is none.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.shared.has_room()
    }

    /// Where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// A connection of its own for reading, which sees what is committed.
    ///
    /// # Errors
    /// If the database cannot be opened.
    pub fn reader(&self) -> Result<Connection, StoreError> {
        file::reader(&self.0.path, None)
    }

    /// Takes nothing more, waits at most so long for what is queued, and ends the thread.
    pub fn close(&self, patience: Duration) {
        self.0.close(patience);
    }
}

impl Handle {
    fn close(&self, patience: Duration) {
        self.shared.close(patience);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there has already been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close(PATIENCE);
    }
}

#[cfg(test)]
mod tests;
