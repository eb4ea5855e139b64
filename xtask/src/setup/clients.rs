//! Real TLS clients, and tools that name them independently of Weir: one Debian release unpacked into
//! a folder of the target directory. The host's own packages stay as they are, and the versions are
//! the same on every machine. Nothing but the lab's test of real clients needs it, and only
//! `cargo xtask setup --clients` fetches it: it is some 2 GB.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    process::{capture, find_program, run_logged},
    workspace::Workspace,
};

/// The release: its tshark and Suricata know JA4, and its OpenSSL and Go send post-quantum key shares.
const RELEASE: &str = "trixie";

/// Files below the folder that tell whether a package is there.
const PROGRAMS: [(&str, &str); 11] = [
    ("usr/bin/curl", "curl"),
    ("usr/bin/openssl", "openssl"),
    ("usr/bin/python3", "python3"),
    ("usr/bin/node", "nodejs"),
    ("usr/bin/go", "golang-go"),
    ("usr/bin/javac", "default-jdk-headless"),
    ("usr/bin/gnutls-cli", "gnutls-bin"),
    ("usr/bin/tstclnt", "libnss3-tools"),
    ("usr/bin/chromium", "chromium"),
    ("usr/bin/tshark", "tshark"),
    ("usr/bin/suricata", "suricata"),
];

/// Suites of the release that are used if the host uses those of its own release.
const SUITES: [&str; 3] = ["", "-updates", "-security"];

/// What the folder's apt takes over from the host's: how a mirror is reached, and whether the host's
/// clock is to be believed.
const TAKEN_OVER: [&str; 4] = [
    "Acquire::http::Proxy ",
    "Acquire::https::Proxy ",
    "Acquire::Check-Date ",
    "Acquire::Check-Valid-Until ",
];

/// Where the folder is. The lab looks for it there.
pub(super) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("clients").join(RELEASE)
}

/// Packages that are not in the folder.
pub(super) fn missing(folder: &Path) -> Vec<&'static str> {
    PROGRAMS
        .into_iter()
        // Not `exists`: a link's target is meant to be looked for from inside.
        .filter(|(file, _)| fs::symlink_metadata(folder.join(file)).is_err())
        .map(|(_, package)| package)
        .collect()
}

/// Makes the folder, or adds what it lacks. A folder under its own name is complete.
pub(super) fn install(folder: &Path, log: impl Fn(&str) -> PathBuf) -> Result<()> {
    if folder.is_dir() {
        return add_packages(folder, log);
    }
    let partial = folder.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("remove {}", partial.display()))?;
    }
    fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
    let sources = host_sources(&log)?;
    // In a mount namespace of its own, whatever it mounts goes with it, also if it is interrupted.
    let mut debootstrap = Command::new("unshare");
    debootstrap.args(["--mount", "debootstrap", "--variant=minbase", "--include=ca-certificates"]);
    debootstrap.arg(RELEASE).arg(&partial);
    // Without one, debootstrap knows a mirror itself.
    if let Some(main) = sources.iter().find(|source| source.suite.is_empty()) {
        debootstrap.arg(&main.uri);
    }
    run_logged(&mut debootstrap, "unpack the clients' Debian release", &log("debootstrap.txt"))?;
    configure(&partial, &sources)?;
    add_packages(&partial, log)?;
    fs::rename(&partial, folder).with_context(|| format!("rename {}", partial.display()))
}

/// A place that packages come from.
struct Source {
    uri: String,
    /// One of [`SUITES`].
    suite: &'static str,
}

/// Where the host gets Debian's packages from; nothing if it is not Debian.
fn host_sources(log: impl Fn(&str) -> PathBuf) -> Result<Vec<Source>> {
    if find_program("apt-get").is_none() {
        return Ok(Vec::new());
    }
    // The origin of a source is known from its list.
    if let Err(error) = run_logged(
        Command::new("apt-get").arg("update"),
        "update the package lists",
        &log("apt-update.txt"),
    ) {
        eprintln!("setup: going on with old package lists: {error:#}");
    }
    let text = capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(COMPONENT) $(CODENAME) $(REPO_URI)",
        "Created-By: Packages",
        "Origin: Debian",
    ]))?;
    Ok(text.lines().filter_map(source).collect())
}

/// "main bookworm-security URI" → the suite of the same kind.
fn source(line: &str) -> Option<Source> {
    let (codename, uri) = line.strip_prefix("main ")?.split_once(' ')?;
    let suite = codename.find('-').and_then(|at| codename.get(at..)).unwrap_or_default();
    let suite = SUITES.into_iter().find(|known| *known == suite)?;
    Some(Source { uri: uri.to_owned(), suite })
}

/// Makes the folder's apt reach the mirrors as the host's does, and keeps packages from starting
/// daemons.
fn configure(folder: &Path, sources: &[Source]) -> Result<()> {
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    if !sources.is_empty() {
        let lines: Vec<String> = sources
            .iter()
            .map(|Source { uri, suite }| format!("deb {uri} {RELEASE}{suite} main\n"))
            .collect();
        write("etc/apt/sources.list", &lines.concat())?;
        let settings = capture(Command::new("apt-config").args(["dump", "Acquire"]))?;
        let settings: Vec<&str> = settings
            .lines()
            .filter(|line| TAKEN_OVER.iter().any(|name| line.starts_with(name)))
            .collect();
        write("etc/apt/apt.conf.d/90host", &(settings.join("\n") + "\n"))?;
    }
    // invoke-rc.d(8): 101 is "forbidden".
    write("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")?;
    let policy = folder.join("usr/sbin/policy-rc.d");
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", policy.display()))
}

fn add_packages(folder: &Path, log: impl Fn(&str) -> PathBuf) -> Result<()> {
    run_logged(
        inside(folder).args(["apt-get", "update"]),
        "update the clients' package lists",
        &log("clients-update.txt"),
    )?;
    run_logged(
        inside(folder)
            .args(["apt-get", "install", "--yes", "--no-install-recommends"])
            .args(missing(folder)),
        "install the clients (some 2 GB unpacked)",
        &log("clients-install.txt"),
    )?;
    run_logged(
        inside(folder).args(["apt-get", "clean"]),
        "remove the downloaded archives",
        &log("clients-clean.txt"),
    )
}

/// A command with the folder as its root, a `/proc` of its own, and processes that end with it.
fn inside(folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--wd=/"])
        .arg(format!("--root={}", folder.display()))
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite_of(line: &str) -> Option<(&'static str, String)> {
        source(line).map(|Source { uri, suite }| (suite, uri))
    }

    #[test]
    fn a_source_of_the_host_leads_to_the_same_suite_of_the_release() {
        let uri = || "file:/mirror".to_owned();
        assert_eq!(suite_of("main bookworm file:/mirror"), Some(("", uri())));
        assert_eq!(suite_of("main bookworm-security file:/mirror"), Some(("-security", uri())));
        assert_eq!(suite_of("main bookworm-backports file:/mirror"), None);
        assert_eq!(suite_of("contrib bookworm file:/mirror"), None);
    }

    #[test]
    fn a_folder_without_programs_lacks_every_package() {
        assert_eq!(missing(Path::new("/nonexistent")).len(), PROGRAMS.len());
    }
}
