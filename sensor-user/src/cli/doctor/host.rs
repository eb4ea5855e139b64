//! The host: kernel, types, privileges, BPF file system, kill switch.

use std::fs;

use super::finding::{Finding, Findings};
use crate::{
    daemon::kill,
    system::{
        bpffs,
        capability::{self, Capabilities, Capability},
        kernel_version::{self, KernelVersion, OLDEST, TCX},
        paths::Paths,
        sandbox,
    },
};

/// Looks at the host.
pub(super) fn examine(paths: &Paths) -> Vec<Finding> {
    let mut findings = Findings::about("host");
    kernel(&mut findings);
    types(&mut findings);
    compiler(&mut findings);
    privileges(&mut findings);
    walls(&mut findings);
    file_system(&mut findings, paths);
    kill_switch(&mut findings, paths);
    findings.into_list()
}

fn kernel(findings: &mut Findings) {
    const CHECK: &str = "kernel";
    match KernelVersion::running() {
        None => findings.warn(CHECK, "unknown version", "check that `uname -r` begins with 5.18 or later"),
        Some(version) if !version.at_least(OLDEST) => findings.fail(
            CHECK,
            format!("{version} is too old"),
            "Weir needs 5.18 or later, and is at its best from 6.6 on: install a newer kernel",
        ),
        Some(version) if !version.at_least(TCX) => findings.warn(
            CHECK,
            format!("{version} has no TCX links"),
            "TC programs go into a clsact qdisc, where an upgrade replaces them one by one; 6.6 and \
             later replace them atomically",
        ),
        Some(version) => findings.ok(CHECK, version.to_string()),
    }
}

fn types(findings: &mut Findings) {
    const CHECK: &str = "BTF";
    if kernel_version::has_btf() {
        findings.ok(CHECK, "/sys/kernel/btf/vmlinux");
    } else {
        findings.fail(
            CHECK,
            "this kernel does not publish its types",
            "use a kernel built with CONFIG_DEBUG_INFO_BTF=y (every distribution's since 2021); in a \
             container, mount /sys",
        );
    }
}

/// The setting exists in the initial network namespace only; where it cannot be read, nothing is
/// said.
fn compiler(findings: &mut Findings) {
    const CHECK: &str = "BPF JIT";
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").as_deref().map(str::trim) {
        Ok("0") => findings.warn(
            CHECK,
            "off: programs are interpreted, ten times slower",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Ok(_) => findings.ok(CHECK, "on"),
        Err(_) => {}
    }
}

fn privileges(findings: &mut Findings) {
    const CHECK: &str = "privileges";
    let held = match Capabilities::effective() {
        Ok(held) => held,
        Err(error) => {
            findings.warn(CHECK, format!("cannot be read: {error}"), "mount /proc");
            return;
        }
    };
    let missing: Vec<String> = held.missing().into_iter().map(Capability::without).collect();
    if capability::in_user_namespace() {
        findings.fail(
            CHECK,
            "this is a user namespace, where no capability reaches BPF",
            "run Weir in the initial user namespace",
        );
    } else if missing.is_empty() {
        let names: Vec<&str> = Capability::DAEMON.into_iter().map(Capability::name).collect();
        findings.ok(CHECK, names.join(" "));
    } else {
        findings.fail(
            CHECK,
            missing.join("; "),
            "run this as root, or grant the unit AmbientCapabilities=CAP_BPF CAP_NET_ADMIN \
             CAP_PERFMON",
        );
    }
}

/// The newest version of Landlock that the sandbox has a use for: files, TCP ports, signals.
const LANDLOCK: i32 = 6;

fn walls(findings: &mut Findings) {
    const CHECK: &str = "sandbox";
    let meanwhile = "Weir works without; --require-sandbox makes it refuse to start";
    match sandbox::offered() {
        (LANDLOCK.., true) => findings.ok(CHECK, "Landlock and seccomp"),
        (0, true) => findings.warn(CHECK, "no Landlock: files are not confined", meanwhile),
        (version, true) => {
            let found = format!("Landlock of version {version}: less is confined than could be");
            findings.warn(CHECK, found, meanwhile);
        }
        (_, false) => findings.warn(CHECK, "no seccomp: system calls are not confined", meanwhile),
    }
}

fn file_system(findings: &mut Findings, paths: &Paths) {
    const CHECK: &str = "bpffs";
    let place = paths.bpffs.display();
    match bpffs::is_mounted(&paths.bpffs) {
        Ok(true) => findings.ok(CHECK, format!("{place}")),
        Ok(false) => findings.fail(
            CHECK,
            format!("{place} is not a BPF file system"),
            format!("mount -t bpf bpf {place}"),
        ),
        Err(error) => findings.fail(
            CHECK,
            format!("{place}: {error}"),
            format!("mkdir -p {place} && mount -t bpf bpf {place}, or name another with --bpffs"),
        ),
    }
}

fn kill_switch(findings: &mut Findings, paths: &Paths) {
    const CHECK: &str = "kill switch";
    let persisted = kill::persisted(paths);
    let in_kernel = kill::in_kernel(paths);
    match (persisted, in_kernel) {
        (Ok(false), Ok(None | Some(false))) => findings.ok(CHECK, "off"),
        (Ok(_), Ok(_)) => findings.warn(
            CHECK,
            "on: everything passes, nothing is enforced",
            "weir kill off, when the reason for it is gone",
        ),
        (Err(error), _) | (_, Err(error)) => {
            findings.warn(CHECK, error.to_string(), "run this as root");
        }
    }
}
