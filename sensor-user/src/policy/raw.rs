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
    form::{AFTER, EXEMPTION, LADDER_STEP, METADATA, POLICY, RATE, RULE},
    kept,
    quantity::{duration_ns, end_of_day_unix_s, per_minute, rate_interval_ns},
    reader::{Fields, Typed, TypedList, entries, keyword, list, name, quantity, text, whole},
    suggest,
    tree::{Node, Value},
};
use crate::enforce::{ladder::Ladder, stage::Stage};

mod brakes;
mod feeds;
mod gates;
mod lookup;
mod modes;
mod never_block;
mod privacy;
mod signals;
mod site;
pub(super) use feeds::{FORMATS as FEED_FORMATS, RawFeed, RawGeo};
pub(super) use gates::{AUTO, CHANGES, RawGates};
pub(super) use modes::RawMode;
pub(super) use never_block::{RawNeverBlock, RawRange};
pub(super) use privacy::{ADDRESSES, PRESETS};
pub(super) use signals::{
    CLIENTS as LOG_CLIENTS, DISTINCT as SIGNAL_DISTINCT, FORMATS as LOG_FORMATS, RawLine, RawLog,
    RawSignal, SUBJECTS as SIGNAL_SUBJECTS, TypedWords,
};
pub(super) use site::{
    AUDIENCES, CLIENTS, RawFrom, RawGroup, RawProxy, RawService, RawSite, UNKNOWN_SNI,
};

/// Modes that the sensor can be in.
pub(super) const MODES: &[(&str, Mode)] =
    &[("off", Mode::Off), ("observe", Mode::Observe), ("enforce", Mode::Enforce)];

/// Stages that a site or a policy can set as the ceiling.
pub(super) const STAGES: &[(&str, Stage)] =
    &[("monitor", Stage::Monitor), ("canary", Stage::Canary), ("enforce", Stage::Enforce)];

/// Whom a rule can count for.
pub(super) const RULE_AUDIENCES: &[(&str, Audience)] =
    &[("browsers", Audience::Browsers), ("programs", Audience::Programs)];

/// Actions that a ladder or an exemption can name.
pub(super) const ACTIONS: &[(&str, Action)] = &[
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
    /// Whether there are documents of which nobody knows what they are.
    pub(super) has_unknown: bool,
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
    /// Whether anything was typed there.
    pub(super) has_connections: bool,
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
    /// Whether nothing was typed.
    pub(super) is_empty: bool,
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
    pub(super) drops: Option<Typed<u32>>,
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
    pub(super) stage_max: Option<Typed<Stage>>,
    pub(super) gates: Option<Typed<String>>,
    pub(super) ladder: Option<Typed<String>>,
    pub(super) heartbeat_ns: Option<Typed<u64>>,
    pub(super) drops: Option<Typed<u32>>,
    pub(super) exempt: Vec<RawExemption>,
    pub(super) rules: Vec<RawRule>,
    /// How many rules there are, those with mistakes included.
    pub(super) typed_rules: usize,
    /// What is kept of the document.
    pub(super) document: String,
    /// The ladder that it was kept with, whatever ladders there are now.
    pub(super) kept_ladder: Option<Ladder>,
}

/// Reads every document.
pub(super) fn read<'d>(
    report: &mut Report<'_>,
    documents: impl IntoIterator<Item = &'d Document>,
) -> RawFile {
    let mut file = RawFile::default();
    for document in documents {
        match kind(report, &document.node) {
            Some("Site") => file.sites.extend(site::read(report, document)),
            Some("Policy") => file.policies.extend(read_policy(report, document)),
            _ => file.has_unknown = true,
        }
    }
    file
}

/// Whether a document is the Site's.
pub(super) fn is_site(document: &Document) -> bool {
    let Value::Map(entries) = &document.node.value else { return false };
    entries.iter().any(|(key, node)| {
        key.name == "kind" && matches!(&node.value, Value::Text(kind) if kind == "Site")
    })
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
    let fields = Fields::read(report, &document.node, &POLICY)?;
    let metadata = fields.get("metadata").and_then(|node| read_metadata(report, node));
    let applies =
        fields.list(report, "applies", |report, node, shape| name(report, node, shape.what()));
    let stage_max = fields.word(report, "stage_max", STAGES);
    let gates = fields.name(report, "gates");
    let ladder = fields.name(report, "ladder");
    let heartbeat_ns = fields.quantity(report, "heartbeat", duration_ns);
    let drops = fields.quantity(report, "drops", per_minute);
    let exempt = fields.list(report, "exempt", |report, node, _| read_exemption(report, node));
    let rules = fields.list(report, "rules", |report, node, _| read_rule(report, node));
    let typed_rules = match fields.get("rules").map(|node| &node.value) {
        Some(Value::List(items)) => items.len(),
        _ => 0,
    };
    let (policy_name, owner, description) = metadata?;
    fields.get("applies")?;
    Some(RawPolicy {
        parts: document.parts.clone(),
        name: policy_name,
        owner,
        description,
        applies,
        stage_max,
        gates,
        ladder,
        heartbeat_ns,
        drops,
        exempt: exempt.items,
        rules: rules.items,
        typed_rules,
        document: kept::document(&document.node),
        kept_ladder: None,
    })
}

