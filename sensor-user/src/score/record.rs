//! A decision as it is printed, kept and told: by replay, by the control socket, by `weir explain`.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use weir_common::abi::{SourceKey, time::SECOND_NS};

use super::{Clock, Decision};
use crate::{
    enforce::names::{action_name, mode_name, service_ids},
    policy::CompiledPolicy,
    profile::source,
};

/// A decision. Fields are printed in this order.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// Names it: the same stream gives the same ids.
    pub id: String,
    /// When the packet was seen that tipped the scales, RFC 3339 with nanoseconds.
    pub time: String,
    /// An address, or an IPv6 /64; `*`: everybody who comes to the service.
    pub source: String,
    /// The service that the source came to; the policy's services where it came to none of them.
    pub service: String,
    /// What the ladder gives, whatever the mode.
    pub action: String,
    /// `observe` or `enforce`.
    pub mode: String,
    /// 0..=100: the sum of the factors' points.
    pub score: u8,
    /// What the score is made of.
    pub factors: Vec<FactorRecord>,
    /// Ids of the threats that the factors speak of, in their order.
    pub owasp: Vec<String>,
    /// The policy.
    pub policy: String,
    /// Its version.
    pub version: String,
    /// When its verdict ends, RFC 3339 with nanoseconds.
    pub until: String,
    /// `authentic`, or `forgeable`: then it reaches only SYNs of who never proved to exist.
    pub evidence: String,
    /// The how manieth time, from 1.
    pub offence: u32,
}

/// One reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FactorRecord {
    /// The rule, or what holds the score.
    pub name: String,
    /// `rule`, `anomaly`, `model`, `reputation`, `trust` or `cap`.
    pub kind: String,
    /// What it adds.
    pub points: i32,
    /// What was measured, in a sentence.
    pub text: String,
}

impl DecisionRecord {
    /// A decision as it is told.
    #[must_use]
    pub fn of(decision: &Decision, policy: &CompiledPolicy, clock: Clock) -> Self {
        let factors: Vec<_> = decision.score.factors_on(decision.evidence).collect();
        let mut owasp: Vec<String> = Vec::new();
        for id in factors.iter().flat_map(|factor| factor.owasp.iter()) {
            if !owasp.contains(id) {
                owasp.push(id.clone());
            }
        }
        Self {
            id: decision.id(),
            time: wall(decision.at_ns, clock),
            source: match decision.whole_service {
                Some(_) => "*".to_owned(),
                None => told(&decision.source),
            },
            service: service(decision, policy),
            action: action_name(decision.action).into(),
            mode: mode_name(decision.mode).into(),
            score: decision.score.on(decision.evidence),
            factors: factors
                .into_iter()
                .map(|factor| FactorRecord {
                    name: factor.rule.to_string(),
                    kind: factor.kind.name().into(),
                    points: factor.points,
                    text: factor.sentence.clone(),
                })
                .collect(),
            owasp,
            policy: decision.policy.to_string(),
            version: decision.version.to_string(),
            until: wall(decision.until_ns(), clock),
            evidence: if decision.unproven_only() { "forgeable" } else { "authentic" }.into(),
            offence: decision.offence,
        }
    }
}

/// A source as it is told: an address, or an IPv6 /64.
#[must_use]
pub fn told(source: &SourceKey) -> String {
    let net = source::net(source);
    let is_host = net.prefix_len() == net.max_prefix_len();
    if is_host { net.addr().to_string() } else { net.to_string() }
}

/// The name of the service that it is about, or of all that the policy applies to.
fn service(decision: &Decision, policy: &CompiledPolicy) -> String {
    if let Some(name) = decision.service.and_then(|id| policy.service_name(id)) {
        return name.to_owned();
    }
    let names = service_ids(decision.services).filter_map(|id| policy.service_name(id));
    names.collect::<Vec<&str>>().join(",")
}

fn wall(at_ns: u64, clock: Clock) -> String {
    let seconds = clock.unix_s_at_zero.saturating_add(at_ns / SECOND_NS);
    let since = Duration::new(seconds, (at_ns % SECOND_NS) as u32);
    let time = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_nanos(time).to_string()
}
