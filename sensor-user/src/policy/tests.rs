//! What policy files mean, and what is said of mistakes in them.

use std::path::Path;

use weir_common::abi::{
    Action, Mode, Protocol, ServiceSet,
    control::{SERVICE_NAMED, SERVICE_PROXIED},
};

use super::*;

const POLICIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies");

fn compile(text: &str) -> Result<CompiledPolicy, PolicyErrors> {
    parse("site.yaml", text, Path::new("/nonexistent"), &ServiceIds::default())
}

/// A site with these services and proxies, and a policy for the service `login`.
fn site(services: &str, proxies: &str) -> String {
    format!(
        "\
kind: Site
services:
{services}
proxies:
{proxies}
ladders: {{default: [{{at: 50, action: drop, for: 10m}}]}}
---
kind: Policy
metadata: {{name: login}}
applies: [login]
rules: [{{name: many, points: 60, when: source.connections_10s >= 60}}]
"
    )
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
defaults: {ladder: careful, mode: enforce}
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
    for (file, mode) in [("default.yaml", Mode::Observe), ("demo.yaml", Mode::Enforce)] {
        let path = Path::new(POLICIES).join(file);
        let policy =
            load(&path, &ServiceIds::default()).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(policy.warnings.is_empty(), "{:?}", policy.warnings);
        assert!(policy.policies.iter().all(|policy| policy.mode == mode), "{file}");
    }
}