type Metadata = (Typed<String>, Option<String>, Option<String>);

fn read_metadata(report: &mut Report<'_>, node: &Node) -> Option<Metadata> {
    let fields = Fields::read(report, node, &METADATA)?;
    let (owner, description) = (fields.note(report, "owner"), fields.note(report, "description"));
    Some((fields.name(report, "name")?, owner, description))
}

fn read_exemption(report: &mut Report<'_>, node: &Node) -> Option<RawExemption> {
    let fields = Fields::read(report, node, &EXEMPTION)?;
    let group = fields.name(report, "group");
    let from = fields
        .list(report, "from", |report, node, shape| keyword(report, node, shape.what(), ACTIONS));
    let (why, owner) = (fields.note(report, "why"), fields.note(report, "owner"));
    let expires = fields.quantity(report, "expires", end_of_day_unix_s);
    fields.get("from")?;
    Some(RawExemption { group: group?, from, why, owner, expires })
}

fn read_rule(report: &mut Report<'_>, node: &Node) -> Option<RawRule> {
    let fields = Fields::read(report, node, &RULE)?;
    let rule_name = fields.name(report, "name");
    let points = fields.whole(report, "points");
    let when = fields.text(report, "when");
    let owasp =
        fields.list(report, "owasp", |report, node, shape| text(report, node, shape.what()));
    let after = fields.get("after").and_then(|node| read_after(report, node));
    let audience = fields.word(report, "audience", RULE_AUDIENCES);
    let decay_ns = fields.quantity(report, "decay", duration_ns);
    let drops = fields.quantity(report, "drops", per_minute);
    Some(RawRule {
        name: rule_name?,
        owasp: owasp.items,
        points: points?,
        when: when?,
        after,
        audience,
        decay_ns,
        drops,
    })
}

fn read_after(report: &mut Report<'_>, node: &Node) -> Option<RawAfter> {
    let fields = Fields::read(report, node, &AFTER)?;
    let connections = fields.whole(report, "connections");
    let within_ns = fields.quantity(report, "within", duration_ns);
    Some(RawAfter { connections: connections?, within_ns: within_ns? })
}

fn read_step(report: &mut Report<'_>, node: &Node) -> Option<RawStep> {
    let fields = Fields::read(report, node, &LADDER_STEP)?;
    let threshold = fields.whole(report, "at");
    let action = fields.word(report, "action", ACTIONS);
    let term_ns = fields.quantity(report, "for", duration_ns);
    let connections = fields.quantity(report, "connections", rate_interval_ns);
    let syns = fields.quantity(report, "syns", rate_interval_ns);
    let burst = fields.whole(report, "burst");
    let repeat = fields.word(report, "repeat", &[("double", ())]);
    let max_ns = fields.quantity(report, "max", duration_ns);
    let forget_ns = fields.quantity(report, "forget", duration_ns);
    Some(RawStep {
        at: node.at,
        threshold: threshold?,
        action: action?,
        term_ns: term_ns?,
        connections,
        has_connections: fields.get("connections").is_some(),
        syns,
        burst,
        repeat,
        max_ns,
        forget_ns,
    })
}

fn read_rate(report: &mut Report<'_>, node: &Node) -> Option<RawRate> {
    let fields = Fields::read(report, node, &RATE)?;
    let interval = fields.quantity(report, "rate", rate_interval_ns);
    let burst = fields.whole(report, "burst");
    Some(RawRate { interval_ns: interval?.value, burst: u32::try_from(burst?.value).ok()? })
}

fn prefix(text: &str) -> Result<IpNet, String> {
    super::netset::prefix(text)
        .map_err(|_| "an address or prefix, like `192.0.2.7` or `2001:db8::/32`".to_owned())
}
