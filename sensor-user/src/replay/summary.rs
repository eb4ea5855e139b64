//! What there was in a replay, in numbers.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use super::record::DecisionRecord;
use crate::event::Event;

/// What a replay read: packets of captures, or events of recordings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    /// Frames.
    pub packets: u64,
    /// Events, those that packets led to included.
    pub events: u64,
    /// Frames without an IP packet that can be read.
    pub unread: u64,
    /// Packets of which neither end is the protected host.
    pub between_others: u64,
    /// Connections that were proven.
    pub connections: u64,
    /// Proven connections that ended.
    pub closed: u64,
    /// Reports of connections that go on.
    pub progress: u64,
    /// Sources profiled at the end.
    pub sources: u64,
    /// When that was.
    pub span: Span,
}

/// A stretch of time, in ns since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Span {
    /// Earliest; 0 = nothing happened.
    pub first_ns: u64,
    /// Latest.
    pub last_ns: u64,
}

impl Span {
    fn reach(&mut self, at_ns: u64) {
        self.first_ns = if self.first_ns == 0 { at_ns } else { self.first_ns.min(at_ns) };
        self.last_ns = self.last_ns.max(at_ns);
    }

    /// Its length.
    #[must_use]
    pub const fn length(&self) -> Duration {
        Duration::from_nanos(self.last_ns.saturating_sub(self.first_ns))
    }
}

impl Summary {
    pub(super) fn frame(&mut self, time_ns: u64) {
        self.packets += 1;
        self.time(time_ns);
    }

    pub(super) fn time(&mut self, time_ns: u64) {
        if time_ns > 0 {
            self.span.reach(time_ns);
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        self.events += 1;
        match event {
            // One through a proxy is reported again when its client is known.
            Event::Established(event) if event.client == [0; 4] => self.connections += 1,
            Event::Closed(_) => self.closed += 1,
            Event::Progress(_) => self.progress += 1,
            _ => {}
        }
    }
}

/// Decisions, counted by action.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcomes {
    actions: BTreeMap<String, u64>,
}

impl Outcomes {
    /// Counts a decision.
    pub fn add(&mut self, record: &DecisionRecord) {
        *self.actions.entry(record.action.clone()).or_default() += 1;
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actions.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        for (action, count) in &self.actions {
            write!(f, "{separator}{count} {action}")?;
            separator = ", ";
        }
        Ok(())
    }
}
