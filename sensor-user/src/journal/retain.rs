//! Retention: what is too old is deleted, a little at a time, and a record says so.
//!
//! Whole records go up to a signed checkpoint, which stays: the chain hangs on it from then on. Personal
//! parts go earlier. Nothing is deleted up to a checkpoint that does not fit its record: what somebody
//! tampered with must stay to be found.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    append::{Appended, Entry, Sign, append},
    checkpoint::{COLUMNS, Checkpoint},
    deletions::{forgotten, personal_body, records_body},
    privacy::PrivacySettings,
    record::{Actor, Kind, Record},
    signature::SigningKey,
};

/// Records, or personal parts, that one step deletes at most: some ten milliseconds.
pub const STEP: i64 = 5_000;
/// Personal parts that one step looks at.
const LOOKED_AT: i64 = 4 * STEP;

/// What a step did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Retained {
    /// Whole records that were deleted.
    pub records: usize,
    /// Personal parts that were taken out.
    pub personal: usize,
    /// What was written, if anything was.
    pub appended: Option<Appended>,
}

impl Retained {
    /// Whether there may be more to delete.
    #[must_use]
    pub const fn is_unfinished(&self) -> bool {
        self.records > 0 || self.personal > 0
    }
}

/// One step. In one transaction with the records that say what it did.
///
/// # Errors
/// What SQLite says; then the caller's transaction must not be committed.
pub fn retain(
    connection: &Connection,
    privacy: &PrivacySettings,
    key: Option<&SigningKey>,
    now_unix_ns: i64,
) -> rusqlite::Result<Retained> {
    wipe(connection)?;
    let before = |ns: u64| now_unix_ns.saturating_sub(i64::try_from(ns).unwrap_or(i64::MAX));
    let mut retained = Retained::default();
    let mut entries = Vec::new();
    let note = |body| entry(body, now_unix_ns);
    if let Some((through, count)) = delete_records(connection, before(privacy.retain_ns))? {
        retained.records = count;
        entries.push(note(records_body(through, count)));
    }
    let personal_ns = privacy.retain_personal_ns.min(privacy.retain_ns);
    let old = old_personal_parts(connection, before(personal_ns))?;
    if old.count() > 0 {
        retained.personal = old.delete(connection)?;
        entries.push(note(old.body()));
    }
    if !entries.is_empty() {
        let appended = append(connection, &entries, key, Sign::WhenDue, now_unix_ns)?;
        retained.appended = Some(appended);
    }
    Ok(retained)
}

/// What is deleted is overwritten, so that it is not found in the file either.
pub(super) fn wipe(connection: &Connection) -> rusqlite::Result<()> {
    // The store's connection does so anyway; it answers with what holds now.
    connection.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))
}

fn entry(body: serde_json::Value, now_unix_ns: i64) -> Entry {
    let record = Record::new(Kind::Retention, &Actor::Daemon, body);
    Entry {
        unix_ns: now_unix_ns,
        kind: record.kind,
        actor: serde_json::to_string(&record.actor).unwrap_or_default(),
        body: record.body.to_string(),
        personal: None,
    }
}

/// Deletes records up to the last checkpoint that is older than this; up to which, and how many.
fn delete_records(
    connection: &Connection,
    before_ns: i64,
) -> rusqlite::Result<Option<(i64, usize)>> {
    let first: Option<i64> =
        connection.query_row("SELECT min(seq) FROM journal", [], |row| row.get(0))?;
    let Some(first) = first else { return Ok(None) };
    let sql = format!(
        "SELECT {COLUMNS} FROM journal_checkpoints \
         WHERE unix_ns < ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq DESC LIMIT 1"
    );
    let anchor = connection
        .query_row(&sql, params![before_ns, first, first.saturating_add(STEP)], Checkpoint::read)
        .optional()?;
    let Some(anchor) = anchor.filter(Checkpoint::is_signed) else { return Ok(None) };
    let hash: Option<Vec<u8>> = connection
        .query_row("SELECT hash FROM journal WHERE seq = ?1", [anchor.seq], |row| row.get(0))
        .optional()?;
    if hash.as_ref() != Some(&anchor.hash) {
        return Ok(None);
    }
    let through = anchor.seq;
    connection.execute("DELETE FROM journal_personal WHERE seq <= ?1", [through])?;
    connection.execute("DELETE FROM journal_checkpoints WHERE seq < ?1", [through])?;
    let count = connection.execute("DELETE FROM journal WHERE seq <= ?1", [through])?;
    Ok(Some((through, count)))
}

/// Personal parts of records that are too old.
#[derive(Default)]
struct OldParts {
    /// All up to this; 0 = none.
    through: i64,
    through_count: usize,
    /// And these: records that are not in the order of their times, because a clock was set.
    others: Vec<i64>,
}

impl OldParts {
    fn count(&self) -> usize {
        self.through_count + self.others.len()
    }

    fn delete(&self, connection: &Connection) -> rusqlite::Result<usize> {
        let mut count =
            connection.execute("DELETE FROM journal_personal WHERE seq <= ?1", [self.through])?;
        count += delete_personal(connection, &self.others)?;
        Ok(count)
    }

    fn body(&self) -> serde_json::Value {
        let mut body = personal_body(self.through, self.count());
        if let (false, Some(body)) = (self.others.is_empty(), body.as_object_mut()) {
            let (name, ranges) = forgotten(&self.others);
            body.insert(name.into(), ranges);
        }
        body
    }
}

fn old_personal_parts(connection: &Connection, before_ns: i64) -> rusqlite::Result<OldParts> {
    let mut statement = connection.prepare(
        "SELECT p.seq, j.unix_ns FROM journal_personal p CROSS JOIN journal j ON j.seq = p.seq \
         ORDER BY p.seq LIMIT ?1",
    )?;
    let mut rows = statement.query([LOOKED_AT])?;
    let mut old = OldParts::default();
    let mut is_newer_seen = false;
    while let Some(row) = rows.next()? {
        let (seq, unix_ns): (i64, i64) = (row.get(0)?, row.get(1)?);
        if unix_ns >= before_ns {
            is_newer_seen = true;
        } else if is_newer_seen {
            old.others.push(seq);
        } else {
            old.through = seq;
            old.through_count += 1;
        }
        if old.count() as i64 >= STEP {
            break;
        }
    }
    Ok(old)
}

/// Takes out personal parts; how many there were.
pub(super) fn delete_personal(connection: &Connection, seqs: &[i64]) -> rusqlite::Result<usize> {
    let mut statement = connection.prepare("DELETE FROM journal_personal WHERE seq = ?1")?;
    seqs.iter().map(|seq| statement.execute([seq])).sum()
}
