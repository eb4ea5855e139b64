//! Tests of policies, as `*.test.yaml` says them: traffic, and what is to follow from it.
//!
//! Every mistake is reported in one run, each with its place, as in policies.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use weir_common::abi::Action;

use super::{
    PolicyErrors,
    diagnostic::{Report, Span},
    files,
    form::{CASE, EXPECTATION, TESTS, WITHIN},
    netset::prefix,
    quantity::duration_ns,
    reader::{Fields, Typed, keyword, list, quantity, text},
    tree::{self, Node, Value},
};
use crate::{enforce::names, score::owasp};

mod pattern;

pub use pattern::{HelloStyle, Pattern};
pub(super) use pattern::{STYLES, SWITCH};

/// The tests of one file.
#[derive(Clone, Debug)]
pub struct TestFile {
    /// The policy that is tested, if the file says.
    pub policy: Option<PathBuf>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Where it stands: `file:line`.
    pub place: String,
    /// Captures that are replayed as one.
    pub captures: Vec<PathBuf>,
    /// The protected host of the captures, if the case says.
    pub servers: Vec<IpNet>,
    /// Traffic that is made up.
    pub traffic: Vec<Pattern>,
    /// What is to follow.
    pub expect: Vec<Expectation>,
}

/// What is to follow for some sources.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// Where it stands: `file:line`.
    pub place: String,
    /// Whom it is about; `None`: decisions on whole services (`*`).
    pub sources: Option<IpNet>,
    /// The strongest action, one of these; `None` = no action.
    pub actions: Vec<Option<Action>>,
    /// Ids of OWASP's lists, each of which a decision names.
    pub owasp: Vec<String>,
    /// Connections that the source has begun at most when that action is taken first.
    pub connections: Option<u64>,
    /// Time since the source's first packet when that action is taken first, at most, ns.
    pub within_ns: Option<u64>,
}

/// What actions are called.
pub(super) const ACTIONS: &[(&str, Option<Action>)] = &[
    ("none", None),
    ("mark", Some(Action::Mark)),
    ("limit", Some(Action::Limit)),
    ("reject", Some(Action::Reject)),
    ("drop", Some(Action::Drop)),
];

/// What a file of tests can say that it is.
pub(super) const KINDS: &[(&str, ())] = &[("Test", ())];

/// Reads a file of tests. Captures and policies that it names are beside it.
///
/// # Errors
/// Every mistake of the file, each with its place and what would be right.
pub fn load(path: &std::path::Path) -> Result<TestFile, PolicyErrors> {
    let name = path.display().to_string();
    let written = files::read(path)
        .map_err(|error| PolicyErrors::of_file(&name, error.to_string(), error.help()))?;
    let mut report = Report::empty(&name);
    let directory = path.parent().unwrap_or(std::path::Path::new("")).to_owned();
    let file = report.add(&name, written.into(), directory);
    let documents = tree::parse(&mut report, file).unwrap_or_default();
    let mut tests = TestFile { policy: None, cases: Vec::new() };
    for document in &documents {
        let known = Fields::read(&mut report, document, &TESTS);
        let Some(fields) = known else { continue };
        fields.word(&mut report, "kind", KINDS);
        let policy = fields.get("policy").and_then(|node| beside(&mut report, node, "a policy"));
        tests.policy = policy.or(tests.policy);
        if let Some(node) = fields.get("cases") {
            let cases = list(&mut report, node, "cases");
            tests.cases.extend(cases.iter().filter_map(|node| case(&mut report, &name, node)));
        }
    }
    report.finish()?;
    Ok(tests)
}

fn case(report: &mut Report<'_>, file: &str, node: &Node) -> Option<Case> {
    let fields = Fields::read(report, node, &CASE)?;
    let name = fields.text(report, "name");
    let captures = one_or_many(report, fields.get("capture"), |report, node| {
        beside(report, node, "the name of a capture")
    });
    let servers = one_or_many(report, fields.get("server"), net);
    let traffic = fields.get("traffic").map_or(&[][..], |node| list(report, node, "patterns"));
    let mut patterns = Vec::new();
    for node in traffic {
        patterns.extend(pattern::read(report, node));
    }
    if captures.is_empty() && fields.get("traffic").is_none() {
        let help = "capture: visits.pcap, or traffic: [{source: 203.0.113.7, service: web}]";
        report.error(node.at, "a case needs `capture` or `traffic`", Some(help.to_owned()));
    }
    if !captures.is_empty() && !patterns.is_empty() {
        let help = "make two cases of it".to_owned();
        report.error(node.at, "a case has either `capture` or `traffic`", Some(help));
    }
    let expected = fields.get("expect");
    let expected = expected.map_or(&[][..], |node| list(report, node, "expectations"));
    let mut expect = Vec::new();
    for node in expected {
        expect.extend(expectation(report, file, node));
    }
    let place = place(file, node.at);
    Some(Case { name: name?.value, place, captures, servers, traffic: patterns, expect })
}

