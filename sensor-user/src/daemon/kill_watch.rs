//! Brakes as they are written down.
//!
//! The kill switch's place in the story: it is turned without the daemon, which notices within a second
//! and writes it down; with who it was where the command could tell.

use serde_json::json;

use super::{Daemon, sensor::Sensor};
use crate::journal::{Actor, Kind, Record};

/// How the switch was when it was looked at last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KillWatch(Option<bool>);

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

    /// Looks at the switch; a change is written down, in somebody's name.
    pub(super) fn watch_kill(&mut self, actor: &Actor) {
        // One that cannot be read is told by readiness.
        let Ok(on) = self.sensor.kill() else { return };
        let before = self.kill_watch.0.replace(on);
        // That it is off at the start is no news.
        if before == Some(on) || (before.is_none() && !on) {
            return;
        }
        let began = before.is_none();
        let word = if on { "on" } else { "off" };
        tracing::warn!(
            "the kill switch is {word}{}",
            if began { " since before this start" } else { "" }
        );
        let body = json!({"on": on, "since_before_start": began});
        self.note(Record::new(Kind::Kill, actor, body));
    }
}
