//! Landlock: which files, and which ports, a thread and those that it starts can reach.
//!
//! Rights are tied to directories as they are now. A file is therefore reached by its directory, so
//! that one that is replaced by renaming is reached again; a directory that did not exist at the start
//! is out of reach until the next start.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
    path_beneath_rules,
};

use super::{Part, Plan};

/// What is confined: everything that this version of Landlock knows of files. Older kernels know less,
/// which is reported.
const FILES: ABI = ABI::V5;

/// DNS over TCP, for answers that are too long.
const DNS: u16 = 53;

/// What every program reads: libraries, names of hosts, time zones; and who is logged in.
const SYSTEM: [&str; 11] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share",
    "/proc",
    "/sys",
    "/run/systemd",
    "/run/utmp",
    "/dev/urandom",
];

/// What it takes to resolve a name and to check a certificate, with the directories in which resolvers
/// keep what `/etc/resolv.conf` points at.
const RESOLVING: [&str; 20] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki",
    "/usr/share/ca-certificates",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];

/// Where logs are, so that one that a policy names later can be read.
const LOGS: &str = "/var/log";

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSock | RemoveFile
    | RemoveDir | Refer
});
/// Whoever listens takes its socket away at the end.
const REMOVE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{RemoveFile});

/// Landlock's version in this kernel; 0 if it has none.
pub(super) fn version() -> i32 {
    // SAFETY: with this flag no memory is read (landlock_create_ruleset(2)).
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, 1u32) };
    i32::try_from(version).map_or(0, |version| version.max(0))
}

/// Shuts the process in.
pub(super) fn confine(plan: &Plan) -> Result<(), String> {
    let build = || {
        let rules = Ruleset::default()
            .handle_access(AccessFs::from_all(FILES))?
            // No signals to processes that are not part of it.
            .scope(Scope::Signal)?
            .create()?
            .add_rules(path_beneath_rules(SYSTEM, READ))?
            .add_rules(path_beneath_rules([LOGS], READ))?
            .add_rules(path_beneath_rules(RESOLVING, READ))?
            .add_rules(path_beneath_rules(with_targets(&plan.read), READ))?
            .add_rules(path_beneath_rules(with_targets(&plan.logs), READ))?
            .add_rules(path_beneath_rules(with_targets(&plan.feed_files), READ))?;
        let rules = rules
            .add_rules(path_beneath_rules(["/dev/null"], READ | AccessFs::WriteFile))?
            .add_rules(path_beneath_rules(with_targets(&plan.written), WRITE))?;
        rules.restrict_self()
    };
    judge(build())
}

/// Shuts the calling thread in further.
pub(super) fn enter(part: Part, plan: &Plan) -> Result<(), String> {
    judge(match part {
        Part::Api => build(|rules| rules.add_rules(path_beneath_rules([&plan.run_dir], REMOVE))),
        Part::Signals => build(|rules| {
            rules
                .add_rules(path_beneath_rules([&plan.run_dir], REMOVE))?
                .add_rules(path_beneath_rules([LOGS], READ))?
                .add_rules(path_beneath_rules(with_targets(&plan.logs), READ))
        }),
        Part::Feeds => build(|rules| {
            rules
                .add_rules(path_beneath_rules(RESOLVING, READ))?
                // So that `fetch`, which begins later, can be given the resolver's file of then.
                .add_rules(path_beneath_rules(["/etc"], AccessFs::ReadFile))?
                .add_rules(path_beneath_rules(["/proc", "/sys"], READ))?
                .add_rules(path_beneath_rules(with_targets(&plan.feed_files), READ))?
                .add_rules(path_beneath_rules([&plan.feeds], WRITE))
        }),
        Part::Fetch { port } => fetch(port),
    })
}

fn build(
    rules: impl FnOnce(RulesetCreated) -> Result<RulesetCreated, RulesetError>,
) -> Result<RestrictionStatus, RulesetError> {
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(FILES))?.create()?;
    rules(ruleset)?.restrict_self()
}

fn fetch(port: u16) -> Result<RestrictionStatus, RulesetError> {
    let roots = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    Ruleset::default()
        .handle_access(AccessFs::from_all(FILES))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .create()?
        .add_rules(path_beneath_rules(with_targets(&RESOLVING.map(PathBuf::from)), READ))?
        .add_rules(path_beneath_rules(roots, READ))?
        .add_rules(path_beneath_rules(["/proc", "/sys"], READ))?
        .add_rule(NetPort::new(port, AccessNet::ConnectTcp))?
        .add_rule(NetPort::new(DNS, AccessNet::ConnectTcp))?
        .restrict_self()
}

/// These, and where they lead if they are links.
fn with_targets(paths: &[PathBuf]) -> Vec<PathBuf> {
    let targets = paths.iter().filter_map(|path| path.canonicalize().ok());
    paths.iter().cloned().chain(targets).collect()
}

/// The directory of a file, by which it is reached after it was replaced. The root directory is
/// everything, so a file in it is reached as it is.
pub(crate) fn place_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => ".".into(),
        Some(parent) if parent != Path::new("/") => parent.into(),
        _ => file.into(),
    }
}

fn judge(result: Result<RestrictionStatus, RulesetError>) -> Result<(), String> {
    match result {
        Ok(status) => match status.ruleset {
            RulesetStatus::FullyEnforced => Ok(()),
            RulesetStatus::PartiallyEnforced => {
                Err(format!("this kernel has version {} of Landlock only", version()))
            }
            RulesetStatus::NotEnforced => Err("this kernel has no Landlock".into()),
        },
        Err(error) => Err(error.to_string()),
    }
}
