//! What is allowed and makes no sense: rules that can never be met, and exemptions that spare
//! nothing. Only what is certain is said.

use weir_common::abi::{Action, ServiceSet};

use super::{Audience, Ladder, Names, RawExemption, Report, Rule, Typed, place};
use crate::{
    enforce::names::action_name,
    policy::condition::sense,
    score::{
        feature::{Feature, Unit},
        registry::FeatureId,
    },
};

/// Warns about a rule that never counts.
pub(super) fn check_rule(
    report: &mut Report<'_>,
    names: &Names<'_>,
    services: ServiceSet,
    rule: &Rule,
    when: &Typed<String>,
    audience: Option<&Typed<Audience>>,
) {
    if let Some(feature) = sense::contradiction(&rule.when, &names.features) {
        let name = names.features.info(feature).map_or("", |info| &info.name);
        let message = format!(
            "the rule `{}` can never be met: no value of `{name}` is all that it asks for",
            rule.name
        );
        let at = last_mention(report, when, name);
        report.warn(at, message, Some("`&&` asks for all of it, `||` for one".to_owned()));
    }
    if let Some(audience) = audience {
        let mut judged = names.audiences.iter().filter(|(id, _)| services.contains(*id));
        if !judged.any(|(_, of_service)| *of_service == audience.value) {
            let word = if audience.value == Audience::Browsers { "browsers" } else { "programs" };
            let message = format!("no service of this policy is for {word}: the rule never counts");
            let help = format!("declare it: `audience: {word}` in the service");
            report.warn(audience.at, message, Some(help));
        }
    }
    for (unit, field, is_there) in
        [(Unit::Country, "country", names.has_country), (Unit::Asn, "asn", names.has_asn)]
    {
        let unit_of = |id: &FeatureId| names.features.info(*id).map(|info| info.unit);
        let named = rule.features.iter().find(|id| !is_there && unit_of(id) == Some(unit));
        if let Some(info) = named.and_then(|id| names.features.info(*id)) {
            let at = last_mention(report, when, &info.name);
            let message = format!("`{}` stays unknown: the site has no `geo.{field}`", info.name);
            report.warn(at, message, Some(format!("geo: {{{field}: {field}.mmdb}}")));
        }
    }
    let speaks_quic = names.udp.iter().any(|id| services.contains(*id));
    let quic = FeatureId::from(Feature::QuicDisagreements);
    if !speaks_quic && rule.features.contains(&quic) {
        let name = &Feature::QuicDisagreements.info().name;
        let at = last_mention(report, when, name);
        let message = format!("`{name}` stays unknown: no service of this policy has a UDP port");
        report.warn(at, message, Some("udp: [443]".to_owned()));
    }
}

/// The place where a condition names a feature last.
fn last_mention(report: &Report<'_>, when: &Typed<String>, name: &str) -> super::Span {
    match when.value.rfind(name) {
        Some(byte) => {
            let offset = when.value.get(..byte).map_or(0, |before| before.chars().count());
            place::within(report, when, offset)
        }
        None => when.at,
    }
}

/// Warns about exemptions that spare nothing, or everything.
pub(super) fn check_exemptions(
    report: &mut Report<'_>,
    exempt: &[RawExemption],
    ladder: Option<&Ladder>,
) {
    for (index, exemption) in exempt.iter().enumerate() {
        let name = &exemption.group.value;
        let actions: Vec<Action> = exemption.from.items.iter().map(|typed| typed.value).collect();
        let earlier = exempt.iter().take(index).filter(|it| it.group.value == *name);
        let mut spared = earlier.flat_map(|it| it.from.items.iter().map(|typed| typed.value));
        if let Some(twice) = spared.find(|action| actions.contains(action)) {
            let message = format!("`{name}` is spared `{}` above already", action_name(twice));
            report.warn(exemption.group.at, message, Some("keep one of them".to_owned()));
        }
        let Some(ladder) = ladder else { continue };
        let mut steps = ladder.steps.iter().map(|step| step.action);
        if !actions.is_empty() && !steps.any(|action| actions.contains(&action)) {
            let does: Vec<&str> =
                ladder.steps.iter().map(|step| action_name(step.action)).collect();
            let message = format!("this spares `{name}` what never happens");
            let help = format!("the ladder `{}` does: {}", ladder.name, does.join(", "));
            report.warn(exemption.group.at, message, Some(help));
        }
    }
}