#[test]
fn a_file_means_what_it_says() {
    let policy = compile(&sample("kind", "kind")).unwrap();
    assert_eq!(policy.service_name(1), Some("api"));
    assert_eq!(policy.service_name(2), Some("login"));
    let login = &policy.policies[0];
    assert_eq!((&*login.name, login.mode), ("login", Mode::Enforce));
    assert_eq!(login.services, ServiceSet::one(2));
    assert_eq!(login.exempt[0].actions, [Action::Drop]);
    assert_eq!(login.exempt[0].group.len(), 2);
    assert_eq!(login.rules[0].points, 60);
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
fn services_share_a_port_by_name() {
    let text = site(
        "  login: {tcp: [443], udp: [443], sni: [Login.Example.com, '*.id.example.com']}\n  \
           shop: {tcp: [80, 443], udp: [443], syn_guard: {rate: 200/s, burst: 400}}\n  \
           other: {tcp: [443], sni: ['*.example.com'], unknown_sni: include}",
        "",
    );
    let policy = compile(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let id = |name: &str| policy.services.iter().find(|s| s.name == name).unwrap().id;
    let (login, shop, other) = (id("login"), id("shop"), id("other"));
    let ports: Vec<_> = policy
        .service_ports()
        .iter()
        .map(|port| (port.protocol, port.port, port.service, port.flags))
        .collect();
    assert_eq!(
        ports,
        [
            (Protocol::Tcp, 80, shop, 0),
            (Protocol::Tcp, 443, shop, SERVICE_NAMED),
            (Protocol::Udp, 443, shop, SERVICE_NAMED)
        ]
    );
    let table = policy.service_names();
    let names: Vec<(u8, &str, u8)> =
        table.iter().map(|name| (name.port_service, name.name.as_str(), name.service)).collect();
    assert_eq!(
        names,
        [
            (shop, "", other),
            (shop, ".example.com", other),
            (shop, ".id.example.com", login),
            (shop, "login.example.com", login)
        ]
    );
    for (sni, may_hide, expected) in [
        (Some("login.example.com"), false, login),
        (Some("LOGIN.example.COM."), true, login),
        (Some("a.b.id.example.com"), false, login),
        (Some("id.example.com"), false, other),
        (Some("example.com"), false, shop),
        (Some("example.com"), true, other),
        (Some(""), false, other),
        (None, false, other),
    ] {
        assert_eq!(policy.services.named(shop, sni, may_hide), expected, "{sni:?} {may_hide}");
    }
    assert_eq!(policy.services.named(login, Some("login.example.com"), false), login);
    assert_eq!(policy.services.tcp_ports_of(ServiceSet::one(shop)), [80]);
    assert_eq!(policy.services.tcp_ports_of(ServiceSet::one(login)), [0_u16; 0]);
    assert_eq!(policy.services.tcp_ports_of(ServiceSet::ALL), [80, 443]);
}

#[test]
fn what_named_services_leave_over_of_a_port_is_a_service_that_no_policy_is_for() {
    let text = site("  login: {tcp: [443], udp: [443], sni: [login.example.com]}", "");
    let policy = compile(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<(&str, bool)> =
        policy.services.iter().map(|s| (s.name.as_str(), s.is_remainder)).collect();
    assert_eq!(names, [("login", false), ("tcp-443", true), ("udp-443", true)]);
    let (login, rest) = (policy.services[0].id, policy.services[1].id);
    assert_eq!(policy.services.named(rest, Some("login.example.com"), false), login);
    assert_eq!(policy.services.named(rest, None, false), rest);
    let applies = mistakes(&text.replace("applies: [login]", "applies: [tcp-443]"));
    assert!(applies[0].contains("there is no service `tcp-443`"), "{applies:?}");
    let taken = "  login: {tcp: [443], sni: [a.com]}\n  tcp-443: {tcp: [80]}";
    let taken = mistakes(&site(taken, ""));
    assert!(taken[0].contains("`tcp-443` stands for what services with `sni`"), "{taken:?}");
}

#[test]
fn proxies_are_known_by_their_addresses_and_stand_before_services() {
    let text = site(
        "  login: {tcp: [443], behind: [lb, cdn]}\n  api: {tcp: [8443], behind: [cdn]}",
        "  lb: {from: [10.0.0.0/24, 10.0.1.0/24, '2001:db8::7'], client: proxy-protocol}\n  \
           cdn: {from: [198.51.100.0/24], client: signals}",
    );
    let policy = compile(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(policy.warnings.is_empty(), "{:?}", policy.warnings);
    let flags: Vec<(u16, u8)> =
        policy.service_ports().iter().map(|port| (port.port, port.flags)).collect();
    assert_eq!(flags, [(443, SERVICE_PROXIED), (8443, 0)]);
    let speaking: Vec<String> = policy.proxies.speaking().iter().map(ToString::to_string).collect();
    assert_eq!(speaking, ["10.0.0.0/23", "2001:db8::7/128"]);
    for (address, expected) in [("10.0.1.9", true), ("198.51.100.1", true), ("10.0.2.1", false)] {
        assert_eq!(policy.proxies.contains(address.parse().unwrap()), expected, "{address}");
    }
    let unused = compile(&text.replace("behind: [lb, cdn]", "behind: [cdn]")).unwrap();
    assert!(unused.warnings[0].message.contains("no service is behind the proxy `lb`"));
}

#[test]
fn a_mistake_in_a_name_is_shown_where_it_is() {
    let text = site("  login: {tcp: [443], sni: [login.example.com:8443]}", "");
    assert_eq!(
        mistakes(&text),
        ["site.yaml:3:46: `login.example.com:8443` has a port
   |
 3 |   login: {tcp: [443], sni: [login.example.com:8443]}
   |                                              ^
   help: only the name: `login.example.com`; ports go to `tcp`"]
    );
    let text = mistakes(&site("  login: {tcp: [443], sni: [*.example.com]}", ""));
    assert!(text[0].contains("put the name in quotes, \"*.example.com\""), "{}", text[0]);
}

#[test]
fn mistakes_of_names_and_proxies_have_their_place_and_remedy() {
    const LOGIN: &str = "  login: {tcp: [443], sni: [login.example.com]}";
    const LB: &str = "  lb: {from: [10.0.0.0/24], client: proxy-protocol}";
    let login = |rest: &str| format!("  login: {{tcp: [443], {rest}}}");
    let beside = |rest: &str| format!("{LOGIN}\n  b: {{tcp: [443], {rest}}}");
    let lb = |inside: &str| format!("  lb: {{{inside}}}");
    let services = [
        (login("snii: [a.com]"), "3:23", "a service has no field `snii`", "did you mean `sni`?"),
        (login("sni: a.com"), "3:28", "expected a list of names, found `a.com`", ""),
        (login("sni: []"), "3:3", "the service `login` has no name in `sni`", "sni: [login"),
        (
            login("sni: ['https://a.com']"),
            "3:30",
            "`https://a.com` is a URL",
            "only the host: `a.com`",
        ),
        (login("sni: [192.0.2.7]"), "3:29", "`192.0.2.7` is an address", "without `sni`"),
        (login("sni: ['www*.a.com']"), "3:33", "`www*.a.com` has a `*`", "at the beginning"),
        (login("sni: [bücher.example]"), "3:30", "`bücher.example` is not in ASCII", "xn--"),
        (login("sni: [a.com, A.com]"), "3:36", "`a.com` is given twice", ""),
        (
            login("sni: [a.com], unknown_sni: includ"),
            "3:50",
            "expected `include` or `exclude`, found `includ`",
            "did you mean `include`?",
        ),
        (login("unknown_sni: include"), "3:36", "`unknown_sni` is for services with `sni`", ""),
        (
            login("sni: [a.com], syn_guard: {rate: 5/s, burst: 5}"),
            "3:48",
            "a SYN asks for no name",
            "without `sni`",
        ),
        (
            beside("sni: [login.example.com]"),
            "4:25",
            "`login.example.com` already belongs to `login` on port 443",
            "one service",
        ),
        (
            format!("{LOGIN}\n  b: {{tcp: [443]}}\n  c: {{tcp: [443]}}"),
            "5:13",
            "port 443 already belongs to `b`",
            "share it with `sni`",
        ),
        ("  login: {tcp: [443, 443]}".into(), "3:22", "port 443 is given twice", ""),
        (
            "  login: {tcp: [443], sni: [a.com], unknown_sni: include}\n  \
               b: {tcp: [443], sni: [b.com], unknown_sni: include}"
                .into(),
            "4:46",
            "hellos at port 443 without a known name already go to `login`",
            "",
        ),
        (
            format!("{LOGIN}\n  b: {{tcp: [443, 8443]}}\n  c: {{tcp: [8443], sni: [c.com]}}"),
            "4:3",
            "`b` shares its ports 443/tcp and 8443/tcp with different services",
            "a service of its own",
        ),
        (login("behind: [lbb]"), "3:32", "there is no proxy `lbb`", "did you mean `lb`?"),
        (
            beside("behind: [lb]"),
            "4:13",
            "`login` and `b` share port 443 and are not behind the same proxies",
            "the same `behind`",
        ),
    ];
    let proxies = [
        (lb("client: signals"), "5:7", "a proxy needs `from`", "from: [10.0.0.0/24]"),
        (lb("from: [10.0.0.0/24]"), "5:7", "a proxy needs `client`", "proxy-protocol"),
        (lb("from: [], client: signals"), "5:3", "the proxy `lb` has no address", "lb.netset"),
        (
            lb("from: [10.0.0.0/24], client: proxy"),
            "5:37",
            "expected who names the client, found `proxy`",
            "proxy-protocol",
        ),
        (
            lb("from: [10.0.0.0/33], client: signals"),
            "5:15",
            "`10.0.0.0/33` is not an address or prefix",
            "",
        ),
        (
            lb("from: [{file: none.netset}], client: signals"),
            "5:22",
            "cannot read /nonexistent/none.netset",
            "",
        ),
        (
            lb("from: [{fil: none.netset}], client: signals"),
            "5:15",
            "a list in a file needs `file`",
            "lb.netset",
        ),
        (lb("from: ['::/0'], client: signals"), "5:15", "this is everybody", "connect from"),
        (
            lb("from: ['2001:db8::/96'], client: signals"),
            "5:15",
            "2001:db8::/96 is part of a /64",
            "single addresses",
        ),
        (
            format!("{LB}\n  b: {{from: [10.0.0.7], client: signals}}"),
            "6:14",
            "10.0.0.7/32 belongs to the proxy `lb` too",
            "in one way",
        ),
    ];
    let by_services = services
        .into_iter()
        .map(|(text, place, message, help)| (mistakes(&site(&text, LB)), place, message, help));
    let by_proxies = proxies
        .into_iter()
        .map(|(text, place, message, help)| (mistakes(&site(LOGIN, &text)), place, message, help));
    let mut wrong = Vec::new();
    for (shown, place, message, help) in by_services.chain(by_proxies) {
        let expected = format!("site.yaml:{place}: {message}");
        if !shown.iter().any(|text| text.starts_with(&expected) && text.contains(help)) {
            wrong.push(format!("expected {expected} and {help}, got {shown:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
        ("192.0.2.0/24", "0.0.0.0/0", "6:26", "this is everybody", "mode: observe"),
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
        ("points: 60", "points: 0", "22:13", "expected points, 1 to 100, found the number 0", ""),
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
