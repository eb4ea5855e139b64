//! A decision as replay prints it: one JSON object a line.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use weir_common::abi::{ServiceSet, SourceKey, time::SECOND_NS};

use crate::{
    daemon::history::service_names,
    enforce::names,
    policy::CompiledPolicy,
    profile::source,
    score::{Clock, Decision, feature::Evidence},
};

/// A decision. Fields are printed in this order.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DecisionRecord {
    /// Names it: the same stream gives the same ids.
    pub id: String,
    /// When, RFC 3339 with nanoseconds.
    pub time: String,
    /// An address, or an IPv6 /64; `*`: everybody.
    pub source: String,
    /// The services that it is for.
    pub service: String,
    /// What the ladder gives, whatever the mode.
    pub action: String,
    /// Whether it would act.
    pub mode: String,
    /// 0..=100.
    pub score: u8,
    /// What the score is made of.
    pub factors: Vec<FactorRecord>,
    /// Ids of OWASP's lists.
    pub owasp: Vec<String>,
    /// The policy.
    pub policy: String,
    /// Its version.
    pub version: String,
    /// When it ends, RFC 3339 with nanoseconds.
    pub until: String,
}

/// One reason.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FactorRecord {
    /// The rule.
    pub name: String,
    /// What kind of reason.
    pub kind: String,
    /// What it adds.
    pub points: i32,
    /// What was measured.
    pub text: String,
}

impl DecisionRecord {
    /// A decision as it is printed.
    #[must_use]
    pub fn of(decision: &Decision, policy: &CompiledPolicy, clock: Clock) -> Self {
        let factors = &decision.score.factors;
        let owasp: BTreeSet<&String> =
            factors.iter().flat_map(|factor| factor.owasp.iter()).collect();
        let source = told(&decision.source);
        let services = if decision.services == ServiceSet::ALL {
            "*".to_owned()
        } else {
            service_names(policy, decision.services).join(",")
        };
        let kind = |factor: &crate::score::Factor| match factor.points {
            ..0 => "cap",
            _ => "rule",
        };
        let judge = policy.policies.iter().find(|judge| judge.name == decision.policy);
        let forgeable = decision.evidence == Evidence::Forgeable;
        Self {
            id: format!("{}-{source}-{}{}", decision.policy, decision.at_ns, u8::from(forgeable)),
            time: wall(decision.at_ns, clock),
            source,
            service: services,
            action: names::action_name(decision.action).into(),
            mode: names::mode_name(decision.mode).into(),
            score: decision.score.total,
            factors: factors
                .iter()
                .map(|factor| FactorRecord {
                    name: factor.rule.to_string(),
                    kind: kind(factor).into(),
                    points: factor.points,
                    text: factor.sentence.clone(),
                })
                .collect(),
            owasp: owasp.into_iter().cloned().collect(),
            policy: decision.policy.to_string(),
            version: judge.map_or_else(String::new, |judge| judge.version.to_string()),
            until: wall(decision.until_ns(), clock),
        }
    }
}

/// A source as it is told: an address, or an IPv6 /64.
pub(super) fn told(source: &SourceKey) -> String {
    let net = source::net(source);
    let is_host = net.prefix_len() == net.max_prefix_len();
    if is_host { net.addr().to_string() } else { net.to_string() }
}

fn wall(at_ns: u64, clock: Clock) -> String {
    let seconds = clock.unix_s_at_zero.saturating_add(at_ns / SECOND_NS);
    let since = Duration::new(seconds, (at_ns % SECOND_NS) as u32);
    let time = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_nanos(time).to_string()
}
