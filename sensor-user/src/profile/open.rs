//! Open connections of one source, and which of them are stalled.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use weir_common::abi::FlowKey;

use super::{ProfileLimits, is_same_proof, latest::grow_exactly, rhythm::Totals};

#[derive(Clone, Debug)]
struct Open {
    // Hash of the flow's key: within one source, which it stands for.
    key: u64,
    proven_ns: u64,
    stalled: bool,
    // How its record stood when it was reported.
    seen: Option<Box<Totals>>,
}

/// What became of an event about an open connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It is a new one.
    New,
    /// It was known, and nothing changed.
    Known,
    /// There was no room to follow it.
    Full,
}

/// Open connections, bounded.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections {
    // Ascending by key.
    flows: Vec<Open>,
    stalled: usize,
    // No open connection is older.
    oldest_ns: u64,
    ended_ns: Option<u64>,
}

impl OpenConnections {
    /// A connection was proven. One on the same ports that was proven at another time has ended
    /// unseen.
    pub(crate) fn open(&mut self, key: &FlowKey, proven_ns: u64, capacity: usize) -> Outcome {
        if let Some(open) = self.get_mut(key) {
            if is_same_proof(open.proven_ns, proven_ns) {
                return Outcome::Known;
            }
            let was_stalled = open.stalled;
            *open = Open { key: open.key, proven_ns, stalled: false, seen: None };
            self.stalled -= usize::from(was_stalled);
            self.oldest_ns = self.oldest_ns.min(proven_ns);
            return Outcome::New;
        }
        self.insert(key, proven_ns, false, capacity)
    }

    /// Whether a connection that was proven at this time is open. One through a proxy is reported
    /// when its client is named, which is after its proof.
    pub(crate) fn is_known(&self, key: &FlowKey, proven_ns: u64) -> bool {
        self.get(key).is_some_and(|open| {
            open.proven_ns > proven_ns || is_same_proof(open.proven_ns, proven_ns)
        })
    }

    /// A connection stalled; one whose beginning was not seen counts from here.
    pub(crate) fn stall(&mut self, key: &FlowKey, at_ns: u64, limits: &ProfileLimits) -> Outcome {
        let Some(open) = self.get_mut(key) else {
            let timeout = limits.connection_timeout_ns;
            if self.ended_ns.is_some_and(|ended| at_ns.saturating_sub(ended) <= timeout) {
                return Outcome::Known;
            }
            return self.insert(key, at_ns, true, limits.connections_per_source);
        };
        if open.stalled {
            return Outcome::Known;
        }
        open.stalled = true;
        self.stalled += 1;
        Outcome::New
    }

    /// A connection ended. `None`: it was not known. Otherwise how its record stood when it was
    /// reported last, if it was.
    pub(crate) fn close(&mut self, key: &FlowKey) -> Option<Option<Box<Totals>>> {
        let closed = self.flows.remove(self.find(key).ok()?);
        self.stalled -= usize::from(closed.stalled);
        if self.flows.is_empty() {
            self.flows = Vec::new();
        }
        Some(closed.seen)
    }

    /// How a connection's record stands now, and how it stood when it was reported before.
    /// `None`: it is not followed.
    pub(crate) fn progress(
        &mut self,
        key: &FlowKey,
        totals: Totals,
    ) -> Option<(Totals, Option<Box<Totals>>)> {
        let open = self.get_mut(key)?;
        let totals = totals.after(open.seen.as_deref());
        Some((totals, open.seen.replace(Box::new(totals))))
    }

    /// Forgets connections that are older than `timeout_ns`: their end was not seen.
    pub(crate) fn time_out(&mut self, now_ns: u64, timeout_ns: u64) {
        if self.flows.is_empty() || now_ns.saturating_sub(self.oldest_ns) <= timeout_ns {
            return;
        }
        self.flows.retain(|open| now_ns.saturating_sub(open.proven_ns) <= timeout_ns);
        self.stalled = self.flows.iter().filter(|open| open.stalled).count();
        self.oldest_ns = self.flows.iter().map(|open| open.proven_ns).min().unwrap_or(0);
    }

    /// Forgets all: they are being ended. What is still reported of them does not bring them back.
    pub(crate) fn end_all(&mut self, now_ns: u64) {
        *self = Self { ended_ns: Some(now_ns), ..Self::default() };
    }

