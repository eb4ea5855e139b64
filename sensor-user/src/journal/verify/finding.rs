//! What `weir journal verify` finds, and where.

use serde::Serialize;

/// Findings that are listed; more are counted.
const LISTED: usize = 1000;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// A record is not as it was written.
    Edited,
    /// Records are not there, and no record of deletion says why.
    Removed,
    /// Two records are each in the other's place.
    Swapped,
    /// A record is in another's place.
    Moved,
    /// Records bear other numbers than those they were written with.
    Renumbered,
    /// Records stand where there were none.
    Inserted,
    /// Records were written anew: each fits, and they are not those that a checkpoint or a neighbour knew.
    Replaced,
    /// The end of the chain is gone.
    Cut,
    /// A checkpoint is not as it was signed.
    Checkpoint,
    /// A checkpoint is not there.
    CheckpointRemoved,
    /// A key that is not trusted signed.
    Key,
    /// A personal part is gone, and no record of deletion says why.
    PersonalRemoved,
    /// A personal part is not as it was written.
    PersonalEdited,
    /// There is a personal part that was never written, or that a record says was taken out.
    PersonalInserted,
    /// The file beside the database cannot be used.
    Head,
    /// The database cannot be read on.
    Damaged,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// The first record that it is about.
    pub from: i64,
    /// The last.
    pub to: i64,
    /// What.
    pub what: Wrong,
    /// In a sentence.
    pub text: String,
}

/// Gathers findings in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Findings {
    listed: Vec<Finding>,
    more: u64,
}

impl Findings {
    /// One more; it is joined with the one before if that goes on.
    pub(super) fn add(&mut self, from: i64, to: i64, what: Wrong, text: impl Into<String>) {
        let text = text.into();
        if let Some(last) = self.listed.last_mut()
            && last.what == what
            && last.text == text
            && from > 0
            && last.to.saturating_add(1) == from
        {
            last.to = to;
            return;
        }
        if self.listed.len() < LISTED {
            self.listed.push(Finding { from, to, what, text });
        } else {
            self.more += 1;
        }
    }

    /// All of them in the order of their places, and how many there are beyond.
    pub(super) fn finish(mut self) -> (Vec<Finding>, u64) {
        self.listed.sort_by_key(|finding| (finding.from, finding.to));
        (self.listed, self.more)
    }
}
