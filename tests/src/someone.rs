//! Somebody on the host who is not root: a thread with a user and groups of its own, and a `weir` that
//! knows groups which the host does not have.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, anyhow};

use crate::{net::Lab, weir::binary};

/// The group of operators, in [`wrapped`].
pub const OPERATORS: u32 = 64_990;
/// The group of applications, in [`wrapped`].
pub const APPLICATIONS: u32 = 64_991;

/// Does something as another user. Only the thread that does it is that user: the system call, unlike
/// the C library's function of its name, changes no other.
pub fn act_as<T: Send>(uid: u32, groups: &[u32], deed: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                become_user(uid, groups).context("cannot become another user")?;
                Ok(deed())
            })
            .join()
            .map_err(|_| anyhow!("a thread of user {uid} panicked"))?
    })
}

fn become_user(uid: u32, groups: &[u32]) -> io::Result<()> {
    let call = |result: libc::c_long| {
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // The group that nobody else is in has the user's number.
    let gid = uid;
    // SAFETY: `groups` outlives the call, which reads as many numbers as it is told.
    call(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: these calls read no memory.
    call(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: as above.
    call(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// A `weir` for this lab on whose host the groups `weir` and `weir-apps` exist, and nowhere else: it sees
/// a group file of its own. `before` is what a shell does before it becomes `weir` with `launcher` in
/// front.
pub fn wrapped(lab: &Lab, before: &str, launcher: &str) -> Result<PathBuf> {
    let directory = lab.directory();
    let groups = directory.join("group");
    let known = fs::read_to_string("/etc/group").context("cannot read /etc/group")?;
    let known: Vec<&str> = known.lines().filter(|line| !line.starts_with("weir")).collect();
    let text = format!("{}\nweir:x:{OPERATORS}:\nweir-apps:x:{APPLICATIONS}:\n", known.join("\n"));
    fs::write(&groups, text).with_context(|| format!("cannot write {}", groups.display()))?;
    let script = directory.join("weir");
    let inner = directory.join("weir-inside");
    let real = binary()?;
    executable(
        &script,
        &format!(
            "#!/bin/sh\nexec unshare --mount --propagation private {} \"$@\"\n",
            inner.display()
        ),
    )?;
    executable(
        &inner,
        &format!(
            "#!/bin/sh\nset -e\nmount --bind {} /etc/group\n{before}\nexec {launcher} {} \"$@\"\n",
            groups.display(),
            real.display()
        ),
    )?;
    Ok(script)
}

fn executable(path: &Path, text: &str) -> Result<()> {
    let made = fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)));
    made.with_context(|| format!("cannot write {}", path.display()))
}
