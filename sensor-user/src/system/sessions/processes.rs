//! The tree of sshd's processes: which of them belong to somebody who is logged in, and their sockets.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// Processes that are looked at.
const MOST: usize = 65_536;
/// Open files of a process that are looked at: sshd has some dozens.
const MOST_FILES: usize = 1024;

/// Inodes of the sockets that processes of authenticated sessions hold.
pub(super) fn sockets_of_sessions(proc: &Path) -> HashSet<u32> {
    let sessions = processes(proc).filter(|pid| is_session(proc, *pid));
    sessions.flat_map(|pid| sockets(proc, pid)).collect()
}

/// Processes of this name that root runs.
pub(super) fn of_root<'a>(proc: &'a Path, called: &'a str) -> impl Iterator<Item = u32> + 'a {
    processes(proc).filter(move |pid| {
        name(proc, *pid).is_some_and(|name| name == called)
            && status(proc, *pid).is_some_and(|status| status.uid == 0)
    })
}

/// Inodes of a process's sockets; none where this process may not see them.
pub(super) fn sockets(proc: &Path, pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(of(proc, pid).join("fd")) else { return Vec::new() };
    let links = entries.flatten().take(MOST_FILES).filter_map(|fd| fs::read_link(fd.path()).ok());
    links
        .filter_map(|link| {
            let text = link.to_str()?;
            text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

/// A process's name: of its program, at most 15 bytes.
pub(super) fn name(proc: &Path, pid: u32) -> Option<String> {
    fs::read_to_string(of(proc, pid).join("comm")).ok().map(|name| name.trim_end().to_owned())
}

/// Whether a process serves somebody who is logged in: a child of root's sshd that says in its title who
/// and on which terminal, and runs as that user.
fn is_session(proc: &Path, pid: u32) -> bool {
    if !super::is_sshd(proc, pid) {
        return false;
    }
    let Some(own) = status(proc, pid) else { return false };
    let is_of_sshd = super::is_sshd(proc, own.parent)
        && status(proc, own.parent).is_some_and(|parent| parent.uid == 0);
    let Some(user) = title(proc, pid).and_then(|title| user_of(&title).map(str::to_owned)) else {
        return false;
    };
    // Titles are anybody's to write. Root's processes are sshd's own; and before authentication one runs
    // as `sshd`, a user of its own.
    is_of_sshd && (own.uid != 0 || user == "root") && user != "sshd"
}

/// Whom a title of sshd's says that the process serves: `sshd: alice@pts/0`, `sshd-session: alice@notty`.
fn user_of(title: &str) -> Option<&str> {
    let (program, rest) = title.split_once(": ")?;
    if !matches!(program, "sshd" | "sshd-session") || rest.contains(['[', ']', ' ']) {
        return None;
    }
    let (user, terminal) = rest.rsplit_once('@')?;
    (!user.is_empty() && !terminal.is_empty()).then_some(user)
}

fn title(proc: &Path, pid: u32) -> Option<String> {
    let bytes = fs::read(of(proc, pid).join("cmdline")).ok()?;
    let first = bytes.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(first).trim_end().to_owned())
}

struct Status {
    parent: u32,
    uid: u32,
}

fn status(proc: &Path, pid: u32) -> Option<Status> {
    let text = fs::read_to_string(of(proc, pid).join("status")).ok()?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some(Status { parent: field("PPid:")?, uid: field("Uid:")? })
}

fn processes(proc: &Path) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(MOST)
}

fn of(proc: &Path, pid: u32) -> PathBuf {
    proc.join(pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_before_authentication_names_nobody() {
        for (title, expected) in [
            ("sshd: alice@pts/0", Some("alice")),
            ("sshd-session: alice@notty", Some("alice")),
            ("sshd: alice@pts/0,pts/1", Some("alice")),
            ("sshd: alice [priv]", None),
            ("sshd: alice [net]", None),
            ("sshd: alice@pts/0 [priv]", None),
            ("sshd: unknown [preauth]", None),
            ("sshd: [accepted]", None),
            ("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", None),
            ("sshd: @pts/0", None),
            ("sshd: alice@", None),
            ("sshd-auth: alice@pts/0", None),
            ("bash: alice@pts/0", None),
            ("sshd", None),
            ("", None),
        ] {
            assert_eq!(user_of(title), expected, "{title}");
        }
    }
}
