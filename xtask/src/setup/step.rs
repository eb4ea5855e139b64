//! What `setup` does when something is missing: each step can be run, or shown as the commands
//! that it stands for.

use std::{
    env,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    clients,
    packages::{self, Needs, llvm_prefix},
};
use crate::{
    privilege::is_root,
    process::{find_program, run_logged, shown},
    toolchain::{BPF_LINKER_VERSION, Linker},
    workspace::Workspace,
};

/// What to do on a system that does not have these packages.
pub(super) const WITHOUT_DEBIAN: &str = "\
where these packages are not to be had: `rustup toolchain install nightly --component rust-src`, and a \
bpf-linker on PATH that is built with the same LLVM (`rustc +nightly --version --verbose` says which)";

/// One thing to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Debian packages.
    Packages(Vec<String>),
    /// bpf-linker, built against this LLVM.
    BpfLinker {
        /// LLVM's major version.
        llvm_major: u32,
        /// Folder whose `bin` it goes to.
        root: PathBuf,
    },
    /// Real TLS clients for the lab.
    Clients {
        /// Where they go to.
        folder: PathBuf,
    },
}

impl Step {
    /// bpf-linker for a compiler with this LLVM, into the target directory: the machine's other
    /// projects keep theirs.
    pub(super) fn bpf_linker(workspace: &Workspace, llvm_major: u32) -> Self {
        Self::BpfLinker { llvm_major, root: Linker::install_root(workspace, llvm_major) }
    }

    /// Whether it needs the package manager.
    pub(super) fn is_packages(&self) -> bool {
        matches!(self, Self::Packages(_))
    }

    /// The commands as a person would type them.
    pub(super) fn command_lines(&self) -> Vec<String> {
        match self {
            Self::Packages(packages) => vec![
                "sudo apt-get update".into(),
                format!("sudo {}", shown(&apt_install(packages))),
            ],
            Self::BpfLinker { llvm_major, root } => vec![format!(
                "LLVM_PREFIX={} cargo install bpf-linker --version {BPF_LINKER_VERSION} --locked \
                 --root {} --no-default-features --features llvm-{llvm_major}",
                llvm_prefix(*llvm_major).display(),
                root.display(),
            )],
            // More than a line to type: this program does it, built as whoever may build it.
            Self::Clients { .. } => {
                let this = env::current_exe().unwrap_or_else(|_| "xtask".into());
                vec![format!("sudo {} setup --clients", this.display())]
            }
        }
    }
}

/// The step that fetches real TLS clients, if some are missing.
pub(super) fn clients_of(workspace: &Workspace) -> Option<Step> {
    let folder = clients::folder(workspace);
    (!clients::missing(&folder).is_empty()).then_some(Step::Clients { folder })
}

/// The step that installs the packages missing for a purpose, if any are.
pub(super) fn packages_of(needs: Needs<'_>) -> Option<Step> {
    let missing = packages::missing(needs);
    (!missing.is_empty()).then_some(Step::Packages(missing))
}

/// One package step for all, before everything else: the package manager is started once.
pub(super) fn merged(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut packages = Vec::new();
    let mut others = Vec::new();
    for step in steps {
        match step {
            Step::Packages(some) => packages.extend(some),
            other => others.push(other),
        }
    }
    packages.sort();
    packages.dedup();
    let first = (!packages.is_empty()).then_some(Step::Packages(packages));
    first.into_iter().chain(others).collect()
}

/// What this machine and user let `setup` do.
pub(super) struct Installer {
    apt_get: Option<PathBuf>,
    is_root: bool,
}

impl Installer {
    pub(super) fn detect() -> Self {
        Self { apt_get: find_program("apt-get"), is_root: is_root() }
    }

