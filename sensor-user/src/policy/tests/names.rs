//! Services that share a port by name, and proxies before them.

use weir_common::abi::{
    Protocol, ServiceSet,
    control::{SERVICE_NAMED, SERVICE_PROXIED},
};

use super::{compile, mistakes};

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
