//! What the daemon writes down.

use ipnet::IpNet;
use serde_json::json;
use weir_common::abi::{Action, Mode};

use super::{Daemon, kill, sensor::Sensor};
use crate::{
    api::{
        command::{Block, Reply},
        message::{self, Cause, Failure, FailureKind, JournalKey, Reason, Rotated},
    },
    enforce::{
        fingerprint::{Fingerprint, FingerprintName},
        names,
    },
    journal::{Actor, Kind, Record},
    profile::source,
    score::Decision,
    system::clock,
};

/// Fingerprints that a record names.
const FINGERPRINTS: usize = 100;

/// They name a kind of program and nobody.
fn named<T: std::fmt::Display>(names: impl Iterator<Item = T>) -> Vec<String> {
    names.take(FINGERPRINTS).map(|name| name.to_string()).collect()
}

impl<S: Sensor> Daemon<S> {
    /// Writes a fact down. Never waits.
    pub(super) fn note(&mut self, record: Record) {
        tracing::debug!(kind = ?record.kind, body = %record.body, "journal");
        self.journal.note(&record);
    }

    pub(super) fn note_start(&mut self) {
        let mut body = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "mode": names::mode_name(self.effective_mode()),
            "policies": self.policy_versions(),
            "interfaces": self.interface_names(),
        });
        if let (Some(false), Some(body)) =
            (self.journal.last_run_ended_well(), body.as_object_mut())
        {
            let text = "it did not end by itself; what it had not written yet is lost";
            body.insert("last_run".into(), text.into());
        }
        self.note(Record::new(Kind::Start, &Actor::Daemon, body));
    }

    pub(super) fn note_stop(&mut self) {
        let body = json!({"mode": names::mode_name(self.effective_mode())});
        self.note(Record::new(Kind::Stop, &Actor::Daemon, body));
        self.journal.finish();
    }

    fn interface_names(&self) -> Vec<&str> {
        self.attachments.iter().map(|attachment| attachment.interface.as_str()).collect()
    }

    fn policy_versions(&self) -> serde_json::Value {
        let policies = self.engine.policy().policies.iter();
        policies.map(|policy| (policy.name.to_string(), json!(policy.version))).collect()
    }

    /// A decision, with the factors that made it.
    pub(super) fn note_decision(&mut self, decision: &Decision, told: &message::Decision) {
        let record = &told.record;
        let body = json!({
            "id": record.id,
            "policy": record.policy,
            "version": record.version,
            "rules": told.rules,
            "service": record.service,
            "services": told.services,
            "action": record.action,
            "mode": record.mode,
            "score": record.score,
            "factors": record.factors,
            "owasp": record.owasp,
            "evidence": record.evidence,
            "offence": record.offence,
            "for_s": told.for_s,
            "whole_service": decision.whole_service.is_some(),
        });
        // When the packet was seen, and not when there was time to write.
        let mut record = Record::new(Kind::Decision, &Actor::Daemon, body);
        let ago_ns = clock::monotonic_ns().saturating_sub(decision.at_ns);
        record.unix_ns = record.unix_ns.saturating_sub(ago_ns);
        if decision.whole_service.is_none() {
            record = record.about([source::net(&decision.source)]);
        }
        self.note(record);
    }

    /// An operator's verdicts.
    pub(super) fn note_block(&mut self, block: &Block, entries: usize) {
        let body = json!({
            "action": names::action_name(Action::from(block.action)),
            "entries": entries,
            "fingerprints": named(block.list.fingerprints.iter().map(Fingerprint::name)),
            "service": block.service,
            "observe": block.observe,
            "for_s": block.term.map(|term| term.as_secs()),
        });
        let record = Record::new(Kind::Block, &self.asked_by, body)
            .about(block.list.prefixes.iter().copied())
            .with_personal(json!({"reason": block.reason}));
        self.note(record);
    }

    /// An operator took verdicts back.
    pub(super) fn note_unblock(
        &mut self,
        prefixes: &[IpNet],
        names: &[FingerprintName],
        removed: usize,
    ) {
        let body = json!({"removed": removed, "fingerprints": named(names.iter())});
        let record = Record::new(Kind::Unblock, &self.asked_by, body);
        self.note(record.about(prefixes.iter().copied()));
    }

    /// What an operator asked for was not done, or not wholly. The message may name whom it was about.
    pub(super) fn note_refused(&mut self, what: &str, failure: &Failure) {
        let body = json!({"asked": what, "kind": failure.kind});
        let record = Record::new(Kind::Refusal, &self.asked_by, body);
        self.note(record.with_personal(json!({"message": failure.message})));
    }

    /// Another policy was taken, or refused.
    pub(super) fn note_policy(&mut self, actor: &Actor, refused: Option<&str>) {
        let file = self.policy_file.display().to_string();
        let body = match refused {
            None => json!({"taken": true, "file": file, "policies": self.policy_versions()}),
            Some(error) => json!({"taken": false, "file": file, "error": error}),
        };
        self.note(Record::new(Kind::Policy, actor, body));
    }

    /// A second passed.
    pub(super) fn tick_journal(&mut self) {
        self.note_kill_switch();
        self.journal.tick();
    }

    /// Somebody turned the kill switch: whoever did needs no daemon, so it is seen here.
    fn note_kill_switch(&mut self) {
        let Ok(on) = self.sensor.kill() else { return };
        if self.kill_noted == Some(on) {
            return;
        }
        let is_first = self.kill_noted.replace(on).is_none();
        if is_first && !on {
            return;
        }
        let actor = kill::turned_by(&self.kill_note, on).map_or(Actor::Daemon, Actor::User);
        let effective = match self.effective_mode() {
            Mode::Off => "off",
            Mode::Observe => "observe",
            Mode::Enforce => "enforce",
        };
        let body = json!({"on": on, "at_start": is_first, "mode": effective});
        self.note(Record::new(Kind::Kill, &actor, body));
    }

    /// What is wrong with the journal: enforcement goes on, and somebody should look.
    pub(super) fn journal_troubles(&self) -> Option<Reason> {
        let health = self.journal.health();
        let mut texts = health.trouble;
        if health.lost > 0 {
            texts.push(format!("{} records found no place since the start", health.lost));
        }
        let text = format!("the journal: {}", texts.join("; "));
        (!texts.is_empty()).then(|| Reason::warns(Cause::Journal, text))
    }

    /// Replaces a key.
    pub(super) fn rotate_key(&mut self, key: JournalKey, actor: &Actor, reply: Reply<Rotated>) {
        let failed = |message: String| Failure::new(FailureKind::Internal, message);
        match key {
            JournalKey::Pseudonyms => {
                let rotated = self.journal.rotate_pseudonyms(actor);
                let rotated = rotated.map(|new| Rotated { new: new.to_string() });
                // A client that went away does not wait for it.
                let _ = reply.send(rotated.map_err(failed));
            }
            JournalKey::Signature => {
                let told = Box::new(move |rotated: Result<String, String>| {
                    let rotated = rotated.map(|new| Rotated { new });
                    let _ = reply.send(rotated.map_err(failed));
                });
                self.journal.rotate_signature(actor, told);
            }
        }
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
