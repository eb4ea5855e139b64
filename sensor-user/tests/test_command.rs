//! `weir test` as its users meet it: traffic of every kind that can be described is found by the
//! feature that is made for it, and what fails says what happened instead.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

use std::{env, fs, path::PathBuf, process::Command};

const VISITORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/visitors.pcap");

/// One rule for each kind of traffic.
const POLICY: &str = "
kind: Site
services:
  web: {tcp: [443], sni: [www.example.com], audience: browsers}
  api: {tcp: [443]}
  quic: {udp: [443]}
signals: {login_failed: {per: source, windows: [10m], distinct: account}}
ladders:
  ladder:
    - {at: 20, action: mark, for: 10m}
    - {at: 40, action: limit, connections: 5/s, burst: 10, for: 5m}
    - {at: 60, action: drop, for: 10m}
defaults: {ladder: ladder}
---
kind: Policy
metadata: {name: web}
applies: [web]
rules:
  - {name: connections, owasp: [OAT-011], points: 20, when: source.connections_10s >= 40}
  - {name: exchanges, owasp: [OAT-011], points: 20, when: source.exchanges_per_connection_p50 >= 5}
  - {name: alike, owasp: [OAT-008], points: 20, when: source.request_bytes_cv < 0.1}
  - {name: stalled, owasp: [OAT-015], points: 60, when: source.stalled_connections >= 8}
  - {name: ports, owasp: [OAT-018], points: 40, when: source.distinct_ports >= 16}
  - {name: fingerprints, owasp: [OAT-004], points: 30, when: source.fingerprints >= 5}
  - {name: library, owasp: [OAT-004], points: 30, when: source.browser_likeness < 0.3}
  - {name: accounts, owasp: [OAT-008], points: 60, when: source.login_failed_accounts_10m >= 10}
";

const PASSING: &str = "
cases:
  - name: many connections that are alike
    traffic: [{source: 203.0.113.1, service: web, connections: 60, over: 5s}]
    expect:
      - {source: 203.0.113.1, action: limit, owasp: [OAT-011, OAT-008], within: {connections: 42, seconds: 4}}
  - name: the same, and every one differs
    traffic: [{source: 203.0.113.1, service: web, connections: 60, over: 5s, jitter: 1, request_bytes: 5000, vary: 1}]
    expect: [{source: 203.0.113.1, action: mark, owasp: OAT-011}]
  - name: a reader
    traffic: [{source: 2001:db8::7, service: web, connections: 3, over: 30s, exchanges: 8, pause: 4s, vary: 1}]
    expect: [{source: 2001:db8::7, action: none}]
  - name: requests inside of few connections
    traffic: [{source: 203.0.113.1, service: web, connections: 20, over: 5s, exchanges: 9, request_bytes: 2000, vary: 1}]
    expect: [{source: 203.0.113.1, action: mark, owasp: OAT-011}]
  - name: requests that never end
    traffic: [{source: 203.0.113.1, service: web, connections: 12, over: 2s, stalled: true}]
    expect: [{source: 203.0.113.1, action: drop, owasp: OAT-015, within: {seconds: 8s}}]
  - name: a scan, and its neighbour
    traffic:
      - {source: 203.0.113.1, service: web, ports: 40}
      - {source: 203.0.113.2, service: web, start: 500ms, hold: 1s}
    expect:
      - {source: 203.0.113.1, action: limit, owasp: OAT-018}
      - {source: 203.0.113.2, action: none}
  - name: SYNs that are never completed tell of nobody
    traffic: [{source: 203.0.113.1, sources: 50, service: web, syns: 20}]
    expect: [{source: 203.0.113.0/24, action: none}]
  - name: another fingerprint each time
    traffic: [{source: 203.0.113.1, service: web, connections: 6, over: 30s, fingerprints: 6, vary: 1}]
    expect: [{source: 203.0.113.1, action: mark, owasp: OAT-004}]
  - name: a library
    traffic: [{source: 203.0.113.1, service: web, connections: 2, hello: program}]
    expect: [{source: 203.0.113.1, action: mark, owasp: OAT-004, within: {connections: 2}}]
  - name: accounts that somebody tries, told by the application
    traffic:
      - {source: 203.0.113.1, service: web, connections: 15, over: 60s, vary: 1, signal: login_failed, accounts: 15}
      - {source: 203.0.113.2, service: web, connections: 15, over: 60s, vary: 1, signal: login_failed, accounts: 1}
    expect:
      - {source: 203.0.113.1, action: drop, owasp: OAT-008, within: {connections: 11}}
      - {source: 203.0.113.2, action: none}
  - name: what goes to the other service of the port is not this one's
    traffic: [{source: 203.0.113.1, service: api, hello: none, connections: 60, over: 5s}]
    expect: [{source: 203.0.113.1, action: none}]
  - name: a capture
    capture: visitors.pcap
    server: [198.51.100.10, 2001:db8:51::10]
    expect: [{source: 203.0.113.66, action: [none, mark]}]
