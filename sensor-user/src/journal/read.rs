//! Looking at the journal without the daemon: read-only, as it was at one moment, a record at a time.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row};
use serde_json::Value;

use super::record::Kind;

/// The journal could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file.
    #[error(
        "there is no journal at {}: name its database with --database, or its directory with --state-dir",
        path.display()
    )]
    Missing {
        /// The database.
        path: PathBuf,
    },
    /// SQLite cannot read it.
    #[error("cannot read the journal in {}: {source}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

impl ReadError {
    pub(super) fn of(path: &Path) -> impl Fn(rusqlite::Error) -> Self + '_ {
        move |source| Self::Database { path: path.into(), source }
    }
}

/// A database that is looked at and not changed.
#[derive(Debug)]
pub struct Reader {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

impl Reader {
    /// Opens a database and keeps to what is in it at this moment.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        if !path.exists() {
            return Err(ReadError::Missing { path: path.into() });
        }
        let failed = ReadError::of(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(uri(path), flags).map_err(&failed)?;
        connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(&failed)?;
        // One moment for all that is read from now on.
        connection.execute_batch("BEGIN").map_err(&failed)?;
        connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))
            .map_err(&failed)?;
        Ok(Self { path: path.into(), connection })
    }

    /// Whether there is a journal in it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn has_journal(&self) -> Result<bool, ReadError> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN \
                   ('journal', 'journal_personal', 'journal_checkpoints')";
        let count: i64 = self
            .connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(ReadError::of(&self.path))?;
        Ok(count == 3)
    }
}

/// A database without a log beside it is nobody's at the moment, and may lie where nothing can be
/// written: then SQLite must not look for locks. With one, what is in the log counts too.
fn uri(path: &Path) -> String {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let immutable = if Path::new(&log).exists() { "" } else { "&immutable=1" };
    let path = path.as_os_str().as_encoded_bytes();
    let quoted: String = path
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                char::from(*byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("file:{quoted}?mode=ro{immutable}")
}

/// A record as it is kept.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredRecord {
    /// Its place in the chain, from 1.
    pub seq: i64,
    /// When, nanoseconds since 1970.
    pub unix_ns: i64,
    /// The name of its [`Kind`].
    pub kind: String,
    /// Who did it, as JSON.
    pub actor: String,
    /// What happened, as JSON.
    pub body: String,
    /// Its hash, in hexadecimal digits.
    pub hash: String,
    /// Whether it was written with a personal part.
    pub had_personal: bool,
    /// In which form: `plain`, `pseudonym` or `truncated`; `None` where the part is gone.
    pub form: Option<String>,
    /// The personal part, as JSON; `None` where it is gone.
    pub personal: Option<String>,
}

impl StoredRecord {
    /// When, RFC 3339.
    #[must_use]
    pub fn time(&self) -> String {
        time_text(self.unix_ns)
    }

    /// Whom it is about, as the personal part names them.
    #[must_use]
    pub fn about(&self) -> Vec<String> {
        let content = self.personal.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let about = content.as_ref().and_then(|content: &Value| content.get("about")?.as_array());
        let about = about.into_iter().flatten();
        about.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let text = |index| -> rusqlite::Result<Option<String>> {
            let bytes = row.get_ref(index)?.as_bytes_or_null().unwrap_or_default();
            Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
        };
        let hash = row.get_ref(5)?.as_bytes().unwrap_or_default();
        Ok(Self {
            seq: row.get(0)?,
            unix_ns: row.get(1)?,
            kind: text(2)?.unwrap_or_default(),
            actor: text(3)?.unwrap_or_default(),
            body: text(4)?.unwrap_or_default(),
            hash: super::chain::hex(hash),
            had_personal: row.get(6)?,
            form: text(7)?,
            personal: text(8)?,
        })
    }
}

/// A time as it is printed, RFC 3339.
#[must_use]
pub fn time_text(unix_ns: i64) -> String {
    let since = std::time::Duration::from_nanos(u64::try_from(unix_ns).unwrap_or_default());
    let time = std::time::UNIX_EPOCH.checked_add(since).unwrap_or(std::time::UNIX_EPOCH);
    humantime::format_rfc3339_millis(time).to_string()
}

/// Which records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// From this time on, nanoseconds since 1970.
    pub since_ns: Option<i64>,
    /// Before this time.
    pub until_ns: Option<i64>,
    /// Of these kinds; empty = of any.
    pub kinds: Vec<Kind>,
    /// About one of these names, as personal parts have them; empty = about anybody.
    pub about: Vec<String>,
    /// The latest so many.
    pub latest: Option<u64>,
}

impl Filter {
    fn takes(&self, record: &StoredRecord) -> bool {
        self.since_ns.is_none_or(|since| record.unix_ns >= since)
            && self.until_ns.is_none_or(|until| record.unix_ns < until)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.name() == record.kind))
            && (self.about.is_empty()
                || record.about().iter().any(|name| self.about.contains(name)))
    }
}

const SELECT: &str = "SELECT j.seq, j.unix_ns, j.kind, j.actor, j.body, j.hash, \
                      j.personal_digest IS NOT NULL, p.form, p.content \
                      FROM journal j LEFT JOIN journal_personal p ON p.seq = j.seq";

impl Reader {
    /// Calls `each` for the records that the filter takes, in their order; it says whether to go
    /// on.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn each(
        &self,
        filter: &Filter,
        mut each: impl FnMut(&StoredRecord) -> bool,
    ) -> Result<(), ReadError> {
        let first = match filter.latest {
            Some(latest) => self.first_of_latest(filter, latest)?,
            None => 0,
        };
        let sql = format!("{SELECT} WHERE j.seq >= ?1 ORDER BY j.seq");
        self.scan(&sql, first, |record| !filter.takes(record) || each(record))
    }

    /// Where the latest so many begin.
    fn first_of_latest(&self, filter: &Filter, latest: u64) -> Result<i64, ReadError> {
        let (mut left, mut first) = (latest, i64::MAX);
        if left == 0 {
            return Ok(first);
        }
        let sql = format!("{SELECT} WHERE j.seq >= ?1 ORDER BY j.seq DESC");
        self.scan(&sql, 0, |record| {
            if filter.takes(record) {
                first = record.seq;
                left -= 1;
            }
            left > 0
        })?;
        Ok(first)
    }

    fn scan(
        &self,
        sql: &str,
        first: i64,
        mut each: impl FnMut(&StoredRecord) -> bool,
    ) -> Result<(), ReadError> {
        let failed = ReadError::of(&self.path);
        let mut statement = self.connection.prepare(sql).map_err(&failed)?;
        let mut rows = statement.query([first]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            if !each(&StoredRecord::read(row).map_err(&failed)?) {
                break;
            }
        }
        Ok(())
    }
}
