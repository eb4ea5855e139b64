//! What a tool says about the connections of a capture, in one form for all tools.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::Path, process::Command};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::net::run;

/// What carries a hello.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TLS over TCP.
    Tcp,
    /// QUIC.
    Quic,
}

/// A connection, known by its client's end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Connection {
    /// What carries it.
    pub transport: Transport,
    /// The client's end.
    pub client: SocketAddr,
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Quic => "quic",
        };
        write!(f, "{transport} {}", self.client)
    }
}

/// What a tool says about a connection's first hello. Empty is what it does not say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fingerprint {
    /// JA4.
    pub ja4: String,
    /// JA4 with its lists instead of their hashes.
    pub ja4_r: String,
    /// JA4 without what changes when a client resumes; Weir's alone.
    pub stable: String,
    /// TCP segments, or QUIC packets, that the hello came in; Weir's alone.
    pub segments: u32,
}

/// What a tool says about a capture.
pub type Fingerprints = BTreeMap<Connection, Fingerprint>;

/// A line of `weir fingerprint --format json`, as far as it is compared.
#[derive(Deserialize)]
struct Line {
    transport: Transport,
    src: SocketAddr,
    ja4: String,
    ja4_r: String,
    stable: String,
    segments: u32,
}

/// What `weir fingerprint` prints about a capture file.
pub fn of_weir(binary: &Path, capture: &Path) -> Result<Fingerprints> {
    let mut command = Command::new(binary);
    command.args(["fingerprint", "--format", "json"]).arg(capture);
    let text = run(&mut command, "")?;
    let mut found = Fingerprints::new();
    for text in text.lines() {
        let line: Line = serde_json::from_str(text)
            .with_context(|| format!("weir fingerprint printed no such JSON: {text}"))?;
        let Line { transport, src, ja4, ja4_r, stable, segments } = line;
        let fingerprint = Fingerprint { ja4, ja4_r, stable, segments };
        // A second hello on a connection answers a retry request; the first one counts.
        found.entry(Connection { transport, client: src }).or_insert(fingerprint);
    }
    Ok(found)
}

/// A JA4_r without the GREASE values (RFC 8701) of its last list, the signature algorithms.
///
/// JA4's specification ignores GREASE wherever it stands, and Suricata does. tshark 4.4 ignores it
/// among cipher suites and extensions, but not here, so that the JA4 it gives a Chromium changes
/// with each connection.
#[must_use]
pub(super) fn without_grease(ja4_r: &str) -> String {
    let mut sections: Vec<String> = ja4_r.split('_').map(str::to_owned).collect();
    // The counts, cipher suites, extensions; the fourth is there only if the client has any.
    if let Some(algorithms) = sections.get_mut(3) {
        let kept: Vec<&str> = algorithms.split(',').filter(|code| !is_grease(code)).collect();
        *algorithms = kept.join(",");
    }
    sections.join("_")
}

/// Two equal bytes, `?a?a`.
fn is_grease(code: &str) -> bool {
    let (first, second) = code.split_at_checked(2).unwrap_or_default();
    first == second && first.ends_with('a')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grease_goes_from_the_signature_algorithms_alone() {
        assert_eq!(
            without_grease("t13d0202h2_1301,1302_000a,000d_6a6a,0403,0a0a,0804"),
            "t13d0202h2_1301,1302_000a,000d_0403,0804"
        );
        assert_eq!(without_grease("t10i020100_002f,0035_000b"), "t10i020100_002f,0035_000b");
    }
}
