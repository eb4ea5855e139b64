//! What was deleted lawfully, as the records of deletion say: of whole records those up to one, of
//! personal parts those up to one, and single ranges.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::record::Kind;

/// What records of deletion name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Deletions {
    /// Records up to this were deleted.
    pub(super) records_through: i64,
    /// Personal parts up to this were taken out.
    personal_through: i64,
    /// Personal parts that were taken out, besides; sorted, without overlap.
    personal: Vec<(i64, i64)>,
}

impl Deletions {
    /// Reads all of them.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut deletions = Self::default();
        let mut statement = connection
            .prepare("SELECT seq, body FROM journal WHERE kind IN (?1, ?2) ORDER BY seq")?;
        let mut rows = statement.query([Kind::Forget.name(), Kind::Retention.name()])?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            let body = row.get_ref(1)?.as_bytes().unwrap_or_default();
            if let Ok(body) = serde_json::from_slice::<Value>(body) {
                deletions.take_in(seq, &body);
            }
        }
        deletions.tidy();
        Ok(deletions)
    }

    /// What the record at `seq` says. It can speak of records before it only.
    fn take_in(&mut self, seq: i64, body: &Value) {
        let number = |name: &str| body.get(name).and_then(Value::as_i64).unwrap_or_default();
        self.records_through = self.records_through.max(number(RECORDS_THROUGH).min(seq - 1));
        self.personal_through = self.personal_through.max(number(PERSONAL_THROUGH).min(seq - 1));
        let ranges = body.get(PERSONAL).and_then(Value::as_array).into_iter().flatten();
        for range in ranges {
            let range = range.as_array().map(Vec::as_slice).unwrap_or_default();
            if let [first, last] = range
                && let (Some(first), Some(last)) = (first.as_i64(), last.as_i64())
                && first <= last
            {
                self.personal.push((first, last.min(seq - 1)));
            }
        }
        if self.personal.len() >= 2 * TIDY_AT.max(self.personal.capacity() / 2) {
            self.tidy();
        }
    }

    /// Leaves no range that another covers.
    fn tidy(&mut self) {
        self.personal.retain(|(_, last)| *last > self.personal_through);
        self.personal.sort_unstable();
        let mut joined: Vec<(i64, i64)> = Vec::with_capacity(self.personal.len());
        for (first, last) in self.personal.drain(..) {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => joined.push((first, last)),
            }
        }
        self.personal = joined;
    }

    /// Whether the personal part of a record was taken out.
    pub(super) fn covers_personal(&self, seq: i64) -> bool {
        let at = self.personal.partition_point(|(first, _)| *first <= seq);
        let before = at.checked_sub(1).and_then(|at| self.personal.get(at));
        seq <= self.personal_through || before.is_some_and(|(_, last)| seq <= *last)
    }
}

/// Ranges after which they are tidied while they are read.
const TIDY_AT: usize = 4096;

const RECORDS_THROUGH: &str = "records_through";
const PERSONAL_THROUGH: &str = "personal_through";
const PERSONAL: &str = "personal";

/// The body of a record that says that records were deleted.
pub(super) fn records_body(through: i64, count: usize) -> Value {
    json!({RECORDS_THROUGH: through, "count": count})
}

/// The body of a record that says that old personal parts were taken out.
pub(super) fn personal_body(through: i64, count: usize) -> Value {
    json!({PERSONAL_THROUGH: through, "count": count})
}

/// What goes into the body of a record that says that these personal parts were taken out.
pub(super) fn forgotten(seqs: &[i64]) -> (&'static str, Value) {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for seq in seqs {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *seq => *last = *seq,
            _ => ranges.push((*seq, *seq)),
        }
    }
    (PERSONAL, json!(ranges))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_speak_of_the_past_only() {
        let mut deletions = Deletions::default();
        let (name, ranges) = forgotten(&[3, 4, 5, 9, 40]);
        assert_eq!(ranges, json!([[3, 5], [9, 9], [40, 40]]));
        deletions.take_in(20, &json!({name: ranges}));
        deletions.take_in(30, &json!({name: [[5, 8], [29, 99], "x", [1], [7, 6]]}));
        deletions.take_in(31, &records_body(99, 1));
        deletions.tidy();
        let covered: Vec<i64> = (0..50).filter(|seq| deletions.covers_personal(*seq)).collect();
        assert_eq!(covered, [0, 3, 4, 5, 6, 7, 8, 9, 29]);
        assert_eq!(deletions.records_through, 30);
        deletions.take_in(60, &personal_body(35, 1));
        deletions.tidy();
        assert!((0..=35).all(|seq| deletions.covers_personal(seq)));
        assert!(!deletions.covers_personal(36));
        assert_eq!(deletions.personal, []);
    }
}
