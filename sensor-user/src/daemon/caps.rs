//! What caps on new drops held back, as it is written down.

use serde_json::json;

use super::{Daemon, sensor::Sensor};
use crate::journal::{Actor, Kind, Record};

impl<S: Sensor> Daemon<S> {
    /// Writes down what caps on new drops held back in the last minute, with the figures.
    pub(super) fn note_caps(&mut self) {
        for report in self.engine.cap_reports() {
            if report.limited == 0 {
                continue;
            }
            tracing::warn!(
                "{}/{} made {} new drops in a minute and limited {} sources instead: its cap is {}",
                report.policy,
                report.rule,
                report.dropped,
                report.limited,
                report.cap
            );
            let body = json!({"brake": "new-drops", "figures": report});
            self.note(Record::new(Kind::Brake, &Actor::Daemon, body));
        }
    }
}
