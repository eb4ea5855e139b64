//! Stages in the store: read at the start, written as they change, and all of them where the store
//! was begun anew.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::StageDesk;
use crate::{
    daemon::{Daemon, sensor::Sensor},
    enforce::stage::{Stages, kept},
};

/// What was kept: where policies stand, and the secret that lots are drawn with.
#[derive(Debug, Default)]
pub(in crate::daemon) struct KeptStages {
    pub(in crate::daemon) stages: Stages,
    pub(in crate::daemon) secret: Option<[u8; 32]>,
}

impl KeptStages {
    /// Reads it. What cannot be read is told, and its policies begin where `weir run` says.
    pub(in crate::daemon) fn read(reader: &Connection) -> Self {
        let stages = match kept::read(reader) {
            Ok((stages, trouble)) => {
                for trouble in trouble {
                    tracing::error!("{trouble}; it begins as if it had never been here");
                }
                stages
            }
            Err(error) => {
                tracing::error!("cannot read stages: {error}; every policy begins anew");
                Stages::default()
            }
        };
        let secret = kept::secret(reader).unwrap_or_else(|error| {
            tracing::error!("cannot read the secret of canaries: {error}; others are drawn now");
            None
        });
        Self { stages, secret }
    }
}

impl StageDesk {
    /// Everything is written once more, as into a store that was begun anew.
    pub(in crate::daemon) fn keep_everything(&mut self) {
        self.written = BTreeMap::new();
        self.is_secret_written = false;
    }
}

impl<S: Sensor> Daemon<S> {
    /// Hands what changed to the store; tried again every second while it takes nothing.
    pub(in crate::daemon) fn keep_stages(&mut self) {
        let store = &self.keeper.store;
        if !self.stages.is_secret_written {
            let secret = self.stages.secret;
            let work = move |transaction: &rusqlite::Transaction<'_>| {
                kept::write_secret(transaction, &secret)
            };
            self.stages.is_secret_written = store.submit(Box::new(work), None);
        }
        for (policy, record) in self.stages.stages.iter() {
            if self.stages.written.get(policy) == Some(record) {
                continue;
            }
            let (name, row) = (policy.clone(), record.clone());
            let work = move |transaction: &rusqlite::Transaction<'_>| {
                kept::write(transaction, &name, &row)
            };
            if store.submit(Box::new(work), None) {
                self.stages.written.insert(policy.clone(), record.clone());
            }
        }
    }
}
