//! The cohort over restarts: one row a source, written in batches.
//!
//! Addresses are personal data: rows go when their source was not here for [`super::RETENTION_S`], and
//! when somebody asks to be forgotten.

use std::collections::BTreeSet;

use ipnet::IpNet;
use rusqlite::{Connection, Result, params};
use weir_common::abi::{SourceKey, time::SECOND_NS};

use super::{Cohort, Punished, RETENTION_S, Visits};
use crate::profile::source;

/// Its table. Times are nanoseconds since 1970, 0 = never; the source is its eight bytes.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS cohort (
    source         BLOB    NOT NULL PRIMARY KEY,
    occasions      INTEGER NOT NULL,
    counted_ns     INTEGER NOT NULL,
    enough_ns      INTEGER NOT NULL,
    last_ns        INTEGER NOT NULL,
    punished_ns    INTEGER NOT NULL,
    punished_until_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS cohort_last ON cohort (last_ns);
";

/// Rows that are kept: as many as there is room for in memory.
pub const ROWS: u32 = 262_144;

/// Rows written by one batch at most; the rest waits for the next.
const BATCH: usize = 20_000;

/// What is kept of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    source: SourceKey,
    visits: Visits,
    punished: Option<Punished>,
}

impl Cohort {
    /// What changed since the last time, to be written.
    pub fn changes(&mut self) -> Vec<Kept> {
        let mut kept = Vec::new();
        while kept.len() < BATCH {
            let Some(words) = self.changed.pop_first() else { break };
            let source = SourceKey { words };
            let (visits, punished) = self.records.of(&source);
            kept.push(Kept { source, visits, punished });
        }
        kept
    }

    /// Everything is to be written once more: the database was begun anew.
    pub fn keep_everything(&mut self) {
        self.changed.extend(self.records.matching(|_| true).iter().map(|source| source.words));
    }

    /// Goes on from what an earlier run kept.
    pub fn take_up(&mut self, kept: &[Kept]) {
        for Kept { source, visits, punished } in kept {
            self.records.recall(source, *visits, *punished);
        }
    }

    /// Forgets everybody of whom `is_forgotten` says so: sessions, verdicts, labels and figures. Returns
    /// how many they were.
    pub fn forget(&mut self, is_forgotten: impl Fn(&IpNet) -> bool) -> usize {
        let is = |it: &SourceKey| is_forgotten(&source::net(it));
        let labelled = self.labels.iter().map(|(source, _)| *source).filter(is);
        let judged = self.judged.iter().map(|(source, _)| *source).filter(is);
        let known: BTreeSet<[u32; 2]> = labelled
            .chain(judged)
            .chain(self.records.matching(is))
            .map(|source| source.words)
            .collect();
        for words in &known {
            let source = SourceKey { words: *words };
            self.labels.remove(&source);
            self.records.forget(&source);
            self.changed.remove(&source.words);
            self.judged.remove(&source);
            self.host.remove(&source);
            for watched in self.meters.values_mut() {
                watched.meter.remove(&source);
            }
        }
        known.len()
    }
}

/// Writes what changed.
///
/// # Errors
/// What the database says.
pub fn write(connection: &Connection, kept: &[Kept]) -> Result<()> {
    let mut put =
        connection.prepare("INSERT OR REPLACE INTO cohort VALUES (?, ?, ?, ?, ?, ?, ?)")?;
    let mut remove = connection.prepare("DELETE FROM cohort WHERE source = ?")?;
    for Kept { source, visits, punished } in kept {
        if visits.occasions == 0 && punished.is_none() {
            remove.execute([bytes(source)])?;
            continue;
        }
        let (first, last) = punished.map_or((0, 0), |punished| (punished.first, punished.last));
        put.execute(params![
            bytes(source),
            visits.occasions,
            signed(visits.counted),
            signed(visits.enough),
            signed(visits.last.max(last)),
            signed(first),
            signed(last),
        ])?;
    }
    Ok(())
}

/// Deletes who was not here for long, and beyond [`ROWS`] those who matter least: who is not trusted yet,
/// longest away first.
///
/// # Errors
/// What the database says.
pub fn retain(connection: &Connection, now_unix_s: u64, rows: u32) -> Result<usize> {
    let since = now_unix_s.saturating_sub(RETENTION_S).saturating_mul(SECOND_NS);
    let old = connection.execute("DELETE FROM cohort WHERE last_ns < ?", [signed(since)])?;
    let beyond = connection.execute(
        "DELETE FROM cohort WHERE source IN (
             SELECT source FROM cohort ORDER BY enough_ns = 0, last_ns DESC LIMIT -1 OFFSET ?)",
        [rows],
    )?;
    Ok(old + beyond)
}

/// Deletes everybody in a prefix. Returns how many there were.
///
/// # Errors
/// What the database says.
pub fn forget(connection: &Connection, net: &IpNet) -> Result<usize> {
    let mut gone = 0;
    for kept in recall(connection)? {
        let its = source::net(&kept.source);
        if net.contains(&its) || its.contains(net) {
            let row = [bytes(&kept.source)];
            gone += connection.execute("DELETE FROM cohort WHERE source = ?", row)?;
        }
    }
    Ok(gone)
}

/// Reads all that is kept, who was here longest ago first.
///
/// # Errors
/// What the database says.
pub fn recall(connection: &Connection) -> Result<Vec<Kept>> {
    let mut rows = connection.prepare(
        "SELECT source, occasions, counted_ns, enough_ns, last_ns, punished_ns, punished_until_ns
         FROM cohort ORDER BY last_ns, source",
    )?;
    let rows = rows.query_map([], |row| {
        let source: [u8; 8] = row.get(0)?;
        let first = unsigned(row.get(5)?);
        let last = unsigned(row.get(6)?);
        let visits = Visits {
            occasions: row.get(1)?,
            counted: unsigned(row.get(2)?),
            enough: unsigned(row.get(3)?),
            last: unsigned(row.get(4)?),
        };
        let punished = (first > 0).then_some(Punished { first, last });
        Ok(Kept { source: key(source), visits, punished })
    })?;
    rows.collect()
}

/// A source as its bytes in memory, which are wire order.
pub(crate) fn bytes(source: &SourceKey) -> [u8; 8] {
    let [first, second] = source.words;
    let mut bytes = [0; 8];
    for (to, from) in
        bytes.iter_mut().zip(first.to_ne_bytes().into_iter().chain(second.to_ne_bytes()))
    {
        *to = from;
    }
    bytes
}

/// A source of its bytes.
pub(crate) fn key(bytes: [u8; 8]) -> SourceKey {
    let [a, b, c, d, e, f, g, h] = bytes;
    SourceKey { words: [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])] }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
