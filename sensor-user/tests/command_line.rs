//! The binary as its users meet it when something is wrong: what it says, and with which exit code.
//! Nothing here gets as far as the kernel.
#![expect(clippy::unwrap_used, reason = "a test fails loudly, in its helpers too")]

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

const POLICY: &str = "
kind: Site
services: {shop: {tcp: [8080]}}
ladders: {default: [{at: 50, action: drop, for: 10m}]}
---
kind: Policy
metadata: {name: shop}
applies: [shop]
rules: [{name: hammering, points: 60, when: source.connections_10s >= 20}]
";

/// A directory of a test's own, with a policy in it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("weir-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        fs::write(place.join("policy.yaml"), POLICY).unwrap();
        Self(place)
    }

    fn policy(&self) -> String {
        self.0.join("policy.yaml").display().to_string()
    }

    fn command(&self, binary: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .env("WEIR_BPFFS", self.0.join("bpf"))
            .env("WEIR_STATE_DIR", self.0.join("state"))
            .env("WEIR_RUN_DIR", self.0.join("run"))
            .env_remove("SSH_CONNECTION");
        command
    }

    fn weir(&self, arguments: &[&str]) -> (i32, String) {
        told(&self.command(Path::new(env!("CARGO_BIN_EXE_weir")), arguments).output().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The exit code, and everything that was printed.
fn told(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

/// The error says each of these things.
fn assert_says((code, text): &(i32, String), expected: i32, words: &[&str]) {
    assert_eq!(*code, expected, "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

#[test]
fn what_is_not_understood_exits_with_2() {
    let place = Place::new("usage");
    assert_says(&place.weir(&["blok"]), 2, &["unrecognized subcommand 'blok'", "'block'"]);
    assert_says(&place.weir(&["block", "192.0.2.7"]), 2, &["--reason <TEXT>"]);
    assert_says(
        &place.weir(&["block", "192.0.2.7", "--reason", "x", "--for", "10"]),
        2,
        &["write a time like 90s"],
    );
    assert_says(&place.weir(&["unblock", "--all", "192.0.2.7"]), 2, &["cannot be used with"]);
    let help = place.weir(&["block", "--help"]);
    assert_says(&help, 0, &["[ADDR|CIDR|FINGERPRINT]", "--stable", "weir block ja4:t13d1516h2"]);
    assert_says(&place.weir(&["--help"]), 0, &["Exit codes: 0 done; 1 failed"]);
}

#[test]
fn without_a_daemon_every_question_says_how_to_start_one() {
    let place = Place::new("no-daemon");
    for arguments in [
        &["status"][..],
        &["verdicts"],
        &["decisions"],
        &["unblock", "--all"],
        &["signal", "login_failed", "--address", "192.0.2.7"],
        &["block", "192.0.2.7", "--reason", "x"],
        &["block", "ja4:t13d1516h2_8daaf6152771_e5627efa2ab1", "--stable", "--reason", "x"],
        &["unblock", "tcp:4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0"],
    ] {
        assert_says(&place.weir(arguments), 1, &["no daemon answers at", "weir run", "--run-dir"]);
    }
}

#[test]
fn the_kill_switch_needs_no_daemon() {
    let place = Place::new("kill");
    assert_says(&place.weir(&["kill", "on"]), 0, &["takes effect with the next `weir run`"]);
    let status = place.weir(&["kill", "status", "--format", "json"]);
    assert_says(&status, 0, &["\"persisted\": true", "\"kernel\": null"]);
    assert_says(&place.weir(&["kill", "off"]), 0, &["kill switch off"]);
    assert!(!place.0.join("state/kill").exists());
}

#[test]
fn a_start_with_something_wrong_leaves_nothing_behind() {
    let place = Place::new("start");
    let policy = place.policy();
    let run = |interface: &str, policy: &str| {
        place.weir(&["run", "--interface", interface, "--policy", policy])
    };
    assert_says(&run("weir-none", &policy), 1, &["no interface \"weir-none\"", "there are: lo"]);
    assert_says(&run("lo", "/nonexistent.yaml"), 1, &["/nonexistent.yaml: cannot read"]);
    fs::write(place.0.join("wrong.yaml"), POLICY.replace("action: drop", "action: dorp")).unwrap();
    let wrong = place.0.join("wrong.yaml").display().to_string();
    assert_says(&run("lo", &wrong), 1, &["wrong.yaml:4:", "dorp"]);
    if nix::unistd::geteuid().is_root() {
        // The directory exists, but no BPF file system is mounted on it.
        fs::create_dir_all(place.0.join("bpf")).unwrap();
        assert_says(&run("lo", &policy), 1, &["is not a BPF file system: mount -t bpf bpf"]);
    }
    for left in ["run", "state"] {
        assert!(!place.0.join(left).exists(), "{left}");
    }
}

#[test]
fn without_privileges_it_says_which_are_missing() {
    let place = Place::new("unprivileged");
    let arguments = ["run", "--interface", "lo", "--policy", &place.policy()];
    // Where the binary was built, another user may not be able to look.
    let binary = place.0.join("weir");
    fs::copy(env!("CARGO_BIN_EXE_weir"), &binary).unwrap();
    let mut command = place.command(&binary, &arguments);
    if nix::unistd::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let said = told(&command.output().unwrap());
    assert_says(&said, 1, &["missing privileges: without CAP_BPF", "as root"]);
}

#[test]
fn the_doctor_names_what_is_wrong_and_what_to_do() {
    let place = Place::new("doctor");
    let said = place.weir(&["doctor", "weir-none"]);
    assert_says(&said, 1, &["FAIL", "no interface \"weir-none\"", "bpffs", "mount -t bpf bpf"]);
    let (code, json) = place.weir(&["doctor", "lo", "--format", "json"]);
    assert_eq!(code, 1, "there is no BPF file system");
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["level"], "fail");
    let findings = report["findings"].as_array().unwrap();
    let bpffs = findings.iter().find(|finding| finding["check"] == "bpffs").unwrap();
    assert_eq!((&bpffs["level"], &bpffs["subject"]), (&"fail".into(), &"host".into()));
    assert!(findings.iter().any(|finding| finding["subject"] == "lo"));
}