    /// Why a step cannot be run here.
    pub(super) fn refuses(&self, step: &Step) -> Option<&'static str> {
        match step {
            Step::Packages(_) if self.apt_get.is_none() => {
                Some("this is not Debian or one of its kind (no apt-get)")
            }
            Step::Packages(_) | Step::Clients { .. } if !self.is_root => {
                Some("installing packages needs root")
            }
            _ => None,
        }
    }

    /// Runs a step that is not refused.
    pub(super) fn run(&self, workspace: &Workspace, step: &Step) -> Result<()> {
        let log = |name: &str| workspace.tools_dir().join("log").join(name);
        match step {
            Step::Packages(packages) => {
                // One source out of reach is not yet a reason to give up: the others may do.
                if let Err(error) = run_logged(
                    Command::new("apt-get").arg("update"),
                    "update the package lists",
                    &log("apt-update.txt"),
                ) {
                    eprintln!("setup: going on with old package lists: {error:#}");
                }
                let _quiet = NoServices::begin();
                run_logged(
                    apt_install(packages).env("DEBIAN_FRONTEND", "noninteractive"),
                    &format!("install {}", packages.join(" ")),
                    &log("apt-install.txt"),
                )
                .context(WITHOUT_DEBIAN)
            }
            Step::BpfLinker { llvm_major, root } => run_logged(
                workspace
                    .cargo_install("bpf-linker", BPF_LINKER_VERSION, root)
                    .args(["--no-default-features", "--features"])
                    .arg(format!("llvm-{llvm_major}"))
                    .env("LLVM_PREFIX", llvm_prefix(*llvm_major)),
                &format!("compile bpf-linker {BPF_LINKER_VERSION} (about a minute)"),
                &log("bpf-linker.txt"),
            ),
            Step::Clients { folder } => clients::install(folder, log),
        }
    }
}

fn apt_install(packages: &[String]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    command
}

/// Where packages ask whether the services that they bring may be started.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// While this lives, no package starts its service: the lab needs the program nginx, and nobody asked
/// for a web server. Where the machine has a policy of its own, that one stands.
struct NoServices(bool);

impl NoServices {
    fn begin() -> Self {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(SERVICE_POLICY);
        // 101: not allowed (invoke-rc.d(8)). Where it cannot be written, packages do as they like.
        Self(file.is_ok_and(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n").is_ok()))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.0
            && let Err(error) = fs::remove_file(SERVICE_POLICY)
        {
            eprintln!("setup: remove {SERVICE_POLICY}, or services will not start: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(names: &[&str]) -> Step {
        Step::Packages(names.iter().map(|&name| name.into()).collect())
    }

    #[test]
    fn packages_of_all_steps_are_installed_first_and_once() {
        let linker = Step::BpfLinker { llvm_major: 22, root: "/tools".into() };
        let steps = merged([
            packages(&["rustc-web", "zlib1g-dev"]),
            linker.clone(),
            packages(&["ethtool", "zlib1g-dev"]),
        ]);
        assert_eq!(steps, [packages(&["ethtool", "rustc-web", "zlib1g-dev"]), linker]);
    }

    #[test]
    fn only_a_root_on_debian_installs_packages() {
        let step = packages(&["ethtool"]);
        let debian = |is_root| Installer { apt_get: Some("/usr/bin/apt-get".into()), is_root };
        assert_eq!(debian(true).refuses(&step), None);
        assert!(debian(false).refuses(&step).is_some_and(|why| why.contains("root")));
        let elsewhere = Installer { apt_get: None, is_root: true };
        assert!(elsewhere.refuses(&step).is_some_and(|why| why.contains("Debian")));
    }

    #[test]
    fn the_printed_commands_are_those_that_would_run() {
        let linker = Step::BpfLinker { llvm_major: 21, root: "/w/target/tools/x".into() };
        assert_eq!(
            linker.command_lines(),
            [format!(
                "LLVM_PREFIX=/usr/lib/llvm-21 cargo install bpf-linker --version {BPF_LINKER_VERSION} --locked \
                 --root /w/target/tools/x --no-default-features --features llvm-21"
            )]
        );
        assert_eq!(
            packages(&["ethtool"]).command_lines(),
            ["sudo apt-get update", "sudo apt-get install --yes --no-install-recommends ethtool"]
        );
    }
}
