//! What an operator does by hand: no slip of theirs locks anybody out, the kill switch works when
//! nothing else does, and `weir doctor` says how things stand.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's setup fails loudly"
)]

use std::{net::Ipv4Addr, time::Duration};

use serde_json::Value;
use weir_lab::{
    actors::visit,
    net::Lab,
    require_root,
    server::Server,
    stranger::{Hook, Purpose, Stranger},
    weir::{Daemon, Refusal, Status, Weir, demo_policy},
};

const BOT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const PERSON: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);

/// How long a visitor waits for what it should get.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a visitor waits for what it should not get.
const IN_VAIN: Duration = Duration::from_millis(500);

/// A lab with Weir on its edge. A macro, because the daemon borrows the lab.
macro_rules! scene {
    ($lab:ident, $server:ident, $weir:ident, $daemon:ident) => {
        let $lab = Lab::new().unwrap();
        let $server = Server::start(&$lab).unwrap();
        let $weir = Weir::in_lab(&$lab).unwrap();
        let $daemon: Daemon<'_> = $weir.run(&["edge0"], &demo_policy()).unwrap();
    };
}

/// Blocks the bot for an hour.
fn block(weir: &Weir<'_>) {
    weir.ask(&["block", &BOT.to_string(), "--for", "1h", "--reason", "a test"]).unwrap();
}

#[test]
fn an_operator_cannot_lock_anybody_out_by_mistake() {
    require_root!("an_operator_cannot_lock_anybody_out_by_mistake");
    scene!(lab, server, weir, _daemon);
    // The host's own addresses and its gateway can be no target.
    for own in ["198.51.100.10", "198.51.100.1", "2001:db8:51::10", "127.0.0.1"] {
        let refusal = weir.refusal(&["block", own, "--reason", "a slip"]).unwrap();
        refusal.mentions(&[own, "own address or its gateway", "nothing was changed"]).unwrap();
    }
    // Nor can the address that the operator is connected from.
    let mut command = weir.command(["block", "203.0.113.0/24", "--reason", "a slip"]);
    command.env("SSH_CONNECTION", format!("{PERSON} 50000 198.51.100.10 22"));
    let refusal = Refusal::of(&mut command).unwrap();
    refusal.mentions(&["203.0.113.0/24", &PERSON.to_string(), "--action allow"]).unwrap();
    assert_eq!(weir.verdicts().unwrap().of(PERSON.into()).count(), 0);
    visit(&lab, &server, PERSON.into(), PATIENCE).unwrap();

    // Under a prefix around them all, what they need goes on.
    weir.ask(&["block", "198.51.100.0/24", "--reason", "our own range"]).unwrap();
    visit(&lab, &server, PERSON.into(), PATIENCE).unwrap();
    let gateway = lab.link().gateway_v4.into();
    visit(&lab, &server, gateway, PATIENCE).unwrap();
}

#[test]
fn the_kill_switch_passes_everything_with_a_daemon_and_without_one() {
    require_root!("the_kill_switch_passes_everything_with_a_daemon_and_without_one");
    scene!(lab, server, weir, daemon);
    let served = |patience| visit(&lab, &server, BOT.into(), patience).is_ok();
    let mode = |status: &Status| (status.mode.kill, status.mode.effective.clone());
    block(&weir);
    assert!(!served(IN_VAIN));

    // On: at once, and the status says so.
    weir.ask(&["kill", "on"]).unwrap();
    assert!(served(PATIENCE));
    let status = weir.status().unwrap();
    assert_eq!(mode(&status), (true, "off".into()));
    assert!(
        status.warnings.iter().any(|warning| warning.contains("kill")),
        "{:?}",
        status.warnings
    );

    // Off and on again with no daemon there.
    daemon.kill().unwrap();
    weir.ask(&["kill", "off"]).unwrap();
    assert!(!served(IN_VAIN));
    weir.ask(&["kill", "on"]).unwrap();
    assert!(served(PATIENCE));

    // The next daemon remembers, also after a detach, which is all that a reboot would do.
    let daemon = weir.run(&["edge0"], &demo_policy()).unwrap();
    assert!(mode(&weir.status().unwrap()).0);
    assert!(served(PATIENCE));
    daemon.terminate().unwrap();
    weir.ask(&["detach"]).unwrap();
    let shown = weir.ask(&["kill", "status"]).unwrap();
    assert!(shown.contains("after a reboot  on"), "{shown}");
    let _daemon = weir.run(&["edge0"], &demo_policy()).unwrap();
    assert!(mode(&weir.status().unwrap()).0);
    block(&weir);
    assert!(served(PATIENCE));
    weir.ask(&["kill", "off"]).unwrap();
    assert!(!served(IN_VAIN));
    assert_eq!(mode(&weir.status().unwrap()), (false, "enforce".into()));
}

