//! The database file: opened so that a commit is on disk, checked, and moved aside if it is of no use.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::error::{Fault, StoreError, fault, words};

/// The form of the database as a whole. A higher one was written by a later version.
const FORM: i64 = 1;

const META: &str = "CREATE TABLE IF NOT EXISTS meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID";

/// Largest database that is checked whole at the start: some hundred milliseconds. In a larger one
/// what is wrong is found when it is met.
const CHECKED_BYTES: u64 = 64 << 20;

/// How long another process that holds the database locked is waited for.
const BUSY: Duration = Duration::from_secs(2);

/// What is opened.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) path: PathBuf,
    schemas: Vec<String>,
    scratch: PathBuf,
}

/// What came of opening.
pub(super) struct Opened {
    pub(super) writer: Option<Connection>,
    pub(super) reader: Connection,
    /// Whether there is something that cannot be read.
    pub(super) is_unread: bool,
    /// Why there is no writer.
    pub(super) trouble: Option<String>,
    /// What was moved aside, and why.
    pub(super) set_aside: Option<String>,
}

/// Why a database cannot be written.
pub(super) enum Unusable {
    /// Its form is of a later version.
    Newer(i64),
    /// SQLite, or the system, said so.
    Failed(Fault, String),
    /// The statements for tables are wrong.
    Schema(rusqlite::Error),
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(fault(&error), words(&error))
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Failed(Fault::Surroundings, error.to_string())
    }
}

impl Database {
    pub(super) fn new(path: &Path, schemas: &[&str], scratch: &Path) -> Self {
        let schemas = schemas.iter().map(|schema| (*schema).to_owned()).collect();
        Self { path: path.to_owned(), schemas, scratch: scratch.to_owned() }
    }

