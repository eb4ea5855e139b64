//! Signals and logs of a Site: what they mean, and the features that they make.

use std::collections::BTreeMap;

use weir_common::abi::time::SECOND_NS;

use super::unknown;
use crate::{
    policy::{
        diagnostic::Report,
        raw::{RawLine, RawLog, RawSignal, TypedWords},
        reader::Typed,
        signals::{
            BUILT_IN, LinePattern, LogField, LogFormat, LogSpec, MOST_LOGS, MOST_SIGNALS,
            SignalSpec, Signals,
        },
        suggest,
    },
    profile::MOST_DISTINCT,
    score::{
        feature::{Evidence, FeatureInfo, Unit},
        registry::{Counted, Declared, FeatureId, Registry, SignalFeature, Subject},
    },
};

/// The windows that there are: how names of features end, how documents call them, how long.
const WINDOWS: [(&str, &str, u64); 4] = [
    ("10s", "10 seconds", 10 * SECOND_NS),
    ("1m", "minute", 60 * SECOND_NS),
    ("10m", "10 minutes", 600 * SECOND_NS),
    ("1h", "hour", 3600 * SECOND_NS),
];

/// What the built-in signals are counted over.
const BUILT_IN_WINDOWS_NS: [u64; 2] = [600 * SECOND_NS, 3600 * SECOND_NS];

/// Compiles them, and declares their features.
pub(super) fn compile(
    report: &mut Report<'_>,
    signals: &[RawSignal],
    logs: &[RawLog],
    services: &BTreeMap<&str, u8>,
    features: &mut Registry,
) -> Signals {
    let logs_compiled = compile_logs(report, logs, services);
    let names: Vec<&str> = logs.iter().map(|log| log.name.value.as_str()).collect();
    if let Some(extra) = signals.iter().filter(|it| !is_built_in(&it.name)).nth(MOST_SIGNALS) {
        let message = format!("there are more than {MOST_SIGNALS} signals");
        let help = "join those that count the same, with several paths in one `match`";
        report.error(extra.name.at, message, Some(help.to_owned()));
    }
    let mut list: Vec<SignalSpec> = BUILT_IN.iter().map(|name| built_in(name)).collect();
    for (kind, spec) in (0u16..).zip(&list) {
        declare(report, features, kind, spec, None);
    }
    for raw in signals {
        let line = raw.line.as_ref().map(|line| compile_line(report, line, &names));
        if let Some(spec) = list.iter_mut().find(|spec| *spec.name == *raw.name.value) {
            only_match(report, raw);
            spec.line = line;
            continue;
        }
        if let Some(spec) = compile_signal(report, raw, line) {
            let kind = u16::try_from(list.len()).unwrap_or(u16::MAX);
            declare(report, features, kind, &spec, Some(&raw.name));
            list.push(spec);
        }
    }
    warn_if_unread(report, logs, &list);
    Signals::new(list, logs_compiled)
}

fn is_built_in(name: &Typed<String>) -> bool {
    BUILT_IN.contains(&name.value.as_str())
}

fn built_in(name: &str) -> SignalSpec {
    SignalSpec {
        name: name.into(),
        subjects: vec![Subject::Source],
        distinct: Vec::new(),
        windows_ns: BUILT_IN_WINDOWS_NS.to_vec(),
        line: None,
    }
}

/// A built-in signal can be found in a log, and is otherwise what it is.
fn only_match(report: &mut Report<'_>, raw: &RawSignal) {
    let places = [
        raw.per.as_ref().map(|words| words.at),
        raw.windows.as_ref().map(|words| words.at),
        raw.distinct.as_ref().map(|words| words.at),
    ];
    let name = &raw.name.value;
    for at in places.into_iter().flatten() {
        let message = format!("`{name}` is built in: per source, over 10m and 1h");
        report.error(at, message, Some("it can be given a `match`, and nothing else".to_owned()));
    }
    if raw.line.is_none() && places.iter().all(Option::is_none) {
        let message = format!("`{name}` is built in, and this says nothing of it");
        let help = "leave it out, or say which log lines mean it: {match: {path: /challenge}}";
        report.error(raw.name.at, message, Some(help.to_owned()));
    }
}

