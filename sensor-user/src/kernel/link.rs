//! Links: what keeps a program attached without the daemon, and how one takes over from another.
//!
//! A link is pinned as `<netns inode>-<ifindex>-<hook>`. A new program replaces the old one in one
//! step, and only if the old one is what Weir pinned. The new program is pinned as `NAME.next`
//! before that and renamed after it, so that a daemon killed in between finds both.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use super::{
    error::KernelError,
    pins::Made,
    sys::{self, AttachType},
};
use crate::system::{interface::Interface, netns, paths::Paths};

/// A hook of ours on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    /// In pin names and messages.
    pub(super) name: &'static str,
    pub(super) attach: AttachType,
    pub(super) flags: u32,
}

/// `XDP_FLAGS_DRV_MODE` and `XDP_FLAGS_SKB_MODE` of include/uapi/linux/if_link.h.
const DRIVER_MODE: u32 = 1 << 2;
const SKB_MODE: u32 = 1 << 1;

impl Hook {
    pub(super) const XDP_NATIVE: Self =
        Self { name: "xdp", attach: AttachType::Xdp, flags: DRIVER_MODE };
    pub(super) const XDP_GENERIC: Self =
        Self { name: "xdp", attach: AttachType::Xdp, flags: SKB_MODE };
    pub(super) const INGRESS: Self =
        Self { name: "tc-ingress", attach: AttachType::TcxIngress, flags: 0 };
    pub(super) const EGRESS: Self =
        Self { name: "tc-egress", attach: AttachType::TcxEgress, flags: 0 };
}

/// Where an interface's link of a hook is pinned.
pub(super) fn pin_path(
    paths: &Paths,
    interface: &Interface,
    hook: Hook,
) -> Result<PathBuf, KernelError> {
    let netns = netns::inode()
        .map_err(|source| KernelError::System { what: "this network namespace", source })?;
    Ok(paths.links().join(format!("{netns}-{}-{}", interface.index, hook.name)))
}

/// Opens a pinned link. `None`: there is none, or its device is gone (its pin is removed then).
pub(super) fn existing(path: &Path) -> Result<Option<(OwnedFd, u32)>, KernelError> {
    let fail = |operation, source| KernelError::Pin { operation, path: path.to_owned(), source };
    let link = match sys::open_pinned(path) {
        Ok(link) => link,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail("open", error)),
    };
    let state = sys::link_state(link.as_fd()).map_err(|it| fail("read the link at", it))?;
    if state.ifindex == 0 {
        fs::remove_file(path).map_err(|it| fail("remove the link of a device that is gone at", it))?;
        return Ok(None);
    }
    Ok(Some((link, state.program_id)))
}

/// Attaches a program to a hook that nobody of ours is on, and pins the link.
pub(super) fn create(
    path: &Path,
    program: BorrowedFd<'_>,
    interface: &Interface,
    hook: Hook,
    made: &mut Made,
) -> io::Result<()> {
    let link = sys::link_create(program, interface.index, hook.attach, hook.flags)?;
    // Where this fails the link is closed, and the program detached with it.
    sys::pin(link.as_fd(), path)?;
    made.file(path.to_owned());
    Ok(())
}

/// Puts a program in the place of the one that a link of ours runs.
pub(super) fn take_over(
    link: BorrowedFd<'_>,
    path: &Path,
    running: u32,
    program: BorrowedFd<'_>,
    pins: &ProgramPin,
    interface: &Interface,
) -> Result<(), KernelError> {
    let foreign = || KernelError::ForeignProgram {
        path: path.to_owned(),
        interface: interface.name.clone(),
        program_id: running,
    };
    let old = pins.running(running).ok_or_else(foreign)?;
    sys::link_update(link, program, old.as_fd()).map_err(|source| {
        if source.raw_os_error() == Some(libc::EPERM) {
            foreign()
        } else {
            KernelError::Attach {
                interface: interface.name.clone(),
                hook: "taking over an earlier run's link",
                source,
                advice: "",
            }
        }
    })
}

/// Where a program is pinned, now and while it replaces its predecessor.
pub(super) struct ProgramPin {
    path: PathBuf,
    next: PathBuf,
}

impl ProgramPin {
    pub(super) fn new(paths: &Paths, name: &str) -> Self {
        let folder = paths.programs();
        Self { path: folder.join(name), next: folder.join(format!("{name}.next")) }
    }

    /// The pinned program of this id, if it is one of the two.
    fn running(&self, id: u32) -> Option<OwnedFd> {
        [&self.path, &self.next].into_iter().find_map(|path| {
            let program = sys::open_pinned(path).ok()?;
            (sys::program_identity(program.as_fd()).ok()?.0 == id).then_some(program)
        })
    }

    /// Pins the program that is about to be attached, beside what is pinned.
    pub(super) fn announce(
        &self,
        program: BorrowedFd<'_>,
        made: &mut Made,
    ) -> Result<(), KernelError> {
        let (id, _) = sys::program_identity(program)
            .map_err(|source| KernelError::System { what: "a loaded program's id", source })?;
        if self.running(id).is_some() {
            return Ok(());
        }
        let fail = |operation, source| KernelError::Pin {
            operation,
            path: self.next.clone(),
            source,
        };
        if self.next.exists() {
            // Left by a daemon that was killed while it took over: what runs is one of the two.
            // Keep the one that is newer, which may be running, as the current one.
            fs::rename(&self.next, &self.path).map_err(|it| fail("rename", it))?;
        }
        let first = !self.path.exists();
        let path = if first { &self.path } else { &self.next };
        sys::pin(program, path).map_err(|it| fail("pin a program at", it))?;
        made.file(path.clone());
        Ok(())
    }

    /// The announced program is attached everywhere: its predecessor's pin goes.
    pub(super) fn settle(&self) -> Result<(), KernelError> {
        if !self.next.exists() {
            return Ok(());
        }
        fs::rename(&self.next, &self.path).map_err(|source| KernelError::Pin {
            operation: "rename",
            path: self.next.clone(),
            source,
        })
    }
}
