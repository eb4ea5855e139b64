//! What policy files mean, and what is said of mistakes in them.

use std::path::Path;

use weir_common::abi::{Action, Mode, Protocol, ServiceSet};

use super::*;

mod feeds;
mod files;
mod golden;
mod names;
mod privacy;
mod schema;
mod signals;

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");

fn compile(text: &str) -> Result<CompiledPolicy, PolicyErrors> {
    parse("site.yaml", text, Path::new("/nonexistent"), &ServiceIds::default())
}

/// The mistakes of a file, as they are shown.
fn mistakes(text: &str) -> Vec<String> {
    let errors = compile(text).unwrap_err();
    errors.diagnostics.iter().map(ToString::to_string).collect()
}

/// A site and a policy that are right, with something in place of a line.
fn sample(replace: &str, with: &str) -> String {
    let text = "\
kind: Site
services:
  login: {tcp: [443], udp: [443], syn_guard: {rate: 200/s, burst: 400}}
  api: {tcp: [8443]}
groups:
  partners: {addresses: [192.0.2.0/24, 2001:db8::7], why: contract 12, expires: 2027-06-30}
ladders:
  careful:
    - {at: 30, action: mark, for: 10m}
    - {at: 55, action: limit, connections: 5/s, burst: 10, for: 5m}
    - {at: 80, action: drop, for: 10m, repeat: double, max: 24h}
defaults: {ladder: careful}
sensor: {stall: 3s, capacities: {flows: 1000}}
---
kind: Policy
metadata: {name: login, owner: edge-team, description: Login endpoint}
applies: [login]
exempt: [{group: partners, from: [drop]}]
rules:
  - name: stuffing
    owasp: [OAT-008]
    points: 60
    when: |
      source.connections_10s >= 60
        && source.age < 10
";
    assert!(text.contains(replace), "{replace}");
    text.replacen(replace, with, 1)
}

#[test]
fn the_files_that_come_with_weir_compile() {
    for file in ["default", "demo.yaml"] {
        let path = Path::new(POLICIES).join(file);
        let policy =
            load(&path, &ServiceIds::default()).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(policy.warnings.is_empty(), "{:?}", policy.warnings);
    }
}

#[test]
fn the_pages_conditions_compile() {
    let page = include_str!("../../../docs/policy.md");
    let (_, table) = page.split_once("| written | holds if |").unwrap();
    let rows = table.lines().take_while(|line| line.is_empty() || line.starts_with('|'));
    let mut compiled = 0;
    for written in rows.filter_map(|row| row.split(" | ").next()) {
        for condition in written.split('`').skip(1).step_by(2) {
            let result = Condition::parse(condition, &Registry::default());
            assert!(result.is_ok(), "{condition}: {result:?}");
            compiled += 1;
        }
    }
    assert!(compiled >= 8, "only {compiled}");
}

#[test]
fn every_field_is_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/tests/right/everything.yaml");
    let policy = load(Path::new(path), &ServiceIds::default()).unwrap_or_else(|e| panic!("{e}"));
    assert!(policy.warnings.is_empty(), "{:?}", policy.warnings);
    let text = std::fs::read_to_string(path).unwrap();
    for form in form::ALL {
        for field in form.fields.iter().filter(|it| !matches!(it.need, form::Need::Refused(..))) {
            let is_optional_here =
                ["include", "geo", "asn", "country", "file"].contains(&field.name);
            let written = text.contains(&format!("{}:", field.name));
            assert!(written || is_optional_here, "{} of {}", field.name, form.id);
        }
    }
}

