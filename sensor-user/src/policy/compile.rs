//! From what was typed to what it means: names are resolved, conditions checked, contradictions
//! found.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;
use weir_common::abi::{Action, ServiceSet};

use super::{
    Audience, CompiledPolicy, Exemption, Policy, Rule, ServiceIds, Settings,
    diagnostic::{Report, Span},
    group::Group,
    kept, netset,
    raw::{RawExemption, RawFile, RawGroup, RawLadder, RawPolicy, RawSite},
    reader::Typed,
    settings, suggest, version,
};
use crate::{
    enforce::{
        gate::GateSet,
        ladder::{Ladder, RateLimit},
        stage::Stage,
    },
    score::registry::Registry,
};

mod feeds;
mod gates;
mod ladder;
mod modes;
mod never_block;
mod place;
mod proxies;
mod rule;
mod sense;
mod services;
mod signals;

/// The ladder of policies that name none, where the site names none either.
const DEFAULT_LADDER: &str = "default";

/// Compiles a file. The report has every mistake; `None` only if there was one.
pub(super) fn compile(
    report: &mut Report<'_>,
    file: RawFile,
    ids: &ServiceIds,
) -> Option<CompiledPolicy> {
    let mut sites = file.sites.into_iter();
    let Some(site) = sites.next() else {
        if file.has_unknown {
            // One of them may have been meant to be it.
            return None;
        }
        let help = "one document `kind: Site` says which services are protected".to_owned();
        report.error(Span::default(), "there is no `kind: Site` document", Some(help));
        return None;
    };
    for extra in sites {
        let first = report.place(site.at, extra.at);
        let help = Some(format!("the first one is on {first}: merge the two"));
        report.error(extra.at, "there is a second `kind: Site` document", help);
    }
    let settings = compile_settings(report, &site);
    let proxies = proxies::compile(report, &site.proxies, &settings);
    proxies::warn_if_unused(report, &site);
    let (services, ids) = services::compile(report, &site.services, &settings, &proxies, ids)?;
    let by_name: BTreeMap<&str, u8> = services
        .iter()
        .filter(|service| !service.is_remainder)
        .map(|service| (service.name.as_str(), service.id))
        .collect();
    let mut features = Registry::default();
    let signals = signals::compile(report, &site.signals, &site.logs, &by_name, &mut features);
    let reputation = feeds::compile(report, &site.feeds, &site.geo, &mut features);
    let names = Names {
        features,
        groups: compile_groups(report, &site.groups),
        ladders: compile_ladders(report, &site.ladders),
        default_ladder: site.defaults.ladder,
        gate_sets: gates::compile(report, site.gates),
        default_gates: site.defaults.gates,
        stage_max: site.defaults.stage_max.map_or(Stage::Enforce, |stage| stage.value),
        site: site.parts,
        has_country: reputation.country.is_some(),
        has_asn: reputation.asn.is_some(),
        audiences: services.iter().map(|service| (service.id, service.audience)).collect(),
        udp: services.iter().filter(|s| !s.udp.is_empty()).map(|s| s.id).collect(),
        services: by_name,
    };
    let mut policies: Vec<Policy> = Vec::with_capacity(file.policies.len());
    for raw in file.policies {
        if policies.iter().any(|policy| *policy.name == *raw.name.value) {
            let message = format!("there is a second policy `{}`", raw.name.value);
            report.error(raw.name.at, message, Some("names of policies are unique".to_owned()));
        }
        policies.extend(compile_policy(report, &names, raw));
    }
    if let Some(name) = &names.default_ladder {
        // Also where every policy names its own.
        names.ladder(report, name);
    }
    if names.default_gates.is_some() {
        names.gates(report, None);
    }
    let shadows = site.shadows;
    let modes = modes::compile(report, &names, &policies, &site.modes);
    let never_block = never_block::compile(report, &site.never_block);
    let features = names.features;
    Some(CompiledPolicy {
        modes,
        never_block,
        services,
        proxies,
        settings,
        signals,
        lookup: site.lookup,
        brakes: site.brakes,
        privacy: site.privacy,
        reputation,
        features,
        policies,
        shadows,
        warnings: Vec::new(),
        later: Vec::new(),
        ids,
    })
}

/// What policies can refer to.
struct Names<'a> {
    features: Registry,
    groups: BTreeMap<String, Arc<Group>>,
    ladders: BTreeMap<String, Option<Ladder>>,
    default_ladder: Option<Typed<String>>,
    gate_sets: BTreeMap<String, Arc<GateSet>>,
    default_gates: Option<Typed<String>>,
    stage_max: Stage,
    /// The documents of the site.
    site: Vec<Span>,
    has_country: bool,
    has_asn: bool,
    audiences: Vec<(u8, Audience)>,
    /// Services with UDP ports.
    udp: Vec<u8>,
    services: BTreeMap<&'a str, u8>,
}

