//! What a person is shown of the audit, and what readiness, gates and metrics ask of it.

use super::{desk::AuditDesk, noticed_within_s, period_s};
use crate::{
    api::{
        command::Reply,
        message::{AuditCount, AuditFinding, AuditReport},
    },
    daemon::{Daemon, sensor::Sensor},
    enforce::audit::{Coverage, Fault, Finding},
    system::clock,
};

impl AuditDesk {
    /// How much of what is wanted the kernel does.
    pub(in crate::daemon) fn coverage(&self) -> Coverage {
        if self.looked_at_unix_ns == 0 {
            // Nobody has looked yet; the start itself failed where it could not write or attach.
            return Coverage::WHOLE;
        }
        Coverage::of(&self.figures)
    }

    /// How often each kind was found and repaired since the daemon started, in entries.
    pub(in crate::daemon) fn counts(&self) -> impl Iterator<Item = (Fault, u64, u64)> + '_ {
        Fault::ALL.into_iter().map(|fault| {
            let counts = self.counts.get(&fault).copied().unwrap_or_default();
            (fault, counts.found, counts.repaired)
        })
    }

    /// What somebody has to look at, a sentence each.
    pub(in crate::daemon) fn alarms(&self) -> impl Iterator<Item = String> + '_ {
        self.open.values().map(|open| sentence(&open.finding))
    }
}

impl<S: Sensor> Daemon<S> {
    /// Why coverage makes this host unfit to serve, if it does.
    pub(in crate::daemon) fn coverage_amiss(&self) -> Option<String> {
        let (ratio, least) = (self.audit.coverage().ratio(), self.coverage_min());
        (ratio < least).then(|| {
            let alarms: Vec<String> = self.audit.alarms().collect();
            format!(
                "the kernel enforces {:.1} % of what is wanted, less than {:.0} %: {}",
                ratio * 100.0,
                least * 100.0,
                if alarms.is_empty() { "see `weir audit`".into() } else { alarms.join("; ") }
            )
        })
    }

    fn coverage_min(&self) -> f64 {
        f64::from(self.engine.policy().settings.coverage_min) / 100.0
    }

    /// Answers with what is known, or after a sweep of its own.
    pub(in crate::daemon) fn audit_report(&mut self, now: bool, reply: Reply<AuditReport>) {
        if now {
            self.look();
            self.audit.waiting.push(reply);
            self.audit.is_hurried = true;
            if self.audit.sweep.is_none() {
                self.begin_sweep();
            }
            // Nobody reads: nothing to wait for.
            if self.audit.sweep.is_none() {
                self.answer_waiting();
            }
            return;
        }
        // A client that went away does not wait for its answer.
        let _ = reply.send(Ok(self.told_of_audit()));
    }

    pub(super) fn answer_waiting(&mut self) {
        if self.audit.is_hurried && self.audit.sweep.is_none() && self.audit.waiting.is_empty() {
            self.audit.is_hurried = false;
        }
        for reply in std::mem::take(&mut self.audit.waiting) {
            let _ = reply.send(Ok(self.told_of_audit()));
        }
    }

    /// The figures, without single findings of the past.
    pub(in crate::daemon) fn audit_status(&self) -> AuditReport {
        AuditReport { latest: Vec::new(), ..self.told_of_audit() }
    }

    fn told_of_audit(&self) -> AuditReport {
        let desk = &self.audit;
        let swept = desk.last.unwrap_or_default();
        let verdicts = self.ledger.prefixes();
        let running_ns = clock::monotonic_ns().saturating_sub(self.started_ns).max(1);
        AuditReport {
            coverage: desk.coverage().ratio(),
            coverage_min: self.coverage_min(),
            sweeps: desk.sweeps,
            swept_at: desk.last.map(|swept| clock::rfc3339(swept.at_unix_ns)),
            entries: swept.entries,
            amiss: swept.amiss,
            took_ms: swept.took.as_secs_f64() * 1e3,
            busy_ms: swept.busy.as_secs_f64() * 1e3,
            every_s: period_s(verdicts),
            noticed_within_s: noticed_within_s(verdicts),
            loop_share: desk.busy.as_nanos() as f64 / running_ns as f64,
            interfaces: desk.figures.interfaces,
            attached: desk.figures.attached,
            asked: desk.figures.asked,
            answered: desk.figures.answered,
            received: desk.packets.map(|packets| packets.received),
            seen: desk.packets.map(|packets| packets.seen),
            open: desk.open.values().map(|open| told(&open.finding, open.since_unix_ns)).collect(),
            latest: desk
                .remembered
                .iter()
                .rev()
                .map(|it| told(&it.finding, it.at_unix_ns))
                .collect(),
            counts: desk
                .counts()
                .filter(|(_, found, _)| *found > 0)
                .map(|(fault, found, repaired)| AuditCount { fault, found, repaired })
                .collect(),
        }
    }
}

fn told(finding: &Finding, at_unix_ns: u64) -> AuditFinding {
    AuditFinding {
        at: clock::rfc3339(at_unix_ns),
        fault: finding.fault,
        object: finding.object.clone(),
        count: finding.count,
        outcome: finding.outcome,
        text: finding.text.clone(),
        about: finding.about.iter().map(ToString::to_string).collect(),
    }
}

fn sentence(finding: &Finding) -> String {
    let object =
        if finding.object.is_empty() { String::new() } else { format!(" {}", finding.object) };
    format!("{}{object}: {}", finding.fault.name(), finding.text)
}
