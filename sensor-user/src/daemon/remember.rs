//! The cohort, the breaker and labels, over restarts: written in batches, read at the start.
//!
//! The loop never waits for the disk. Where nothing can be written, brakes and labels count all the same,
//! until the daemon ends.

use weir_common::abi::time::SECOND_NS;

use super::{Daemon, sensor::Sensor};
use crate::{
    api::{
        command::Reply,
        message::{Failure, FailureKind, Labelled, Labels, LabelsQuery},
    },
    enforce::{breaker, cohort},
    label::{self, Label},
    store::{Ack, Store, Work},
    system::clock,
};

/// How often the cohort is written, in ticks.
const WRITTEN_EVERY: u64 = 60;
/// How often rows are looked for whose time is over, in ticks.
const TIDIED_EVERY: u64 = 3600;
/// Labels of one answer at most.
const PAGE: u32 = 1000;

impl<S: Sensor> Daemon<S> {
    /// Goes on from what an earlier run kept.
    pub(super) fn recall_cohort(&mut self) {
        let reader = match self.store().reader() {
            Ok(reader) => reader,
            Err(error) => {
                tracing::error!("cannot read who is trusted and what was labelled: {error}");
                return;
            }
        };
        let (reader, now_ns) = (&reader, clock::monotonic_ns());
        match cohort::recall(reader) {
            Ok(kept) => self.cohort.take_up(&kept),
            Err(error) => {
                tracing::error!("cannot read who is trusted: {error}; it is learned anew")
            }
        }
        match label::latest(reader) {
            Ok(labels) => {
                for (source, said) in labels {
                    self.cohort.label(&source, Some(said));
                }
            }
            Err(error) => tracing::error!("cannot read labels: {error}; they do not count"),
        }
        match breaker::kept::recall(reader) {
            Ok(Some(until)) => {
                let left_ns = until.saturating_sub(clock::unix_ns());
                if left_ns > 0 {
                    self.brakes.breaker.resume(now_ns.saturating_add(left_ns), now_ns);
                    tracing::warn!("the breaker was open when the daemon ended, and stays so");
                    self.tell_breaker();
                }
            }
            Ok(None) => {}
            Err(error) => tracing::error!("cannot read how the breaker stood: {error}"),
        }
    }

    /// A second passed.
    pub(super) fn tick_remembered(&mut self) {
        if self.ticks.is_multiple_of(WRITTEN_EVERY) {
            self.keep_cohort();
        }
        if self.ticks % TIDIED_EVERY == 1 {
            let now_s = clock::unix_ns() / SECOND_NS;
            self.submit(
                Box::new(move |to| cohort::retain(to, now_s, cohort::ROWS).map(|_| ())),
                None,
            );
        }
    }

    /// Writes who changed.
    pub(super) fn keep_cohort(&mut self) {
        let changes = self.cohort.changes();
        if !changes.is_empty() {
            self.submit(Box::new(move |to| cohort::write(to, &changes)), None);
        }
    }

    /// Writes how the breaker stands.
    pub(super) fn keep_breaker(&mut self) {
        let (state, _, until_ns) = self.brakes.breaker.state();
        let is_open = state == breaker::State::Open;
        let left_ns = until_ns.map(|until| until.saturating_sub(clock::monotonic_ns()));
        let until = left_ns.filter(|_| is_open).map(|left| clock::unix_ns().saturating_add(left));
        self.submit(Box::new(move |to| breaker::kept::keep(to, until)), None);
    }

    /// Writes labels, and answers once they are on disk.
    pub(super) fn keep_labels(
        &mut self,
        labels: Vec<Label>,
        mut labelled: Labelled,
        reply: Reply<Labelled>,
    ) {
        let ack: Ack = Box::new(move |kept| {
            if let Err(error) = kept {
                labelled.notes.push(format!("they count, but are not on disk yet: {error}"));
            }
            // A client that went away does not wait for it.
            let _ = reply.send(Ok(labelled));
        });
        self.submit(Box::new(move |to| label::insert(to, &labels)), Some(ack));
    }

    /// Lists labels; read on a thread of its own, so that nothing waits for the disk.
    pub(super) fn list_labels(&self, query: &LabelsQuery, reply: Reply<Labels>) {
        let limit = query.limit.unwrap_or(PAGE).min(PAGE);
        let before = query.before;
        let store = self.store().clone();
        let read = move || {
            let failed = |error: &dyn std::fmt::Display| {
                let message = format!("cannot read labels from the store: {error}");
                Failure::new(FailureKind::Internal, message)
            };
            let answer = store.reader().map_err(|error| failed(&error)).and_then(|reader| {
                let labels = label::list(&reader, before, limit);
                labels.map(|labels| Labels { labels }).map_err(|error| failed(&error))
            });
            let _ = reply.send(answer);
        };
        if let Err(error) = std::thread::Builder::new().name("weir-labels".into()).spawn(read) {
            tracing::error!("cannot start a thread to read labels: {error}");
        }
    }

    fn store(&self) -> &Store {
        &self.keeper.store
    }

    fn submit(&self, work: Work, ack: Option<Ack>) {
        self.store().submit(work, ack);
    }
}