impl Names<'_> {
    fn ladder(&self, report: &mut Report<'_>, name: &Typed<String>) -> Option<Ladder> {
        let known: Vec<&str> = self.ladders.keys().map(String::as_str).collect();
        match self.ladders.get(&name.value) {
            Some(ladder) => ladder.clone(),
            None => {
                unknown(report, name, "ladder", &known);
                None
            }
        }
    }
}

fn unknown(report: &mut Report<'_>, name: &Typed<String>, what: &str, known: &[&str]) {
    let help = suggest::help(&name.value, known)
        .unwrap_or_else(|| format!("the site defines no {what} at all"));
    report.error(name.at, format!("there is no {what} `{}`", name.value), Some(help));
}

fn compile_settings(report: &mut Report<'_>, site: &RawSite) -> Settings {
    let mut settings = Settings::default();
    let typed = &site.sensor;
    if let Some(mode) = &typed.mode {
        settings.mode = mode.value;
    }
    if let Some(stall) = &typed.stall_ns {
        settings.stall_ns = stall.value;
    }
    settings.heartbeat_ns = typed.heartbeat_ns.as_ref().map(|heartbeat| heartbeat.value);
    if let Some(least) = &typed.coverage_min {
        settings.coverage_min = u8::try_from(least.value).unwrap_or(100);
    }
    if let Some(lane) = &typed.lane {
        settings.lane = RateLimit::new(lane.interval_ns, lane.burst);
    }
    let size = |typed: &Option<Typed<i64>>| {
        typed.as_ref().and_then(|typed| usize::try_from(typed.value).ok())
    };
    if let Some(profiles) = size(&typed.profiles) {
        settings.profiles.sources = profiles;
    }
    if let Some(connections) = size(&typed.connections_per_source) {
        settings.profiles.connections_per_source = connections;
    }
    for capacity in &typed.capacities {
        if let Some(table) = settings::resizable(&capacity.table.value) {
            settings.capacities.insert(table, capacity.entries);
        } else {
            let names = settings::resizable_names();
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            unknown(report, &capacity.table, "table", &known);
        }
    }
    settings
}

fn compile_groups(report: &mut Report<'_>, typed: &[RawGroup]) -> BTreeMap<String, Arc<Group>> {
    let mut groups = BTreeMap::new();
    for group in typed {
        let mut members: Vec<_> =
            group.addresses.items.iter().map(|address| address.value).collect();
        if let Some(file) = &group.file {
            match netset::read(&report.beside(file.at, &file.value)) {
                Ok(nets) => members.extend(nets),
                Err(error) => report.error(file.at, error.to_string(), None),
            }
        } else if group.addresses.is_empty {
            let message = format!("the group `{}` has no member", group.name.value);
            let help = "addresses: [192.0.2.0/24], or file: partners.netset".to_owned();
            report.error(group.name.at, message, Some(help));
        }
        for (address, net) in group.addresses.items.iter().zip(&members) {
            if net.prefix_len() == 0 {
                let help = Some("set `stage_max: monitor` to spare everybody".to_owned());
                report.error(address.at, "this is everybody", help);
            }
        }
        if IpNet::aggregate(&members).iter().any(|net| net.prefix_len() == 0) {
            let message = format!("the group `{}` is everybody", group.name.value);
            let help = "set `stage_max: monitor` to spare everybody".to_owned();
            report.warn(group.name.at, message, Some(help));
        }
        let expires = group.expires.as_ref().map(|expires| expires.value);
        if let Some(typed) = &group.expires {
            let message = format!("the group `{}` has ended and spares nobody", group.name.value);
            let help = "set another day, or take it out where it is named";
            report.warn_from(typed.value, typed.at, message, Some(help.to_owned()));
        }
        let name = group.name.value.clone();
        let group = Group::new(name.clone(), group.why.clone(), expires, &members);
        groups.insert(name, Arc::new(group));
    }
    groups
}

fn compile_ladders(
    report: &mut Report<'_>,
    typed: &[RawLadder],
) -> BTreeMap<String, Option<Ladder>> {
    typed
        .iter()
        .map(|ladder| (ladder.name.value.clone(), ladder::compile(report, ladder)))
        .collect()
}

