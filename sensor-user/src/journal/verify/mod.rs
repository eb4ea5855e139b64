//! `weir journal verify`: whether the journal is as it was written, and where it is not.
//!
//! One pass, in bounded memory, over a database that is not changed. What holds: every record has
//! its own hash and follows the one before; personal parts are those that were written, or a record says
//! that they were taken out; checkpoints are signed, by keys that are trusted, and name records that
//! are there; the chain reaches as far as the head file and those who ask remember.

mod finding;
mod place;
mod trust;
mod walk;

use std::path::Path;

use rusqlite::{Connection, Rows};
use serde::Serialize;

pub use self::finding::{Finding, Wrong};
use self::{
    finding::Findings,
    trust::Trust,
    walk::{SELECT, Walk},
};
use super::{
    chain::{Hash, hex},
    checkpoint::{COLUMNS, Checkpoint},
    deletions::Deletions,
    read::{ReadError, Reader},
    signature::PublicKey,
};

/// A record that somebody outside the database remembers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its place.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
    /// Who remembers it, for messages: `the head file`.
    pub from: String,
}

/// The file beside the database that has the latest checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Head {
    /// There is none.
    Absent,
    /// It is not what Weir writes there.
    Unusable,
    /// What it says.
    Says(Checkpoint),
}

impl Head {
    /// Reads it. Do so before the database is opened: then it cannot know more than that.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        match std::fs::read_to_string(path) {
            Ok(text) => match Checkpoint::from_head(&text).filter(Checkpoint::is_signed) {
                Some(checkpoint) => Self::Says(checkpoint),
                None => Self::Unusable,
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::Absent,
            Err(_) => Self::Unusable,
        }
    }
}

/// What is compared with the database.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// Keys that are trusted; empty = the first one that is met.
    pub keys: Vec<PublicKey>,
    /// Records that somebody remembers.
    pub known: Vec<Known>,
    /// The file beside the database.
    pub head: Option<Head>,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// Whether nothing is wrong.
    pub holds: bool,
    /// Records that were looked at.
    pub records: u64,
    /// The first of them; 0 = there is none.
    pub first: i64,
    /// The last.
    pub last: i64,
    /// Its hash, in hexadecimal digits.
    pub last_hash: String,
    /// Checkpoints.
    pub checkpoints: u64,
    /// The last record that a checkpoint by a trusted key covers; 0 = none.
    pub signed_through: i64,
    /// Personal parts that are there.
    pub personal: u64,
    /// Personal parts that were taken out.
    pub personal_deleted: u64,
    /// What is wrong, in the order of its places.
    pub findings: Vec<Finding>,
    /// More findings than are listed.
    pub more: u64,
    /// What whoever asks should know.
    pub notes: Vec<String>,
}

/// Looks at the whole journal.
///
/// # Errors
/// If the database cannot be read at all; one that is damaged further on is a finding.
pub fn verify(reader: &Reader, knowledge: &Knowledge) -> Result<Report, ReadError> {
    let failed = ReadError::of(&reader.path);
    let connection = &reader.connection;
    let mut early = Findings::default();
    let deletions = match Deletions::read(connection) {
        Ok(deletions) => deletions,
        Err(error) if is_damage(&error) => {
            early.add(0, 0, Wrong::Damaged, format!("the database is damaged: {error}"));
            Deletions::default()
        }
        Err(error) => return Err(failed(error)),
    };
    let mut known = knowledge.known.clone();
    let head = take_head(knowledge.head.as_ref(), &mut known, &mut early);
    let base = deletions.records_through;
    let trust = Trust::new(&knowledge.keys);
    let mut walk = Walk::new(trust, Some(&deletions), &known, base);
    walk.findings = early;
    walk_all(connection, &mut walk, i64::MIN, head).map_err(&failed)?;
    let orphans = orphans(connection, &mut walk.findings);
    if let Err(error) = orphans {
        walk.findings.add(0, 0, Wrong::Damaged, format!("the database is damaged: {error}"));
    }
    let notes = notes(&walk, knowledge, base);
    Ok(report(walk, notes))
}

/// Looks at what was written since a checkpoint: at the start of the daemon, quickly.
///
/// # Errors
/// What SQLite says.
pub fn verify_tail(connection: &Connection, head: &Head) -> rusqlite::Result<Report> {
    let sql = format!("SELECT {COLUMNS} FROM journal_checkpoints ORDER BY seq DESC LIMIT 2");
    let mut statement = connection.prepare(&sql)?;
    let mut latest = statement.query_map([], Checkpoint::read)?;
    let base = latest.nth(1).transpose()?.map_or(0, |checkpoint| checkpoint.seq);
    // A chain of which older records were deleted begins where it begins.
    let lowest: Option<i64> =
        connection.query_row("SELECT min(seq) FROM journal", [], |row| row.get(0))?;
    let base = base.max(lowest.map_or(0, |lowest| lowest - 1));
    let mut early = Findings::default();
    let mut known = Vec::new();
    let head = take_head(Some(head), &mut known, &mut early);
    let mut walk = Walk::new(Trust::new(&[]), None, &known, base);
    walk.findings = early;
    walk_all(connection, &mut walk, base, head)?;
    Ok(report(walk, Vec::new()))
}