fn compile_signal(
    report: &mut Report<'_>,
    raw: &RawSignal,
    line: Option<LinePattern>,
) -> Option<SignalSpec> {
    let name = &raw.name;
    let starts_well = name.value.starts_with(|c: char| c.is_ascii_lowercase());
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !starts_well || !name.value.chars().all(is_word) {
        let message = format!("`{}` cannot be the name of a signal", name.value);
        let help = "it becomes part of names of features: small letters, digits and `_`, a letter \
                    first, like `login_failed`";
        report.error(name.at, message, Some(help.to_owned()));
        return None;
    }
    let subjects = required(report, raw, raw.per.as_ref(), "per", "per: source");
    let windows = required(report, raw, raw.windows.as_ref(), "windows", "windows: [10m, 1h]");
    let windows_ns = windows.map(|windows| {
        let known = |typed: &&Typed<u64>| WINDOWS.iter().any(|(.., ns)| *ns == typed.value);
        for wrong in windows.iter().filter(|window| !known(window)) {
            let names: Vec<&str> = WINDOWS.iter().map(|(name, ..)| *name).collect();
            let help = format!("windows are: {}", names.join(", "));
            report.error(wrong.at, "signals are not counted over this window", Some(help));
        }
        windows.iter().filter(known).map(|typed| typed.value).collect()
    });
    let subjects: Option<Vec<Subject>> =
        subjects.map(|subjects| subjects.iter().map(|typed| typed.value).collect());
    let distinct = raw.distinct.as_ref().map_or(&[][..], |distinct| &distinct.items);
    twice(report, distinct);
    for typed in distinct {
        let makes_sense = |subject: &Subject| says_something(*subject, typed.value);
        if subjects.as_ref().is_some_and(|subjects| !subjects.iter().any(makes_sense)) {
            let (message, help) = match typed.value {
                Counted::Sources => {
                    ("a source is one source", "count sources `per: entity` or `per: service`")
                }
                _ => ("an entity is one account", "count accounts `per: source` or `per: service`"),
            };
            report.error(typed.at, message, Some(help.to_owned()));
        }
    }
    Some(SignalSpec {
        name: name.value.as_str().into(),
        subjects: subjects?,
        distinct: distinct.iter().map(|typed| typed.value).collect(),
        windows_ns: windows_ns?,
        line,
    })
}

/// Whether distinct ones can be counted for a subject.
fn says_something(subject: Subject, counted: Counted) -> bool {
    !matches!(
        (subject, counted),
        (Subject::Source, Counted::Sources) | (Subject::Entity, Counted::Entities)
    )
}

/// The items of a list that must not be empty.
fn required<'a, T: PartialEq>(
    report: &mut Report<'_>,
    raw: &RawSignal,
    words: Option<&'a TypedWords<T>>,
    field: &str,
    example: &str,
) -> Option<&'a [Typed<T>]> {
    let Some(words) = words else {
        let message = format!("the signal `{}` needs `{field}`", raw.name.value);
        report.error(raw.name.at, message, Some(example.to_owned()));
        return None;
    };
    twice(report, &words.items);
    Some(&words.items)
}

fn twice<T: PartialEq>(report: &mut Report<'_>, items: &[Typed<T>]) {
    for (index, item) in items.iter().enumerate() {
        if items.iter().take(index).any(|earlier| earlier.value == item.value) {
            report.error(item.at, "this is given twice", Some("keep one of them".to_owned()));
        }
    }
}

fn compile_line(report: &mut Report<'_>, line: &RawLine, logs: &[&str]) -> LinePattern {
    if logs.is_empty() {
        let help = "logs: {access: {file: /var/log/nginx/access.log, format: combined}}; without \
                    `match`, applications send the signal";
        report.error(line.at, "there is no log to match lines of", Some(help.to_owned()));
    }
    let log = line.log.as_ref().and_then(|log| {
        let found = logs.iter().position(|name| *name == log.value);
        if found.is_none() && !logs.is_empty() {
            unknown(report, log, "log", logs);
        }
        found
    });
    let texts = |typed: &[Typed<String>]| typed.iter().map(|typed| typed.value.clone()).collect();
    for method in &line.methods {
        if !method.value.bytes().all(|byte| byte.is_ascii_uppercase()) || method.value.is_empty() {
            let help =
                suggest::help(&method.value.to_uppercase(), &["GET", "POST", "PUT", "DELETE"]);
            let message = format!("`{}` is not a method: they are in capitals", method.value);
            report.error(method.at, message, help);
        }
    }
    LinePattern {
        log,
        methods: texts(&line.methods),
        paths: line.paths.iter().map(|path| path.value.clone()).collect(),
        statuses: line.statuses.iter().map(|status| status.value.clone()).collect(),
        query: texts(&line.query),
    }
}