fn compile_policy(report: &mut Report<'_>, names: &Names<'_>, raw: RawPolicy) -> Option<Policy> {
    let mut services = ServiceSet::NONE;
    for applies in &raw.applies.items {
        match names.services.get(applies.value.as_str()) {
            Some(id) => services.insert(*id),
            None => {
                let known: Vec<&str> = names.services.keys().copied().collect();
                unknown(report, applies, "service", &known);
            }
        }
    }
    if raw.applies.is_empty {
        let message = format!("the policy `{}` applies to no service", raw.name.value);
        report.error(raw.name.at, message, Some("applies: [login]".to_owned()));
    }
    let ladder = match (&raw.kept_ladder, raw.ladder.as_ref().or(names.default_ladder.as_ref())) {
        (Some(kept), _) => Some(kept.clone()),
        (None, Some(name)) => names.ladder(report, name),
        (None, None) => match names.ladders.get(DEFAULT_LADDER) {
            Some(ladder) => ladder.clone(),
            None => {
                let message = format!("the policy `{}` has no ladder", raw.name.value);
                let help = "name one with `ladder`, or for all in the site's `defaults`";
                report.error(raw.name.at, message, Some(help.to_owned()));
                None
            }
        },
    };
    sense::check_exemptions(report, &raw.exempt, ladder.as_ref());
    let exempt = raw
        .exempt
        .into_iter()
        .filter_map(|exemption| compile_exemption(report, names, exemption))
        .collect();
    let typed_rules = raw.typed_rules;
    let mut rules: Vec<Rule> = Vec::with_capacity(raw.rules.len());
    for rule in raw.rules {
        if rules.iter().any(|other| *other.name == *rule.name.value) {
            let message = format!("there is a second rule `{}`", rule.name.value);
            let help = "names of rules are unique within a policy".to_owned();
            report.error(rule.name.at, message, Some(help));
        }
        let (typed, audience) = (rule.when.clone(), rule.audience.clone());
        if let Some(rule) = rule::compile(report, &names.features, rule) {
            sense::check_rule(report, names, services, &rule, &typed, audience.as_ref());
            rules.push(rule);
        }
    }
    let version = version::of(report, &[raw.parts, names.site.clone()].concat());
    if let Some(stage) = raw.stage_max.as_ref().filter(|stage| stage.value > names.stage_max) {
        let message = format!("the ceiling is lower: `{}`", names.stage_max);
        let help = "of the two, `stage_max` of the site's `defaults` counts where it is lower";
        report.warn(stage.at, message, Some(help.to_owned()));
    }
    let stage_max = raw.stage_max.map_or(names.stage_max, |stage| names.stage_max.min(stage.value));
    let ladder = ladder?;
    if rules.len() == typed_rules {
        warn_if_idle(report, &raw.name, &ladder, &rules);
    }
    Some(Policy {
        name: raw.name.value.into(),
        conduct: kept::conduct(&raw.document, &ladder).into(),
        document: raw.document.into(),
        version: version.into(),
        owner: raw.owner,
        description: raw.description,
        services,
        stage_max,
        gates: names.gates(report, raw.gates.as_ref()),
        ladder,
        heartbeat_ns: raw.heartbeat_ns.map(|heartbeat| heartbeat.value),
        drops_per_minute: raw.drops.map(|drops| drops.value),
        exempt,
        rules,
    })
}

fn compile_exemption(
    report: &mut Report<'_>,
    names: &Names<'_>,
    exemption: RawExemption,
) -> Option<Exemption> {
    let known: Vec<&str> = names.groups.keys().map(String::as_str).collect();
    let Some(group) = names.groups.get(&exemption.group.value) else {
        unknown(report, &exemption.group, "group", &known);
        return None;
    };
    if exemption.from.is_empty {
        let message = format!("the group `{}` is spared nothing", exemption.group.value);
        report.error(exemption.group.at, message, Some("from: [drop, limit]".to_owned()));
    }
    let actions: Vec<Action> = exemption.from.items.iter().map(|action| action.value).collect();
    if let Some(typed) = &exemption.expires {
        let message = format!("the exemption of `{}` has ended", exemption.group.value);
        let help = "set another day, or take it out";
        report.warn_from(typed.value, typed.at, message, Some(help.to_owned()));
    }
    Some(Exemption {
        group: Arc::clone(group),
        actions,
        why: exemption.why,
        owner: exemption.owner,
        expires_unix_s: exemption.expires.map(|expires| expires.value),
    })
}

/// A policy whose rules together never reach the first step does nothing.
fn warn_if_idle(report: &mut Report<'_>, name: &Typed<String>, ladder: &Ladder, rules: &[Rule]) {
    let most: i32 = rules.iter().map(|rule| i32::from(rule.points.max(0))).sum();
    let Some(first) = ladder.steps.first() else { return };
    if most < i32::from(first.at) {
        let message = format!(
            "the policy `{}` can never do anything: its rules add up to {most} points, and the \
             ladder `{}` begins at {}",
            name.value, ladder.name, first.at
        );
        report.warn(name.at, message, None);
    }
}
