//! How each program is told to visit the server. Certificates are not checked: what is looked at is
//! how a client says hello, and for that a self-signed server is as good as any.

use std::net::{IpAddr, SocketAddr};

use super::folder::Workplace;
use crate::tls::SERVER_NAME;

/// How often a script visits; all but the first visit can resume a session.
pub(super) const VISITS: usize = 2;

/// The request of clients that take it from a file.
const REQUEST: &str = "request";

/// What the Go client is built into.
const GO_PROGRAM: &str = "visit-go";

/// Where a visit goes.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) server: SocketAddr,
    pub(super) workplace: &'a Workplace,
}

/// A command line and its standard input.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) words: Vec<String>,
    pub(super) input: String,
}

/// Files that clients need, with their contents.
pub(super) fn files() -> [(&'static str, String); 5] {
    [
        ("visit.py", include_str!("visits/visit.py").to_owned()),
        ("visit.mjs", include_str!("visits/visit.mjs").to_owned()),
        ("visit.go", include_str!("visits/visit.go").to_owned()),
        ("Visit.java", include_str!("visits/Visit.java").to_owned()),
        (REQUEST, request()),
    ]
}

/// What builds the Go client from its file.
pub(super) fn go_build(workplace: &Workplace) -> Vec<String> {
    words(&["go", "build", "-o"])
        .chain([workplace.inside(GO_PROGRAM), workplace.inside("visit.go")])
        .collect()
}

/// The Go client.
pub(super) fn go(target: &Target<'_>) -> Errand {
    script(target, &[], GO_PROGRAM)
}

/// One connection of OpenSSL's own client.
pub(super) fn openssl(target: &Target<'_>) -> Errand {
    let fixed = ["openssl", "s_client", "-quiet", "-servername", SERVER_NAME, "-connect"];
    Errand { words: words(&fixed).chain([target.server.to_string()]).collect(), input: request() }
}

/// A connection, and one that resumes its session.
pub(super) fn gnutls(target: &Target<'_>) -> Errand {
    let fixed = ["gnutls-cli", "--insecure", "--resume", "--sni-hostname", SERVER_NAME, "--port"];
    let server = [target.server.port().to_string(), target.server.ip().to_string()];
    Errand { words: words(&fixed).chain(server).collect(), input: request() }
}

/// One connection. tstclnt takes no database (-D), any certificate (-o), this server name (-a).
pub(super) fn nss(target: &Target<'_>) -> Errand {
    let fixed = ["tstclnt", "-D", "-o", "-a", SERVER_NAME];
    let (address, port) = (target.server.ip().to_string(), target.server.port().to_string());
    // At the end of its standard input it would go on looking there, without a pause.
    let request = target.workplace.inside(REQUEST);
    let rest = ["-h", &address, "-p", &port, "-A", &request];
    Errand { words: words(&fixed).chain(words(&rest)).collect(), input: String::new() }
}

/// Two transfers on connections of their own.
pub(super) fn curl(target: &Target<'_>, options: &[&str]) -> Errand {
    let resolve =
        format!("{SERVER_NAME}:{}:{}", target.server.port(), bracketed(target.server.ip()));
    let mut options = options.to_vec();
    let page = page(target);
    options.extend(["--resolve", &resolve, "--output", "/dev/null", &page]);
    curl_url(&options, &page)
}

pub(super) fn curl_url(options: &[&str], url: &str) -> Errand {
    let fixed = ["curl", "--silent", "--show-error", "--fail", "--insecure"];
    // A connection that stays open would serve the second transfer too.
    let closing = ["--header", "Connection: close", "--output", "/dev/null", url];
    Errand {
        words: words(&fixed).chain(words(options)).chain(words(&closing)).collect(),
        input: String::new(),
    }
}

pub(super) fn script(target: &Target<'_>, interpreter: &[&str], file: &str) -> Errand {
    let arguments = [
        target.workplace.inside(file),
        target.server.ip().to_string(),
        target.server.port().to_string(),
        SERVER_NAME.to_owned(),
        VISITS.to_string(),
    ];
    Errand { words: words(interpreter).chain(arguments).collect(), input: String::new() }
}

/// A browser with a profile of its own that does nothing of its own accord.
pub(super) fn chromium(target: &Target<'_>, options: &[&str]) -> Errand {
    let fixed = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--ignore-certificate-errors",
    ];
    let rest = [
        format!("--user-data-dir={}", target.workplace.inside("chromium")),
        format!("--host-resolver-rules=MAP {SERVER_NAME} {}", bracketed(target.server.ip())),
        "--dump-dom".to_owned(),
        page(target),
    ];
    Errand {
        words: words(&fixed).chain(words(options)).chain(rest).collect(),
        input: String::new(),
    }
}

fn page(target: &Target<'_>) -> String {
    format!("https://{SERVER_NAME}:{}/health", target.server.port())
}

fn request() -> String {
    format!("GET /health HTTP/1.1\r\nHost: {SERVER_NAME}\r\nConnection: close\r\n\r\n")
}

/// An address as it stands in a URL.
fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

fn words<'a>(words: &'a [&str]) -> impl Iterator<Item = String> + use<'a> {
    words.iter().map(|word| (*word).to_owned())
}
