//! Checkpoints: the host signs which record is the last, so that the chain cannot be made anew.
//!
//! The latest also lies in a file beside the database, and is logged: who cuts the chain's tail
//! would have to find all of them.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{
    chain::{Encoder, GENESIS, Hash, from_hex, hex},
    signature::{PublicKey, SigningKey, is_signed},
};

/// Records after which there is a checkpoint at the latest.
pub(super) const EVERY_RECORDS: i64 = 1024;
/// Time after which what is not signed yet is signed, nanoseconds.
pub(super) const EVERY_NS: i64 = 60 * 1_000_000_000;

/// A signed place in the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The record that was the last.
    pub seq: i64,
    /// When it was signed, nanoseconds since 1970.
    pub unix_ns: i64,
    /// The record that the checkpoint before was about; 0 = there was none.
    pub previous: i64,
    /// The record's hash.
    pub hash: Vec<u8>,
    /// Whose signature.
    pub public_key: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    pub(super) fn sign(
        key: &SigningKey,
        seq: i64,
        hash: &Hash,
        previous: i64,
        unix_ns: i64,
    ) -> Self {
        let mut checkpoint = Self {
            seq,
            unix_ns,
            previous,
            hash: hash.to_vec(),
            public_key: key.public().to_vec(),
            signature: Vec::new(),
        };
        checkpoint.signature = key.sign(&checkpoint.message()).to_vec();
        checkpoint
    }

    /// Whether the signature is the named key's.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        is_signed(&self.public_key, &self.message(), &self.signature)
    }

    /// The key, if it is one.
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        self.public_key.as_slice().try_into().ok()
    }

    /// `SEQ:HASH`, as `weir journal verify --checkpoint` takes it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}:{}", self.seq, hex(&self.hash))
    }

    fn message(&self) -> Hash {
        let mut encoder = Encoder::new("weir journal checkpoint 1");
        encoder.number(self.seq).number(self.unix_ns).number(self.previous);
        encoder.bytes(&self.hash).bytes(&self.public_key).finish()
    }

    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute(
            "INSERT OR REPLACE INTO journal_checkpoints (seq, unix_ns, previous, hash, public_key, \
             signature) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                self.seq,
                self.unix_ns,
                self.previous,
                self.hash,
                self.public_key,
                self.signature
            ],
        )?;
        Ok(())
    }

    /// The columns of [`COLUMNS`], whatever somebody put there.
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let bytes = |index| -> rusqlite::Result<Vec<u8>> {
            Ok(row.get_ref(index)?.as_bytes().unwrap_or_default().to_vec())
        };
        Ok(Self {
            seq: row.get(0)?,
            unix_ns: row.get(1)?,
            previous: row.get(2)?,
            hash: bytes(3)?,
            public_key: bytes(4)?,
            signature: bytes(5)?,
        })
    }

    /// The latest that is kept.
    pub(super) fn latest(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let sql = format!("SELECT {COLUMNS} FROM journal_checkpoints ORDER BY seq DESC LIMIT 1");
        connection.prepare(&sql)?.query_row([], Self::read).optional()
    }
}

/// What [`Checkpoint::read`] reads.
pub(super) const COLUMNS: &str = "seq, unix_ns, previous, hash, public_key, signature";

/// The file beside the database.
#[derive(Serialize, Deserialize)]
struct HeadFile {
    seq: i64,
    unix_ns: i64,
    previous: i64,
    hash: String,
    public_key: String,
    signature: String,
}

impl Checkpoint {
    /// As the file beside the database has it.
    #[must_use]
    pub fn to_head(&self) -> String {
        let head = HeadFile {
            seq: self.seq,
            unix_ns: self.unix_ns,
            previous: self.previous,
            hash: hex(&self.hash),
            public_key: hex(&self.public_key),
            signature: hex(&self.signature),
        };
        // Numbers and digits can always be written as JSON.
        serde_json::to_string(&head).unwrap_or_default() + "\n"
    }

    /// Reads the file beside the database; `None` if it is not one of ours.
    #[must_use]
    pub fn from_head(text: &str) -> Option<Self> {
        let head: HeadFile = serde_json::from_str(text).ok()?;
        Some(Self {
            seq: head.seq,
            unix_ns: head.unix_ns,
            previous: head.previous,
            hash: from_hex::<32>(&head.hash)?.to_vec(),
            public_key: from_hex::<32>(&head.public_key)?.to_vec(),
            signature: from_hex::<64>(&head.signature)?.to_vec(),
        })
    }
}

/// Where the chain ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    /// The last record; 0 = there is none yet.
    pub seq: i64,
    /// Its hash.
    pub hash: Hash,
}

impl Tail {
    /// Where the chain ends in this database.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let last = connection
            .prepare("SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1")?
            .query_row([], |row| Ok(Self { seq: row.get(0)?, hash: row.get(1)? }))
            .optional()?;
        let Some(last) = last else {
            // Everything was deleted but the anchor.
            let anchor = Checkpoint::latest(connection)?;
            let place = |it: Checkpoint| {
                Some(Self { seq: it.seq, hash: it.hash.as_slice().try_into().ok()? })
            };
            return Ok(anchor.and_then(place).unwrap_or(Self { seq: 0, hash: GENESIS }));
        };
        Ok(last)
    }
}
