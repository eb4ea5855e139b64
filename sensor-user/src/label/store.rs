//! Labels in the store: every one that was given, the latest of a source counts. Bounded.

use ipnet::IpNet;
use rusqlite::{Connection, Result, Row, params};
use serde::Serialize;
use weir_common::abi::SourceKey;

use super::{Label, Observed, Verdict};
use crate::{
    enforce::cohort::{bytes, key},
    profile::source,
    score::record::told,
};

/// Their table. `unix_ns`: nanoseconds since 1970; `observed`: JSON, see [`Observed`].
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS labels (
    id       INTEGER NOT NULL PRIMARY KEY,
    unix_ns  INTEGER NOT NULL,
    source   BLOB    NOT NULL,
    verdict  TEXT    NOT NULL CHECK (verdict IN ('human', 'bot')),
    why      TEXT,
    decision TEXT,
    observed TEXT    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS labels_source ON labels (source, id);
";

/// Labels that are kept; the oldest go first.
pub const KEPT: u32 = 100_000;

/// A label as it is exported, for training: a line of JSON.
#[derive(Clone, PartialEq, Debug, Serialize, serde::Deserialize)]
pub struct Export {
    /// Its number: later ones are greater.
    pub id: i64,
    /// When it was given (RFC 3339).
    pub time: String,
    /// About whom: an address, or an IPv6 /64.
    pub source: String,
    /// What it was.
    pub label: Verdict,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The decision that it was given for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Whether it is the latest of its source, and so counts.
    pub counts: bool,
    /// What was known of the source then.
    pub observed: Vec<Observed>,
}

/// Adds labels, and lets the oldest go beyond [`KEPT`].
///
/// # Errors
/// What the database says.
pub fn insert(connection: &Connection, labels: &[Label]) -> Result<()> {
    let mut put = connection.prepare(
        "INSERT INTO labels (unix_ns, source, verdict, why, decision, observed)
         VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    for label in labels {
        let observed = serde_json::to_string(&label.observed).unwrap_or_else(|_| "[]".into());
        put.execute(params![
            i64::try_from(label.unix_ns).unwrap_or(i64::MAX),
            bytes(&label.source),
            label.verdict.name(),
            label.why,
            label.decision,
            observed,
        ])?;
    }
    connection
        .execute("DELETE FROM labels WHERE id <= (SELECT max(id) FROM labels) - ?", [KEPT])?;
    Ok(())
}

/// What counts for each source, oldest first.
///
/// # Errors
/// What the database says.
pub fn latest(connection: &Connection) -> Result<Vec<(SourceKey, Verdict)>> {
    let mut rows = connection.prepare(
        "SELECT source, verdict FROM labels
         WHERE id IN (SELECT max(id) FROM labels GROUP BY source) ORDER BY id",
    )?;
    let rows = rows.query_map([], |row| Ok((key(row.get(0)?), verdict(row, 1)?)))?;
    rows.collect()
}

/// Labels before one, newest first, at most so many.
///
/// # Errors
/// What the database says.
pub fn list(connection: &Connection, before: Option<i64>, limit: u32) -> Result<Vec<Export>> {
    let mut rows = connection.prepare(
        "SELECT unix_ns, source, verdict, why, decision, observed,
                NOT EXISTS (SELECT 1 FROM labels AS later
                            WHERE later.source = labels.source AND later.id > labels.id), id
         FROM labels WHERE id < ? ORDER BY id DESC LIMIT ?",
    )?;
    let rows = rows.query_map(params![before.unwrap_or(i64::MAX), limit], |row| {
        let observed: String = row.get(5)?;
        let since =
            std::time::Duration::from_nanos(u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0));
        let time = std::time::SystemTime::UNIX_EPOCH.checked_add(since);
        let time = time.unwrap_or(std::time::SystemTime::UNIX_EPOCH);
        Ok(Export {
            id: row.get(7)?,
            time: humantime::format_rfc3339_seconds(time).to_string(),
            source: told(&key(row.get(1)?)),
            label: verdict(row, 2)?,
            why: row.get(3)?,
            decision: row.get(4)?,
            counts: row.get(6)?,
            observed: serde_json::from_str(&observed).unwrap_or_default(),
        })
    })?;
    rows.collect()
}

/// How many are kept.
///
/// # Errors
/// What the database says.
pub fn count(connection: &Connection) -> Result<u64> {
    let count: i64 = connection.query_row("SELECT count(*) FROM labels", [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Deletes the labels of everybody in a prefix. Returns how many there were.
///
/// # Errors
/// What the database says.
pub fn forget(connection: &Connection, net: &IpNet) -> Result<usize> {
    let mut gone = 0;
    for (known, _) in latest(connection)? {
        let its = source::net(&known);
        if net.contains(&its) || its.contains(net) {
            gone += connection.execute("DELETE FROM labels WHERE source = ?", [bytes(&known)])?;
        }
    }
    Ok(gone)
}

fn verdict(row: &Row<'_>, column: usize) -> Result<Verdict> {
    let word: String = row.get(column)?;
    Ok(if word == "human" { Verdict::Human } else { Verdict::Bot })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::cohort::tests::source;

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        connection
    }

    fn label(address: &str, verdict: Verdict) -> Label {
        let features = [("source.connections_10s".to_owned(), 7.0)].into();
        let policies = [("login".to_owned(), "abc".to_owned())].into();
        Label {
            unix_ns: 1_700_000_000_000_000_000,
            source: source(address),
            verdict,
            why: Some("ticket".into()),
            decision: None,
            observed: vec![Observed { policies, features }],
        }
    }

    #[test]
    fn the_latest_counts_and_all_are_kept() {
        let database = database();
        insert(&database, &[label("192.0.2.1", Verdict::Bot), label("192.0.2.2", Verdict::Bot)])
            .unwrap();
        insert(&database, &[label("192.0.2.1", Verdict::Human)]).unwrap();
        let latest = latest(&database).unwrap();
        assert_eq!(
            latest,
            [(source("192.0.2.2"), Verdict::Bot), (source("192.0.2.1"), Verdict::Human)]
        );
        let all = list(&database, None, 10).unwrap();
        let told: Vec<_> = all.iter().map(|it| (it.source.as_str(), it.label, it.counts)).collect();
        assert_eq!(
            told,
            [
                ("192.0.2.1", Verdict::Human, true),
                ("192.0.2.2", Verdict::Bot, true),
                ("192.0.2.1", Verdict::Bot, false),
            ]
        );
        assert_eq!(all[0].observed, label("192.0.2.1", Verdict::Bot).observed);
        assert_eq!(all[0].time, "2023-11-14T22:13:20Z");
        assert_eq!((list(&database, Some(2), 9).unwrap().len(), count(&database).unwrap()), (1, 3));
    }

    #[test]
    fn somebody_is_forgotten_with_all_that_was_said() {
        let database = database();
        let three = ["192.0.2.1", "192.0.2.1", "198.51.100.1"].map(|it| label(it, Verdict::Bot));
        insert(&database, &three).unwrap();
        assert_eq!(forget(&database, &"192.0.2.0/24".parse().unwrap()).unwrap(), 2);
        assert_eq!(count(&database).unwrap(), 1);
    }

    #[test]
    fn bounded() {
        let database = database();
        let start = i64::from(KEPT) + 5;
        insert(&database, &[label("192.0.2.1", Verdict::Bot)]).unwrap();
        database.execute("UPDATE labels SET id = ?", [5]).unwrap();
        insert(&database, &[label("192.0.2.2", Verdict::Bot)]).unwrap();
        database.execute("UPDATE labels SET id = ? WHERE id = 6", [start]).unwrap();
        insert(&database, &[label("192.0.2.3", Verdict::Bot)]).unwrap();
        assert_eq!(count(&database).unwrap(), 2, "what is {KEPT} labels old is gone");
    }
}
