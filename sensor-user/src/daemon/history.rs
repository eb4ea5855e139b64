//! The latest decisions, with their reasons.

use std::collections::VecDeque;

use ipnet::{IpNet, Ipv6Net};
use weir_common::abi::Action;

use crate::{
    api::message::{self, Decisions},
    enforce::names,
    policy::CompiledPolicy,
    profile::source,
    score::{Clock, Decision, record::DecisionRecord},
};

/// Decisions that are kept: a day's on a quiet host, and about 2 MiB.
const KEPT: usize = 1024;

/// In the place of somebody who was forgotten.
const FORGOTTEN: &str = "(forgotten)";

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

    /// Those that are kept, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &message::Decision> {
        self.latest.iter()
    }

    /// Takes out those about whom `is_forgotten` says so; how many.
    pub(super) fn forget(&mut self, is_forgotten: impl Fn(&IpNet) -> bool) -> usize {
        let mut count = 0;
        for decision in &mut self.latest {
            if !decision.prefix.addr().is_unspecified() && is_forgotten(&decision.prefix) {
                // The place stays, because decisions are found by their number.
                decision.record.source = FORGOTTEN.into();
                decision.prefix = IpNet::V6(Ipv6Net::default());
                for factor in &mut decision.record.factors {
                    factor.text.clear();
                }
                count += 1;
            }
        }
        count
    }

    /// How many were made.
    pub(super) const fn made(&self) -> u64 {
        self.made
    }

    /// The one of this id, if it is still kept.
    pub(super) fn find(&self, id: &str) -> Option<&message::Decision> {
        self.latest.iter().rev().find(|decision| decision.record.id == id)
    }

    /// At most `limit` about a source, newest first.
    pub(super) fn about(&self, source: &str, limit: usize) -> Vec<message::Decision> {
        let about = self.latest.iter().rev().filter(|decision| decision.record.source == source);
        about.take(limit).cloned().collect()
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
    calendar: Clock,
    to_verdict_ns: Option<u64>,
) -> message::Decision {
    message::Decision {
        record: DecisionRecord::of(decision, policy, calendar),
        at_ns: decision.at_ns,
        to_verdict_ms: to_verdict_ns.map(|ns| ns as f64 / 1e6),
        prefix: match decision.whole_service {
            Some(_) => IpNet::V6(Ipv6Net::default()),
            None => source::net(&decision.source),
        },
        services: service_names(policy, decision.services),
        rules: decision.rules.iter().map(ToString::to_string).collect(),
        authentic_score: decision.score.authentic,
        for_s: decision.term_ns as f64 / 1e9,
        connections_ended: 0,
        label: None,
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
    let record = &decision.record;
    let factors = record.factors.iter();
    let factors: Vec<String> = factors
        .map(|factor| format!("{:+} {}: {}", factor.points, factor.name, factor.text))
        .collect();
    let line = format!(
        "{} {} at {} for {} s{} — score {} of policy {}, decision {}: {}",
        record.action,
        record.source,
        record.service,
        decision.for_s,
        if record.mode == "observe" { " (observed only)" } else { "" },
        record.score,
        record.policy,
        record.id,
        factors.join("; ")
    );
    if names::action_from_name(&record.action) >= Some(Action::Limit) {
        tracing::info!("{line}");
    } else {
        tracing::debug!("{line}");
    }
}
