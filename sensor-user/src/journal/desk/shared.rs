//! What the loop and the store's thread share: the signing key, where the chain ends, what was lost.

use std::collections::VecDeque;

use super::{
    Actor, Arc, BTreeMap, Entry, JournalHealth, Kind, Mutex, MutexGuard, PathBuf, Record,
    SigningKey, Tail, hex, impersonal, json, lock,
};
use crate::{journal::append::Appended, system::durable};

/// Ends of the chain that may be met: every work that waits has one.
const MOST_TAILS: usize = 65_536;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    head: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    key: Option<Arc<SigningKey>>,
    /// Where the chain may end: the last that is known to be on disk, and what was written since.
    tails: VecDeque<Tail>,
    surprise: Option<String>,
    /// By kind, since the last gap was written.
    lost: BTreeMap<&'static str, u64>,
    lost_ever: u64,
    written: u64,
    last: i64,
    signed_through: i64,
    unfinished: bool,
    complaint: Option<String>,
}

impl Shared {
    pub(super) fn new(head: PathBuf) -> Self {
        Self { head, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn key(&self) -> Option<Arc<SigningKey>> {
        self.state().key.clone()
    }

    pub(super) fn set_key(&self, key: SigningKey) {
        self.state().key = Some(Arc::new(key));
    }

    /// Where the chain ended when it was opened.
    pub(super) fn begin(&self, tail: Option<Tail>) {
        let mut state = self.state();
        state.last = tail.map_or(0, |tail| tail.seq);
        state.tails = tail.into_iter().collect();
    }

    pub(super) fn complain(&self, text: String) {
        self.state().complaint = Some(text);
    }

    /// The chain is about to be written on, and ends here.
    pub(super) fn expect(&self, found: Tail) {
        let mut state = self.state();
        if !state.tails.is_empty() && !state.tails.contains(&found) {
            let known = state.tails.front().map(|tail| format!("{}:{}", tail.seq, hex(&tail.hash)));
            let text = format!(
                "it ended at record {}, and ends at {}:{}",
                known.unwrap_or_default(),
                found.seq,
                hex(&found.hash)
            );
            state.surprise.get_or_insert(text);
            state.tails.clear();
            state.tails.push_back(found);
        }
    }

    /// It ends here if what is being written is committed.
    pub(super) fn attempt(&self, tail: Tail) {
        let mut state = self.state();
        if state.tails.back() != Some(&tail) {
            state.tails.push_back(tail);
        }
        if state.tails.len() > MOST_TAILS {
            state.tails.pop_front();
        }
    }

    /// It is on disk.
    pub(super) fn commit(&self, appended: &Appended, records: usize) {
        let mut state = self.state();
        if let Some(at) = state.tails.iter().position(|tail| *tail == appended.tail) {
            state.tails.drain(..at);
        }
        state.written += records as u64;
        state.last = state.last.max(appended.tail.seq);
        let Some(checkpoint) = &appended.checkpoint else { return };
        state.signed_through = checkpoint.seq;
        drop(state);
        tracing::info!(target: "weir::journal", "checkpoint {}", checkpoint.name());
        if let Err(error) = durable::write(&self.head, checkpoint.to_head().as_bytes()) {
            tracing::warn!("{error}; a cut end of the journal is found only by its checkpoints");
        }
    }

    pub(super) fn is_unsigned(&self) -> bool {
        let state = self.state();
        state.key.is_some() && state.last > state.signed_through
    }

    /// Records found no place.
    pub(super) fn lose(&self, kinds: impl IntoIterator<Item = Kind>) {
        let mut state = self.state();
        for kind in kinds {
            *state.lost.entry(kind.name()).or_default() += 1;
            state.lost_ever += 1;
        }
    }

    /// A work was never carried out.
    pub(super) fn lose_batch(&self, batch: &[Entry]) {
        self.lose(batch.iter().map(|entry| entry.kind));
    }

    /// What is to be written down of what was lost.
    pub(super) fn take_gap(&self) -> Option<Entry> {
        let lost = std::mem::take(&mut self.state().lost);
        if lost.is_empty() {
            return None;
        }
        tracing::warn!(?lost, "records of the journal were lost");
        Some(impersonal(&Record::new(Kind::Gap, &Actor::Daemon, json!({"lost": lost}))))
    }

    pub(super) fn take_surprise(&self) -> Option<String> {
        self.state().surprise.take()
    }

    pub(super) fn set_unfinished(&self) {
        self.state().unfinished = true;
    }

    pub(super) fn take_unfinished(&self) -> bool {
        std::mem::take(&mut self.state().unfinished)
    }

    pub(super) fn health(&self) -> JournalHealth {
        let state = self.state();
        JournalHealth {
            waiting: 0,
            lost: state.lost_ever,
            written: state.written,
            signed_through: state.signed_through,
            trouble: state.complaint.clone().into_iter().collect(),
        }
    }
}
