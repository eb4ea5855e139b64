//! The breaker over restarts: one row while it is open, so that no restart closes it.

use rusqlite::{Connection, OptionalExtension as _, Result};

/// Its table. `until_ns`: nanoseconds since 1970.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS breaker (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    until_ns INTEGER NOT NULL
) STRICT;
";

/// Keeps until when it is open; `None`: it is not.
///
/// # Errors
/// What the database says.
pub fn keep(connection: &Connection, until_unix_ns: Option<u64>) -> Result<()> {
    match until_unix_ns.map(|until| i64::try_from(until).unwrap_or(i64::MAX)) {
        Some(until) => {
            connection.execute("INSERT OR REPLACE INTO breaker VALUES (1, ?)", [until])?;
        }
        None => {
            connection.execute("DELETE FROM breaker", [])?;
        }
    }
    Ok(())
}

/// Until when it is open, nanoseconds since 1970; `None`: it is not.
///
/// # Errors
/// What the database says.
pub fn recall(connection: &Connection) -> Result<Option<u64>> {
    let row = connection.query_row("SELECT until_ns FROM breaker", [], |row| row.get::<_, i64>(0));
    Ok(row.optional()?.and_then(|until| u64::try_from(until).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_while_it_is_open() {
        let database = Connection::open_in_memory().unwrap();
        database.execute_batch(SCHEMA).unwrap();
        assert_eq!(recall(&database).unwrap(), None);
        for until in [7, 1_700_000_000_000_000_000] {
            keep(&database, Some(until)).unwrap();
            assert_eq!(recall(&database).unwrap(), Some(until));
        }
        keep(&database, None).unwrap();
        assert_eq!(recall(&database).unwrap(), None);
    }
}
