//! Findings: each is journaled, logged and counted once.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::desk::{MOST_REMEMBERED, Open, Remembered, Watch};
use crate::{
    daemon::{Daemon, sensor::Sensor},
    enforce::audit::{Fault, Finding, Outcome},
    journal::{Actor, Kind, Record},
};

impl<S: Sensor> Daemon<S> {
    /// Takes a finding in. What somebody has to look at is told once, however often it is met.
    pub(super) fn found(&mut self, watch: Watch, finding: Finding) {
        let key = (finding.fault, finding.object.clone());
        if finding.outcome == Outcome::Alarm {
            if let Some(open) = self.audit.open.get_mut(&key) {
                open.is_met = true;
                open.finding = finding;
                return;
            }
            let since_unix_ns = unix_ns();
            let open = Open { watch, finding: finding.clone(), since_unix_ns, is_met: true };
            self.audit.open.insert(key, open);
        }
        self.tell(finding);
    }

    fn tell(&mut self, finding: Finding) {
        let counts = self.audit.counts.entry(finding.fault).or_default();
        counts.found += finding.count as u64;
        if finding.outcome == Outcome::Repaired {
            counts.repaired += finding.count as u64;
        }
        let (fault, object, count) = (finding.fault.name(), finding.object.as_str(), finding.count);
        match finding.outcome {
            Outcome::Repaired => {
                tracing::warn!(fault, object, count, "self-audit: repaired. {}", finding.text);
            }
            Outcome::Alarm => {
                tracing::error!(fault, object, count, "self-audit: {}", finding.text);
            }
        }
        let body = json!({
            "fault": finding.fault,
            "object": finding.object,
            "count": finding.count,
            "outcome": finding.outcome,
        });
        let about = finding.about.clone();
        let mut record = Record::new(Kind::Audit, &Actor::Daemon, body).about(about);
        if !finding.text.is_empty() {
            // Errors of the ledger name prefixes.
            record = record.with_personal(json!({"text": finding.text}));
        }
        self.note(record);
        let remembered = &mut self.audit.remembered;
        if remembered.len() >= MOST_REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back(Remembered { at_unix_ns: unix_ns(), finding });
    }

    /// What a look or a sweep did not meet again is over.
    pub(super) fn settle(&mut self, watch: Watch) {
        let is_over = |open: &Open| open.watch == watch && !open.is_met;
        let over: Vec<(Fault, String)> = self
            .audit
            .open
            .iter()
            .filter(|(_, open)| is_over(open))
            .map(|(key, _)| key.clone())
            .collect();
        for key in over {
            self.audit.open.remove(&key);
            let (fault, object) = key;
            tracing::info!(fault = fault.name(), object, "self-audit: this is over");
            let body = json!({"fault": fault, "object": object, "outcome": "over"});
            self.note(Record::new(Kind::Audit, &Actor::Daemon, body));
        }
        for open in self.audit.open.values_mut().filter(|open| open.watch == watch) {
            open.is_met = false;
        }
    }
}

/// Now, nanoseconds since 1970.
pub(super) fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
