//! Mistakes in tests of policies: each has its place, and what would be right.

use std::fs;

use super::*;

/// What is said of a file of tests.
fn said(name: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("weir-{name}-{}.test.yaml", std::process::id()));
    fs::write(&path, text).unwrap();
    let read = load(&path);
    fs::remove_file(&path).unwrap();
    let said = match read {
        Ok(tests) => format!("{} cases", tests.cases.len()),
        Err(errors) => errors.to_string(),
    };
    said.replace(&path.display().to_string(), "it")
}

#[test]
fn a_file_is_read_as_it_is_meant() {
    let path = std::env::temp_dir().join(format!("weir-read-{}.test.yaml", std::process::id()));
    let text = "
kind: Test
cases:
  - name: a bot
    traffic:
      - {source: 203.0.113.7, service: web, connections: 60, over: 2s, vary: 0.5, stalled: true}
      - {source: 203.0.113.8, service: web, ports: 30, hello: program}
    expect:
      - {source: 203.0.113.7, action: drop, owasp: OAT-008, within: {connections: 30, seconds: 1.5}}
      - {source: \"*\", action: [none, mark]}
";
    fs::write(&path, text).unwrap();
    let tests = load(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let case = &tests.cases[0];
    let [bot, scanner] = case.traffic.as_slice() else { panic!("{case:?}") };
    assert_eq!(
        (bot.connections, bot.over_ns, bot.vary, bot.stalled),
        (60, 2_000_000_000, 0.5, true)
    );
    assert_eq!((scanner.connections, scanner.ports), (0, 30));
    assert_eq!(scanner.hello, HelloStyle::Program);
    let [first, second] = case.expect.as_slice() else { panic!("{case:?}") };
    assert_eq!(first.actions, [Some(Action::Drop)]);
    assert_eq!((first.connections, first.within_ns), (Some(30), Some(1_500_000_000)));
    assert_eq!(first.owasp, ["OAT-008"]);
    assert_eq!(
        (second.sources, second.actions.as_slice()),
        (None, &[None, Some(Action::Mark)][..])
    );
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let text = "cases:
  - name: one
    trafic: []
    traffic: [{source: here, service: web, conections: 3, over: 2, vary: 7}]
    expect: [{source: 203.0.113.7, action: block, owasp: [OAT-8], within: {minutes: 1}}]
  - capture: nowhere.pcap
    expect: []
";
    let said = said("mistakes", text);
    for told in [
        "it:3:5: a case has no field `trafic`",
        "help: did you mean `traffic`?",
        "it:4:24: `here` is not an address",
        "it:4:44: a pattern has no field `conections`",
        "it:4:65: `2` is not a duration",
        "it:4:74: expected a share, 0 to 1, found the number 7",
        "it:5:44: expected an action, found `block`",
        "it:5:59: `OAT-8` is no id of OWASP's lists",
        "it:5:76: `within` has no field `minutes`",
        "it:6:5: a case needs `name`",
        "it:6:14: there is no `",
    ] {
        assert!(said.contains(told), "{told}\nis not in\n{said}");
    }
}

#[test]
fn what_is_too_much_or_contradicts_itself_is_a_mistake() {
    let case = |body: &str| {
        let text = format!(
            "cases: [{{name: one, {body}, expect: [{{source: 192.0.2.1, action: none}}]}}]"
        );
        said("contradictions", &text)
    };
    let pattern =
        |body: &str| case(&format!("traffic: [{{source: 192.0.2.1, service: s, {body}}}]"));
    assert!(pattern("sources: 1000, connections: 1000").contains("more than 100000 connections"));
    assert!(pattern("accounts: 5").contains("`accounts` are named by a signal"));
    assert!(pattern("ports: 70000").contains("not that many ports"));
    assert!(case("server: 192.0.2.1").contains("a case needs `capture` or `traffic`"));
    assert_eq!(pattern("exchanges: 0"), "1 cases");
}