    /// Opens it for writing, and makes what is missing.
    pub(super) fn writer(&self) -> Result<Connection, Unusable> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        // SQLite gives its log the permissions of the database.
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        let form: Option<i64> = connection
            .query_row("SELECT value FROM meta WHERE name = 'form'", [], |row| {
                row.get::<_, String>(0)
            })
            .optional()
            .or_else(|error| match fault(&error) {
                // There is no such table yet.
                Fault::Work => Ok(None),
                _ => Err(error),
            })?
            .and_then(|form| form.parse().ok());
        if let Some(form) = form.filter(|form| *form > FORM) {
            return Err(Unusable::Newer(form));
        }
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;
             PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864;",
        )?;
        self.check(&connection)?;
        self.make_tables(&connection)?;
        Ok(connection)
    }

    fn check(&self, connection: &Connection) -> Result<(), Unusable> {
        if size(&self.path) > CHECKED_BYTES {
            return Ok(());
        }
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found == "ok" {
            return Ok(());
        }
        Err(Unusable::Failed(Fault::Database, format!("the database is corrupt ({found})")))
    }

    fn make_tables(&self, connection: &Connection) -> Result<(), Unusable> {
        let make = || -> rusqlite::Result<()> {
            let transaction = connection.unchecked_transaction()?;
            transaction.execute_batch(META)?;
            for schema in &self.schemas {
                transaction.execute_batch(schema)?;
            }
            transaction
                .execute("INSERT OR IGNORE INTO meta VALUES ('form', ?1)", [FORM.to_string()])?;
            transaction.commit()
        };
        make().map_err(|error| match fault(&error) {
            Fault::Work => Unusable::Schema(error),
            _ => error.into(),
        })
    }

    /// Moves the database aside, so that the next opening begins a new one; says where it went.
    pub(super) fn set_aside(&self, unusable: &Unusable) -> io::Result<String> {
        let (kind, why) = match unusable {
            Unusable::Newer(form) => {
                ("newer", format!("its form is {form}, and this version reads {FORM}"))
            }
            Unusable::Failed(_, why) => ("corrupt", why.clone()),
            Unusable::Schema(error) => ("corrupt", error.to_string()),
        };
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let suffix = format!(".{kind}-{}", now.replace([':', '-'], ""));
        let aside = with_suffix(&self.path, &suffix);
        for part in ["-wal", "-shm", ""] {
            let from = with_suffix(&self.path, part);
            match fs::rename(&from, with_suffix(&aside, part)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let said = format!("{} ({why})", aside.display());
        tracing::error!(
            "the store could not be used and was moved to {said}: a new one is begun; what the kernel \
             enforces goes on, and is written into it"
        );
        Ok(said)
    }

    /// Opens it for writing; one that is of no use is moved aside, and a new one begun. Says where.
    pub(super) fn writer_or_new(&self) -> Result<(Connection, Option<String>), Unusable> {
        let unusable = match self.writer() {
            Ok(connection) => return Ok((connection, None)),
            Err(unusable) => unusable,
        };
        if !matches!(unusable, Unusable::Newer(_) | Unusable::Failed(Fault::Database, _)) {
            return Err(unusable);
        }
        let said = self.set_aside(&unusable)?;
        Ok((self.writer()?, Some(said)))
    }

    /// The file's identity, so that one that was removed or replaced is noticed.
    pub(super) fn inode(&self) -> Option<(u64, u64)> {
        fs::metadata(&self.path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Bytes on disk, the log included.
    pub(super) fn bytes(&self) -> u64 {
        size(&self.path) + size(&with_suffix(&self.path, "-wal"))
    }
}

/// Opens for writing and for reading, as far as it goes.
pub(super) fn open(database: &Database) -> Result<Opened, StoreError> {
    let (writer, trouble, set_aside) = match database.writer_or_new() {
        Ok((writer, set_aside)) => (Some(writer), None, set_aside),
        Err(Unusable::Schema(error)) => return Err(StoreError::Schema(error)),
        Err(Unusable::Newer(form)) => (None, Some(format!("its form is {form}")), None),
        Err(Unusable::Failed(_, why)) => (None, Some(why), None),
    };
    let trouble = trouble.map(|why| format!("cannot write {}: {why}", database.path.display()));
    let read = reader(&database.path, Some(&database.scratch));
    let is_unread = read.is_err();
    let reader = match read {
        Ok(reader) => reader,
        Err(error) => {
            tracing::warn!("{error}; nothing is known of what was kept");
            empty(database).map_err(StoreError::Schema)?
        }
    };
    Ok(Opened { writer, reader, is_unread, trouble, set_aside })
}

/// Opens for reading, also on a disk that cannot be written.
pub(super) fn reader(path: &Path, scratch: Option<&Path>) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let readable = |connection: Connection| -> rusqlite::Result<Connection> {
        connection.busy_timeout(BUSY)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    let opened = Connection::open_with_flags(path, flags).and_then(readable);
    let opened = opened.or_else(|error| {
        // Where not even SQLite's shared memory can be made, a copy is read. Without room for that,
        // the file alone: complete, if no log of a daemon that was killed is beside it.
        if let Some(copy) = scratch.and_then(|scratch| open_copy(path, scratch)) {
            return Ok(copy);
        }
        if size(&with_suffix(path, "-wal")) > 0 {
            return Err(error);
        }
        let mut address = OsString::from("file:");
        address.push(percent_encoded(path));
        address.push("?immutable=1");
        let flags = flags | OpenFlags::SQLITE_OPEN_URI;
        Connection::open_with_flags(address, flags).and_then(readable).map_err(|_| error)
    });
    opened.map_err(|error| StoreError::Open { path: path.to_owned(), why: words(&error) })
}

/// Opens a copy of the database and its log.
fn open_copy(path: &Path, scratch: &Path) -> Option<Connection> {
    let folder = scratch.join(format!("store-{}", std::process::id()));
    fs::DirBuilder::new().mode(0o700).create(&folder).ok()?;
    let opened = open_copy_in(path, &folder.join("weir.db"));
    // What is open stays readable.
    if let Err(error) = fs::remove_dir_all(&folder) {
        tracing::warn!("cannot remove {}: {error}", folder.display());
    }
    opened
}

fn open_copy_in(path: &Path, copy: &Path) -> Option<Connection> {
    fs::copy(path, copy).ok()?;
    let log = with_suffix(path, "-wal");
    if log.exists() {
        fs::copy(log, with_suffix(copy, "-wal")).ok()?;
    }
    let connection = Connection::open(copy).ok()?;
    // Alone, SQLite needs no shared memory; the first question reads the log.
    connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT;").ok()?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).ok()?;
    Some(connection)
}

fn empty(database: &Database) -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(META)?;
    for schema in &database.schemas {
        connection.execute_batch(schema)?;
    }
    Ok(connection)
}

/// A path as part of a URI, by RFC 3986.
fn percent_encoded(path: &Path) -> String {
    use std::{fmt::Write as _, os::unix::ffi::OsStrExt as _};
    let mut encoded = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
