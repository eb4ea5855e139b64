//! Checks modes: what they name is there, and each makes a difference.

use std::sync::Arc;

use weir_common::abi::time::SECOND_NS;

use super::{Ladder, Names, Policy, RateLimit, Report, Typed, unknown};
use crate::policy::{
    modes::{ModeSpec, NORMAL, PolicyChange},
    raw::{RawMode, RawRate},
};

/// How long a mode is on that does not say.
const TERM_NS: u64 = 2 * 3600 * SECOND_NS;

/// Words that the command has another use for.
const RESERVED: [&str; 2] = [NORMAL, "status"];

pub(super) fn compile(
    report: &mut Report<'_>,
    names: &Names<'_>,
    policies: &[Policy],
    raw: &[RawMode],
) -> Vec<ModeSpec> {
    raw.iter().filter_map(|mode| compile_mode(report, names, policies, mode)).collect()
}

fn compile_mode(
    report: &mut Report<'_>,
    names: &Names<'_>,
    policies: &[Policy],
    raw: &RawMode,
) -> Option<ModeSpec> {
    let name = raw.name.value.as_str();
    if RESERVED.contains(&name) {
        let message = format!("a mode cannot be called `{name}`");
        let help = "`normal` is what the files say without any mode; `status` shows which is on";
        report.error(raw.name.at, message, Some(help.to_owned()));
    }
    if raw.is_empty {
        let message = format!("the mode `{name}` changes nothing");
        let help = "thresholds: -15, ladder: strict, or syn_guard: {rate: 50/s, burst: 100}";
        report.error(raw.at, message, Some(help.to_owned()));
    }
    let all = change(report, names, raw.thresholds.as_ref(), raw.ladder.as_ref());
    let mut own = Vec::new();
    for policy in &raw.policies {
        let known: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
        if !known.contains(&policy.name.value.as_str()) {
            unknown(report, &policy.name, "policy", &known);
        }
        let change = change(report, names, policy.thresholds.as_ref(), policy.ladder.as_ref());
        own.push((Arc::from(policy.name.value.as_str()), change));
    }
    let mut services = Vec::new();
    for service in &raw.services {
        let Some(id) = names.services.get(service.name.value.as_str()) else {
            let known: Vec<&str> = names.services.keys().copied().collect();
            unknown(report, &service.name, "service", &known);
            continue;
        };
        services.extend(service.syn_guard.as_ref().map(|typed| (*id, rate(typed))));
    }
    Some(ModeSpec {
        name: name.into(),
        term_ns: raw.term_ns.as_ref().map_or(TERM_NS, |term| term.value),
        ceiling: raw.mode.as_ref().map(|mode| mode.value),
        all,
        policies: own,
        syn_guard: raw.syn_guard.as_ref().map(rate),
        services,
    })
}

fn change(
    report: &mut Report<'_>,
    names: &Names<'_>,
    thresholds: Option<&Typed<i64>>,
    ladder: Option<&Typed<String>>,
) -> PolicyChange {
    let ladder: Option<Ladder> = ladder.and_then(|name| names.ladder(report, name));
    let points = thresholds.and_then(|typed| i8::try_from(typed.value).ok());
    if let Some(typed) = thresholds.filter(|typed| typed.value == 0) {
        let help = "a negative number has ladders act earlier, a positive one later".to_owned();
        report.error(typed.at, "0 points change nothing", Some(help));
    }
    PolicyChange { thresholds: points.unwrap_or(0), ladder }
}

const fn rate(typed: &RawRate) -> RateLimit {
    RateLimit::new(typed.interval_ns, typed.burst)
}
