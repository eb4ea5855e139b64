//! The programs, and what is expected of each.

use super::errand::{
    Errand, Target, VISITS, chromium, curl, curl_url, gnutls, go, nss, openssl, script,
};
use crate::tls::SERVER_NAME;

/// A client program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What it is called in tables.
    pub name: &'static str,
    /// What to ask for its version.
    pub version: &'static [&'static str],
    /// How many connections a visit makes at least.
    pub connections: usize,
    /// Whether anybody answers. The server speaks no QUIC: such a client says hello into silence.
    pub is_answered: bool,
    /// The command of a visit.
    pub(super) visit: fn(&Target<'_>) -> Errand,
}

const CURL: &[&str] = &["curl", "--version"];
const CHROMIUM: &[&str] = &["chromium", "--version", "--no-sandbox"];

/// Every program from the folder. A client's place in it is its address in the lab.
pub const CATALOGUE: [Program; 13] = [
    answered("curl", CURL, 2, |target| curl(target, &[])),
    // Without a name, there is none to send.
    answered("curl-by-address", CURL, 1, |target| {
        curl_url(&[], &format!("https://{}/health", target.server))
    }),
    answered("curl-tls12", CURL, 2, |target| curl(target, &["--tls-max", "1.2"])),
    answered("openssl", &["openssl", "version"], 1, openssl),
    answered("python", &["python3", "--version"], VISITS, |target| {
        script(target, &["python3"], "visit.py")
    }),
    answered("node", &["node", "--version"], VISITS, |target| {
        script(target, &["node"], "visit.mjs")
    }),
    answered("go", &["go", "version"], VISITS, go),
    answered("java", &["java", "--version"], VISITS, |target| {
        script(target, &["java"], "Visit.java")
    }),
    answered("gnutls", &["gnutls-cli", "--version"], 2, gnutls),
    answered("nss", &["dpkg-query", "--show", "libnss3-tools"], 1, nss),
    answered("chromium", CHROMIUM, 1, |target| chromium(target, &[])),
    unanswered("curl-http3", CURL, |target| curl(target, &["--http3-only", "--max-time", "1"])),
    unanswered("chromium-http3", CHROMIUM, |target| {
        let origin = format!("--origin-to-force-quic-on={SERVER_NAME}:443");
        chromium(target, &["--enable-quic", &origin, "--timeout=1500"])
    }),
];

const fn answered(
    name: &'static str,
    version: &'static [&'static str],
    connections: usize,
    visit: fn(&Target<'_>) -> Errand,
) -> Program {
    Program { name, version, connections, is_answered: true, visit }
}

const fn unanswered(
    name: &'static str,
    version: &'static [&'static str],
    visit: fn(&Target<'_>) -> Errand,
) -> Program {
    Program { name, version, connections: 1, is_answered: false, visit }
}
