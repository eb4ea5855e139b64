//! What can go wrong with the store, and whose fault it is.

use std::path::PathBuf;

use rusqlite::ErrorCode;

/// Why something is not on disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There can be no thread.
    #[error("cannot start the store's thread: {source}")]
    Thread {
        /// What the system said.
        source: std::io::Error,
    },
    /// The database cannot be opened for reading.
    #[error("cannot open {}: {why}", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The tables cannot be made, which is a mistake in Weir.
    #[error("cannot make the store's tables: {0}")]
    Schema(rusqlite::Error),
    /// It could not be written yet, and is tried again.
    #[error("it is not on disk yet, and is tried again: {0}")]
    Waiting(String),
    /// It failed by its own fault.
    #[error("the store refused it: {0}")]
    Refused(String),
    /// Too much waits already.
    #[error("too much waits to be written already, so this was not kept: {0}")]
    Full(String),
    /// The daemon ended before it was written.
    #[error("the daemon ended before it could be written")]
    Ended,
}

/// Whose fault an error is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The work's own.
    Work,
    /// The disk's, the file system's or another process's: later it may succeed.
    Surroundings,
    /// The database's: it is beyond use.
    Database,
}

pub(super) fn fault(error: &rusqlite::Error) -> Fault {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return Fault::Work };
    match failure.code {
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Fault::Database,
        ErrorCode::PermissionDenied
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::OutOfMemory
        | ErrorCode::ReadOnly
        | ErrorCode::OperationInterrupted
        | ErrorCode::OperationAborted
        | ErrorCode::SystemIoFailure
        | ErrorCode::DiskFull
        | ErrorCode::CannotOpen
        | ErrorCode::FileLockingProtocolFailed => Fault::Surroundings,
        _ => Fault::Work,
    }
}

/// What an operator can do something about, in words.
pub(super) fn words(error: &rusqlite::Error) -> String {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return error.to_string() };
    let known = match failure.code {
        ErrorCode::DiskFull => "the disk is full",
        ErrorCode::ReadOnly => "the file system or the file is read-only",
        ErrorCode::PermissionDenied => "this user may not write the file",
        ErrorCode::SystemIoFailure => "the disk reports errors",
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            "another process holds the database locked"
        }
        ErrorCode::CannotOpen => "the file cannot be opened for writing",
        ErrorCode::DatabaseCorrupt => "the database is corrupt",
        ErrorCode::NotADatabase => "the file is not a database",
        ErrorCode::OutOfMemory => "there is no memory left",
        _ => return error.to_string(),
    };
    format!("{known} ({error})")
}
