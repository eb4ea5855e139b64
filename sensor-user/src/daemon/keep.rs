//! What the ledger wants, on disk: handed to the store as it changes, and read at the start.
//!
//! The loop never waits for the disk. What rules decide is told to the kernel first and to the store
//! right after; an operator's answer waits until the store has it. While the store cannot be written,
//! changes stay in the ledger, merged, and operators are told so.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use weir_common::abi::time::SECOND_NS;

use super::{Daemon, decide::source_key, sensor::Sensor, stages::KeptStages};
use crate::{
    enforce::{
        breaker, cohort,
        ledger::durable::{self, Batch, Kept, KeptOffence, Moment},
        stage,
    },
    journal, label,
    store::{Ack, Store, StoreError},
    system::paths::Paths,
};

/// The tables of everything that is kept in the store.
const SCHEMAS: &[&str] = &[
    durable::SCHEMA,
    journal::SCHEMA,
    label::SCHEMA,
    cohort::SCHEMA,
    breaker::kept::SCHEMA,
    stage::kept::SCHEMA,
];

/// How often it is noted what the clocks show, and tried whether the disk can be written, at least.
const NOTED_EVERY_NS: u64 = 15 * SECOND_NS;

/// How often what nothing refers to any more is removed, in ticks.
const TIDIED_EVERY: u64 = 600;

/// How long the end of the daemon waits for the disk.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// The store, and what the daemon has to know of it.
pub(super) struct Keeper {
    pub(super) store: Store,
    boot_id: Arc<str>,
    // How often the store was begun anew, as far as the ledger was written into it.
    begun: u64,
    noted_ns: u64,
    /// Where policies stood, until somebody takes it.
    pub(super) stages: KeptStages,
}

impl Keeper {
    /// Opens the store, and reads what the ledger needs; `None` if nothing can be read.
    pub(super) fn open(paths: &Paths, boot_id: &Arc<str>) -> anyhow::Result<(Self, Option<Kept>)> {
        let path = paths.store_file();
        let (store, reader) =
            Store::open_beside(&path, SCHEMAS, &paths.run_dir).context("cannot open the store")?;
        let kept = Kept::read(&reader, &Moment::now(boot_id));
        let kept = kept
            .inspect_err(|error| {
                tracing::error!(
                    "cannot read verdicts from {}: {error}; what the kernel has is taken up, with \
                     reasons unknown",
                    path.display()
                );
            })
            .ok()
            .filter(|_| !store.health().unread);
        let begun = store.health().begun;
        let stages = KeptStages::read(&reader);
        let keeper = Self { store, boot_id: Arc::clone(boot_id), begun, noted_ns: 0, stages };
        // From here on this boot runs.
        keeper.submit(Batch::default(), None);
        Ok((keeper, kept))
    }

    fn submit(&self, batch: Batch, ack: Option<Ack>) -> bool {
        let boot_id = Arc::clone(&self.boot_id);
        let bytes = batch.bytes();
        let work = move |transaction: &rusqlite::Transaction<'_>| {
            batch.write(transaction, &Moment::now(&boot_id))
        };
        self.store.submit_sized(bytes, Box::new(work), ack)
    }
}

impl<S: Sensor> Daemon<S> {
    /// Hands what changed in the ledger to the store. `ack` is told once all of it is on disk, and
    /// everything that was handed over before; or at once, while nothing can be written.
    pub(super) fn keep(&mut self, mut ack: Option<Ack>) {
        if let Some(trouble) = self.keeper.store.health().trouble {
            // Merged in the ledger until it can be.
            if let Some(ack) = ack {
                ack(Err(StoreError::Waiting(trouble)));
            }
            return;
        }
        if ack.is_none() && !self.keeper.store.has_room() {
            return;
        }
        while self.ledger.is_unkept() {
            let batch = self.ledger.take_batch();
            let told = if self.ledger.is_unkept() { None } else { ack.take() };
            if !self.keeper.submit(batch, told) {
                // Somebody who waits for it was told, or is now.
                self.ledger.keep_everything();
                if let Some(ack) = ack.take() {
                    ack(Err(StoreError::Full("more came than the disk takes".into())));
                }
                return;
            }
        }
        if ack.is_some() {
            self.keeper.submit(Batch::default(), ack);
        }
    }

    /// A second passed.
    pub(super) fn tick_store(&mut self, now_ns: u64) {
        let health = self.keeper.store.health();
        if health.begun != self.keeper.begun {
            self.keeper.begun = health.begun;
            self.stages.keep_everything();
            self.cohort.keep_everything();
            self.keep_breaker();
            self.ledger.keep_everything();
        }
        if health.is_writable() && now_ns.saturating_sub(self.keeper.noted_ns) >= NOTED_EVERY_NS {
            self.keeper.noted_ns = now_ns;
            self.keeper.submit(Batch::default(), None);
        }
        if self.ticks % TIDIED_EVERY == 1 {
            let boot_id = Arc::clone(&self.keeper.boot_id);
            let forgotten_ns = self.longest_memory();
            let tidy = move |transaction: &rusqlite::Transaction<'_>| {
                durable::tidy(transaction, &Moment::now(&boot_id), forgotten_ns)
            };
            self.keeper.store.submit(Box::new(tidy), None);
        }
        self.keep(None);
    }

    /// Writes what is left, and ends the store.
    pub(super) fn finish_store(&mut self) {
        // The last batch also says what the clocks show, which is what the next boot goes by.
        self.keep(Some(Box::new(|_| {})));
        self.keeper.store.close(PATIENCE);
    }

    /// Tells the engine of repeated offences that an earlier run knew of.
    pub(super) fn recall_offences(&mut self, offences: Vec<KeptOffence>) {
        let longest_ns = self.longest_memory();
        for offence in offences.iter().filter(|offence| offence.ago_ns <= longest_ns) {
            let source = source_key(offence.net.addr());
            self.engine.recall(
                &source,
                &offence.policy,
                offence.times,
                offence.action,
                offence.until_ns,
            );
        }
    }

    /// How long after its end an offence still counts, by the ladders in force.
    fn longest_memory(&self) -> u64 {
        let ladders = self.engine.policy().policies.iter().map(|policy| &policy.ladder);
        ladders.flat_map(|ladder| &ladder.steps).map(|step| step.forget_ns).max().unwrap_or(0)
    }
}

/// An answer that waits for several things: it is given when the last of them is done, or given up.
pub(super) struct Held<T>(Arc<Inner<T>>);

/// Gives an answer to whoever waits for it.
type Give<T> = Box<dyn FnOnce(T) + Send>;

struct Inner<T> {
    answer: Mutex<Option<T>>,
    give: Mutex<Option<Give<T>>>,
}

impl<T: Send + 'static> Held<T> {
    pub(super) fn new(answer: T, give: impl FnOnce(T) + Send + 'static) -> Self {
        let give: Give<T> = Box::new(give);
        Self(Arc::new(Inner { answer: Mutex::new(Some(answer)), give: Mutex::new(Some(give)) }))
    }

    /// One of the things that are waited for; it may change the answer.
    pub(super) fn part<R>(
        &self,
        change: impl FnOnce(&mut T, R) + Send + 'static,
    ) -> Box<dyn FnOnce(R) + Send> {
        let inner = Arc::clone(&self.0);
        Box::new(move |result| {
            let mut answer = inner.answer.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(answer) = answer.as_mut() {
                change(answer, result);
            }
        })
    }
}

impl<T> Drop for Inner<T> {
    fn drop(&mut self) {
        let answer = self.answer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let give = self.give.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((answer, give)) = answer.zip(give) {
            give(answer);
        }
    }
}
