//! What this process keeps of its rights: the three capabilities that its work needs, and in threads
//! that parse what others wrote, none.
//!
//! Why each of the three stays after everything is attached: `CAP_NET_ADMIN` to end connections
//! (`SOCK_DESTROY`) and to attach to an interface that comes back; `CAP_BPF` for maps and programs, at
//! every verdict; `CAP_PERFMON` to load programs when an interface is attached to again. Nothing else
//! is needed, not even the right to pass over permissions of files (`CAP_DAC_OVERRIDE`): the state
//! directory and the pins belong to the user that the daemon runs as.

use std::io;

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::unistd::{self, Gid};

/// What the daemon runs with.
const KEPT: [Capability; 3] =
    [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];

/// Rights could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Of the capabilities.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(#[from] CapsError),
    /// Of `no_new_privs`.
    #[error("cannot forswear new privileges (prctl PR_SET_NO_NEW_PRIVS): {0}")]
    NoNewPrivileges(io::Error),
}

/// Makes this process a member of these groups too, so that it can give its sockets to them without
/// the right to give files to anybody. Only while it has no other thread.
///
/// # Errors
/// If it may not choose its groups; then those that it has are all that it can give sockets to.
pub fn join(groups: impl IntoIterator<Item = u32>) -> io::Result<()> {
    let mut all = unistd::getgroups()?;
    let before = all.len();
    for group in groups.into_iter().map(Gid::from_raw) {
        if !all.contains(&group) && group != unistd::getegid() {
            all.push(group);
        }
    }
    if all.len() > before {
        unistd::setgroups(&all)?;
    }
    Ok(())
}

/// Gives up every capability but the three, in all sets, for ever. Threads that begin later have no
/// more than this one.
///
/// # Errors
/// If the kernel refuses, which it does not.
pub fn settle() -> Result<(), PrivilegeError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let mut kept: CapsHashSet = KEPT.into_iter().collect();
    if !kept.is_subset(&held) {
        // Of all capabilities, this one stands in for two of them (`bpf_capable()`).
        kept.insert(Capability::CAP_SYS_ADMIN);
    }
    let kept: CapsHashSet = kept.intersection(&held).copied().collect();
    // The bounding set first: it takes CAP_SETPCAP.
    if held.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::runtime::thread_all_supported() {
            if !kept.contains(&capability) && caps::has_cap(None, CapSet::Bounding, capability)? {
                caps::drop(None, CapSet::Bounding, capability)?;
            }
        }
    }
    keep_only(&kept)?;
    forswear().map_err(PrivilegeError::NoNewPrivileges)
}

/// Gives up every capability of this thread, for ever.
///
/// # Errors
/// If the kernel refuses, which it does not.
pub fn renounce() -> Result<(), PrivilegeError> {
    keep_only(&CapsHashSet::new())?;
    forswear().map_err(PrivilegeError::NoNewPrivileges)
}

fn keep_only(kept: &CapsHashSet) -> Result<(), CapsError> {
    caps::clear(None, CapSet::Ambient)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new())?;
    // What is effective must be permitted at every moment.
    caps::set(None, CapSet::Effective, kept)?;
    caps::set(None, CapSet::Permitted, kept)
}

/// No program that this thread runs has more rights than it (prctl(2)). Landlock and seccomp ask for
/// it, too.
fn forswear() -> io::Result<()> {
    // SAFETY: this operation reads no memory.
    let result = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a thread of its own, which alone gives up anything.
    fn on_a_thread<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(test).join().unwrap()
    }

    #[test]
    fn what_is_settled_on_is_at_most_the_three() {
        let before = caps::read(None, CapSet::Permitted).unwrap();
        let after = on_a_thread(|| {
            settle().unwrap();
            [CapSet::Permitted, CapSet::Effective, CapSet::Inheritable, CapSet::Ambient]
                .map(|set| caps::read(None, set).unwrap())
        });
        let [permitted, effective, inheritable, ambient] = after;
        let three: CapsHashSet = KEPT.into_iter().collect();
        assert_eq!(permitted, before.intersection(&three).copied().collect());
        assert_eq!(effective, permitted);
        assert!(inheritable.is_empty() && ambient.is_empty());
    }

    #[test]
    fn nothing_comes_back() {
        on_a_thread(|| {
            renounce().unwrap();
            assert!(caps::read(None, CapSet::Permitted).unwrap().is_empty());
            assert!(caps::raise(None, CapSet::Effective, Capability::CAP_BPF).is_err());
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        });
    }
}