";

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("weir-test-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let place = Self(path);
        place.write("web.yaml", POLICY);
        fs::copy(VISITORS, place.0.join("visitors.pcap")).unwrap();
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    /// The exit code, and what was printed and said; the place is `/p`.
    fn test(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        let output = command.arg("test").args(arguments).current_dir(&self.0).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_kind_of_traffic_is_seen_for_what_it_is() {
    let place = Place::new("kinds");
    place.write("web.test.yaml", PASSING);
    let (code, told, said) = place.test(&["."]);
    assert_eq!(code, 0, "{told}{said}");
    assert!(told.ends_with("12 passed, 0 failed\n"), "{told}");
    // Of the policy, of the test, and some of them; ten times the same.
    for _ in 0..3 {
        assert_eq!(place.test(&["web.yaml"]).1, told.replace("./", ""));
    }
    let (code, told, _) = place.test(&["web.test.yaml", "--only", "scan"]);
    assert_eq!((code, told.lines().last()), (0, Some("1 passed, 0 failed")), "{told}");
    let (code, _, said) = place.test(&["web.test.yaml", "--only", "nothing"]);
    assert!(code == 1 && said.contains("no case has a name with `nothing`"), "{said}");
}

#[test]
fn what_fails_says_what_happened_instead() {
    let place = Place::new("failing");
    place.write(
        "web.test.yaml",
        "
cases:
  - name: too weak
    traffic: [{source: 203.0.113.1, service: web, connections: 60, over: 5s}]
    expect:
      - {source: 203.0.113.1, action: drop}
      - {source: 203.0.113.1, action: limit, owasp: OAT-015}
      - {source: 203.0.113.1, action: limit, within: {connections: 10}}
      - {source: 203.0.113.9, action: none}
  - name: too strong
    traffic: [{source: 2001:db8::1, service: web, connections: 2, hello: program}]
    expect: [{source: 2001:db8::1, action: none}]
  - name: nothing
    traffic: [{source: 203.0.113.1, service: web}]
    expect: [{source: 203.0.113.1, action: [mark, drop]}]
  - name: no such service
    traffic: [{source: 203.0.113.1, service: shop}]
    expect: []
  - name: no such signal
    traffic: [{source: 203.0.113.1, service: web, signal: cart_held}]
    expect: []
  - name: no TCP
    traffic: [{source: 203.0.113.1, service: quic}]
    expect: []
",
    );
    let (code, told, said) = place.test(&["web.yaml"]);
    assert_eq!(code, 1, "{told}{said}");
    for line in [
        "FAILED  web.test.yaml:3: too weak",
        "web.test.yaml:6: 203.0.113.1: expected drop, got limit after ",
        "40 points by web: +20 connections (4",
        "web.test.yaml:7: 203.0.113.1: OAT-015 is not named by limit after ",
        "web.test.yaml:8: 203.0.113.1: too late: limit after 4",
        "web.test.yaml:9: no packet came from 203.0.113.9/32",
        "web.test.yaml:12: 2001:db8::/64: expected none, got mark after 1 connections and 0.0",
        "web.test.yaml:15: 203.0.113.1: expected mark or drop, got none: no rule was met",
        "web.test.yaml:17: the policy has no service `shop`",
        "web.test.yaml:20: the Site declares no signal `cart_held`",
        "web.test.yaml:23: the service `quic` has no TCP port",
        "0 passed, 6 failed",
    ] {
        assert!(told.contains(line), "{line}\nis not in\n{told}");
    }
}

#[test]
fn mistakes_and_missing_tests_are_no_success() {
    let place = Place::new("mistakes");
    let (code, _, said) = place.test(&["web.yaml"]);
    assert!(code == 1 && said.contains("has no tests"), "{said}");
    place.write("web.test.yaml", "cases: [{name: one, trafic: []}]");
    let (code, told, said) = place.test(&["."]);
    assert!(code == 1 && told.contains("0 passed, 0 failed"), "{told}");
    assert!(said.contains("web.test.yaml:1:21: a case has no field `trafic`"), "{said}");
    place.write("web.test.yaml", PASSING);
    place.write("web.yaml", "kind: Sight");
    let (code, _, said) = place.test(&["web.test.yaml"]);
    assert!(code == 1 && said.contains("web.yaml:1:7"), "{said}");
}