    /// Whether a connection that was proven then is among those that were ended.
    pub(crate) fn was_ended(&self, proven_ns: u64) -> bool {
        self.ended_ns.is_some_and(|ended_ns| proven_ns <= ended_ns)
    }

    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    pub(crate) const fn stalled(&self) -> usize {
        self.stalled
    }

    fn find(&self, key: &FlowKey) -> Result<usize, usize> {
        let key = hash(key);
        self.flows.binary_search_by_key(&key, |open| open.key)
    }

    fn get(&self, key: &FlowKey) -> Option<&Open> {
        self.flows.get(self.find(key).ok()?)
    }

    fn get_mut(&mut self, key: &FlowKey) -> Option<&mut Open> {
        let at = self.find(key).ok()?;
        self.flows.get_mut(at)
    }

    fn insert(&mut self, key: &FlowKey, at_ns: u64, stalled: bool, capacity: usize) -> Outcome {
        if self.flows.len() >= capacity {
            return Outcome::Full;
        }
        self.oldest_ns = if self.flows.is_empty() { at_ns } else { self.oldest_ns.min(at_ns) };
        let Err(at) = self.find(key) else { return Outcome::Known };
        grow_exactly(&mut self.flows);
        self.flows.insert(at, Open { key: hash(key), proven_ns: at_ns, stalled, seen: None });
        self.stalled += usize::from(stalled);
        Outcome::New
    }
}

/// The standard hasher with its fixed keys: the same on every run.
fn hash(key: &FlowKey) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> ProfileLimits {
        let few = ProfileLimits::default();
        ProfileLimits { connections_per_source: 8, connection_timeout_ns: 100, ..few }
    }

    fn key(port: u16) -> FlowKey {
        FlowKey { remote_port: port, ..FlowKey::default() }
    }

    #[test]
    fn a_connection_is_known_by_its_proof_also_where_it_was_told_of_later() {
        let mut open = OpenConnections::default();
        open.open(&key(1), 50_000, 8);
        assert!(open.is_known(&key(1), 50_000) && open.is_known(&key(1), 10_000));
        assert!(!open.is_known(&key(1), 90_000), "another one on the same ports");
        assert!(!open.is_known(&key(2), 50_000));
    }

    #[test]
    fn counts_survive_doubled_lost_and_unknown_events() {
        let mut open = OpenConnections::default();
        assert_eq!(open.open(&key(1), 10, 8), Outcome::New);
        assert_eq!(open.open(&key(1), 10, 8), Outcome::Known);
        assert_eq!(open.stall(&key(1), 20, &limits()), Outcome::New);
        assert_eq!(open.stall(&key(1), 21, &limits()), Outcome::Known);
        assert_eq!(open.stall(&key(2), 21, &limits()), Outcome::New, "its beginning was lost");
        assert_eq!((open.len(), open.stalled()), (2, 2));
        assert_eq!(open.open(&key(1), 30_000, 8), Outcome::New, "its end was lost");
        assert_eq!((open.len(), open.stalled()), (2, 1));
        assert_eq!(open.close(&key(2)), Some(None));
        assert_eq!((open.close(&key(2)), open.close(&key(3))), (None, None));
        assert_eq!((open.len(), open.stalled()), (1, 0));
    }

    #[test]
    fn ended_connections_do_not_come_back_by_late_reports() {
        let mut open = OpenConnections::default();
        open.open(&key(1), 100, 8);
        open.end_all(200);
        open.stall(&key(1), 210, &limits());
        assert_eq!((open.len(), open.stalled()), (0, 0));
        open.open(&key(2), 220, 8);
        open.stall(&key(2), 230, &limits());
        assert_eq!((open.len(), open.stalled()), (1, 1), "a new one counts");
        assert_eq!(open.stall(&key(3), 301, &limits()), Outcome::New);
    }

    #[test]
    fn bounded() {
        let mut open = OpenConnections::default();
        for port in 0..10 {
            open.open(&key(port), 1, 4);
        }
        assert_eq!(open.len(), 4);
        assert_eq!(open.open(&key(9), 1, 4), Outcome::Full);
    }

    #[test]
    fn lost_ends_time_out() {
        let mut open = OpenConnections::default();
        open.open(&key(1), 100, 8);
        open.open(&key(2), 200, 8);
        open.stall(&key(1), 150, &limits());
        open.time_out(250, 100);
        assert_eq!((open.len(), open.stalled()), (1, 0));
        open.time_out(301, 100);
        assert_eq!(open.len(), 0);
    }
}
