//! A policy file as typed: every field where its author put it, nothing resolved.
//!
//! Reading checks the form only (this is a list, that is a duration). Whether a group or a service
//! exists, and what a rule means, is `compile`'s business.

use ipnet::IpNet;
use weir_common::abi::{Action, Mode};

use super::{
    Audience,
    diagnostic::{Report, Span},
    documents::Document,
    quantity::{duration_ns, end_of_day_unix_s, rate_interval_ns},
    reader::{Fields, Typed, TypedList, integer, keyword, list, name, named, quantity, text},
    suggest,
    tree::{Node, Value},
};

mod lookup;
mod signals;
mod site;
pub(super) use signals::{RawLine, RawLog, RawSignal, TypedWords};
pub(super) use site::{RawFrom, RawGroup, RawProxy, RawService, RawSite};

/// Modes that a policy can be in.
pub(super) const MODES: &[(&str, Mode)] =
    &[("off", Mode::Off), ("observe", Mode::Observe), ("enforce", Mode::Enforce)];

/// Stages that a site or a policy can set as the ceiling.
const STAGES: &[(&str, Mode)] = &[("monitor", Mode::Observe), ("enforce", Mode::Enforce)];

/// Whom a rule can count for.
const RULE_AUDIENCES: &[(&str, Audience)] =
    &[("browsers", Audience::Browsers), ("programs", Audience::Programs)];

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
    pub(super) syns: Option<Typed<u64>>,
    pub(super) burst: Option<Typed<i64>>,
    pub(super) repeat: Option<Typed<()>>,
    pub(super) max_ns: Option<Typed<u64>>,
    pub(super) forget_ns: Option<Typed<u64>>,
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
    pub(super) why: Option<String>,
    pub(super) owner: Option<String>,
    /// Seconds since 1970.
    pub(super) expires: Option<Typed<u64>>,
}