#[test]
fn doctor_says_how_things_stand_and_what_to_do() {
    require_root!("doctor_says_how_things_stand_and_what_to_do");
    let lab = Lab::new().unwrap();
    let weir = Weir::in_lab(&lab).unwrap();

    // Before Weir comes: nothing is wrong, and it says where Weir would go.
    let found = examine(&weir, &["edge0"], true);
    assert_eq!(level(&found, "edge0", "XDP in place"), ("ok", "none".into()));
    assert!(level(&found, "edge0", "would attach").1.contains("native XDP"));
    assert_eq!(level(&found, "host", "bpffs").0, "ok");
    assert!(level(&found, "host", "both directions").1.contains("not attached"));

    // With Weir there: it knows its own.
    let server = Server::start(&lab).unwrap();
    let daemon = weir.run(&["edge0"], &demo_policy()).unwrap();
    for visitor in 1..=100 {
        visit(&lab, &server, lab.link().client_v4(visitor).into(), PATIENCE).unwrap();
    }
    weir.ask(&["kill", "on"]).unwrap();
    let found = examine(&weir, &["edge0"], true);
    assert!(level(&found, "edge0", "XDP in place").1.contains("Weir's weir_ingress"), "{found}");
    assert!(level(&found, "edge0", "TC in place").1.contains("Weir's weir_egress"), "{found}");
    assert_eq!(level(&found, "host", "kill switch").0, "warn");
    let (both, share) = level(&found, "host", "both directions");
    assert!(both == "ok" && share.contains("0.0 % of"), "{share}");
    daemon.terminate().unwrap();
    weir.ask(&["kill", "off"]).unwrap();
    weir.ask(&["detach"]).unwrap();

    // With a stranger there: that is a failure, it has a name, and there is advice.
    let stranger = Stranger::program(Purpose::XdpPass).unwrap();
    let _link = stranger.attach(lab.edge(), "edge0", Hook::Xdp).unwrap();
    let found = examine(&weir, &["edge0"], false);
    let (fail, shown) = level(&found, "edge0", "XDP in place");
    assert!(fail == "fail" && shown.contains("stranger"), "{shown}");

    // And where the interface or the file system is missing.
    let found = examine(&weir, &["edge7"], false);
    assert_eq!(level(&found, "edge7", "link").0, "fail");
    let found = examine(&weir, &["edge0", "--bpffs", "/proc"], false);
    let bpffs = finding(&found, "host", "bpffs");
    assert!(bpffs["advice"].as_str().unwrap().contains("mount -t bpf"), "{bpffs}");
}

/// `weir doctor` as JSON; `fit` says with which exit code it must end.
fn examine(weir: &Weir<'_>, arguments: &[&str], fit: bool) -> Value {
    let output = weir.output([&["doctor", "--format", "json"], arguments].concat()).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(if fit { 0 } else { 1 }), "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    for finding in report["findings"].as_array().unwrap() {
        let has_advice = finding["advice"].is_string();
        assert_eq!(has_advice, finding["level"] != "ok", "advice where it is needed: {finding}");
    }
    report
}

fn finding<'a>(report: &'a Value, subject: &str, check: &str) -> &'a Value {
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings
        .find(|finding| finding["subject"] == subject && finding["check"] == check)
        .unwrap_or_else(|| panic!("no {check} of {subject} in {report}"))
}

fn level<'a>(report: &'a Value, subject: &str, check: &str) -> (&'a str, String) {
    let finding = finding(report, subject, check);
    (finding["level"].as_str().unwrap(), finding["found"].as_str().unwrap().to_owned())
}
