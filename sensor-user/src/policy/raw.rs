//! A policy file as typed: every field where its author put it, nothing resolved.
//!
//! Reading checks the form only (this is a list, that is a duration). Whether a group or a service
//! exists, and what a rule means, is `compile`'s business.

use ipnet::IpNet;
use weir_common::abi::{Action, Mode};

use super::{
    diagnostic::{Report, Span},
    quantity::{duration_ns, end_of_day_unix_s, rate_interval_ns},
    reader::{Fields, Typed, TypedList, integer, keyword, list, name, named, quantity, text},
    suggest,
    tree::{Node, Value},
};

mod signals;
mod site;
pub(super) use signals::{RawLine, RawLog, RawSignal, TypedWords};
pub(super) use site::{RawFrom, RawGroup, RawProxy, RawService, RawSite};

/// Modes that a policy can be in.
pub(super) const MODES: &[(&str, Mode)] =
    &[("off", Mode::Off), ("observe", Mode::Observe), ("enforce", Mode::Enforce)];

/// Actions that a ladder or an exemption can name.
const ACTIONS: &[(&str, Action)] = &[
    ("mark", Action::Mark),
    ("limit", Action::Limit),
    ("reject", Action::Reject),
    ("drop", Action::Drop),
];

/// A file.
#[derive(Debug, Default)]
pub(super) struct RawFile {
    pub(super) sites: Vec<RawSite>,
    pub(super) policies: Vec<RawPolicy>,
}

/// `{rate: 200/s, burst: 400}`
#[derive(Clone, Debug)]
pub(super) struct RawRate {
    pub(super) interval_ns: u64,
    pub(super) burst: u32,
}

/// One step of a ladder.
#[derive(Debug)]
pub(super) struct RawStep {
    pub(super) at: Span,
    pub(super) threshold: Typed<i64>,
    pub(super) action: Typed<Action>,
    pub(super) term_ns: Typed<u64>,
    pub(super) connections: Option<Typed<u64>>,
    pub(super) burst: Option<Typed<i64>>,
    pub(super) repeat: Option<Typed<()>>,
    pub(super) max_ns: Option<Typed<u64>>,
}

/// A ladder by its name.
#[derive(Debug)]
pub(super) struct RawLadder {
    pub(super) name: Typed<String>,
    pub(super) steps: Vec<RawStep>,
}

