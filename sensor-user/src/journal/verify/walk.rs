//! One pass over the chain, from its first record to its last.

use rusqlite::{Row, types::ValueRef};

use super::{
    Known,
    finding::{Findings, Wrong},
    place::{Misfit, Misfits},
    trust::Trust,
};
use crate::journal::{
    chain::{GENESIS, Hash, Link, personal_digest},
    checkpoint::Checkpoint,
    deletions::Deletions,
    read::time_text,
    record::Kind,
};

/// What a pass reads of each record; see [`Seen::read`].
pub(super) const SELECT: &str = "SELECT j.seq, j.unix_ns, j.kind, j.actor, j.body, j.personal_digest, j.prev_hash, j.hash, \
     p.seq IS NOT NULL, p.salt, p.form, p.content \
     FROM journal j LEFT JOIN journal_personal p ON p.seq = j.seq WHERE j.seq > ?1 ORDER BY j.seq";

/// A record as it lies there, whatever somebody made of it.
struct Seen<'a> {
    seq: i64,
    link: Link<'a>,
    hash: &'a [u8],
    /// Salt, form and content.
    personal: Option<[&'a [u8]; 3]>,
}

impl<'a> Seen<'a> {
    fn read(row: &'a Row<'_>) -> rusqlite::Result<Self> {
        let bytes = |index| row.get_ref(index).map(bytes_of);
        let digest = row.get_ref(5)?;
        let personal = match row.get(8)? {
            true => Some([bytes(9)?, bytes(10)?, bytes(11)?]),
            false => None,
        };
        Ok(Self {
            seq: row.get(0)?,
            link: Link {
                previous: bytes(6)?,
                unix_ns: row.get(1)?,
                kind: bytes(2)?,
                actor: bytes(3)?,
                body: bytes(4)?,
                personal: (digest != ValueRef::Null).then(|| bytes_of(digest)),
            },
            hash: bytes(7)?,
            personal,
        })
    }
}

const fn bytes_of(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => &[],
    }
}

/// The record before.
#[derive(Clone)]
struct Before {
    seq: i64,
    /// The hash that it bears.
    hash: Vec<u8>,
    /// Whether that is its own.
    fits: bool,
}

/// Counts of a pass.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) checkpoints: u64,
    pub(super) personal: u64,
    pub(super) personal_deleted: u64,
}

