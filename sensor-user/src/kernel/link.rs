//! Links: what keeps a program attached without the daemon, and how one takes over from another.
//!
//! A link is pinned as `<netns inode>-<ifindex>-<hook>`. A new program replaces the old one in one
//! step, and only if the old one is what Weir pinned. The new program is pinned as `NAME-<id>`
//! before that; once every interface runs it, it becomes `NAME` and what no link runs any more
//! goes. A daemon that is killed in between leaves both, and the next one finds what each link runs.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use super::{
    error::KernelError,
    pins::{Made, Replaced},
    sys::{self, AttachType},
    upgrade,
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
        fs::remove_file(path)
            .map_err(|it| fail("remove the link of a device that is gone at", it))?;
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

/// Detaches the pinned link at `path`, if it is one. Removing the pin does the same a little later.
pub(super) fn detach(path: &Path) {
    if let Ok(link) = sys::open_pinned(path)
        && let Err(error) = sys::link_detach(link.as_fd())
    {
        tracing::debug!("{}: not detached at once: {error}", path.display());
    }
}

/// Puts a program in the place of the one that a link of ours runs.
pub(super) fn take_over(
    link: BorrowedFd<'_>,
    path: &Path,
    running: u32,
    program: BorrowedFd<'_>,
    pins: &ProgramPin<'_>,
    interface: &Interface,
) -> Result<Replaced, KernelError> {
    let foreign = || KernelError::ForeignProgram {
        path: path.to_owned(),
        interface: interface.name.clone(),
        program_id: running,
    };
    let old = pins.running(running).ok_or_else(foreign)?;
    let own = |fd: BorrowedFd<'_>| {
        fd.try_clone_to_owned()
            .map_err(|source| KernelError::System { what: "a program or link", source })
    };
    // Before the step that they may have to take back.
    let (kept, now) = (own(link)?, own(program)?);
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
    })?;
    Ok(Replaced { link: kept, before: old, now })
}

/// Where a program and its predecessors are pinned.
pub(super) struct ProgramPin<'a> {
    paths: &'a Paths,
    folder: PathBuf,
    name: &'a str,
}

impl<'a> ProgramPin<'a> {
    pub(super) fn new(paths: &'a Paths, name: &'a str) -> Self {
        Self { paths, folder: paths.programs(), name }
    }

    /// Every pin of this program: `NAME` and `NAME-<id>`, with the program's id.
    fn pins(&self) -> impl Iterator<Item = (PathBuf, OwnedFd, u32)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let file = entry.file_name();
            let rest = file.to_str()?.strip_prefix(self.name)?;
            let is_one = rest.is_empty()
                || rest
                    .strip_prefix('-')
                    .is_some_and(|id| id.bytes().all(|it| it.is_ascii_digit()));
            let program = is_one.then(|| sys::open_pinned(&entry.path()).ok()).flatten()?;
            let (id, _) = sys::program_identity(program.as_fd()).ok()?;
            Some((entry.path(), program, id))
        })
    }

    /// The pinned program of this id: of this version, or whatever another version pinned.
    fn running(&self, id: u32) -> Option<OwnedFd> {
        self.own(id).or_else(|| upgrade::program_of_another_version(self.paths, id))
    }

    /// The program of this id that this version pinned.
    fn own(&self, id: u32) -> Option<OwnedFd> {
        self.pins().find_map(|(_, program, it)| (it == id).then_some(program))
    }

    /// Whether the program of this id is pinned.
    pub(super) fn has(&self, id: u32) -> bool {
        self.running(id).is_some()
    }

    /// Pins the program that is about to be attached, beside what is pinned.
    pub(super) fn announce(
        &self,
        program: BorrowedFd<'_>,
        made: &mut Made,
    ) -> Result<(), KernelError> {
        let id = program_id(program)?;
        if self.own(id).is_some() {
            return Ok(());
        }
        let path = self.folder.join(format!("{}-{id}", self.name));
        sys::pin(program, &path).map_err(|source| KernelError::Pin {
            operation: "pin a program at",
            path: path.clone(),
            source,
        })?;
        made.file(path);
        Ok(())
    }

    /// The announced program is attached wherever it was wanted: it takes the plain name, and what
    /// no link runs any more goes.
    pub(super) fn settle(
        &self,
        program: BorrowedFd<'_>,
        in_use: &[u32],
    ) -> Result<(), KernelError> {
        let id = program_id(program)?;
        let plain = self.folder.join(self.name);
        let pins: Vec<_> = self.pins().map(|(path, _, id)| (path, id)).collect();
        for (path, old) in &pins {
            if *old != id && *path != plain && !in_use.contains(old) {
                fs::remove_file(path).map_err(|source| pin_error("remove", path, source))?;
            }
        }
        // The predecessor keeps a pin under its own number while some link still runs it.
        if let Some((path, old)) = pins.iter().find(|(path, old)| *path == plain && *old != id)
            && in_use.contains(old)
        {
            let numbered = self.folder.join(format!("{}-{old}", self.name));
            fs::rename(path, &numbered).map_err(|source| pin_error("rename", path, source))?;
        }
        match pins.iter().find(|(path, it)| *it == id && *path != plain) {
            Some((path, _)) => {
                fs::rename(path, &plain).map_err(|source| pin_error("rename", path, source))
            }
            None => Ok(()),
        }
    }
}

fn program_id(program: BorrowedFd<'_>) -> Result<u32, KernelError> {
    let (id, _) = sys::program_identity(program)
        .map_err(|source| KernelError::System { what: "a loaded program's id", source })?;
    Ok(id)
}

fn pin_error(operation: &'static str, path: &Path, source: io::Error) -> KernelError {
    KernelError::Pin { operation, path: path.to_owned(), source }
}

/// Programs that our links run, on whatever interface.
pub(super) fn in_use(paths: &Paths) -> Vec<u32> {
    let entries = fs::read_dir(paths.links()).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let link = sys::open_pinned(&entry.path()).ok()?;
            Some(sys::link_state(link.as_fd()).ok()?.program_id)
        })
        .collect()
}