fn take_head<'h>(
    head: Option<&'h Head>,
    known: &mut Vec<Known>,
    findings: &mut Findings,
) -> Option<&'h Checkpoint> {
    match head? {
        Head::Says(checkpoint) => {
            let hash = checkpoint.hash.as_slice().try_into().ok()?;
            known.push(Known { seq: checkpoint.seq, hash, from: "the head file".into() });
            Some(checkpoint)
        }
        Head::Unusable => {
            let text = "the head file cannot be read, or is not as it was signed";
            findings.add(0, 0, Wrong::Head, text);
            None
        }
        Head::Absent => None,
    }
}

/// Checkpoints in their order, each where it is due.
struct Checkpoints<'s> {
    rows: Rows<'s>,
    next: Option<Checkpoint>,
}

impl Checkpoints<'_> {
    fn advance(&mut self) -> rusqlite::Result<()> {
        self.next = self.rows.next()?.map(Checkpoint::read).transpose()?;
        Ok(())
    }

    /// Hands over those up to a place.
    fn through(&mut self, seq: i64, walk: &mut Walk<'_>) -> rusqlite::Result<()> {
        while let Some(checkpoint) = self.next.take_if(|next| next.seq <= seq) {
            walk.checkpoint(&checkpoint);
            self.advance()?;
        }
        Ok(())
    }
}

fn walk_all(
    connection: &Connection,
    walk: &mut Walk<'_>,
    after: i64,
    head: Option<&Checkpoint>,
) -> rusqlite::Result<()> {
    let sql = format!("SELECT {COLUMNS} FROM journal_checkpoints WHERE seq >= ?1 ORDER BY seq");
    let mut statement = connection.prepare(&sql)?;
    let mut checkpoints = Checkpoints { rows: statement.query([after])?, next: None };
    let mut records = connection.prepare(SELECT)?;
    let mut records = records.query([after])?;
    let mut beyond = None;
    let mut read_all = || -> rusqlite::Result<()> {
        checkpoints.advance()?;
        while let Some(row) = records.next()? {
            let next: i64 = row.get(0)?;
            checkpoints.through(next.saturating_sub(1), walk)?;
            let seq = walk.record(row)?;
            checkpoints.through(seq, walk)?;
        }
        // Those that are left have no record.
        while let Some(checkpoint) = checkpoints.next.take() {
            beyond = Some(checkpoint.seq);
            walk.checkpoint(&checkpoint);
            checkpoints.advance()?;
        }
        Ok(())
    };
    if let Err(error) = read_all() {
        let at = walk.counts.last.saturating_add(1);
        let text = format!("the database cannot be read on from here: {error}");
        walk.findings.add(at, at, Wrong::Damaged, text);
    }
    walk.finish(beyond, head);
    Ok(())
}

/// Personal parts of no record.
fn orphans(connection: &Connection, findings: &mut Findings) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT p.seq FROM journal_personal p LEFT JOIN journal j ON j.seq = p.seq \
         WHERE j.seq IS NULL ORDER BY p.seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let seq = row.get(0)?;
        findings.add(
            seq,
            seq,
            Wrong::PersonalInserted,
            "a personal part that belongs to no record",
        );
    }
    Ok(())
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    ) || matches!(
        error,
        rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::FromSqlConversionFailure(..)
    )
}

fn notes(walk: &Walk<'_>, knowledge: &Knowledge, base: i64) -> Vec<String> {
    let mut notes = Vec::new();
    let (counts, signed) = (walk.counts, walk.trust.signed_through);
    if base > 0 {
        notes.push(format!("records up to {base} were deleted, as the journal says"));
    }
    if walk.trust.on_first_use && counts.checkpoints > 0 {
        notes.push(
            "nobody said which key is the right one, so the first was taken: give it with --public-key"
                .into(),
        );
    }
    if counts.last > signed && counts.records > 0 {
        notes.push(format!(
            "records {} to {} are not signed yet: who can write the database could have made them",
            signed.max(base) + 1,
            counts.last
        ));
    }
    let has_head = matches!(knowledge.head, Some(Head::Says(_) | Head::Unusable));
    if !has_head && knowledge.known.is_empty() {
        notes.push(
            "there is no head file beside the database: an end that was cut off with its checkpoints \
             is found only with --checkpoint SEQ:HASH, from the log"
                .into(),
        );
    }
    for known in knowledge.known.iter().filter(|known| known.seq <= base) {
        notes.push(format!(
            "record {} of {} was deleted, as the journal says",
            known.seq, known.from
        ));
    }
    notes
}

fn report(walk: Walk<'_>, notes: Vec<String>) -> Report {
    let (findings, more) = walk.findings.finish();
    let counts = walk.counts;
    Report {
        holds: findings.is_empty(),
        records: counts.records,
        first: counts.first,
        last: counts.last,
        last_hash: hex(&walk.last_hash),
        checkpoints: counts.checkpoints,
        signed_through: walk.trust.signed_through,
        personal: counts.personal,
        personal_deleted: counts.personal_deleted,
        findings,
        more,
        notes,
    }
}