fn compile_logs(
    report: &mut Report<'_>,
    logs: &[RawLog],
    services: &BTreeMap<&str, u8>,
) -> Vec<LogSpec> {
    if let Some(extra) = logs.get(MOST_LOGS) {
        let message = format!("there are more than {MOST_LOGS} logs");
        report.error(extra.name.at, message, Some("let servers write into one log".to_owned()));
    }
    let mut compiled: Vec<LogSpec> = Vec::with_capacity(logs.len());
    for log in logs {
        let (Some(typed), Some(format)) = (&log.file, &log.format) else { continue };
        let file = report.beside(typed.at, &typed.value);
        if let Some(rival) = compiled.iter().find(|rival| rival.file == file) {
            let message = format!("this file is already read as the log `{}`", rival.name);
            report.error(typed.at, message, Some("keep one of them".to_owned()));
        }
        let service = log.service.as_ref().and_then(|service| {
            let found = services.get(service.value.as_str()).copied();
            if found.is_none() {
                let known: Vec<&str> = services.keys().copied().collect();
                unknown(report, service, "service", &known);
            }
            found
        });
        let format = format.value;
        if let Some(fields) = log.fields.as_ref().filter(|_| format != LogFormat::Json) {
            let help = "leave `fields` out, or set `format: json`";
            report.error(fields.at, "only JSON has names for its fields", Some(help.to_owned()));
        }
        compiled.push(LogSpec {
            name: log.name.value.as_str().into(),
            file,
            format,
            service: service.unwrap_or_default(),
            fields: log.fields.as_ref().map_or_else(Vec::new, |fields| fields.value.clone()),
            client: log.client.as_ref().map(|client| client.value).unwrap_or_default(),
        });
        warn_if_deaf(report, log);
    }
    compiled
}

/// A header that is named and not read.
fn warn_if_deaf(report: &mut Report<'_>, log: &RawLog) {
    let Some(fields) = &log.fields else { return };
    let names_header = fields.value.iter().any(|(field, _)| *field == LogField::Forwarded);
    if names_header && log.client.as_ref().is_none_or(|client| client.value == Default::default()) {
        let help = "client: x-forwarded-for, which counts as far as declared proxies wrote it";
        let message = "`forwarded` is not read, because the client is the peer here";
        report.warn(fields.at, message, Some(help.to_owned()));
    }
}

fn warn_if_unread(report: &mut Report<'_>, logs: &[RawLog], list: &[SignalSpec]) {
    for (index, log) in logs.iter().enumerate() {
        let reads = |line: &LinePattern| line.log.is_none_or(|wanted| wanted == index);
        if !list.iter().filter_map(|signal| signal.line.as_ref()).any(reads) {
            let name = &log.name.value;
            let message = format!("no signal is made of the log `{name}`");
            let help = format!("match: {{log: {name}, status: 401}} in a signal");
            report.warn(log.name.at, message, Some(help));
        }
    }
}

/// Declares the features of a signal. `typed` is where to complain about them.
fn declare(
    report: &mut Report<'_>,
    features: &mut Registry,
    kind: u16,
    spec: &SignalSpec,
    typed: Option<&Typed<String>>,
) {
    for subject in &spec.subjects {
        let distinct = spec.distinct.iter().filter(|it| says_something(*subject, **it));
        for counted in [Counted::Signals].iter().chain(distinct) {
            for window_ns in &spec.windows_ns {
                let measured = SignalFeature {
                    signal: kind,
                    subject: *subject,
                    counted: *counted,
                    window_ns: *window_ns,
                };
                let Some(info) = describe(&spec.name, &measured) else { continue };
                if features.find(&info.name).is_none() {
                    features.declare(info, Declared::Signal(measured));
                } else if let Some(typed) = typed {
                    let message = format!("there is already a feature `{}`", info.name);
                    let help = "give the signal another name".to_owned();
                    report.error(typed.at, message, Some(help));
                }
            }
        }
    }
}

/// What the registry says of a feature; `None` for a window that is a mistake.
fn describe(signal: &str, measured: &SignalFeature) -> Option<FeatureInfo> {
    let (suffix, window, _) = WINDOWS.iter().find(|(.., ns)| *ns == measured.window_ns)?;
    let (subject, whose) = match measured.subject {
        Subject::Source => ("source", ""),
        Subject::Entity => ("entity", " about the account that it named last"),
        Subject::Service => ("service", " of the service"),
    };
    let (plural, what) = match measured.counted {
        Counted::Signals => ("", ""),
        Counted::Entities => ("_accounts", "distinct accounts in "),
        Counted::Endpoints => ("_endpoints", "distinct endpoints in "),
        Counted::Sources => ("_sources", "distinct sources of "),
    };
    Some(FeatureInfo {
        // `declare` numbers it.
        id: FeatureId::declared(0),
        name: format!("{subject}.{signal}{plural}_{suffix}").into(),
        unit: Unit::Count,
        window: (*window).into(),
        // Anybody can fail at a login in the name of an account, or at a service.
        evidence: match measured.subject {
            Subject::Source => Evidence::Authentic,
            Subject::Entity | Subject::Service => Evidence::Forgeable,
        },
        most: match measured.counted {
            Counted::Signals => f64::INFINITY,
            _ => MOST_DISTINCT as f64,
        },
        meaning: format!("{what}`{signal}` signals{whose} in the last {window}").into(),
    })
}
