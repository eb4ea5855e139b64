//! Why somebody is treated as they are: what was seen, what counted, and what would change it.

use std::collections::{BTreeMap, BTreeSet};

use weir_common::abi::{Mode, SourceKey};

use super::{Daemon, history::service_names, sensor::Sensor};
use crate::{
    api::message::{
        ComparisonState, Decision, ExplainQuery, Explanation, Failure, FailureKind,
        PolicyExplanation, Seen, UnmetRule,
    },
    enforce::{names, stage::Stage},
    score::{
        self,
        record::{FactorRecord, told},
    },
    system::{address, clock},
};

/// Decisions that are told of one source.
const LATEST: usize = 10;

impl<S: Sensor> Daemon<S> {
    /// Explains an address, or a decision.
    pub(super) fn explain(&mut self, query: &ExplainQuery) -> Result<Explanation, Failure> {
        match (query.address, query.decision.as_deref()) {
            (Some(address), None) => {
                let source = SourceKey::from_address(&address::words(address.to_canonical()));
                let verdicts = self.verdicts(Some(address))?.verdicts;
                Ok(Explanation { verdicts, ..self.explain_source(&source) })
            }
            (None, Some(id)) => {
                let decision = self.history.find(id).cloned().ok_or_else(|| no_decision(id))?;
                let explained = if decision.record.source == "*" {
                    nobody(&decision)
                } else {
                    let address = decision.prefix.addr();
                    let source = SourceKey::from_address(&address::words(address));
                    let verdicts = self.verdicts(Some(address))?.verdicts;
                    Explanation { verdicts, ..self.explain_source(&source) }
                };
                Ok(Explanation { decision: Some(decision), ..explained })
            }
            _ => Err(Failure::new(
                FailureKind::BadRequest,
                "name an address or the id of a decision, one of both: ?address=192.0.2.7",
            )),
        }
    }

    fn explain_source(&mut self, source: &SourceKey) -> Explanation {
        let compiled = std::sync::Arc::clone(self.engine.policy());
        let mut policies = Vec::with_capacity(compiled.policies.len());
        let mut unknown = BTreeSet::new();
        for policy in &compiled.policies {
            if let Some(explained) = self.engine.explain(source, &policy.name) {
                unknown.extend(explained.unknown.iter().cloned());
                let services = service_names(&compiled, policy.services);
                let stage = self.engine.acting().standing(&policy.name).stage;
                let stands = (stage.min(policy.stage_max), self.engine.mode(policy, source));
                policies.push(told_of(stands, explained, services));
            }
        }
        let mut seen = BTreeMap::new();
        for known in self.engine.known(source) {
            for (id, value) in known.values {
                let Some(info) = compiled.features.info(id) else { continue };
                let feature = info.name.to_string();
                seen.entry(feature.clone()).or_insert_with(|| Seen {
                    feature,
                    value,
                    text: info.explain(Some(value)),
                });
            }
        }
        Explanation {
            source: told(source),
            at: clock::wall_text(clock::monotonic_ns()),
            decision: None,
            verdicts: Vec::new(),
            seen: seen.into_values().collect(),
            unknown: unknown.into_iter().collect(),
            policies,
            decisions: self.history.about(&told(source), LATEST),
        }
    }
}

/// A decision on a whole service is about nobody.
fn nobody(decision: &Decision) -> Explanation {
    Explanation {
        source: decision.record.source.clone(),
        at: clock::wall_text(clock::monotonic_ns()),
        decision: None,
        verdicts: Vec::new(),
        seen: Vec::new(),
        unknown: Vec::new(),
        policies: Vec::new(),
        decisions: Vec::new(),
    }
}

fn no_decision(id: &str) -> Failure {
    let message = format!(
        "there is no decision `{id}` among those that are kept, the latest 1024: `weir decisions` lists \
         them"
    );
    Failure::new(FailureKind::BadRequest, message)
}

fn told_of(
    (stage, mode): (Stage, Mode),
    explained: score::Explanation,
    services: Vec<String>,
) -> PolicyExplanation {
    PolicyExplanation {
        policy: explained.policy.to_string(),
        version: explained.version.to_string(),
        mode: names::mode_name(mode).into(),
        stage: stage.name().into(),
        services,
        score: explained.score,
        authentic_score: explained.authentic,
        action: names::action_name(explained.action).into(),
        factors: explained
            .factors
            .iter()
            .map(|factor| FactorRecord {
                name: factor.rule.to_string(),
                kind: factor.kind.name().into(),
                points: factor.points,
                text: factor.sentence.clone(),
            })
            .collect(),
        unmet: explained.unmet.into_iter().map(unmet).collect(),
        spared: explained.spared.into_iter().map(str::to_owned).collect(),
        otherwise: explained.otherwise,
    }
}

fn unmet(rule: score::Unmet) -> UnmetRule {
    let comparison = |it: score::Comparison| ComparisonState {
        feature: it.feature,
        value: it.value,
        needed: it.needed,
        holds: it.holds,
    };
    UnmetRule {
        rule: rule.rule.to_string(),
        points: rule.points,
        other_audience: rule.other_audience,
        comparisons: rule.comparisons.into_iter().map(comparison).collect(),
    }
}
