//! A request to be forgotten: what is in memory goes at once, what is on disk on a thread of its own,
//! because it takes a look at all of it.
//!
//! Who keeps something about addresses joins [`Daemon::forget_in_memory`], or, for a table of the store,
//! the list in `journal::erasure`.

use std::thread;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::{Daemon, sensor::Sensor};
use crate::{
    api::{
        block_list::BlockList,
        command::{Reply, Unblock},
        message::{Failure, FailureKind, Forgot},
    },
    journal::{
        Actor,
        erasure::{self, Erased},
        forget::Forgotten,
    },
    system::clock,
};

/// Verdicts that an answer names.
const LISTED: usize = 100;

impl<S: Sensor> Daemon<S> {
    /// Forgets these, and answers when it is done on disk too.
    pub(super) fn forget(
        &mut self,
        list: &BlockList,
        unblock: bool,
        actor: &Actor,
        reply: Reply<Forgot>,
    ) {
        let whom = match self.whom_to_forget(list) {
            Ok(whom) => whom,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        let mut forgot = Forgot { deleted: self.forget_in_memory(&whom), ..Forgot::default() };
        let verdicts = self.verdicts_within(&whom);
        if unblock && !verdicts.is_empty() {
            let list = BlockList { prefixes: verdicts, ..BlockList::default() };
            let lifted = self.lift_verdicts(Unblock::These { list, stable: false });
            self.keep(None);
            match lifted {
                Ok(unblocked) => forgot.unblocked = unblocked.removed,
                Err(failure) => forgot.notes.push(failure.to_string()),
            }
        } else {
            forgot.verdicts = verdicts.iter().take(LISTED).map(ToString::to_string).collect();
        }
        if !forgot.verdicts.is_empty() {
            forgot.notes.push(
                "verdicts on them stay in force until they end or are taken back, and say nothing of why; \
                 `--unblock` takes them back"
                    .into(),
            );
        }
        let mut more = Map::new();
        more.insert("unblocked".into(), forgot.unblocked.into());
        more.extend(forgot.deleted.iter().map(|(name, count)| (name.clone(), Value::from(*count))));
        self.journal.flush();
        let (writer, actor) = (self.journal.writer(), actor.clone());
        let work = move || {
            let erased = erasure::carry_out(&writer, &whom, &actor, &more);
            let answer = erased.map(|Erased { records, tables }| {
                forgot.records = records;
                forgot.deleted.extend(tables);
                forgot
            });
            let failed = |error: erasure::ErasureError| {
                Failure::new(FailureKind::Internal, error.to_string())
            };
            // A client that went away does not wait for it.
            let _ = reply.send(answer.map_err(failed));
        };
        if let Err(error) = thread::Builder::new().name("weir-forget".into()).spawn(work) {
            tracing::error!("cannot start a thread to forget: {error}");
        }
    }

    fn whom_to_forget(&self, list: &BlockList) -> Result<Forgotten, Failure> {
        let failed = |kind, message: String| Failure::new(kind, message);
        if !list.fingerprints.is_empty() {
            let message = "a fingerprint names nobody: give addresses and prefixes".to_owned();
            return Err(failed(FailureKind::BadRequest, message));
        }
        let keys = self.journal.all_pseudonym_keys();
        let keys = keys.map_err(|error| failed(FailureKind::Internal, error.to_string()))?;
        Forgotten::new(&list.prefixes, &keys)
            .map_err(|error| failed(FailureKind::BadRequest, error.to_string()))
    }

    /// What the daemon has in memory; how much of what.
    fn forget_in_memory(&mut self, whom: &Forgotten) -> Vec<(String, usize)> {
        vec![
            ("latest_decisions".to_owned(), self.history.forget(|net| whom.covers(net))),
            ("cohort_in_memory".to_owned(), self.cohort.forget(|net| whom.covers(net))),
        ]
    }

    /// Prefixes with a verdict that lie in what is forgotten.
    fn verdicts_within(&self, whom: &Forgotten) -> Vec<IpNet> {
        let listed = self.ledger.list(clock::monotonic_ns()).map(|listed| listed.prefix);
        let mut within: Vec<IpNet> = listed.filter(|net| whom.covers(net)).collect();
        within.sort_unstable();
        within.dedup();
        within
    }
}