/// The state of a pass.
pub(super) struct Walk<'a> {
    pub(super) findings: Findings,
    pub(super) trust: Trust,
    pub(super) counts: Counts,
    pub(super) last_hash: Vec<u8>,
    /// `None`: of whole chains only.
    deletions: Option<&'a Deletions>,
    /// What stands outside the chain, by place.
    known: &'a [Known],
    /// Records up to this were deleted, or are not looked at.
    base: i64,
    anchor: Option<Vec<u8>>,
    before: Option<Before>,
    misfits: Misfits,
    /// The last checkpoint, and the last whose record is the one it names.
    checkpoint: Option<i64>,
    confirmed: i64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        trust: Trust,
        deletions: Option<&'a Deletions>,
        known: &'a [Known],
        base: i64,
    ) -> Self {
        Self {
            findings: Findings::default(),
            trust,
            counts: Counts::default(),
            last_hash: Vec::new(),
            deletions,
            known,
            base,
            anchor: None,
            before: None,
            misfits: Misfits::default(),
            checkpoint: None,
            confirmed: base,
        }
    }

    /// The next record; its place.
    pub(super) fn record(&mut self, row: &Row<'_>) -> rusqlite::Result<i64> {
        let seen = Seen::read(row)?;
        let seq = seen.seq;
        let fits = seen.link.hash_at(seq) == seen.hash;
        self.place(&seen, fits);
        if !fits {
            self.misfit(&seen);
        }
        self.personal(&seen);
        self.compare(&seen);
        if fits && seen.link.kind == Kind::Key.name().as_bytes() {
            self.trust.note(seq, seen.link.body);
        }
        self.counts.records += 1;
        if self.counts.first == 0 {
            self.counts.first = seq;
        }
        self.counts.last = seq;
        self.before = Some(Before { seq, hash: seen.hash.to_vec(), fits });
        Ok(seq)
    }

    /// Whether it follows what is before it.
    fn place(&mut self, seen: &Seen<'_>, fits: bool) {
        let seq = seen.seq;
        let Some(before) = self.before.clone() else {
            self.begin(seen, fits);
            return;
        };
        if seq != before.seq.saturating_add(1) {
            let (from, to) = (before.seq.saturating_add(1), seq - 1);
            self.findings.add(from, to, Wrong::Removed, missing(from, to));
            return;
        }
        self.misfits.expect(before.seq, seen.link.previous);
        if fits && before.fits && before.hash != seen.link.previous {
            let text = format!(
                "record {seq} was written after another record {}: one of the two was written anew",
                before.seq
            );
            self.findings.add(before.seq, seq, Wrong::Replaced, text);
        }
    }

    /// Whether the first record is where the chain begins.
    fn begin(&mut self, seen: &Seen<'_>, fits: bool) {
        let (seq, base) = (seen.seq, self.base);
        if seq <= base {
            let text =
                format!("a record says that those up to {base} were deleted, and here is one");
            self.findings.add(seq, seq, Wrong::Inserted, text);
        } else if seq > base + 1 {
            self.findings.add(base + 1, seq - 1, Wrong::Removed, missing(base + 1, seq - 1));
        } else if base == 0 {
            if fits && seen.link.previous != GENESIS {
                let text = "the first record was written after another one";
                self.findings.add(seq, seq, Wrong::Replaced, text);
            }
        } else if let Some(anchor) = &self.anchor {
            if fits && anchor != seen.link.previous {
                let text = format!("it does not follow the record {base} that was signed");
                self.findings.add(seq, seq, Wrong::Replaced, text);
            }
        } else {
            let text =
                format!("the checkpoint of record {base}, which the chain hangs on, is not there");
            self.findings.add(base, base, Wrong::CheckpointRemoved, text);
        }
    }

    /// A record that is not as it was written here.
    fn misfit(&mut self, seen: &Seen<'_>) {
        let seq = seen.seq;
        let written_at = |seq: &i64| seen.link.hash_at(*seq) == seen.hash;
        let written_as = [seq.saturating_sub(1), seq.saturating_add(1)];
        let before = self.before.as_ref();
        let before = before.filter(|it| it.fits && it.seq.saturating_add(1) == seq);
        let follows = match before {
            Some(before) => Hash::try_from(before.hash.as_slice()).ok(),
            None if seq == 1 => Some(GENESIS),
            None => None,
        };
        let misfit = Misfit {
            seq,
            hash: seen.hash.to_vec(),
            previous: seen.link.previous.to_vec(),
            follows,
            expected: None,
            written_as: written_as.into_iter().find(written_at),
        };
        self.misfits.add(misfit, &mut self.findings);
    }

    fn personal(&mut self, seen: &Seen<'_>) {
        let Some(deletions) = self.deletions else { return };
        let seq = seen.seq;
        let is_deleted = deletions.covers_personal(seq);
        let mut found = |what, text| self.findings.add(seq, seq, what, text);
        match (seen.link.personal, seen.personal) {
            (None, None) => {}
            (None, Some(_)) => {
                found(Wrong::PersonalInserted, "it was written without a personal part");
            }
            (Some(_), None) => {
                if !is_deleted {
                    found(
                        Wrong::PersonalRemoved,
                        "its personal part is gone, and no record says why",
                    );
                }
                self.counts.personal_deleted += 1;
            }
            (Some(digest), Some([salt, form, content])) => {
                if personal_digest(salt, form, content) != digest {
                    found(
                        Wrong::PersonalEdited,
                        "its personal part is not the one it was written with",
                    );
                } else if is_deleted {
                    found(
                        Wrong::PersonalInserted,
                        "its personal part is there, and a record says that it was taken out",
                    );
                }
                self.counts.personal += 1;
            }
        }
    }

    /// With what somebody remembers of this place.
    fn compare(&mut self, seen: &Seen<'_>) {
        for known in self.known.iter().filter(|known| known.seq == seen.seq) {
            if known.hash.as_slice() != seen.hash {
                let text = format!(
                    "{} knows another record {}: it, or one before it, was written anew",
                    known.from, known.seq
                );
                self.findings.add(seen.seq, seen.seq, Wrong::Replaced, text);
            }
        }
        self.last_hash = seen.hash.to_vec();
    }

    /// The next checkpoint; all records up to its place were seen.
    pub(super) fn checkpoint(&mut self, checkpoint: &Checkpoint) {
        let seq = checkpoint.seq;
        self.counts.checkpoints += 1;
        self.sequence(checkpoint);
        self.checkpoint = Some(seq);
        if !checkpoint.is_signed() {
            let text = "the signature of its checkpoint does not fit";
            self.findings.add(seq, seq, Wrong::Checkpoint, text);
            return;
        }
        if seq == self.base && self.before.is_none() {
            self.anchor = Some(checkpoint.hash.clone());
            self.trust.judge(checkpoint);
            return;
        }
        let Some(before) = self.before.as_ref().filter(|before| before.seq == seq) else {
            // Its record is gone, which is told elsewhere.
            return;
        };
        if before.hash == checkpoint.hash {
            self.confirmed = seq;
            self.trust.judge(checkpoint);
        } else {
            let time = time_text(checkpoint.unix_ns);
            let text = format!(
                "record {seq} is not the one that was signed at {time}: records from {} on were \
                 edited, written anew, removed or inserted",
                self.confirmed + 1
            );
            self.findings.add(self.confirmed.saturating_add(1), seq, Wrong::Replaced, text);
        }
    }

    /// Whether it is the next: each names the one before.
    fn sequence(&mut self, checkpoint: &Checkpoint) {
        let expected = match self.checkpoint {
            Some(before) => checkpoint.previous == before,
            // What it names was deleted with its record.
            None => checkpoint.previous <= self.base,
        };
        if !expected && checkpoint.is_signed() {
            let previous = checkpoint.previous;
            let text = format!(
                "the checkpoint of record {} names that of record {previous} as the one before, \
                 which is not there",
                checkpoint.seq
            );
            self.findings.add(previous, previous, Wrong::CheckpointRemoved, text);
        }
    }

    /// After the last record and the last checkpoint: what is known beyond, by `checkpoints` that no record
    /// goes with (the last place).
    pub(super) fn finish(&mut self, beyond: Option<i64>, head: Option<&Checkpoint>) {
        let last = self.counts.last.max(self.base);
        let mut cut: Option<(i64, Vec<String>)> = None;
        let beyond = beyond.map(|seq| (seq, "a checkpoint".to_owned()));
        let known = self.known.iter().map(|known| (known.seq, known.from.clone()));
        for (seq, from) in beyond.into_iter().chain(known).filter(|(seq, _)| *seq > last) {
            let (end, who) = cut.get_or_insert_with(|| (seq, Vec::new()));
            *end = (*end).max(seq);
            who.push(format!("{from} knows record {seq}"));
        }
        if let Some((end, who)) = cut {
            let text = format!("the chain ends at record {last}, and {}", who.join(", "));
            self.findings.add(last.saturating_add(1), end, Wrong::Cut, text);
        }
        if let Some(head) = head.filter(|head| !self.trust.is_trusted(head)) {
            let text = "the head file is signed by a key that is not trusted";
            self.findings.add(head.seq, head.seq, Wrong::Key, text);
        }
        self.misfits.finish(&mut self.findings);
        self.trust.finish(&mut self.findings);
    }
}

fn missing(from: i64, to: i64) -> String {
    if from == to {
        format!("record {from} is not there, and no record says why")
    } else {
        format!("records {from} to {to} are not there, and no record says why")
    }
}