#[test]
fn a_file_means_what_it_says() {
    let policy = compile(&sample("kind", "kind")).unwrap();
    assert_eq!(policy.service_name(1), Some("api"));
    assert_eq!(policy.service_name(2), Some("login"));
    let login = &policy.policies[0];
    assert_eq!((&*login.name, login.stage_max), ("login", Stage::Enforce));
    assert_eq!(login.services, ServiceSet::one(2));
    assert_eq!(login.exempt[0].actions, [Action::Drop]);
    assert_eq!(login.exempt[0].group.len(), 2);
    assert_eq!(login.rules[0].points, 60);
    assert_eq!(login.version.len(), 12);
    let actions: Vec<Action> = login.ladder.steps.iter().map(|step| step.action).collect();
    assert_eq!(actions, [Action::Mark, Action::Limit, Action::Drop]);
    assert_eq!(login.ladder.steps[1].limit.unwrap().burst_ns, 9 * 200_000_000);
    assert_eq!(policy.settings.capacities["FLOWS"], 1000);
}

#[test]
fn the_kernels_settings_follow() {
    let policy = compile(&sample("kind", "kind")).unwrap();
    let mut ports: Vec<_> =
        policy.service_ports().iter().map(|p| (p.protocol, p.port, p.service)).collect();
    ports.sort_by_key(|(protocol, port, _)| (*port, *protocol as u8));
    assert_eq!(ports, [(Protocol::Tcp, 443, 2), (Protocol::Udp, 443, 2), (Protocol::Tcp, 8443, 1)]);
    let guards = policy.guards();
    assert_eq!(guards.len(), 255);
    assert_eq!(guards[1].1.interval_ns, 5_000_000);
    assert_eq!(guards[0].1.interval_ns, 0, "guards of other services are cleared");
    let control = policy.control();
    assert_eq!(Mode::from_u8(control.policy_mode), Mode::Enforce);
    assert_eq!(control.stall_ns, 3_000_000_000);
    assert_eq!(control.heartbeat_limit_ticks, 0);
}

#[test]
fn numbers_of_services_stay() {
    let before = compile(&sample("kind", "kind")).unwrap();
    let text = sample("  api: {tcp: [8443]}", "  aaa: {tcp: [1]}\n  api: {tcp: [8443]}");
    let after = parse("x", &text, Path::new("."), before.service_ids()).unwrap();
    assert_eq!(after.service_name(1), Some("api"));
    assert_eq!(after.service_name(2), Some("login"));
    assert_eq!(after.service_name(3), Some("aaa"));
    let ids: Vec<u8> = after.services.iter().map(|service| service.id).collect();
    assert_eq!(ids, [1, 2, 3]);
}

