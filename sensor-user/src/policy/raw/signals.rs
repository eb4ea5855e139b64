//! `signals` and `logs` of a Site, as typed.

use std::ops::RangeInclusive;

use super::{
    Fields, Node, Report, Span, Typed, Value, duration_ns, entries, keyword, quantity, text,
};
use crate::{
    policy::{
        form::{LOG, LOG_LINE, SIGNAL},
        signals::{ClientFrom, LOG_FIELDS, LogField, LogFormat, pattern::PathPattern},
        suggest,
    },
    score::registry::{Counted, Subject},
};

/// About whom a signal can be counted.
pub(in crate::policy) const SUBJECTS: &[(&str, Subject)] =
    &[("source", Subject::Source), ("entity", Subject::Entity), ("service", Subject::Service)];

/// What distinct ones can be counted of.
pub(in crate::policy) const DISTINCT: &[(&str, Counted)] = &[
    ("account", Counted::Entities),
    ("endpoint", Counted::Endpoints),
    ("source", Counted::Sources),
];

/// How logs are written.
pub(in crate::policy) const FORMATS: &[(&str, LogFormat)] = &[
    ("combined", LogFormat::Combined),
    ("json", LogFormat::Json),
    ("haproxy", LogFormat::Haproxy),
];

/// Who says whom a line is about.
pub(in crate::policy) const CLIENTS: &[(&str, ClientFrom)] = &[
    ("peer", ClientFrom::Peer),
    ("x-forwarded-for", ClientFrom::Forwarded),
    ("forwarded", ClientFrom::Forwarded),
];

/// One signal.
#[derive(Debug)]
pub(in crate::policy) struct RawSignal {
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) per: Option<TypedWords<Subject>>,
    pub(in crate::policy) windows: Option<TypedWords<u64>>,
    pub(in crate::policy) distinct: Option<TypedWords<Counted>>,
    pub(in crate::policy) line: Option<RawLine>,
}

/// One value, or a list of them, and where that stands.
#[derive(Debug)]
pub(in crate::policy) struct TypedWords<T> {
    pub(in crate::policy) at: Span,
    pub(in crate::policy) items: Vec<Typed<T>>,
}

/// `match` of a signal.
#[derive(Debug)]
pub(in crate::policy) struct RawLine {
    pub(in crate::policy) at: Span,
    pub(in crate::policy) log: Option<Typed<String>>,
    pub(in crate::policy) methods: Vec<Typed<String>>,
    pub(in crate::policy) paths: Vec<Typed<PathPattern>>,
    pub(in crate::policy) statuses: Vec<Typed<RangeInclusive<u16>>>,
    pub(in crate::policy) query: Vec<Typed<String>>,
}

/// One log. It is known by its name also where something is wrong with it.
#[derive(Debug)]
pub(in crate::policy) struct RawLog {
    pub(in crate::policy) name: Typed<String>,
    pub(in crate::policy) file: Option<Typed<String>>,
    pub(in crate::policy) format: Option<Typed<LogFormat>>,
    pub(in crate::policy) service: Option<Typed<String>>,
    pub(in crate::policy) fields: Option<Typed<Vec<(LogField, String)>>>,
    pub(in crate::policy) client: Option<Typed<ClientFrom>>,
}

/// Reads a signal. What is missing of it is `compile`'s business, which knows the built-in ones.
pub(super) fn read_signal(
    report: &mut Report<'_>,
    name: Typed<String>,
    node: &Node,
) -> Option<RawSignal> {
    let fields = Fields::read(report, node, &SIGNAL)?;
    let per = fields.get("per").map(|node| {
        words(report, node, |report, item| {
            keyword(report, item, "`source`, `entity` or `service`", SUBJECTS)
        })
    });
    let windows = fields.get("windows").map(|node| {
        words(report, node, |report, item| quantity(report, item, "a window", duration_ns))
    });
    let distinct = fields.get("distinct").map(|node| {
        words(report, node, |report, item| {
            keyword(report, item, "`account`, `endpoint` or `source`", DISTINCT)
        })
    });
    let line = fields.get("match").and_then(|node| read_line(report, node));
    Some(RawSignal { name, per, windows, distinct, line })
}

fn read_line(report: &mut Report<'_>, node: &Node) -> Option<RawLine> {
    let fields = Fields::read(report, node, &LOG_LINE)?;
    let mut list = |field: &str, what: &'static str| {
        let read = |report: &mut Report<'_>, item: &Node| text(report, item, what);
        fields.get(field).map_or_else(Vec::new, |node| words(report, node, read).items)
    };
    let methods = list("method", "a method, like `POST`");
    let query = list("query", "the name of a query parameter");
    let log = fields.name(report, "log");
    let paths = fields.get("path").map_or_else(Vec::new, |node| {
        let read = |report: &mut Report<'_>, item: &Node| {
            quantity(report, item, "a path", PathPattern::parse)
        };
        words(report, node, read).items
    });
    let statuses = fields.get("status").map_or_else(Vec::new, |node| {
        let read = |report: &mut Report<'_>, item: &Node| {
            quantity(report, item, "a status code", statuses)
        };
        words(report, node, read).items
    });
    Some(RawLine { at: node.at, log, methods, paths, statuses, query })
}

/// Reads a log.
pub(super) fn read_log(
    report: &mut Report<'_>,
    called: Typed<String>,
    node: &Node,
) -> Option<RawLog> {
    let fields = Fields::read(report, node, &LOG)?;
    let file = fields.text(report, "file");
    let format = fields.word(report, "format", FORMATS);
    let service = fields.name(report, "service");
    let mapped = fields
        .get("fields")
        .and_then(|node| read_fields(report, node).map(|value| Typed { value, at: node.at }));
    let client = fields.word(report, "client", CLIENTS);
    Some(RawLog { name: called, file, format, service, fields: mapped, client })
}

fn read_fields(report: &mut Report<'_>, node: &Node) -> Option<Vec<(LogField, String)>> {
    let known: Vec<&str> = LOG_FIELDS.iter().map(|(name, _)| *name).collect();
    let mut mapped = Vec::new();
    for (key, node) in entries(report, node, "`fields`")? {
        let Some((_, field)) = LOG_FIELDS.iter().find(|(name, _)| *name == key.name) else {
            let message = format!("`fields` has no field `{}`", key.name);
            report.error(key.at, message, suggest::help(&key.name, &known));
            continue;
        };
        let typed = text(report, node, "the name of a field in the log");
        mapped.extend(typed.map(|typed| (*field, typed.value)));
    }
    Some(mapped)
}

/// One item, or a list of them.
fn words<T>(
    report: &mut Report<'_>,
    node: &Node,
    read: impl Fn(&mut Report<'_>, &Node) -> Option<Typed<T>>,
) -> TypedWords<T> {
    let items = match &node.value {
        Value::List(items) => items.iter().filter_map(|item| read(report, item)).collect(),
        _ => read(report, node).into_iter().collect(),
    };
    TypedWords { at: node.at, items }
}

/// `401`, or `4xx`.
fn statuses(text: &str) -> Result<RangeInclusive<u16>, String> {
    let help =
        || "a status code is a number, like `401`, or a hundred of them, like `4xx`".to_owned();
    let (first, last) = match text.strip_suffix("xx") {
        Some(class) => {
            let class: u16 = class.parse().map_err(|_| help())?;
            (class.saturating_mul(100), class.saturating_mul(100).saturating_add(99))
        }
        None => {
            let status: u16 = text.parse().map_err(|_| help())?;
            (status, status)
        }
    };
    if (100..=599).contains(&first) { Ok(first..=last) } else { Err(help()) }
}
