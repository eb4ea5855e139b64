//! Which records lie in others' places.

use std::collections::HashMap;

use super::finding::{Findings, Wrong};
use crate::journal::chain::Hash;

/// Records that do not fit and are remembered; with more of them nobody asks which was swapped.
const MOST: usize = 10_000;

/// A record whose hash does not fit.
pub(super) struct Misfit {
    pub(super) seq: i64,
    /// The hash that it bears.
    pub(super) hash: Vec<u8>,
    /// The hash of the record before, as it bears it.
    pub(super) previous: Vec<u8>,
    /// The hash that the place before bears, if that fits.
    pub(super) follows: Option<Hash>,
    /// The hash that the record after says that this place has.
    pub(super) expected: Option<Vec<u8>>,
    /// The number that it was written with, if that is one lower or higher.
    pub(super) written_as: Option<i64>,
}

impl Misfit {
    /// What is wrong with it where it is.
    fn tell(&self, findings: &mut Findings) {
        let seq = self.seq;
        let (what, text) = match self.written_as {
            Some(other) if other < seq => {
                (Wrong::Renumbered, "written with a number one lower: a record was inserted before")
            }
            Some(_) => {
                (Wrong::Renumbered, "written with a number one higher: a record was removed before")
            }
            None => (Wrong::Edited, "its hash is not that of what it says: it was edited"),
        };
        findings.add(seq, seq, what, text);
    }
}

/// Those that do not fit.
#[derive(Default)]
pub(super) struct Misfits {
    all: Vec<Misfit>,
}

impl Misfits {
    pub(super) fn add(&mut self, misfit: Misfit, findings: &mut Findings) {
        if self.all.len() < MOST {
            self.all.push(misfit);
        } else {
            misfit.tell(findings);
        }
    }

    /// The record after the one at `seq` says what hash that place has.
    pub(super) fn expect(&mut self, seq: i64, hash: &[u8]) {
        if let Some(last) = self.all.last_mut().filter(|last| last.seq == seq) {
            last.expected = Some(hash.to_vec());
        }
    }

    /// Where the record lies that belongs at a place.
    fn belongs(
        &self,
        at: &Misfit,
        hashes: &HashMap<&[u8], i64>,
        after: &HashMap<&[u8], i64>,
    ) -> Option<i64> {
        let by_next = at.expected.as_deref().and_then(|hash| hashes.get(hash));
        let by_last = at.follows.as_ref().and_then(|hash| after.get(hash.as_slice()));
        by_next.or(by_last).copied().filter(|seq| *seq != at.seq)
    }

    /// Says which are swapped or moved, and which are edited.
    pub(super) fn finish(&self, findings: &mut Findings) {
        let hashes = self.all.iter().map(|it| (it.hash.as_slice(), it.seq)).collect();
        let after = self.all.iter().map(|it| (it.previous.as_slice(), it.seq)).collect();
        let places: HashMap<i64, i64> = self
            .all
            .iter()
            .filter_map(|it| Some((it.seq, self.belongs(it, &hashes, &after)?)))
            .collect();
        for misfit in &self.all {
            let seq = misfit.seq;
            match places.get(&seq) {
                Some(at) if places.get(at) == Some(&seq) => {
                    if seq < *at {
                        let text = format!("records {seq} and {at} are each in the other's place");
                        findings.add(seq, *at, Wrong::Swapped, text);
                    }
                }
                Some(at) => {
                    let text = format!("the record that belongs here lies at {at}");
                    findings.add(seq, seq, Wrong::Moved, text);
                }
                None => misfit.tell(findings),
            }
        }
    }
}
