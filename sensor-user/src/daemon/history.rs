//! The latest decisions, with their reasons.

use std::collections::{BTreeSet, VecDeque};

use ipnet::{IpNet, Ipv6Net};
use weir_common::abi::Action;

use crate::{
    api::message::{self, Decisions},
    enforce::names,
    policy::CompiledPolicy,
    profile::source,
    score::{Decision, feature::Evidence},
    system::clock,
};

/// Decisions that are kept: a day's on a quiet host, and about 2 MiB.
const KEPT: usize = 1024;

/// A ring of decisions, numbered from 0.
#[derive(Debug, Default)]
pub(super) struct History {
    latest: VecDeque<message::Decision>,
    made: u64,
}

impl History {
    /// One was made; its number.
    pub(super) fn record(&mut self, decision: message::Decision) -> u64 {
        if self.latest.len() == KEPT {
            self.latest.pop_front();
        }
        self.latest.push_back(decision);
        self.made += 1;
        self.made - 1
    }

    /// Connections ended by a decision, if it is still kept.
    pub(super) fn add_ended(&mut self, number: u64, ended: usize) {
        let oldest = self.made - self.latest.len() as u64;
        let index = number.checked_sub(oldest).and_then(|index| usize::try_from(index).ok());
        if let Some(decision) = index.and_then(|index| self.latest.get_mut(index)) {
            decision.connections_ended += ended;
        }
    }

    /// How many were made.
    pub(super) const fn made(&self) -> u64 {
        self.made
    }

    /// At most `limit` of them, newest first.
    pub(super) fn newest(&self, limit: Option<usize>) -> Decisions {
        let limit = limit.unwrap_or(KEPT);
        let decisions = self.latest.iter().rev().take(limit).cloned().collect();
        Decisions { decisions, made: self.made }
    }
}

/// A decision as it is told.
pub(super) fn told(
    decision: &Decision,
    policy: &CompiledPolicy,
    to_verdict_ns: Option<u64>,
) -> message::Decision {
    let factors = &decision.score.factors;
    let owasp: BTreeSet<&String> = factors.iter().flat_map(|factor| factor.owasp.iter()).collect();
    message::Decision {
        at: clock::wall_text(decision.at_ns),
        at_ns: decision.at_ns,
        to_verdict_ms: to_verdict_ns.map(|ns| ns as f64 / 1e6),
        prefix: match decision.whole_service {
            Some(_) => IpNet::V6(Ipv6Net::default()),
            None => source::net(&decision.source),
        },
        services: service_names(policy, decision.services),
        policy: decision.policy.to_string(),
        rules: decision.rules.iter().map(ToString::to_string).collect(),
        action: names::action_name(decision.action).into(),
        mode: names::mode_name(decision.mode).into(),
        evidence: evidence_name(decision.evidence).into(),
        score: decision.score.total,
        authentic_score: decision.score.authentic,
        for_s: decision.term_ns as f64 / 1e9,
        offence: decision.offence,
        owasp: owasp.into_iter().cloned().collect(),
        factors: factors
            .iter()
            .map(|factor| message::Factor {
                name: factor.rule.to_string(),
                points: factor.points,
                evidence: evidence_name(factor.evidence).into(),
                sentence: factor.sentence.clone(),
            })
            .collect(),
        connections_ended: 0,
    }
}

/// Names of the services in a set; empty = everything, unprotected ports too.
pub(crate) fn service_names(
    policy: &CompiledPolicy,
    services: weir_common::abi::ServiceSet,
) -> Vec<String> {
    if services == weir_common::abi::ServiceSet::ALL {
        return Vec::new();
    }
    names::service_ids(services)
        .filter_map(|id| match policy.service_name(id) {
            Some(name) => Some(name.to_owned()),
            // Numbers that no policy names now are many (a set minus an allow) and say nothing,
            // but for the one of unprotected ports.
            None => (id == weir_common::abi::verdict::UNPROTECTED).then(|| UNPROTECTED.to_owned()),
        })
        .collect()
}

/// How ports that no service declares are listed.
pub(super) const UNPROTECTED: &str = "(unprotected)";

/// A decision as a log line.
pub(super) fn log(decision: &message::Decision) {
    let factors: Vec<String> = decision
        .factors
        .iter()
        .map(|factor| format!("{:+} {}: {}", factor.points, factor.name, factor.sentence))
        .collect();
    let line = format!(
        "{} {} for {} s{} — score {} of policy {}: {}",
        decision.action,
        decision.prefix,
        decision.for_s,
        if decision.mode == "observe" { " (observed only)" } else { "" },
        decision.score,
        decision.policy,
        factors.join("; ")
    );
    if names::action_from_name(&decision.action) >= Some(Action::Limit) {
        tracing::info!("{line}");
    } else {
        tracing::debug!("{line}");
    }
}

const fn evidence_name(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Authentic => "authentic",
        Evidence::Forgeable => "forgeable",
    }
}