/// `{group: partners, from: [drop]}`
#[derive(Debug)]
pub(super) struct RawExemption {
    pub(super) group: Typed<String>,
    pub(super) from: TypedList<Typed<Action>>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct RawRule {
    pub(super) name: Typed<String>,
    pub(super) owasp: Vec<Typed<String>>,
    pub(super) points: Typed<i64>,
    pub(super) when: Typed<String>,
}

/// A document `kind: Policy`.
#[derive(Debug)]
pub(super) struct RawPolicy {
    pub(super) name: Typed<String>,
    pub(super) owner: Option<String>,
    pub(super) description: Option<String>,
    pub(super) applies: TypedList<Typed<String>>,
    pub(super) mode: Option<Typed<Mode>>,
    pub(super) ladder: Option<Typed<String>>,
    pub(super) exempt: Vec<RawExemption>,
    pub(super) rules: Vec<RawRule>,
}

/// Reads every document.
pub(super) fn read(report: &mut Report<'_>, documents: &[Node]) -> RawFile {
    let mut file = RawFile::default();
    for document in documents {
        match kind(report, document) {
            Some("Site") => file.sites.extend(site::read(report, document)),
            Some("Policy") => file.policies.extend(read_policy(report, document)),
            _ => {}
        }
    }
    file
}

fn kind<'n>(report: &mut Report<'_>, document: &'n Node) -> Option<&'n str> {
    let help = || Some("a document begins with `kind: Site` or `kind: Policy`".to_owned());
    let Value::Map(entries) = &document.value else {
        report.error(document.at, "a document is a mapping", help());
        return None;
    };
    let Some((_, value)) = entries.iter().find(|(key, _)| key.name == "kind") else {
        report.error(document.at, "a document needs `kind`", help());
        return None;
    };
    match &value.value {
        Value::Text(kind) if kind == "Site" || kind == "Policy" => Some(kind),
        other => {
            let typed = if let Value::Text(text) = other { text.as_str() } else { "" };
            let message = format!("unknown kind: {}", other.describe());
            report.error(value.at, message, suggest::help(typed, &["Site", "Policy"]));
            None
        }
    }
}

fn read_policy(report: &mut Report<'_>, node: &Node) -> Option<RawPolicy> {
    const FIELDS: &[&str] = &["kind", "metadata", "applies", "mode", "ladder", "exempt", "rules"];
    let fields = Fields::read(report, node, "a policy", FIELDS)?;
    let metadata = fields
        .require(report, "metadata", "a policy", "metadata: {name: login, owner: edge-team}")
        .and_then(|node| read_metadata(report, node));
    let applies = fields
        .require(report, "applies", "a policy", "applies: [login] names services of the site")
        .map(|node| {
            TypedList::read(report, Some(node), "service names", |report, item| {
                name(report, item, "the name of a service")
            })
        });
    let mode = fields.get("mode").and_then(|node| keyword(report, node, "a mode", MODES));
    let ladder = fields.get("ladder").and_then(|node| name(report, node, "the name of a ladder"));
    let exempt = TypedList::read(report, fields.get("exempt"), "exemptions", read_exemption);
    let rules = TypedList::read(report, fields.get("rules"), "rules", read_rule);
    let (policy_name, owner, description) = metadata?;
    Some(RawPolicy {
        name: policy_name,
        owner,
        description,
        applies: applies?,
        mode,
        ladder,
        exempt: exempt.items,
        rules: rules.items,
    })
}

type Metadata = (Typed<String>, Option<String>, Option<String>);

fn read_metadata(report: &mut Report<'_>, node: &Node) -> Option<Metadata> {
    let fields = Fields::read(report, node, "metadata", &["name", "owner", "description"])?;
    let mut note = |field: &str| {
        let node = fields.get(field)?;
        text(report, node, "a text").map(|typed| typed.value)
    };
    let owner = note("owner");
    let description = note("description");
    let node = fields.require(report, "name", "metadata", "name: login")?;
    Some((name(report, node, "a name")?, owner, description))
}

fn read_exemption(report: &mut Report<'_>, node: &Node) -> Option<RawExemption> {
    let fields = Fields::read(report, node, "an exemption", &["group", "from"])?;
    let group = fields.require(report, "group", "an exemption", "group: partners");
    let from = fields.require(report, "from", "an exemption", "from: [drop, limit]");
    let group = name(report, group?, "the name of a group")?;
    let from = TypedList::read(report, Some(from?), "actions", |report, item| {
        keyword(report, item, "an action", ACTIONS)
    });
    Some(RawExemption { group, from })
}

fn read_rule(report: &mut Report<'_>, node: &Node) -> Option<RawRule> {
    let fields = Fields::read(report, node, "a rule", &["name", "owasp", "points", "when"])?;
    let rule_name = fields
        .require(report, "name", "a rule", "name: stuffing")
        .and_then(|node| name(report, node, "a name"));
    let points = fields
        .require(report, "points", "a rule", "points: 60")
        .and_then(|node| integer(report, node, "points", 1..=100));
    let when = fields
        .require(report, "when", "a rule", "when: source.connections_10s >= 60")
        .and_then(|node| text(report, node, "a condition"));
    let ids = "OWASP Automated Threat ids";
    let owasp = TypedList::read(report, fields.get("owasp"), ids, |report, item| {
        text(report, item, "an id like `OAT-008`")
    });
    Some(RawRule { name: rule_name?, owasp: owasp.items, points: points?, when: when? })
}

fn read_step(report: &mut Report<'_>, node: &Node) -> Option<RawStep> {
    const FIELDS: &[&str] = &["at", "action", "for", "connections", "burst", "repeat", "max"];
    let what = "a ladder's step";
    let fields = Fields::read(report, node, what, FIELDS)?;
    let threshold = fields
        .require(report, "at", what, "at: 80")
        .and_then(|node| integer(report, node, "a score", 1..=100));
    let action = fields
        .require(report, "action", what, "action: drop")
        .and_then(|node| keyword(report, node, "an action", ACTIONS));
    let term_ns = fields
        .require(report, "for", what, "for: 10m (every verdict ends)")
        .and_then(|node| quantity(report, node, "a duration", duration_ns));
    let connections = fields
        .get("connections")
        .and_then(|node| quantity(report, node, "a rate", rate_interval_ns));
    let burst = fields
        .get("burst")
        .and_then(|node| integer(report, node, "connections at once", 1..=1_000_000));
    let repeat =
        fields.get("repeat").and_then(|node| keyword(report, node, "`double`", &[("double", ())]));
    let max_ns =
        fields.get("max").and_then(|node| quantity(report, node, "a duration", duration_ns));
    Some(RawStep {
        at: node.at,
        threshold: threshold?,
        action: action?,
        term_ns: term_ns?,
        connections,
        burst,
        repeat,
        max_ns,
    })
}

fn read_rate(report: &mut Report<'_>, node: &Node, what: &str) -> Option<RawRate> {
    let fields = Fields::read(report, node, what, &["rate", "burst"])?;
    let interval = fields
        .require(report, "rate", what, "{rate: 200/s, burst: 400}")
        .and_then(|node| quantity(report, node, "a rate", rate_interval_ns));
    let burst = fields
        .require(report, "burst", what, "{rate: 200/s, burst: 400}")
        .and_then(|node| integer(report, node, "connections at once", 1..=10_000_000));
    Some(RawRate { interval_ns: interval?.value, burst: u32::try_from(burst?.value).ok()? })
}

fn prefix(text: &str) -> Result<IpNet, String> {
    super::netset::prefix(text)
        .map_err(|_| "an address or prefix, like `192.0.2.7` or `2001:db8::/32`".to_owned())
}

fn date(text: &str) -> Result<u64, String> {
    end_of_day_unix_s(text)
}