#[test]
fn a_mistake_is_shown_where_it_is_with_what_would_be_right() {
    let shown = mistakes(&sample("source.age < 10", "source.agee < 10"));
    assert_eq!(
        shown,
        ["site.yaml:25:12: there is no feature `source.agee`
    |
 25 |         && source.agee < 10
    |            ^
   help: did you mean `source.age`?"]
    );
}

#[test]
fn every_kind_of_mistake_has_its_place_and_remedy() {
    let mut wrong = Vec::new();
    for (replace, with, place, message, help) in [
        (
            "services:",
            "servces:",
            "2:1",
            "a site has no field `servces`",
            "did you mean `services`?",
        ),
        ("kind: Policy", "kind: Polcy", "15:7", "unknown kind: `Polcy`", "did you mean `Policy`?"),
        ("kind: Policy", "kin: Policy", "15:1", "a document needs `kind`", "kind: Site"),
        (
            "tcp: [443]",
            "tcp: [443, 70000]",
            "3:22",
            "expected a port, 1 to 65535, found the number 70000",
            "",
        ),
        ("tcp: [443]", "tcp: 443", "3:16", "expected a list of ports, found the number 443", ""),
        (
            "tcp: [8443]",
            "tcp: [443]",
            "4:15",
            "port 443 already belongs to `login`",
            "several policies",
        ),
        ("{tcp: [8443]}", "{}", "4:3", "the service `api` has no port", "tcp: [443]"),
        ("rate: 200/s", "rate: 200", "3:53", "`200` is not a rate", "`5/s`"),
        (
            "192.0.2.0/24",
            "192.0.2.0/33",
            "6:26",
            "`192.0.2.0/33` is not an address or prefix",
            "2001:db8::/32",
        ),
        ("192.0.2.0/24", "0.0.0.0/0", "6:26", "this is everybody", "stage_max: monitor"),
        ("expires: 2027-06-30", "expires: June", "6:81", "`June` is not a date", "`2027-06-30`"),
        (
            "addresses: [192.0.2.0/24, 2001:db8::7]",
            "file: none.netset",
            "6:20",
            "cannot read /nonexistent/none.netset",
            "",
        ),
        ("at: 55", "at: 20", "10:12", "the steps of a ladder rise", ""),
        ("at: 55", "at: 101", "10:12", "expected a score, 1 to 100", ""),
        (
            "action: limit",
            "action: limt",
            "10:24",
            "expected an action, found `limt`",
            "did you mean `limit`?",
        ),
        (
            "action: drop",
            "action: mark",
            "11:24",
            "`mark` is not stronger than `limit`",
            "in order of strength",
        ),
        ("connections: 5/s, burst: 10, ", "", "10:7", "a limit needs the rate", "connections: 5/s"),
        ("for: 5m", "for: 5", "10:65", "`5` is not a duration", "`10s`"),
        (
            "repeat: double, max: 24h",
            "repeat: double",
            "11:48",
            "terms that double need a longest one",
            "max: 24h",
        ),
        ("max: 24h", "max: 1m", "11:61", "`max` is shorter than `for`", ""),
        (
            "ladder: careful",
            "ladder: carefull",
            "12:20",
            "there is no ladder `carefull`",
            "did you mean `careful`?",
        ),
        ("flows: 1000", "flow: 1000", "13:34", "there is no table `flow`", "did you mean `flows`?"),
        ("name: login, ", "", "16:11", "metadata needs `name`", "name: login"),
        (
            "applies: [login]",
            "applies: [logon]",
            "17:11",
            "there is no service `logon`",
            "did you mean `login`?",
        ),
        (
            "group: partners",
            "group: partner",
            "18:18",
            "there is no group `partner`",
            "did you mean `partners`?",
        ),
        (
            "from: [drop]",
            "from: [block]",
            "18:35",
            "expected an action, found `block`",
            "known are: mark, limit, reject, drop",
        ),
        ("OAT-008", "OAT-022", "21:13", "there is no threat `OAT-022`", "OAT-001 to OAT-021"),
        ("points: 60", "points: 0", "22:13", "a rule without points does nothing", "negative ones"),
        ("points: 60", "points: 60\n    points: 70", "23:5", "`points` is given twice", "line 22"),
        (
            ">= 60",
            ">= 60 &&",
            "25:9",
            "expected a feature or a number, found `&&`",
            "compare a feature",
        ),
    ] {
        let shown = mistakes(&sample(replace, with));
        let first = &shown[0];
        let expected = format!("site.yaml:{place}: {message}");
        if !first.starts_with(&expected) || !first.contains(help) {
            wrong.push(format!("{with}: expected {expected} and {help}, got {first}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_mistake_is_found_in_one_go() {
    let text = sample("tcp: [8443]", "tcp: [0]")
        .replace("action: mark", "action: marc")
        .replace("source.age", "source.ages")
        .replace("OAT-008", "OAT-8");
    assert_eq!(mistakes(&text).len(), 4, "{}", mistakes(&text).join("\n"));
}

#[test]
fn places_in_conditions_are_right_in_every_style_of_yaml() {
    for (when, place) in [
        ("source.age > 1 && source.x > 2", "1:19"),
        ("'source.age > 1 && source.x > 2'", "1:20"),
        ("\"source.age > 1 && source.x > 2\"", "1:20"),
        (">\n      source.age > 1\n      && source.x > 2", "3:10"),
        ("|\n        source.age > 1\n          && source.x > 2", "3:14"),
        ("|-\n\n      source.age > 1\n\n      && source.x > 2", "5:10"),
        ("source.age > 1\n      && source.x > 2", "2:10"),
    ] {
        let text =
            sample("|\n      source.connections_10s >= 60\n        && source.age < 10", when);
        let errors = compile(&text).unwrap_err();
        let found = &errors.diagnostics[0];
        // The condition begins on line 23, behind `    when: `.
        let column = if found.line == 23 { found.column - 10 } else { found.column };
        assert_eq!(format!("{}:{column}", found.line - 22), place, "{found}");
    }
}

#[test]
fn files_that_are_no_policies_are_refused() {
    for (text, message) in [
        ("", "there is no `kind: Site` document"),
        ("- a\n- b\n", "a document is a mapping"),
        ("kind: Site\n---\nkind: Site\n", "there is a second `kind: Site` document"),
        ("kind: [", "not valid YAML"),
        ("kind: Site\nx: *nowhere\n", "not valid YAML"),
    ] {
        let shown = mistakes(text);
        assert!(shown.iter().any(|line| line.contains(message)), "{text}: {shown:?}");
    }
    let missing = load(Path::new("/nonexistent/x.yaml"), &ServiceIds::default()).unwrap_err();
    assert!(missing.to_string().starts_with("/nonexistent/x.yaml: cannot read: "), "{missing}");
}

#[test]
fn a_policy_that_can_do_nothing_is_warned_about() {
    let policy = compile(&sample("points: 60", "points: 20")).unwrap();
    assert_eq!(policy.warnings.len(), 1);
    assert!(policy.warnings[0].message.contains("add up to 20 points"), "{:?}", policy.warnings);
}

#[test]
fn rules_exemptions_and_ladders_mean_what_they_say() {
    let text = sample("points: 60", "points: -20\n    after: {connections: 5, within: 10s}\n    audience: browsers\n    decay: 10m")
        .replace("owasp: [OAT-008]", "owasp: [OAT-008, 'API2:2023']")
        .replace("api: {tcp: [8443]}", "api: {tcp: [8443], audience: programs}")
        .replace("from: [drop]}", "from: [drop], why: contract 12, owner: sales, expires: 2027-01-01}")
        .replace("connections: 5/s", "connections: 5/s, syns: 50/s")
        .replace("max: 24h", "max: 24h, forget: 48h");
    let policy = compile(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let (api, login) = (&policy.services[0], &policy.services[1]);
    assert_eq!((api.audience, login.audience), (Audience::Programs, Audience::Both));
    let rule = &policy.policies[0].rules[0];
    assert_eq!((rule.points, rule.decay_ns), (-20, Some(600_000_000_000)));
    assert_eq!(*rule.owasp, ["OAT-008", "API2:2023"]);
    assert!(!rule.counts_for(login), "a rule for browsers does not count where both come");
    let mut asked = Vec::new();
    rule.when.evaluate(&mut |feature| {
        asked.push(policy.features.info(feature).unwrap().name.to_string());
        Some(4.0)
    });
    assert_eq!(asked, ["source.connections_10s"], "`after` is asked first");
    let exemption = &policy.policies[0].exempt[0];
    let net = "192.0.2.7/32".parse().unwrap();
    let last_day = exemption.expires_unix_s.unwrap();
    assert!(exemption.spares(&net, last_day - 1) && !exemption.spares(&net, last_day));
    let steps = &policy.policies[0].ladder.steps;
    assert_eq!(steps[1].syns.unwrap().interval_ns, 20_000_000);
    assert_eq!(steps[2].forget_ns / 1_000_000_000, 48 * 3600);
    assert_eq!(steps[1].forget_ns / 1_000_000_000, 24 * 3600);
}

#[test]
fn the_lower_ceiling_counts() {
    for (defaults, own, expected) in [
        ("", "", Stage::Enforce),
        ("stage_max: monitor, ", "", Stage::Monitor),
        ("stage_max: monitor, ", "stage_max: enforce\n", Stage::Monitor),
        ("stage_max: enforce, ", "stage_max: canary\n", Stage::Canary),
        ("stage_max: canary, ", "stage_max: monitor\n", Stage::Monitor),
    ] {
        let text = sample("defaults: {", &format!("defaults: {{{defaults}"))
            .replace("applies: [login]\n", &format!("applies: [login]\n{own}"));
        let policy = compile(&text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(policy.policies[0].stage_max, expected, "{defaults}{own}");
    }
}
