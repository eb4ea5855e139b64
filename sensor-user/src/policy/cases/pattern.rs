//! Traffic that is made up for a test: what some sources do, in figures.

use std::net::IpAddr;

use super::{
    super::{
        diagnostic::{Report, Span},
        form::PATTERN,
        quantity::duration_ns,
        reader::Fields,
        tree::{Node, Value},
    },
    address,
};

/// How clients say hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HelloStyle {
    /// As browsers do.
    #[default]
    Browser,
    /// As libraries do.
    Program,
    /// Not at all: no TLS.
    None,
}

/// What one or several sources do.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// The first source.
    pub source: IpAddr,
    /// How many: so many addresses in a row (of IPv6, so many /64s).
    pub sources: u32,
    /// At which service, and where that stands.
    pub service: String,
    /// The line in the file.
    pub line: u32,
    /// When it begins, ns.
    pub start_ns: u64,
    /// The time in which connections begin, ns.
    pub over_ns: u64,
    /// How much the times between them differ: 0 = not at all, 1 = anything up to twice the mean.
    pub jitter: f64,
    /// Connections of each source.
    pub connections: u32,
    /// Requests in each connection.
    pub exchanges: u32,
    /// Between an answer and the next request, ns.
    pub pause_ns: u64,
    /// Bytes of a request.
    pub request_bytes: u32,
    /// Bytes of an answer.
    pub response_bytes: u32,
    /// How much these differ: 0 = not at all, 1 = anything up to twice as much.
    pub vary: f64,
    /// How long a connection stays open after its last answer, ns.
    pub hold_ns: u64,
    /// From the server to the client and back, ns.
    pub rtt_ns: u64,
    /// Whether requests trickle in and never end.
    pub stalled: bool,
    /// How clients say hello.
    pub hello: HelloStyle,
    /// Distinct fingerprints that connections take turns with.
    pub fingerprints: u32,
    /// Ports that are tried, one SYN each, and that nobody serves.
    pub ports: u32,
    /// SYNs to the service that are never completed.
    pub syns: u32,
    /// The signal that an application sends for each connection.
    pub signal: Option<String>,
    /// Distinct accounts that these name in turn; 0 = none.
    pub accounts: u32,
}

/// How clients say hello, by name.
pub(in crate::policy) const STYLES: &[(&str, HelloStyle)] = &[
    ("browser", HelloStyle::Browser),
    ("program", HelloStyle::Program),
    ("none", HelloStyle::None),
];

/// On and off, as YAML says them.
pub(in crate::policy) const SWITCH: &[(&str, bool)] = &[("on", true), ("off", false)];

/// Most connections of a pattern, all sources together: what a test can wait for.
const MOST_CONNECTIONS: u64 = 100_000;

pub(super) fn read(report: &mut Report<'_>, node: &Node) -> Option<Pattern> {
    let fields = Fields::read(report, node, &PATTERN)?;
    let source = fields.get("source");
    let source = source.and_then(|node| address(report, node));
    let service = fields.name(report, "service");
    let mut reader = Reader { report, fields, at: node.at };
    let scans = reader.fields.get("ports").is_some() || reader.fields.get("syns").is_some();
    let pattern = Pattern {
        sources: reader.count("sources", 1),
        line: node.at.line,
        start_ns: reader.time("start", 0),
        over_ns: reader.time("over", 1_000_000_000),
        jitter: reader.share("jitter"),
        connections: reader.count("connections", u32::from(!scans)),
        exchanges: reader.count("exchanges", 1),
        pause_ns: reader.time("pause", 100_000_000),
        request_bytes: reader.count("request_bytes", 400),
        response_bytes: reader.count("response_bytes", 2_000),
        vary: reader.share("vary"),
        hold_ns: reader.time("hold", 0),
        rtt_ns: reader.time("rtt", 20_000_000),
        stalled: reader.word("stalled", SWITCH).unwrap_or(false),
        hello: reader.word("hello", STYLES).unwrap_or_default(),
        fingerprints: reader.count("fingerprints", 1),
        ports: reader.count("ports", 0),
        syns: reader.count("syns", 0),
        signal: reader.fields.name(reader.report, "signal").map(|signal| signal.value),
        accounts: reader.count("accounts", 0),
        source: source?,
        service: service?.value,
    };
    reader.check(&pattern);
    Some(pattern)
}

struct Reader<'r, 'a, 'n> {
    report: &'r mut Report<'a>,
    fields: Fields<'n>,
    at: Span,
}

impl Reader<'_, '_, '_> {
    fn count(&mut self, name: &str, default: u32) -> u32 {
        let count = self.fields.whole(self.report, name);
        count.and_then(|count| u32::try_from(count.value).ok()).unwrap_or(default)
    }

    fn time(&mut self, name: &str, default_ns: u64) -> u64 {
        let time = self.fields.quantity(self.report, name, duration_ns);
        time.map_or(default_ns, |time| time.value)
    }

    fn share(&mut self, name: &str) -> f64 {
        let Some(node) = self.fields.get(name) else { return 0.0 };
        match node.value {
            Value::Int(value @ 0..=1) => value as f64,
            Value::Float(value) if (0.0..=1.0).contains(&value) => value,
            _ => {
                let message = format!("expected a share, 0 to 1, found {}", node.value.describe());
                self.report.error(node.at, message, None);
                0.0
            }
        }
    }

    fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        Some(self.fields.word(self.report, name, words)?.value)
    }

    fn check(&mut self, pattern: &Pattern) {
        let Pattern { sources, connections, ports, syns, .. } = *pattern;
        let each = u64::from(connections) + u64::from(ports) + u64::from(syns);
        if u64::from(sources) * each > MOST_CONNECTIONS {
            let message = format!("these are more than {MOST_CONNECTIONS} connections");
            let help = "a test of thousands shows what one of millions does".to_owned();
            self.report.error(self.at, message, Some(help));
        }
        let exchanges = u64::from(connections) * u64::from(pattern.exchanges) * u64::from(sources);
        if exchanges > 10 * MOST_CONNECTIONS {
            let message = format!("these are more than {} exchanges", 10 * MOST_CONNECTIONS);
            self.report.error(self.at, message, None);
        }
        if ports > 60_000 {
            self.report.error(self.at, "there are not that many ports", None);
        }
        if pattern.accounts > 0 && pattern.signal.is_none() {
            let help = Some("signal: login_failed".to_owned());
            self.report.error(self.at, "`accounts` are named by a signal", help);
        }
    }
}
