//! Records are written: each follows the one before, in one transaction with whatever else its
//! work does.

use rusqlite::{Connection, Statement, params};

use super::{
    chain::{Hash, Link, personal_digest},
    checkpoint::{Checkpoint, EVERY_NS, EVERY_RECORDS, Tail},
    record::Kind,
    signature::SigningKey,
};

/// A record as it will lie in the tables: what names somebody is apart, in the form that privacy asks
/// for.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When, nanoseconds since 1970.
    pub unix_ns: i64,
    /// What it is about.
    pub kind: Kind,
    /// Who did it, as JSON.
    pub actor: String,
    /// What happened, as JSON.
    pub body: String,
    /// Whom it happened to.
    pub personal: Option<PersonalPart>,
}

/// What names somebody.
#[derive(Clone, Debug)]
pub struct PersonalPart {
    /// Keeps the digest from being guessed.
    pub salt: [u8; 16],
    /// `plain`, `pseudonym` or `truncated`.
    pub form: &'static str,
    /// JSON: `{"about": […], "more": …}`.
    pub content: String,
}

impl Entry {
    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let personal = self.personal.as_ref().map_or(0, |personal| personal.content.len());
        size_of::<Self>() + self.actor.len() + self.body.len() + personal
    }
}

/// What was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Where the chain ends now.
    pub tail: Tail,
    /// What was signed.
    pub checkpoint: Option<Checkpoint>,
}

/// When a checkpoint is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// When there is one every so many records and so long.
    WhenDue,
    /// Now.
    Now,
}

/// Writes records at the end of the chain, and signs it when it is time to.
///
/// # Errors
/// What SQLite says; then the caller's transaction must not be committed.
pub fn append(
    connection: &Connection,
    entries: &[Entry],
    key: Option<&SigningKey>,
    sign: Sign,
    now_unix_ns: i64,
) -> rusqlite::Result<Appended> {
    let mut tail = Tail::of(connection)?;
    if !entries.is_empty() {
        let mut journal = connection.prepare(INSERT_RECORD)?;
        let mut personal = connection.prepare(INSERT_PERSONAL)?;
        for entry in entries {
            tail = append_one(&mut journal, &mut personal, tail, entry)?;
        }
    }
    let checkpoint = match key {
        Some(key) if tail.seq > 0 => checkpoint(connection, tail, key, sign, now_unix_ns)?,
        _ => None,
    };
    Ok(Appended { tail, checkpoint })
}

const INSERT_RECORD: &str = "INSERT INTO journal (seq, unix_ns, kind, actor, body, personal_digest, \
                             prev_hash, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const INSERT_PERSONAL: &str =
    "INSERT INTO journal_personal (seq, salt, form, content) VALUES (?1, ?2, ?3, ?4)";

fn append_one(
    journal: &mut Statement<'_>,
    personal_parts: &mut Statement<'_>,
    tail: Tail,
    entry: &Entry,
) -> rusqlite::Result<Tail> {
    let seq = tail.seq.saturating_add(1);
    let digest: Option<Hash> = entry.personal.as_ref().map(|personal| {
        personal_digest(&personal.salt, personal.form.as_bytes(), personal.content.as_bytes())
    });
    let link = Link {
        previous: &tail.hash,
        unix_ns: entry.unix_ns,
        kind: entry.kind.name().as_bytes(),
        actor: entry.actor.as_bytes(),
        body: entry.body.as_bytes(),
        personal: digest.as_ref().map(<[u8; 32]>::as_slice),
    };
    let hash = link.hash_at(seq);
    journal.execute(params![
        seq,
        entry.unix_ns,
        entry.kind.name(),
        entry.actor,
        entry.body,
        digest,
        tail.hash,
        hash
    ])?;
    if let Some(part) = &entry.personal {
        personal_parts.execute(params![seq, part.salt, part.form, part.content])?;
    }
    Ok(Tail { seq, hash })
}

fn checkpoint(
    connection: &Connection,
    tail: Tail,
    key: &SigningKey,
    sign: Sign,
    now_unix_ns: i64,
) -> rusqlite::Result<Option<Checkpoint>> {
    let last = Checkpoint::latest(connection)?;
    let (signed, signed_ns) = last.map_or((0, i64::MIN), |last| (last.seq, last.unix_ns));
    // A clock that went back makes nobody wait.
    let is_late = now_unix_ns.saturating_sub(signed_ns) >= EVERY_NS || now_unix_ns < signed_ns;
    let is_due = sign == Sign::Now || tail.seq - signed >= EVERY_RECORDS || is_late;
    if tail.seq <= signed || !is_due {
        return Ok(None);
    }
    let checkpoint = Checkpoint::sign(key, tail.seq, &tail.hash, signed, now_unix_ns);
    checkpoint.insert(connection)?;
    Ok(Some(checkpoint))
}
