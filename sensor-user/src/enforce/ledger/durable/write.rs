//! Writing: what is wanted at some places now, in place of what the store has there.

use std::{collections::HashMap, sync::Arc};

use ipnet::IpNet;
use rusqlite::{Connection, OptionalExtension as _, Statement, params};

use super::{KeptFingerprint, KeptOffence, MOST_OFFENCES, Moment, net_bytes};
use crate::enforce::{
    ledger::{ClassRecord, Entry, Meaning, Origin},
    names,
};

/// What of the ledger is to be made durable.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Batch {
    // Everything that there is, in place of everything that the store has.
    pub(in super::super) is_everything: bool,
    // Places of which the store is to forget what it has …
    pub(in super::super) places: Vec<IpNet>,
    // … and what is wanted there now.
    pub(in super::super) entries: Vec<(IpNet, Entry)>,
    pub(in super::super) fingerprints: Vec<(String, Option<KeptFingerprint>)>,
    // Lifted, and the kernel could not be told yet.
    pub(in super::super) lifted: Vec<Vec<u8>>,
    // Lifted earlier, and the kernel has been told since.
    pub(in super::super) settled: Vec<Vec<u8>>,
    pub(in super::super) classes: Vec<ClassRecord>,
    pub(in super::super) rules: Vec<(u32, Arc<str>)>,
    pub(in super::super) offences: Vec<KeptOffence>,
}

impl Batch {
    /// Memory that it holds, bytes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let prefixes = size_of::<IpNet>() * self.places.len()
            + size_of::<(IpNet, Entry)>() * self.entries.len();
        let others = self.fingerprints.len() + self.classes.len() + self.rules.len();
        256 + prefixes + 256 * others + 96 * (self.offences.len() + self.lifted.len())
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Writes it, within a transaction of the caller's.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn write(&self, connection: &Connection, at: &Moment) -> rusqlite::Result<()> {
        let boot = note_moment(connection, at)?;
        if self.is_everything {
            connection.execute_batch(
                "DELETE FROM verdict; DELETE FROM fingerprint_verdict; DELETE FROM lifted;
                 DELETE FROM class; DELETE FROM rule;",
            )?;
        }
        let mut meanings = Meanings::new(connection)?;
        self.write_prefixes(connection, &mut meanings, boot)?;
        self.write_fingerprints(connection, &mut meanings, boot)?;
        self.write_classes(connection, &mut meanings)?;
        for place in &self.settled {
            connection.execute("DELETE FROM lifted WHERE place = ?1", [place])?;
        }
        for place in &self.lifted {
            connection.execute("INSERT OR IGNORE INTO lifted VALUES (?1)", [place])?;
        }
        self.write_offences(connection, boot)
    }

    fn write_prefixes(
        &self,
        connection: &Connection,
        meanings: &mut Meanings<'_>,
        boot: i64,
    ) -> rusqlite::Result<()> {
        let mut delete = connection.prepare("DELETE FROM verdict WHERE net = ?1")?;
        let mut insert =
            connection.prepare("INSERT INTO verdict VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for net in &self.places {
            delete.execute([net_bytes(net)])?;
        }
        for (net, entry) in &self.entries {
            let origin = origin(&entry.meaning.origin);
            let meaning = meanings.number(&entry.meaning)?;
            let (made, ends) = (signed(entry.created_ns), entry.expires_ns.map(signed));
            insert.execute(params![net_bytes(net), origin, meaning, boot, made, ends])?;
        }
        Ok(())
    }

    fn write_fingerprints(
        &self,
        connection: &Connection,
        meanings: &mut Meanings<'_>,
        boot: i64,
    ) -> rusqlite::Result<()> {
        for (name, kept) in &self.fingerprints {
            let Some(KeptFingerprint { forms, entry, .. }) = kept else {
                connection.execute("DELETE FROM fingerprint_verdict WHERE name = ?1", [name])?;
                continue;
            };
            let meaning = meanings.number(&entry.meaning)?;
            let (made, ends) = (signed(entry.created_ns), entry.expires_ns.map(signed));
            connection.execute(
                "INSERT OR REPLACE INTO fingerprint_verdict VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![name, forms.join("\n"), meaning, boot, made, ends],
            )?;
        }
        Ok(())
    }

    fn write_classes(
        &self,
        connection: &Connection,
        meanings: &mut Meanings<'_>,
    ) -> rusqlite::Result<()> {
        for ClassRecord { id, meaning } in &self.classes {
            let meaning = meanings.number(meaning)?;
            connection.execute("INSERT OR REPLACE INTO class VALUES (?1, ?2)", (id, meaning))?;
        }
        for (number, name) in &self.rules {
            connection.execute("INSERT OR REPLACE INTO rule VALUES (?1, ?2)", (number, name))?;
        }
        Ok(())
    }

    fn write_offences(&self, connection: &Connection, boot: i64) -> rusqlite::Result<()> {
        for offence in &self.offences {
            connection.execute(
                "INSERT OR REPLACE INTO offence VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    net_bytes(&offence.net),
                    offence.policy,
                    offence.times,
                    names::action_name(offence.action),
                    boot,
                    signed(offence.until_ns),
                ],
            )?;
        }
        Ok(())
    }
}

