//! Who is at the other end of a Unix socket, as the kernel says: nobody can claim to be somebody else.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

use tokio::net::UnixStream;

use crate::journal::Actor;

/// Groups that a process can be in (`NGROUPS_MAX`).
const MOST_GROUPS: usize = 65_536;
/// Room that is tried first.
const USUAL_GROUPS: usize = 64;

/// A process at the other end, as it was when it connected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Peer {
    uid: u32,
    gid: u32,
    /// 0 = unknown: in another process namespace.
    pid: i32,
    groups: Vec<u32>,
}

impl Peer {
    /// Who it is (`SO_PEERCRED`, `SO_PEERGROUPS` of unix(7) and socket(7)).
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        Ok(Self {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid().unwrap_or_default(),
            groups: groups(stream.as_fd())?,
        })
    }

    /// Its user.
    pub(super) const fn uid(&self) -> u32 {
        self.uid
    }

    /// Whether it may use the control socket: root, the daemon's own user, and the members of the group
    /// that the socket was given to.
    pub(super) fn may_operate(&self, operators: Option<u32>) -> bool {
        let is_member = |group| self.gid == group || self.groups.contains(&group);
        self.uid == 0
            || self.uid == nix::unistd::geteuid().as_raw()
            || operators.is_some_and(is_member)
    }

    /// As the journal names it.
    pub(super) const fn actor(&self) -> Actor {
        Actor::Peer { uid: self.uid, gid: self.gid, pid: self.pid }
    }
}

/// Its groups beside its own.
fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut room = USUAL_GROUPS;
    loop {
        let mut groups = vec![0u32; room];
        let mut bytes = u32::try_from(size_of_val(groups.as_slice())).unwrap_or(u32::MAX);
        // SAFETY: `groups` is `bytes` long and writable, and both outlive the call.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let count = bytes as usize / size_of::<u32>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // Then it says how much room it takes.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= room || count > MOST_GROUPS {
            return Err(error);
        }
        room = count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32, groups: &[u32]) -> Peer {
        Peer { uid, gid, pid: 1, groups: groups.into() }
    }

    #[test]
    fn only_root_the_daemons_user_and_the_group_may_operate() {
        let own = nix::unistd::geteuid().as_raw();
        assert!(peer(0, 0, &[]).may_operate(None));
        assert!(peer(own, 54_321, &[]).may_operate(None));
        let stranger = own.wrapping_add(54_321);
        assert!(
            !peer(stranger, 0, &[0, 990]).may_operate(None),
            "the group of root is no operators'"
        );
        assert!(!peer(stranger, 100, &[27, 100]).may_operate(Some(990)));
        assert!(peer(stranger, 990, &[]).may_operate(Some(990)));
        assert!(peer(stranger, 100, &[27, 990]).may_operate(Some(990)));
    }

    #[test]
    fn the_kernel_says_who_it_is() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(async {
            let (here, _there) = UnixStream::pair().unwrap();
            Peer::of(&here).unwrap()
        });
        assert_eq!(found.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(found.pid, std::process::id().cast_signed());
        let mut own: Vec<u32> =
            nix::unistd::getgroups().unwrap().into_iter().map(|group| group.as_raw()).collect();
        let mut groups = found.groups;
        own.sort_unstable();
        groups.sort_unstable();
        assert_eq!(groups, own);
    }
}
