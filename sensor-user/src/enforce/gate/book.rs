//! Since when gates say what they say.

use std::{collections::BTreeMap, sync::Arc};

use super::reading::{Gate, Purpose, Reading, State};

/// A policy's gates: what each says, and since when.
type Page = BTreeMap<(Purpose, Gate), (State, u64)>;

/// Remembers for each gate of each policy when its state changed last.
#[derive(Clone, Debug, Default)]
pub struct GateBook {
    pages: BTreeMap<Arc<str>, Page>,
}

impl GateBook {
    /// Takes note of what a policy's gates say now, `CLOCK_MONOTONIC` ns.
    pub fn note(&mut self, policy: &Arc<str>, readings: &[Reading], now_ns: u64) {
        let page = self.pages.entry(Arc::clone(policy)).or_default();
        for reading in readings {
            let line =
                page.entry((reading.purpose, reading.gate)).or_insert((reading.state, now_ns));
            if line.0 != reading.state {
                *line = (reading.state, now_ns);
            }
        }
    }

    /// Since when a gate is in this state; now, if that was never noted.
    #[must_use]
    pub fn since_ns(&self, policy: &str, reading: &Reading, now_ns: u64) -> u64 {
        let page = self.pages.get(policy);
        let line = page.and_then(|page| page.get(&(reading.purpose, reading.gate)));
        line.filter(|(state, _)| *state == reading.state).map_or(now_ns, |(_, since_ns)| *since_ns)
    }

    /// Forgets a policy, as where what is measured begins anew.
    pub fn forget(&mut self, policy: &str) {
        self.pages.remove(policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::gate::{Figures, GateSet, judge};

    #[test]
    fn a_gate_holds_since_it_last_did_not() {
        let mut book = GateBook::default();
        let policy: Arc<str> = "login".into();
        let read = |connections| {
            let figures = Figures { connections, ..Figures::default() };
            let readings = judge(&GateSet::default(), &figures).readings;
            readings.into_iter().find(|reading| reading.gate == Gate::Connections).unwrap()
        };
        book.note(&policy, &[read(1)], 100);
        book.note(&policy, &[read(2)], 200);
        assert_eq!(book.since_ns("login", &read(3), 300), 100, "it breaks as before");
        book.note(&policy, &[read(20_000)], 300);
        book.note(&policy, &[read(30_000)], 400);
        assert_eq!(book.since_ns("login", &read(40_000), 500), 300);
        book.forget("login");
        assert_eq!(book.since_ns("login", &read(40_000), 500), 500);
    }
}