fn expectation(report: &mut Report<'_>, file: &str, node: &Node) -> Option<Expectation> {
    let fields = Fields::read(report, node, &EXPECTATION)?;
    let source = fields.get("source");
    let sources = source.and_then(|node| match &node.value {
        Value::Text(text) if text == "*" => Some(None),
        _ => net(report, node).map(Some),
    });
    let typed = fields.get("action");
    let actions = one_or_many(report, typed, |report, node| {
        Some(keyword(report, node, "an action", ACTIONS)?.value)
    });
    let ids = one_or_many(report, fields.get("owasp"), owasp_id);
    let (mut connections, mut within_ns) = (None, None);
    let within = fields.get("within");
    if let Some(limits) = within.and_then(|it| Fields::read(report, it, &WITHIN)) {
        let count = limits.whole(report, "connections");
        connections = count.and_then(|count| u64::try_from(count.value).ok());
        let seconds = limits.get("seconds").and_then(|node| seconds(report, node));
        within_ns = seconds;
    }
    let place = place(file, node.at);
    Some(Expectation { place, sources: sources?, actions, owasp: ids, connections, within_ns })
}

/// Seconds as a number, or a time with its unit.
fn seconds(report: &mut Report<'_>, node: &Node) -> Option<u64> {
    match node.value {
        Value::Int(seconds) => u64::try_from(seconds).ok()?.checked_mul(1_000_000_000),
        Value::Float(seconds) if seconds >= 0.0 => Some((seconds * 1e9) as u64),
        _ => Some(quantity(report, node, "a time", duration_ns)?.value),
    }
}

fn owasp_id(report: &mut Report<'_>, node: &Node) -> Option<String> {
    let id = text(report, node, "an id of OWASP's lists")?;
    if owasp::find(&id.value).is_none() {
        let known: Vec<&str> = owasp::THREATS.iter().map(|threat| threat.id).collect();
        let help = super::suggest::help(&id.value, &known);
        report.error(id.at, format!("`{}` is no id of OWASP's lists", id.value), help);
    }
    Some(id.value)
}

fn net(report: &mut Report<'_>, node: &Node) -> Option<IpNet> {
    let parse = |text: &str| {
        prefix(text).map_err(|_| "an address or a prefix, 203.0.113.7 or 203.0.113.0/24".to_owned())
    };
    Some(quantity(report, node, "an address or prefix", parse)?.value)
}

fn address(report: &mut Report<'_>, node: &Node) -> Option<IpAddr> {
    let parse =
        |text: &str| text.parse().map_err(|_| "an address, 203.0.113.7 or 2001:db8::7".to_owned());
    Some(quantity(report, node, "an address", parse)?.value)
}

/// A file that is named beside this one.
fn beside(report: &mut Report<'_>, node: &Node, what: &str) -> Option<PathBuf> {
    let name: Typed<String> = text(report, node, what)?;
    let path = report.beside(name.at, &name.value);
    if !path.exists() {
        let help = "files are named from the folder of the file that names them".to_owned();
        report.error(name.at, format!("there is no `{}`", path.display()), Some(help));
    }
    Some(path)
}

/// One value, or a list of them.
fn one_or_many<T>(
    report: &mut Report<'_>,
    node: Option<&Node>,
    read: impl Fn(&mut Report<'_>, &Node) -> Option<T>,
) -> Vec<T> {
    let nodes = match node.map(|node| &node.value) {
        Some(Value::List(nodes)) => nodes.as_slice(),
        _ => node.map_or(&[][..], std::slice::from_ref),
    };
    nodes.iter().filter_map(|node| read(report, node)).collect()
}

fn place(file: &str, at: Span) -> String {
    format!("{file}:{}", at.line)
}

/// What an action is called.
#[must_use]
pub fn action_name(action: Option<Action>) -> &'static str {
    action.map_or("none", names::action_name)
}

#[cfg(test)]
mod tests;