/// `{connections: 5, within: 1h}`
#[derive(Debug)]
pub(super) struct RawAfter {
    pub(super) connections: Typed<i64>,
    pub(super) within_ns: Typed<u64>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct RawRule {
    pub(super) name: Typed<String>,
    pub(super) owasp: Vec<Typed<String>>,
    pub(super) points: Typed<i64>,
    pub(super) when: Typed<String>,
    pub(super) after: Option<RawAfter>,
    pub(super) audience: Option<Typed<Audience>>,
    pub(super) decay_ns: Option<Typed<u64>>,
}

/// A document `kind: Policy`.
#[derive(Debug)]
pub(super) struct RawPolicy {
    /// The documents that it was made of.
    pub(super) parts: Vec<Span>,
    pub(super) name: Typed<String>,
    pub(super) owner: Option<String>,
    pub(super) description: Option<String>,
    pub(super) applies: TypedList<Typed<String>>,
    pub(super) mode: Option<Typed<Mode>>,
    pub(super) stage_max: Option<Typed<Mode>>,
    pub(super) ladder: Option<Typed<String>>,
    pub(super) exempt: Vec<RawExemption>,
    pub(super) rules: Vec<RawRule>,
}

/// Reads every document.
pub(super) fn read(report: &mut Report<'_>, documents: &[Document]) -> RawFile {
    let mut file = RawFile::default();
    for document in documents {
        match kind(report, &document.node) {
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

fn read_policy(report: &mut Report<'_>, document: &Document) -> Option<RawPolicy> {
    let node = &document.node;
    const FIELDS: &[&str] =
        &["kind", "metadata", "applies", "mode", "stage_max", "ladder", "exempt", "rules"];
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
    let stage_max = fields.get("stage_max").and_then(|node| stage(report, node));
    let ladder = fields.get("ladder").and_then(|node| name(report, node, "the name of a ladder"));
    let exempt = TypedList::read(report, fields.get("exempt"), "exemptions", read_exemption);
    let rules = TypedList::read(report, fields.get("rules"), "rules", read_rule);
    let (policy_name, owner, description) = metadata?;
    Some(RawPolicy {
        parts: document.parts.clone(),
        name: policy_name,
        owner,
        description,
        applies: applies?,
        mode,
        stage_max,
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
    const FIELDS: &[&str] = &["group", "from", "why", "owner", "expires"];
    let fields = Fields::read(report, node, "an exemption", FIELDS)?;
    let group = fields.require(report, "group", "an exemption", "group: partners");
    let from = fields.require(report, "from", "an exemption", "from: [drop, limit]");
    let group = name(report, group?, "the name of a group")?;
    let from = TypedList::read(report, Some(from?), "actions", |report, item| {
        keyword(report, item, "an action", ACTIONS)
    });
    let mut note = |field: &str| {
        let node = fields.get(field)?;
        text(report, node, "a text").map(|typed| typed.value)
    };
    let (why, owner) = (note("why"), note("owner"));
    let expires = fields.get("expires").and_then(|node| quantity(report, node, "a date", date));
    Some(RawExemption { group, from, why, owner, expires })
}

fn read_rule(report: &mut Report<'_>, node: &Node) -> Option<RawRule> {
    const FIELDS: &[&str] = &["name", "owasp", "points", "when", "after", "audience", "decay"];
    let fields = Fields::read(report, node, "a rule", FIELDS)?;
    let rule_name = fields
        .require(report, "name", "a rule", "name: stuffing")
        .and_then(|node| name(report, node, "a name"));
    let points = fields
        .require(report, "points", "a rule", "points: 60")
        .and_then(|node| integer(report, node, "points", -100..=100));
    let when = fields
        .require(report, "when", "a rule", "when: source.connections_10s >= 60")
        .and_then(|node| text(report, node, "a condition"));
    let ids = "ids of threats";
    let owasp = TypedList::read(report, fields.get("owasp"), ids, |report, item| {
        text(report, item, "an id like `OAT-008` or `API2:2023`")
    });
    let after = fields.get("after").and_then(|node| read_after(report, node));
    let audience = fields
        .get("audience")
        .and_then(|node| keyword(report, node, "an audience", RULE_AUDIENCES));
    let decay_ns =
        fields.get("decay").and_then(|node| quantity(report, node, "a duration", duration_ns));
    Some(RawRule {
        name: rule_name?,
        owasp: owasp.items,
        points: points?,
        when: when?,
        after,
        audience,
        decay_ns,
    })
}

fn read_after(report: &mut Report<'_>, node: &Node) -> Option<RawAfter> {
    const EXAMPLE: &str = "after: {connections: 5, within: 1h}";
    let fields = Fields::read(report, node, "`after`", &["connections", "within"])?;
    let connections = fields
        .require(report, "connections", "`after`", EXAMPLE)
        .and_then(|node| integer(report, node, "a number of connections", 1..=1_000_000));
    let within_ns = fields
        .require(report, "within", "`after`", EXAMPLE)
        .and_then(|node| quantity(report, node, "a duration", duration_ns));
    Some(RawAfter { connections: connections?, within_ns: within_ns? })
}

fn read_step(report: &mut Report<'_>, node: &Node) -> Option<RawStep> {
    const FIELDS: &[&str] =
        &["at", "action", "for", "connections", "syns", "burst", "repeat", "max", "forget"];
    let what = "a ladder's step";
    refuse_exchanges(report, node);
    let fields = Fields::read_but(report, node, what, FIELDS, "exchanges")?;
    let threshold = fields
        .require(report, "at", what, "at: 80")
        .and_then(|node| integer(report, node, "a score", 1..=100));
    let action = fields
        .require(report, "action", what, "action: drop")
        .and_then(|node| keyword(report, node, "an action", ACTIONS));
    let term_ns = fields
        .require(report, "for", what, "for: 10m (every verdict ends)")
        .and_then(|node| quantity(report, node, "a duration", duration_ns));
    let mut rate = |field: &str| {
        let node = fields.get(field)?;
        quantity(report, node, "a rate", rate_interval_ns)
    };
    let (connections, syns) = (rate("connections"), rate("syns"));
    let burst = fields
        .get("burst")
        .and_then(|node| integer(report, node, "connections at once", 1..=1_000_000));
    let repeat =
        fields.get("repeat").and_then(|node| keyword(report, node, "`double`", &[("double", ())]));
    let mut duration = |field: &str| {
        let node = fields.get(field)?;
        quantity(report, node, "a duration", duration_ns)
    };
    let (max_ns, forget_ns) = (duration("max"), duration("forget"));
    Some(RawStep {
        at: node.at,
        threshold: threshold?,
        action: action?,
        term_ns: term_ns?,
        connections,
        syns,
        burst,
        repeat,
        max_ns,
        forget_ns,
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

/// The ceiling of what policies may do. There is no `canary`: what would promote out of it does not
/// exist.
fn stage(report: &mut Report<'_>, node: &Node) -> Option<Typed<Mode>> {
    if matches!(&node.value, Value::Text(word) if word == "canary") {
        let help = "to enforce for some sources only, give their policy its own `mode`; a ceiling \
                    is `monitor` or `enforce`";
        report.error(node.at, "there is no stage `canary`", Some(help.to_owned()));
        return None;
    }
    keyword(report, node, "a stage", STAGES)
}

/// Exchanges lie inside encrypted connections: nothing can hold single ones back on the way.
fn refuse_exchanges(report: &mut Report<'_>, step: &Node) {
    let Value::Map(entries) = &step.value else { return };
    let typed = entries.iter().find(|(key, _)| key.name == "exchanges");
    if let Some((key, _)) = typed {
        let message = "exchanges cannot be limited on the way: they are encrypted";
        let help = "limit `connections`, or `action: mark` and let the application hold back \
                    requests of who is marked";
        report.error(key.at, message, Some(help.to_owned()));
    }
}

fn date(text: &str) -> Result<u64, String> {
    end_of_day_unix_s(text)
}