/// Notes what both clocks show. Returns the number of the boot.
fn note_moment(connection: &Connection, at: &Moment) -> rusqlite::Result<i64> {
    let (now, unix) = (signed(at.now_ns), signed(at.unix_ns));
    connection.query_row(
        "INSERT INTO boot (id, began_ns, seen_ns, seen_unix_ns) VALUES (?1, ?2, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET seen_ns = ?2, seen_unix_ns = ?3
         RETURNING number",
        params![at.boot_id, now, unix],
        |row| row.get(0),
    )
}

/// Removes what nothing refers to any more, and offences beyond the bound; `forgotten_ns` after its
/// end, one counts no longer.
pub fn tidy(connection: &Connection, at: &Moment, forgotten_ns: u64) -> rusqlite::Result<()> {
    let boot = note_moment(connection, at)?;
    connection.execute_batch(
        "DELETE FROM meaning WHERE number NOT IN (
             SELECT meaning FROM verdict UNION SELECT meaning FROM fingerprint_verdict
             UNION SELECT meaning FROM class);",
    )?;
    connection.execute(
        "DELETE FROM offence WHERE boot = ?1 AND ends_ns < ?2",
        (boot, signed(at.now_ns.saturating_sub(forgotten_ns))),
    )?;
    connection.execute(
        "DELETE FROM offence WHERE (net, policy) IN (
             SELECT net, policy FROM offence ORDER BY boot DESC, ends_ns DESC LIMIT -1 OFFSET ?1)",
        [MOST_OFFENCES],
    )?;
    connection.execute(
        "DELETE FROM boot WHERE number < (SELECT min(boot) FROM (
             SELECT boot FROM verdict UNION SELECT boot FROM fingerprint_verdict
             UNION SELECT boot FROM offence UNION SELECT ?1))",
        [boot],
    )?;
    Ok(())
}

/// The numbers of meanings, each looked up once.
struct Meanings<'a> {
    insert: Statement<'a>,
    find: Statement<'a>,
    known: HashMap<Arc<Meaning>, i64>,
    // Neighbours mostly mean the same.
    last: Option<(Arc<Meaning>, i64)>,
}

impl<'a> Meanings<'a> {
    fn new(connection: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            insert: connection
                .prepare("INSERT INTO meaning (text) VALUES (?1) RETURNING number")?,
            find: connection.prepare("SELECT number FROM meaning WHERE text = ?1")?,
            known: HashMap::new(),
            last: None,
        })
    }

    fn number(&mut self, meaning: &Arc<Meaning>) -> rusqlite::Result<i64> {
        if let Some((last, number)) = &self.last
            && Arc::ptr_eq(last, meaning)
        {
            return Ok(*number);
        }
        let number = match self.known.get(meaning) {
            Some(number) => *number,
            None => self.look_up(meaning)?,
        };
        self.known.insert(Arc::clone(meaning), number);
        self.last = Some((Arc::clone(meaning), number));
        Ok(number)
    }

    fn look_up(&mut self, meaning: &Meaning) -> rusqlite::Result<i64> {
        let text = serde_json::to_string(meaning)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let found = self.find.query_row([&text], |row| row.get(0)).optional()?;
        match found {
            Some(number) => Ok(number),
            None => self.insert.query_row([&text], |row| row.get(0)),
        }
    }
}

/// Tells the entries of a prefix apart.
fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Guard => "guard".into(),
        Origin::Operator => "operator".into(),
        Origin::Policy { name, forgeable: false } => format!("policy {name}"),
        Origin::Policy { name, forgeable: true } => format!("forgeable {name}"),
    }
}

/// Nanoseconds as SQLite has integers; 292 years are enough.
fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}
