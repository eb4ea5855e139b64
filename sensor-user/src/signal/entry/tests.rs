//! Signals in lines and messages of a Site.

use std::path::Path;

use super::*;
use crate::policy::{self, ServiceIds};

const SITE: &str = r#"
kind: Site
services: {web: {tcp: [443], behind: [cdn]}, api: {tcp: [8443]}}
proxies: {cdn: {from: [10.0.0.0/24], client: signals}}
logs:
  access: {file: /var/log/nginx/access.log, format: combined, service: web, client: x-forwarded-for}
  api: {file: api.json, format: json, fields: {address: ip, account: token}}
signals:
  login_failed:
    {per: source, windows: [10m], distinct: account, match: {log: access, method: POST, path: "/login*", status: [401, 403]}}
  denied: {per: source, windows: [10m], distinct: endpoint, match: {status: 4xx, query: [id]}}
  challenge_passed: {match: {log: access, path: /challenge, status: 204}}
  told: {per: source, windows: [10m]}
ladders: {default: [{at: 50, action: mark, for: 10m}]}
---
kind: Policy
metadata: {name: p}
applies: [web]
rules: [{name: r, points: 60, when: source.login_failed_accounts_10m >= 3}]
"#;

pub(in crate::signal) fn hearing() -> Hearing {
    let policy = policy::parse("test", SITE, Path::new("/etc/weir"), &ServiceIds::default())
        .unwrap_or_else(|errors| panic!("{errors}"));
    Hearing::new(Arc::new(policy), Arc::new(Pseudonyms::test()))
}

const NOW: Now = Now {
    unix_ns: 1_814_356_810_000_000_000, // 2027-06-30T12:00:10Z
    monotonic_ns: 5_000_000_000_000,
};

fn heard(log: usize, line: &str) -> Result<Vec<Heard>, Refusal> {
    let mut heard = Vec::new();
    hearing().line(log, line.as_bytes(), &NOW, &mut heard).map(|()| heard)
}

fn names(heard: &[Heard]) -> Vec<&str> {
    heard.iter().map(|heard| &*heard.name).collect()
}

fn line(peer: &str, user: &str, request: &str, status: u16, header: &str) -> String {
    format!(
        r#"{peer} - {user} [30/Jun/2027:12:00:00 +0000] "{request}" {status} 17 "-" "curl/8.5" "{header}""#
    )
}

#[test]
fn a_line_gives_every_signal_that_it_fits() {
    let line = line("203.0.113.7", "Ada", "POST //login?x=1 HTTP/1.1", 401, "-");
    let found = heard(0, &line).unwrap();
    assert_eq!(names(&found), ["login_failed", "denied"]);
    let first = &found[0];
    assert_eq!(first.client, IpAddr::from([203, 0, 113, 7]));
    assert_eq!((first.service, first.port), (2, 0), "`web` is the second by name");
    // Ten seconds ago, to the second.
    assert_eq!(first.at_ns, NOW.monotonic_ns - 9_000_000_001);
    let pseudonyms = Pseudonyms::test();
    assert_eq!(first.entity, pseudonyms.entity("ada"));
    assert_eq!(first.endpoint, pseudonyms.endpoint("/login"));
}

#[test]
fn lines_that_fit_nothing_are_no_errors_whatever_else_is_wrong() {
    for line in [
        line("203.0.113.7", "-", "GET / HTTP/1.1", 200, "-"),
        line("203.0.113.7", "-", "POST /login HTTP/1.1", 302, "-"),
        line("example.com", "-", "GET / HTTP/1.1", 200, "-"),
        line("10.0.0.1", "-", "GET / HTTP/1.1", 200, "-"),
    ] {
        assert_eq!(heard(0, &line), Ok(Vec::new()), "{line}");
    }
}

#[test]
fn clients_behind_proxies() {
    let failed = |peer, header| heard(0, &line(peer, "-", "POST /login HTTP/1.1", 401, header));
    let client = |peer, header| failed(peer, header).map(|heard| heard[0].client.to_string());
    assert_eq!(client("10.0.0.1", "198.51.100.9, 203.0.113.7").unwrap(), "203.0.113.7");
    assert_eq!(client("192.0.2.1", "203.0.113.7").unwrap(), "192.0.2.1");
    assert_eq!(client("10.0.0.1", "-"), Err(Refusal::NoClient));
    assert_eq!(client("example.com", "-"), Err(Refusal::BadAddress));
    assert_eq!(client("224.0.0.1", "-"), Err(Refusal::BadAddress));
    // The other log does not read the header: its proxies stand for nobody, and are heard as they are.
    let line = r#"{"ip":"192.0.2.1","request_uri":"/x","status":404,"http_x_forwarded_for":"203.0.113.7"}"#;
    assert_eq!(heard(1, line).unwrap()[0].client, IpAddr::from([192, 0, 2, 1]));
}

#[test]
fn mapped_fields_and_parameters_of_endpoints() {
    let pseudonyms = Pseudonyms::test();
    let found =
        heard(1, r#"{"ip":"192.0.2.1","token":"abc","request_uri":"/o?id=7&z=1","status":403}"#)
            .unwrap();
    assert_eq!(names(&found), ["denied"]);
    assert_eq!(found[0].endpoint, pseudonyms.endpoint("/o?id=7"));
    assert_eq!(found[0].entity, pseudonyms.entity("abc"));
    assert_eq!((found[0].service, found[0].at_ns), (0, NOW.monotonic_ns));
}

#[test]
fn a_built_in_signal_can_be_found_in_a_log() {
    let line = line("203.0.113.7", "-", "GET /challenge?t=1 HTTP/1.1", 204, "-");
    assert_eq!(names(&heard(0, &line).unwrap()), ["challenge_passed"]);
}

#[test]
fn old_lines_and_other_lines_are_refused() {
    let old =
        line("203.0.113.7", "-", "POST /login HTTP/1.1", 401, "-").replace(":12:00", ":10:00");
    assert_eq!(heard(0, &old), Err(Refusal::TooOld));
    assert_eq!(heard(0, "rubbish"), Err(Refusal::NotUnderstood));
    assert_eq!(heard(9, "rubbish"), Ok(Vec::new()), "there is no such log");
}
