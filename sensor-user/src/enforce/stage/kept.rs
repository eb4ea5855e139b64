//! Stages in the store: one row a policy, and the secret that lots are drawn with.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{
    Stage,
    record::{Instant, Shadow, StageRecord},
    stages::Stages,
};
use crate::policy::KeptPolicy;

/// The tables.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS stages (
    policy TEXT PRIMARY KEY,
    stage TEXT NOT NULL,
    since TEXT NOT NULL,
    acted_since TEXT,
    acting TEXT NOT NULL,
    shadow TEXT,
    why TEXT NOT NULL,
    actor TEXT NOT NULL,
    went_back TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS stage_secret (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    secret BLOB NOT NULL
) STRICT;
";

/// Writes where a policy stands, in place of what stood there.
pub fn write(
    transaction: &Transaction<'_>,
    policy: &str,
    record: &StageRecord,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT OR REPLACE INTO stages (policy, stage, since, acting, shadow, why, actor, went_back, 
         acted_since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            policy,
            record.stage.name(),
            json(&record.since)?,
            json(&record.acting)?,
            record.shadow.as_ref().map(json).transpose()?,
            record.why,
            json(&record.by)?,
            record.went_back.as_ref().map(json).transpose()?,
            record.acted_since.as_ref().map(json).transpose()?,
        ],
    )?;
    Ok(())
}

/// What was kept. A row that cannot be read is left out, with why: its policy begins anew.
pub fn read(connection: &Connection) -> rusqlite::Result<(Stages, Vec<String>)> {
    let mut statement = connection.prepare(
        "SELECT policy, stage, since, acting, shadow, why, actor, went_back, acted_since FROM stages",
    )?;
    let mut rows = statement.query([])?;
    let mut records: BTreeMap<Arc<str>, StageRecord> = BTreeMap::new();
    let mut trouble = Vec::new();
    while let Some(row) = rows.next()? {
        let policy: String = row.get(0)?;
        match record(row) {
            Ok(record) => drop(records.insert(policy.into(), record)),
            Err(error) => trouble.push(format!("the stage of `{policy}` cannot be read: {error}")),
        }
    }
    Ok((Stages::new(records), trouble))
}

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<StageRecord> {
    let stage: String = row.get(1)?;
    let stage: Stage = stage.parse().map_err(|error| unreadable(1, error))?;
    let acting: KeptPolicy = parsed(row, 3)?;
    let since: Instant = parsed(row, 2)?;
    let shadow: Option<Shadow> = optional(row, 4)?;
    Ok(StageRecord {
        stage,
        since,
        acting,
        shadow,
        why: row.get(5)?,
        by: parsed(row, 6)?,
        went_back: optional(row, 7)?,
        acted_since: optional(row, 8)?,
    })
}

/// The secret that lots are drawn with, if there is one.
pub fn secret(connection: &Connection) -> rusqlite::Result<Option<[u8; 32]>> {
    let row = |row: &rusqlite::Row<'_>| row.get::<_, [u8; 32]>(0);
    connection.query_row("SELECT secret FROM stage_secret WHERE id = 0", [], row).optional()
}

/// Keeps a secret, unless there is one already.
pub fn write_secret(transaction: &Transaction<'_>, secret: &[u8; 32]) -> rusqlite::Result<()> {
    transaction
        .execute("INSERT OR IGNORE INTO stage_secret (id, secret) VALUES (0, ?1)", params![secret])
        .map(drop)
}

fn json(value: &impl serde::Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn optional<T: serde::de::DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null {
        return Ok(None);
    }
    parsed(row, column).map(Some)
}

fn parsed<T: serde::de::DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
}
