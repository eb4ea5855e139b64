//! Signals and logs of a Site: what they mean, and what is said of mistakes in them.

use std::path::Path;

use super::{compile, mistakes};
use crate::{
    policy::signals::{ClientFrom, LogField, LogFormat},
    score::{
        feature::Evidence,
        registry::{Counted, Declared, SignalFeature, Subject},
    },
};

const MINUTE_NS: u64 = 60_000_000_000;

/// A site that is right, with something in place of a part of it.
fn sample(replace: &str, with: &str) -> String {
    let text = "\
kind: Site
services: {web: {tcp: [443]}, api: {tcp: [8443]}}
logs:
  access: {file: access.log, format: combined, service: web, client: x-forwarded-for}
  api: {file: /var/log/api.json, format: json, fields: {address: ip, account: token}}
signals:
  login_failed:
    per: [source, entity]
    windows: [1m, 10m]
    distinct: [account, source]
    match: {log: access, method: POST, path: [\"/login*\", /api/session], status: [401, 5xx]}
  order_denied: {per: service, windows: 1h, distinct: endpoint, match: {status: 4xx, query: id}}
  cart_held: {per: source, windows: [10s]}
  challenge_failed: {match: {path: /challenge, status: 403}}
ladders: {default: [{at: 50, action: mark, for: 10m}]}
---
kind: Policy
metadata: {name: p}
applies: [web]
rules: [{name: r, points: 60, when: source.login_failed_accounts_10m >= 3}]
";
    assert!(text.contains(replace), "{replace}");
    text.replacen(replace, with, 1)
}

#[test]
fn a_site_means_what_it_says() {
    let policy = compile(&sample("kind", "kind")).unwrap();
    assert!(policy.warnings.is_empty(), "{:?}", policy.warnings);
    let signals = &policy.signals;
    let names: Vec<&str> = signals.list().iter().map(|signal| &*signal.name).collect();
    let expected =
        ["challenge_passed", "challenge_failed", "login_failed", "order_denied", "cart_held"];
    assert_eq!(names, expected);
    assert_eq!(signals.kind("challenge_failed"), Some(1));
    assert_eq!(signals.kind("order_denied"), Some(3));
    assert_eq!(signals.get(4).map(|signal| signal.line.is_none()), Some(true));
    assert!(signals.get(1).unwrap().line.is_some());
    let line = signals.get(2).unwrap().line.as_ref().unwrap();
    for (log, method, path, status, expected) in [
        (0, Some("POST"), Some("/login/2"), 401, true),
        (0, Some("post"), Some("/api/session"), 503, true),
        (1, Some("POST"), Some("/login"), 401, false),
        (0, Some("GET"), Some("/login"), 401, false),
        (0, None, Some("/login"), 401, false),
        (0, Some("POST"), None, 401, false),
        (0, Some("POST"), Some("/logout"), 401, false),
        (0, Some("POST"), Some("/login"), 403, false),
    ] {
        assert_eq!(line.fits(log, method, path, status), expected, "{method:?} {path:?} {status}");
    }
    let [access, api] = signals.logs() else { panic!("{:?}", signals.logs()) };
    assert_eq!(access.file, Path::new("/nonexistent/access.log"), "beside the policy");
    assert_eq!((access.service, access.client), (2, ClientFrom::Forwarded));
    assert_eq!((api.service, api.format), (0, LogFormat::Json));
    assert_eq!(api.fields[0], (LogField::Address, "ip".into()));
}

#[test]
fn every_signal_makes_its_features() {
    let policy = compile(&sample("kind", "kind")).unwrap();
    let features = &policy.features;
    let declared: Vec<&str> = features
        .iter()
        .filter(|info| info.id.as_declared().is_some())
        .map(|info| &*info.name)
        .collect();
    let expected = [
        "source.challenge_passed_10m",
        "source.challenge_passed_1h",
        "source.challenge_failed_10m",
        "source.challenge_failed_1h",
        "source.login_failed_1m",
        "source.login_failed_10m",
        "source.login_failed_accounts_1m",
        "source.login_failed_accounts_10m",
        "entity.login_failed_1m",
        "entity.login_failed_10m",
        "entity.login_failed_sources_1m",
        "entity.login_failed_sources_10m",
        "service.order_denied_1h",
        "service.order_denied_endpoints_1h",
        "source.cart_held_10s",
    ];
    assert_eq!(declared, expected);
    let id = features.find("source.login_failed_accounts_10m").unwrap();
    let measured = SignalFeature {
        signal: 2,
        subject: Subject::Source,
        counted: Counted::Entities,
        window_ns: 10 * MINUTE_NS,
    };
    assert_eq!(features.measured(id), Some(&Declared::Signal(measured)));
    assert_eq!(
        features.explain(id, Some(7.0)),
        "7 distinct accounts in `login_failed` signals in the last 10 minutes"
    );
    assert_eq!(policy.policies[0].rules[0].features, [id]);
    // Anybody can fail at a login of somebody else's account.
    for (name, evidence) in [
        ("source.login_failed_10m", Evidence::Authentic),
        ("entity.login_failed_10m", Evidence::Forgeable),
        ("service.order_denied_1h", Evidence::Forgeable),
    ] {
        assert_eq!(features.evidence(features.find(name).unwrap()), evidence, "{name}");
    }
}

#[test]
fn a_site_without_signals_has_the_built_in_ones() {
    let policy = compile(
        "kind: Site\nservices: {web: {tcp: [443]}}\n\
         ladders: {default: [{at: 50, action: mark, for: 10m}]}\n---\nkind: Policy\n\
         metadata: {name: p}\napplies: [web]\n\
         rules: [{name: r, points: 60, when: source.challenge_failed_10m >= 3}]\n",
    )
    .unwrap();
    assert_eq!(policy.signals.list().len(), 2);
    assert!(policy.signals.logs().is_empty());
}

#[test]
fn every_kind_of_mistake_has_its_place_and_remedy() {
    let mut wrong = Vec::new();
    for (replace, with, place, message, help) in [
        (
            "per: [source, entity]",
            "per: sorce",
            "8:10",
            "expected `source`, `entity` or `service`, found `sorce`",
            "did you mean `source`?",
        ),
        (
            "    per: [source, entity]\n",
            "",
            "7:3",
            "the signal `login_failed` needs `per`",
            "per: source",
        ),
        (
            "    windows: [1m, 10m]\n",
            "",
            "7:3",
            "the signal `login_failed` needs `windows`",
            "windows: [10m, 1h]",
        ),
        (
            "[1m, 10m]",
            "[1m, 5m]",
            "9:19",
            "signals are not counted over this window",
            "10s, 1m, 10m, 1h",
        ),
        ("[1m, 10m]", "[1m, 10]", "9:19", "`10` is not a window", "`10s`"),
        ("[1m, 10m]", "[1m, 60s]", "9:19", "this is given twice", "keep one"),
        (
            "[account, source]",
            "[account, acount]",
            "10:25",
            "expected `account`, `endpoint` or `source`, found `acount`",
            "did you mean `account`?",
        ),
        (
            "per: source, windows: [10s]",
            "per: source, windows: [10s], distinct: source",
            "13:54",
            "a source is one source",
            "`per: entity`",
        ),
        (
            "per: service, windows: 1h, distinct: endpoint",
            "per: entity, windows: 1h, distinct: account",
            "12:54",
            "an entity is one account",
            "`per: source`",
        ),
        (
            "  cart_held:",
            "  cart-held:",
            "13:3",
            "`cart-held` cannot be the name of a signal",
            "like `login_failed`",
        ),
        (
            "  cart_held:",
            "  Cart:",
            "13:3",
            "`Cart` cannot be the name of a signal",
            "small letters",
        ),
        (
            "  cart_held:",
            "  connections:",
            "13:3",
            "there is already a feature `source.connections_10s`",
            "another name",
        ),
        ("  cart_held:", "  order_denied:", "13:3", "`order_denied` is given twice", "line 12"),
        (
            "{match: {path: /challenge, status: 403}}",
            "{per: source, windows: [10m]}",
            "14:27",
            "`challenge_failed` is built in",
            "`match`",
        ),
        (
            "{match: {path: /challenge, status: 403}}",
            "{}",
            "14:3",
            "`challenge_failed` is built in, and this says nothing",
            "leave it out",
        ),
        ("log: access", "log: acess", "11:18", "there is no log `acess`", "did you mean `access`?"),
        ("method: POST", "method: post", "11:34", "`post` is not a method", "did you mean `POST`?"),
        ("/api/session", "api/session", "11:58", "`api/session` is not a path", "begins with `/`"),
        ("/api/session", "/api?x=1", "11:58", "`/api?x=1` is not a path", "query: [id]"),
        ("5xx", "6xx", "11:87", "`6xx` is not a status code", "`4xx`"),
        ("status: 403", "status: 40", "14:56", "`40` is not a status code", "`401`"),
        (
            "match: {log",
            "mtch: {log",
            "11:5",
            "a signal has no field `mtch`",
            "did you mean `match`?",
        ),
        (
            "query: id",
            "queri: id",
            "12:86",
            "`match` has no field `queri`",
            "did you mean `query`?",
        ),
        ("service: web", "service: we", "4:57", "there is no service `we`", "did you mean `web`?"),
        (
            "format: combined",
            "format: combind",
            "4:38",
            "expected a format, found `combind`",
            "did you mean `combined`?",
        ),
        (
            "format: json",
            "format: haproxy",
            "5:59",
            "only JSON has names for its fields",
            "`format: json`",
        ),
        (
            "account: token",
            "acount: token",
            "5:70",
            "`fields` has no field `acount`",
            "did you mean `account`?",
        ),
        ("file: access.log, ", "", "4:11", "a log needs `file`", "file: /var/log"),
        (
            "/var/log/api.json",
            "access.log",
            "5:15",
            "this file is already read as the log `access`",
            "keep one",
        ),
        (
            "client: x-forwarded-for",
            "client: xff",
            "4:70",
            "expected who names the client, found `xff`",
            "x-forwarded-for",
        ),
        (
            "_10m >= 3",
            "_10m >= 300",
            "20:73",
            "`source.login_failed_accounts_10m` is never true",
            "between 0 and 128",
        ),
        ("logs:", "lgs:", "3:1", "a site has no field `lgs`", "did you mean `logs`?"),
    ] {
        let shown = mistakes(&sample(replace, with));
        let expected = format!("site.yaml:{place}: {message}");
        let found = shown.iter().find(|shown| shown.starts_with(&expected));
        if !found.is_some_and(|shown| shown.contains(help)) {
            wrong.push(format!("{with}: expected {expected} and {help}, got {}", shown.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn more_signals_than_there_is_room_for() {
    let many = |count: usize| {
        let signals: String =
            (0..count).map(|n| format!("  s{n}: {{per: source, windows: [1m]}}\n")).collect();
        sample("signals:\n", &format!("signals:\n{signals}"))
    };
    assert!(compile(&many(61)).is_ok(), "three are there");
    let shown = mistakes(&many(62));
    assert!(shown[0].contains("there are more than 64 signals"), "{shown:?}");
}

#[test]
fn what_is_probably_not_meant_is_said() {
    let warned = |replace, with| {
        let policy = compile(&sample(replace, with)).unwrap();
        policy.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let unread = warned("{status: 4xx, query: id}", "{log: access, status: 4xx}");
    assert_eq!(unread, "", "the built-in one reads every log");
    let text = sample("{status: 4xx, query: id}", "{log: access, status: 4xx}")
        .replace("{match: {path: /challenge", "{match: {log: access, path: /challenge");
    let policy = compile(&text).unwrap();
    assert!(policy.warnings[0].message.contains("no signal is made of the log `api`"));
    let deaf = warned("{address: ip,", "{address: ip, forwarded: xff,");
    assert!(deaf.contains("`forwarded` is not read"), "{deaf}");
}
