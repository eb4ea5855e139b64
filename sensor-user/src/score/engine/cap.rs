//! Holds new drops below the cap of their rule: what exceeds it is limited instead, says so, and is looked
//! at again when there is room.

use std::sync::Arc;

use weir_common::abi::{Action, Mode, time::SECOND_NS};

use super::{Cause, Engine};
use crate::{
    enforce::{
        drop_cap::{CapReport, CappedRule, DropCap},
        ladder::{RateLimit, Step},
    },
    policy::{CompiledPolicy, Policy},
    score::{
        decision::{Decision, Trigger},
        depends::Touched,
        factor::{Factor, FactorKind},
        feature::Evidence,
        offence::{Case, Offences},
    },
};

/// The limit of who exceeds a cap, where the ladder has none: a connection a second, five at once.
const DEFAULT_LIMIT: RateLimit = RateLimit::new(SECOND_NS, 5);

/// What a cap makes of a step.
#[derive(Debug)]
pub(super) struct Capped {
    pub(super) rule: CappedRule,
    cap: u32,
    /// What is done instead; `None`: there is room.
    pub(super) instead: Option<Step>,
}

/// Whether a step is a new drop, and if so, whether there is room for it.
pub(super) fn capped(
    (drop_cap, offences): (&mut DropCap, &Offences),
    (compiled, policy): (&CompiledPolicy, &Policy),
    (case, step): (&Case, &Step),
    rule: Option<&Arc<str>>,
    (mode, cause): (Mode, &Cause),
    allowed: impl Fn(Action) -> bool,
) -> Option<Capped> {
    if step.action < Action::Reject || offences.refuses(case, cause.at_ns) {
        return None;
    }
    let rule = CappedRule {
        policy: Arc::clone(&policy.name),
        rule: rule.cloned().unwrap_or_else(|| "".into()),
        acts: mode == Mode::Enforce,
    };
    let cap = cap_of(compiled, policy, &rule);
    let is_turn = cause.trigger == Trigger::Room;
    let has_room = drop_cap.has_room(&rule, cap, cause.at_ns, is_turn);
    let instead = (!has_room).then(|| instead(policy, step, allowed));
    Some(Capped { rule, cap, instead })
}

impl Capped {
    /// Takes note of what was decided under the cap, and has the decision say so.
    pub(super) fn note(&self, drop_cap: &mut DropCap, decision: &mut Decision) {
        if self.instead.is_none() {
            drop_cap.take(&self.rule, &decision.source, decision.at_ns);
            return;
        }
        decision.score.factors.push(Factor {
            rule: "new-drops".into(),
            kind: FactorKind::Cap,
            points: 0,
            evidence: Evidence::Authentic,
            owasp: Arc::from([]),
            sentence: format!(
                "limited and not refused yet: {} made {} new drops within a minute, and that is its cap",
                self.rule.rule, self.cap
            ),
        });
    }
}

impl Engine {
    /// Looks again at those for whom there is room now.
    pub(super) fn give_room(&mut self, at_ns: u64) -> Vec<Decision> {
        let compiled = Arc::clone(&self.policy);
        let mut decisions = Vec::new();
        for turn in self.drop_cap.turns(at_ns) {
            let found = compiled.policies.iter().position(|it| it.name == turn.rule.policy);
            let Some((index, policy)) = found.and_then(|at| Some((at, compiled.policies.get(at)?)))
            else {
                continue;
            };
            let (trigger, touched) = (Trigger::Room, Touched::EVERYTHING);
            let cause = Cause { at_ns, service: turn.service, trigger, touched };
            decisions.extend(self.decide(policy, index, &turn.source, &cause));
        }
        decisions
    }

    /// What caps did since this was asked last.
    pub fn cap_reports(&mut self) -> Vec<CapReport> {
        self.drop_cap.reports()
    }

    /// Forgets rules that the policy has no longer.
    pub(super) fn renew_caps(&mut self) {
        let compiled = Arc::clone(&self.policy);
        self.drop_cap.retain(|capped| {
            let policy = compiled.policies.iter().find(|policy| policy.name == capped.policy);
            policy.is_some_and(|policy| policy.rules.iter().any(|rule| rule.name == capped.rule))
        });
    }
}

/// The rule's own cap, its policy's, or the Site's.
fn cap_of(compiled: &CompiledPolicy, policy: &Policy, capped: &CappedRule) -> u32 {
    let rule = policy.rules.iter().find(|rule| rule.name == capped.rule);
    rule.and_then(|rule| rule.drops_per_minute)
        .or(policy.drops_per_minute)
        .unwrap_or(compiled.brakes.new_drops_per_minute)
}

/// The same for as long, but weaker.
fn instead(policy: &Policy, step: &Step, allowed: impl Fn(Action) -> bool) -> Step {
    let limits = policy.ladder.steps.iter().filter(|it| it.action == Action::Limit);
    let limit = limits.filter_map(|it| it.limit).next_back().unwrap_or(DEFAULT_LIMIT);
    let is_limited = allowed(Action::Limit);
    Step {
        action: if is_limited { Action::Limit } else { Action::Mark },
        limit: is_limited.then_some(limit),
        syns: None,
        ..*step
    }
}
