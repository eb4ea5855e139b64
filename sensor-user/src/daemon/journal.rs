//! What the daemon writes down.

use serde_json::json;

use super::{Daemon, sensor::Sensor};
use crate::journal::{Actor, Kind, Record};

impl<S: Sensor> Daemon<S> {
    /// Writes a fact down. Never waits.
    #[expect(clippy::unused_self, reason = "the journal's handle goes here")]
    pub(super) fn note(&mut self, record: Record) {
        tracing::debug!(kind = ?record.kind, body = %record.body, "journal");
    }

    pub(super) fn note_start(&mut self) {
        let body = json!({"version": env!("CARGO_PKG_VERSION"), "summary": self.summary()});
        self.note(Record::new(Kind::Start, &Actor::Daemon, body));
    }

    pub(super) fn note_stop(&mut self) {
        self.note(Record::new(Kind::Stop, &Actor::Daemon, json!({"summary": self.summary()})));
    }

    /// Somebody knocked at the control socket who may not.
    pub(super) fn note_turned_away(&mut self, count: u64, actor: &Actor) {
        tracing::warn!(
            ?actor,
            count,
            "turned away at the control socket: only root, the daemon's user and members of the group \
             weir are answered"
        );
        let body = json!({"at": "control socket", "count": count});
        self.note(Record::new(Kind::Refusal, actor, body));
    }
}
