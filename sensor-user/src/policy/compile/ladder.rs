//! Checks a ladder: scores and strengths rise together, and each step says what its action needs.

use weir_common::abi::{Action, time};

use super::{Ladder, RateLimit, RawLadder, Report};
use crate::{
    enforce::{ladder::Step, names::action_name},
    policy::raw::RawStep,
};

/// After so long without a verdict an offender starts over, where a step does not say.
const FORGET_NS: u64 = 24 * 3600 * time::SECOND_NS;

pub(super) fn compile(report: &mut Report<'_>, raw: &RawLadder) -> Option<Ladder> {
    if raw.is_empty {
        let message = format!("the ladder `{}` has no step", raw.name.value);
        report.error(raw.name.at, message, Some("- {at: 80, action: drop, for: 10m}".to_owned()));
        return None;
    }
    if raw.steps.is_empty() {
        return None;
    }
    for pair in raw.steps.windows(2) {
        let [lower, higher] = pair else { continue };
        if higher.threshold.value <= lower.threshold.value {
            let message = "the steps of a ladder rise: this score is not above the one before";
            report.error(higher.threshold.at, message, None);
        }
        if higher.action.value <= lower.action.value {
            let message = format!(
                "`{}` is not stronger than `{}` in the step before",
                action_name(higher.action.value),
                action_name(lower.action.value)
            );
            let help = "in order of strength: mark, limit, reject, drop".to_owned();
            report.error(higher.action.at, message, Some(help));
        }
    }
    // Every step is looked at, also behind one with a mistake.
    let steps: Vec<Option<Step>> =
        raw.steps.iter().map(|step| compile_step(report, step)).collect();
    let steps: Option<Vec<Step>> = steps.into_iter().collect();
    Some(Ladder { name: raw.name.value.clone(), steps: steps? })
}

fn compile_step(report: &mut Report<'_>, raw: &RawStep) -> Option<Step> {
    let is_limit = raw.action.value == Action::Limit;
    if is_limit && !raw.has_connections {
        let help = "connections: 5/s".to_owned();
        report.error(raw.at, "a limit needs the rate that it allows", Some(help));
    }
    let only_limits = [
        raw.connections.as_ref().map(|typed| (typed.at, "connections")),
        raw.syns.as_ref().map(|typed| (typed.at, "syns")),
        raw.burst.as_ref().map(|typed| (typed.at, "burst")),
    ];
    for (at, field) in only_limits.into_iter().flatten() {
        if !is_limit {
            report.error(at, format!("`{field}` belongs to `action: limit`"), None);
        }
    }
    if let (Some(forget), None) = (&raw.forget_ns, &raw.repeat) {
        let help = "repeat: double, max: 24h".to_owned();
        report.error(forget.at, "`forget` is for terms that double", Some(help));
    }
    let longest_ns = match (&raw.repeat, &raw.max_ns) {
        (None, None) => raw.term_ns.value,
        (Some(_), Some(longest)) if longest.value < raw.term_ns.value => {
            report.error(longest.at, "`max` is shorter than `for`", None);
            return None;
        }
        (Some(_), Some(longest)) => longest.value,
        (Some(repeat), None) => {
            let help = "max: 24h".to_owned();
            report.error(repeat.at, "terms that double need a longest one", Some(help));
            return None;
        }
        (None, Some(longest)) => {
            let help = "repeat: double".to_owned();
            report.error(longest.at, "`max` is for terms that double", Some(help));
            return None;
        }
    };
    let burst = raw.burst.as_ref().and_then(|burst| u32::try_from(burst.value).ok()).unwrap_or(1);
    Some(Step {
        at: u8::try_from(raw.threshold.value).ok()?,
        action: raw.action.value,
        term_ns: raw.term_ns.value,
        doubles: raw.repeat.is_some(),
        longest_ns,
        limit: raw.connections.as_ref().map(|rate| RateLimit::new(rate.value, burst)),
        syns: raw.syns.as_ref().map(|rate| RateLimit::new(rate.value, burst)),
        forget_ns: raw.forget_ns.as_ref().map_or(FORGET_NS, |forget| forget.value),
    })
}
