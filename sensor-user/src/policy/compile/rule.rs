//! Checks a rule: its threats exist, its condition compiles, and its points are some.

use super::{Registry, Report, Rule, Typed, place};
use crate::{
    policy::{
        condition::{Comparator, Condition},
        quantity,
        raw::{RawAfter, RawRule},
        suggest,
    },
    score::{owasp, registry::FeatureId},
};

/// What features that count a source's new connections begin with; their window follows.
const CONNECTIONS: &str = "source.connections_";

pub(super) fn compile(report: &mut Report<'_>, features: &Registry, rule: RawRule) -> Option<Rule> {
    for id in &rule.owasp {
        check_threat(report, id);
    }
    if rule.points.value == 0 {
        let help = "points count against a source; negative ones are trust".to_owned();
        report.error(rule.points.at, "a rule without points does nothing", Some(help));
    }
    let after = rule.after.as_ref().map(|after| compile_after(report, features, after));
    let when = match Condition::parse(&rule.when.value, features) {
        Ok(when) => when,
        Err(errors) => {
            for error in errors {
                let at = place::within(report, &rule.when, error.offset);
                report.error(at, error.message, error.help);
            }
            return None;
        }
    };
    let when = match after {
        Some(after) => Condition::All(vec![after?, when]),
        None => when,
    };
    Some(Rule {
        name: rule.name.value.into(),
        owasp: rule.owasp.into_iter().map(|id| id.value).collect(),
        points: i8::try_from(rule.points.value).ok().filter(|points| *points != 0)?,
        evidence: when.evidence(features),
        features: when.features(),
        when,
        audience: rule.audience.map(|audience| audience.value),
        decay_ns: rule.decay_ns.map(|decay| decay.value),
        drops_per_minute: rule.drops.map(|drops| drops.value),
    })
}

fn check_threat(report: &mut Report<'_>, id: &Typed<String>) {
    if owasp::find(&id.value).is_some() {
        return;
    }
    let upper = id.value.to_ascii_uppercase();
    let upper = upper.trim();
    let meant = [upper.to_owned(), format!("{upper}:2023"), padded(upper)];
    let found = meant.iter().find_map(|id| owasp::find(id));
    let help = found.map_or_else(
        || {
            "OWASP's Automated Threats are OAT-001 to OAT-021, its API risks API1:2023 to \
             API10:2023; `weir features --owasp` prints them"
                .to_owned()
        },
        |threat| format!("did you mean `{}` ({})?", threat.id, threat.name),
    );
    report.error(id.at, format!("there is no threat `{}`", id.value), Some(help));
}

/// `OAT-8` and `OAT8`, as people write them.
fn padded(id: &str) -> String {
    let number = id.strip_prefix("OAT").map(|rest| rest.trim_start_matches(['-', '_', ' ', '0']));
    format!("OAT-{:0>3}", number.unwrap_or_default())
}

/// `{connections: 5, within: 1h}` as a comparison.
fn compile_after(
    report: &mut Report<'_>,
    features: &Registry,
    after: &RawAfter,
) -> Option<Condition> {
    let windows: Vec<(&str, FeatureId, u64)> = features
        .iter()
        .filter_map(|info| {
            let window = info.name.strip_prefix(CONNECTIONS)?;
            Some((window, info.id, quantity::duration_ns(window).ok()?))
        })
        .collect();
    let found = windows.iter().find(|(_, _, window_ns)| *window_ns == after.within_ns.value);
    let Some((_, feature, _)) = found else {
        let known: Vec<&str> = windows.iter().map(|(window, ..)| *window).collect();
        let message = "connections are not counted over this time";
        report.error(after.within_ns.at, message, suggest::help("", &known));
        return None;
    };
    Some(Condition::Compare {
        feature: *feature,
        comparator: Comparator::GreaterOrEqual,
        number: after.connections.value as f64,
    })
}
