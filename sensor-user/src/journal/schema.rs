//! The journal's tables.

/// What has to be there before anything else here is called.
///
/// `journal` is the chain. `journal_personal` has what names somebody, apart, so that it can be taken out
/// while the chain holds. `journal_checkpoints` has the signatures.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS journal (
    seq INTEGER PRIMARY KEY,
    unix_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    body TEXT NOT NULL,
    personal_digest BLOB,
    prev_hash BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS journal_personal (
    seq INTEGER PRIMARY KEY,
    salt BLOB NOT NULL,
    form TEXT NOT NULL,
    content TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS journal_checkpoints (
    seq INTEGER PRIMARY KEY,
    unix_ns INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    hash BLOB NOT NULL,
    public_key BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;
";
