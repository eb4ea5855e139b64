//! Signals and logs, as a Site declares them: what applications and their logs may say of clients,
//! and what is counted of it.

pub mod pattern;

use std::{ops::RangeInclusive, path::PathBuf, sync::Arc};

use serde::Serialize;

use self::pattern::PathPattern;
use crate::score::registry::{Counted, Subject};

/// Signals that exist without being declared: what became of a challenge. Their place here is their
/// kind.
pub const BUILT_IN: [&str; 2] = ["challenge_passed", "challenge_failed"];

/// Signals that a Site may declare, the built-in ones apart.
pub const MOST_SIGNALS: usize = 64;

/// Logs that a Site may declare.
pub const MOST_LOGS: usize = 32;

/// One kind of signal.
#[derive(Clone, PartialEq, Debug)]
pub struct SignalSpec {
    /// Its name, as applications send it.
    pub name: Arc<str>,
    /// About whom it is counted.
    pub subjects: Vec<Subject>,
    /// Of what it counts distinct ones, beside the signals themselves.
    pub distinct: Vec<Counted>,
    /// Over how long, ns.
    pub windows_ns: Vec<u64>,
    /// Log lines that say it; `None`: only applications do.
    pub line: Option<LinePattern>,
}

/// Which log lines say a signal. What is empty fits everything.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct LinePattern {
    /// Only lines of this log (index among those of the Site).
    pub log: Option<usize>,
    /// Methods, in capitals.
    pub methods: Vec<String>,
    /// Paths.
    pub paths: Vec<PathPattern>,
    /// Status codes.
    pub statuses: Vec<RangeInclusive<u16>>,
    /// Query parameters that belong to the endpoint.
    pub query: Vec<String>,
}

/// How lines of a log are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `combined` of nginx and Apache, and `common`; quoted fields may follow.
    Combined,
    /// A JSON object a line.
    Json,
    /// `option httplog` of HAProxy.
    Haproxy,
}

/// Who says whom a log line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientFrom {
    /// The address that the connection came from.
    #[default]
    Peer,
    /// The header `X-Forwarded-For` or `Forwarded`, as far as declared proxies wrote it.
    Forwarded,
}

/// What a log line can say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LogField {
    /// Where the connection came from.
    Address,
    /// The client's port.
    Port,
    /// The method.
    Method,
    /// The path, with or without a query.
    Path,
    /// The whole request line.
    Request,
    /// The status code.
    Status,
    /// Account, token or subject of a client certificate.
    Account,
    /// When.
    Time,
    /// `X-Forwarded-For` or `Forwarded`.
    Forwarded,
}

/// The names of [`LogField`]s, as `fields` of a log writes them.
pub const LOG_FIELDS: &[(&str, LogField)] = &[
    ("address", LogField::Address),
    ("port", LogField::Port),
    ("method", LogField::Method),
    ("path", LogField::Path),
    ("request", LogField::Request),
    ("status", LogField::Status),
    ("account", LogField::Account),
    ("time", LogField::Time),
    ("forwarded", LogField::Forwarded),
];

/// A log that is read as it grows.
#[derive(Clone, PartialEq, Debug)]
pub struct LogSpec {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is.
    pub file: PathBuf,
    /// How its lines are written.
    pub format: LogFormat,
    /// The service that writes it; 0 = the flow says which.
    pub service: u8,
    /// Names in JSON that differ from nginx's.
    pub fields: Vec<(LogField, String)>,
    /// Who says whom a line is about.
    pub client: ClientFrom,
}

/// All of them.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Signals {
    list: Vec<SignalSpec>,
    logs: Vec<LogSpec>,
}

impl Signals {
    pub(super) const fn new(list: Vec<SignalSpec>, logs: Vec<LogSpec>) -> Self {
        Self { list, logs }
    }

    /// The kind of a signal: its index.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<u16> {
        u16::try_from(self.list.iter().position(|signal| *signal.name == *name)?).ok()
    }

    /// The signal of a kind.
    #[must_use]
    pub fn get(&self, kind: u16) -> Option<&SignalSpec> {
        self.list.get(usize::from(kind))
    }

    /// The signals by kind, the built-in ones first.
    #[must_use]
    pub fn list(&self) -> &[SignalSpec] {
        &self.list
    }

    /// The logs, in the order of the file.
    #[must_use]
    pub fn logs(&self) -> &[LogSpec] {
        &self.logs
    }
}

impl LinePattern {
    /// Whether a line of a log says the signal. `path` as
    /// [`endpoint::path`](crate::signal::endpoint::path) has it; `None` and 0 are unknown.
    #[must_use]
    pub fn fits(&self, log: usize, method: Option<&str>, path: Option<&str>, status: u16) -> bool {
        let fits_method =
            |method: &str| self.methods.iter().any(|it| it.eq_ignore_ascii_case(method));
        self.log.is_none_or(|wanted| wanted == log)
            && (self.statuses.is_empty() || self.statuses.iter().any(|it| it.contains(&status)))
            && (self.methods.is_empty() || method.is_some_and(fits_method))
            && (self.paths.is_empty()
                || path.is_some_and(|path| self.paths.iter().any(|it| it.fits(path))))
    }
}
