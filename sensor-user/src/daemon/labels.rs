//! What somebody says that sources were: taken all or nothing, counted at once, kept.

use std::sync::Arc;

use serde_json::json;
use weir_common::abi::{Action, ServiceSet, SourceKey};

use super::{Daemon, sensor::Sensor};
use crate::{
    api::{
        command::Reply,
        message::{BadLine, Decision, Decisions, Failure, LabelStatus, Labelled},
    },
    enforce::{
        ledger::{Lifted, Origin},
        names::action_from_name,
    },
    journal::{Actor, Kind, Record},
    label::{self, About, Label, LabelList, Observed, Verdict},
    profile::source,
    system::{address, clock},
};

/// Notes of one answer at most.
const NOTES: usize = 20;

/// A line whose source is known.
struct Resolved {
    source: SourceKey,
    verdict: Verdict,
    why: Option<String>,
    decision: Option<String>,
}

impl<S: Sensor> Daemon<S> {
    /// Takes labels, and answers when they count.
    pub(super) fn label(&mut self, list: LabelList, actor: &Actor, reply: Reply<Labelled>) {
        let resolved = match self.resolve(list) {
            Ok(resolved) => resolved,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        let now_ns = clock::monotonic_ns();
        let mut labelled = Labelled { labels: resolved.len(), ..Labelled::default() };
        let mut kept = Vec::with_capacity(resolved.len());
        for line in resolved {
            let label = self.kept_label(line);
            let before = self.cohort.label_of(&label.source);
            labelled.changed += usize::from(before != Some(label.verdict));
            self.cohort.label(&label.source, Some(label.verdict));
            let lifted = match label.verdict {
                Verdict::Human => self.lift_rules(&label.source, now_ns),
                Verdict::Bot => {
                    self.decide_anew(&label.source, now_ns);
                    Vec::new()
                }
            };
            labelled.lifted += lifted.len();
            if label.verdict == Verdict::Human && labelled.notes.len() < NOTES {
                labelled.notes.extend(self.what_still_holds(&label.source, now_ns));
            }
            self.note_label(&label, before, &lifted, actor);
            kept.push(label);
        }
        // A failure is told in the status, and tried again every second.
        self.apply();
        self.post();
        labelled.false_positives = self.label_status().false_positives;
        self.keep_labels(kept, labelled, reply);
    }

    /// Whom every line is about, or what is wrong with some of them.
    fn resolve(&self, list: LabelList) -> Result<Vec<Resolved>, Failure> {
        let mut resolved = Vec::with_capacity(list.len());
        let mut bad = Vec::new();
        for line in list {
            let (source, decision) = match line.about {
                About::Source(source) => (Ok(source), None),
                About::Decision(id) => (self.decided_about(&id), Some(id)),
            };
            match source {
                Ok(source) => {
                    let (verdict, why) = (line.verdict, line.why);
                    resolved.push(Resolved { source, verdict, why, decision });
                }
                Err(message) => bad.push(BadLine { line: line.line, message }),
            }
        }
        if bad.is_empty() { Ok(resolved) } else { Err(label::refused(bad, 0)) }
    }

    fn decided_about(&self, id: &str) -> Result<SourceKey, String> {
        let decision = self.history.find(id).ok_or_else(|| {
            format!("no decision {id} is kept; label the address (`weir journal` has older ones)")
        })?;
        if decision.record.source == "*" {
            return Err(format!(
                "decision {id} is about a whole service, and nobody in particular"
            ));
        }
        Ok(SourceKey::from_address(&address::words(decision.prefix.addr())))
    }

    /// A label with what is known of its source now.
    fn kept_label(&mut self, line: Resolved) -> Label {
        let compiled = Arc::clone(self.engine.policy());
        let known = self.engine.known(&line.source);
        let observed = known.into_iter().map(|known| {
            let version = |name: &Arc<str>| {
                let policy = compiled.policies.iter().find(|policy| policy.name == *name);
                policy.map_or_else(String::new, |policy| policy.version.to_string())
            };
            let policies = known.policies.iter().map(|it| (it.to_string(), version(it))).collect();
            let named = |(id, value)| Some((compiled.features.info(id)?.name.to_string(), value));
            Observed { policies, features: known.values.into_iter().filter_map(named).collect() }
        });
        Label {
            unix_ns: clock::unix_ns(),
            source: line.source,
            verdict: line.verdict,
            why: line.why,
            decision: line.decision,
            observed: observed.collect(),
        }
    }

    /// Lifts all that policies decided about a source; in the kernel with the next `apply`.
    pub(super) fn lift_rules(&mut self, source: &SourceKey, now_ns: u64) -> Vec<Lifted> {
        let net = source::net(source);
        let is_rule = |origin: &Origin| matches!(origin, Origin::Policy { .. });
        let lifted =
            self.ledger.lift(&net, ServiceSet::ALL, now_ns, |meaning| is_rule(&meaning.origin));
        self.decide_anew(source, now_ns);
        lifted
    }

    /// Whatever policies decided about a source is decided anew when they see it next.
    fn decide_anew(&mut self, source: &SourceKey, now_ns: u64) {
        let policy = Arc::clone(self.engine.policy());
        for policy in &policy.policies {
            self.engine.lift(source, &policy.name, now_ns);
        }
    }

    /// What is still against somebody who is human: what operators want is theirs to take back.
    fn what_still_holds(&self, source: &SourceKey, now_ns: u64) -> Option<String> {
        let net = source::net(source);
        let services = self.engine.policy().services.iter().map(|service| service.id);
        let mut found = services.filter_map(|id| self.ledger.lookup(net.addr(), id, now_ns));
        let (by, entry) = found.find(|(_, entry)| entry.meaning.action > Action::Mark)?;
        let action = crate::enforce::names::action_name(entry.meaning.action);
        let reason = &entry.meaning.reason;
        Some(format!(
            "{net} is still under {action} on {by} ({reason}), which is no policy's: weir unblock {by}"
        ))
    }

    fn note_label(
        &mut self,
        label: &Label,
        before: Option<Verdict>,
        lifted: &[Lifted],
        actor: &Actor,
    ) {
        let net = source::net(&label.source);
        let body = json!({
            "label": label.verdict, "before": before, "decision": label.decision,
            "lifted": lifted.len(),
        });
        let record = Record::new(Kind::Label, actor, body).about([net]);
        let record = match &label.why {
            Some(why) => record.with_personal(json!({"why": why})),
            None => record,
        };
        self.note(record);
        for verdict in lifted {
            let meaning = &verdict.meaning;
            let action = crate::enforce::names::action_name(meaning.action);
            let body = json!({"rule": meaning.rule, "action": action, "because": "labelled human"});
            self.note(Record::new(Kind::Lift, actor, body).about([verdict.net]));
        }
        tracing::info!("an operator labelled {net} {}", label.verdict.name());
    }

    /// The latest decisions, with what was said of their sources since.
    pub(super) fn decisions(&self, limit: Option<usize>) -> Decisions {
        let mut decisions = self.history.newest(limit);
        for decision in &mut decisions.decisions {
            decision.label = self.label_on(decision);
        }
        decisions
    }

    fn label_on(&self, decision: &Decision) -> Option<Verdict> {
        let source = SourceKey::from_address(&address::words(decision.prefix.addr()));
        let is_about_source = decision.record.source != "*";
        is_about_source.then(|| self.cohort.label_of(&source)).flatten()
    }

    /// How many labels count, and what they say of decisions.
    pub(super) fn label_status(&self) -> LabelStatus {
        let (human, bot) = self.cohort.labelled();
        let is_false = |decision: &&Decision| {
            self.label_on(decision) == Some(Verdict::Human)
                && action_from_name(&decision.record.action) >= Some(Action::Limit)
        };
        let false_positives = self.history.iter().filter(is_false).count();
        LabelStatus { human, bot, false_positives }
    }
}
