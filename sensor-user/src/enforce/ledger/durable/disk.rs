//! A store without a thread, for tests: what is written is there at once.

use rusqlite::Connection;

use super::{Batch, Kept, Moment, SCHEMA};
use crate::enforce::ledger::Ledger;

/// 2026, ns since 1970.
pub(in super::super) const UNIX_NS: u64 = 1_767_225_600_000_000_000;

pub(in super::super) struct Disk(pub(in super::super) Connection);

impl Default for Disk {
    fn default() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        Self(connection)
    }
}

/// A moment of the first boot, whose clock is right.
pub(in super::super) fn first(now_ns: u64) -> Moment {
    moment("first", now_ns, now_ns)
}

/// A moment of a boot; `since_ns`: how long ago it was the beginning by the wall clock.
pub(in super::super) fn moment(boot_id: &str, now_ns: u64, since_ns: u64) -> Moment {
    Moment { boot_id: boot_id.into(), now_ns, unix_ns: UNIX_NS + since_ns }
}

impl Disk {
    pub(in super::super) fn write(&self, batch: &Batch, at: &Moment) {
        let transaction = self.0.unchecked_transaction().unwrap();
        batch.write(&transaction, at).unwrap();
        transaction.commit().unwrap();
    }

    /// Everything that the ledger has to say.
    pub(in super::super) fn keep(&self, ledger: &mut Ledger, now_ns: u64) {
        self.keep_at(ledger, &first(now_ns));
    }

    pub(in super::super) fn keep_at(&self, ledger: &mut Ledger, at: &Moment) {
        while ledger.is_unkept() {
            self.write(&ledger.take_batch(), at);
        }
        self.write(&Batch::default(), at);
    }

    pub(in super::super) fn kept(&self, now_ns: u64) -> Kept {
        Kept::read(&self.0, &first(now_ns)).unwrap()
    }
}
