//! A request to be forgotten, from the journal to the tables of others; for a thread of its own, because
//! it waits for the disk.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ipnet::IpNet;
use rusqlite::Connection;
use serde_json::{Map, Value};

use super::{
    desk::DeskWriter,
    forget::{Forgotten, STEP, erase, find},
    record::Actor,
};
use crate::{
    enforce::{cohort, ledger::durable},
    label,
    store::StoreError,
};

/// Deletes what a table has about a network; how many rows.
type Forget = fn(&Connection, &IpNet) -> rusqlite::Result<usize>;

/// The tables of others that have addresses in them.
const TABLES: &[(&str, Forget)] =
    &[("labels", label::forget), ("cohort", cohort::forget), ("past_offences", durable::forget)];

/// It was not done, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// The store did not take it.
    #[error("cannot delete it all: {0}; ask again when the store can be written")]
    Store(#[from] StoreError),
    /// The journal could not be searched.
    #[error("cannot search the journal: {0}")]
    Search(#[from] rusqlite::Error),
}

/// What was deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Erased {
    /// Records whose personal part was taken out.
    pub records: usize,
    /// Rows of other tables.
    pub tables: Vec<(String, usize)>,
}

/// Finds and deletes everything on disk. `more` is told in the record of it too.
///
/// # Errors
/// If the store cannot be read or written; then some of it may be left.
pub fn carry_out(
    writer: &DeskWriter,
    whom: &Forgotten,
    actor: &Actor,
    more: &Map<String, Value>,
) -> Result<Erased, ErasureError> {
    // What was handed over before has to be there to be found.
    writer.settle()?;
    let reader = writer.store().reader()?;
    let found = find(&reader, whom)?;
    drop(reader);
    let mut steps = found.chunks(STEP).map(<[i64]>::to_vec);
    let first = steps.next().unwrap_or_default();
    let (nets, by, more) = (whom.nets().to_vec(), actor.clone(), more.clone());
    let counts = Arc::new(Mutex::new(Vec::new()));
    let slot = Arc::clone(&counts);
    writer.write(move |connection, key, now| {
        let tables = forget_tables(connection, &nets)?;
        let mut more = more.clone();
        more.extend(tables.iter().map(|(name, count)| (name.clone(), Value::from(*count))));
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = tables;
        erase(connection, &first, &Value::Object(more), &by, key, now)
    })?;
    for step in steps {
        let by = actor.clone();
        writer.write(move |connection, key, now| {
            erase(connection, &step, &Value::Null, &by, key, now)
        })?;
    }
    empty_log(writer);
    let tables = std::mem::take(&mut *counts.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Erased { records: found.len(), tables })
}

/// Deletes what the tables of others have; how many rows of each.
fn forget_tables(
    connection: &Connection,
    nets: &[IpNet],
) -> rusqlite::Result<Vec<(String, usize)>> {
    TABLES
        .iter()
        .map(|(name, forget)| {
            let mut count = 0;
            for net in nets {
                count += forget(connection, net)?;
            }
            Ok(((*name).to_owned(), count))
        })
        .collect()
}

/// What was deleted is also in the database's log, until that is written over.
fn empty_log(writer: &DeskWriter) {
    let emptied = Connection::open(writer.store().path()).and_then(|connection| {
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
    });
    match emptied {
        Ok(0) => {}
        Ok(_) => tracing::warn!("the store's log is in use: what was deleted leaves it later"),
        Err(error) => tracing::warn!("cannot empty the store's log: {error}"),
    }
}
