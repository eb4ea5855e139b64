//! What is pinned in the BPF file system, and whether it is ours.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use weir_common::abi::map::{self, MapKind, MapSpec};

use super::{error::KernelError, link, sys};
use crate::system::{bpf::possible_cpus, paths::Paths};

/// Where a map is pinned.
pub(super) fn map_path(paths: &Paths, spec: &MapSpec) -> PathBuf {
    if spec.name == map::KILL.name { paths.kill_map() } else { paths.map(spec.name) }
}

/// Every map of this version.
pub(super) fn specs() -> impl Iterator<Item = &'static MapSpec> {
    std::iter::once(&map::KILL).chain(map::VERSIONED)
}

/// What this process made in the BPF file system, so that a start that fails can take it back.
#[derive(Debug, Default)]
pub(super) struct Made {
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    replaced: Vec<Replaced>,
}

/// A link that got another program.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) link: OwnedFd,
    pub(super) before: OwnedFd,
    pub(super) now: OwnedFd,
}

impl Made {
    /// Notes that a link got another program.
    pub(super) fn replaced(&mut self, replaced: Replaced) {
        self.replaced.push(replaced);
    }

    /// Notes a pin that was not there before.
    pub(super) fn file(&mut self, path: PathBuf) {
        self.files.push(path);
    }

    /// Makes a folder and its parents, noting the new ones.
    pub(super) fn folder(&mut self, path: &Path) -> Result<(), KernelError> {
        if path.exists() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        fs::create_dir(path).map_err(|source| KernelError::Pin {
            operation: "make the folder",
            path: path.to_owned(),
            source,
        })?;
        self.folders.push(path.to_owned());
        Ok(())
    }

    /// All of it stays.
    pub(super) fn keep(&mut self) {
        *self = Self::default();
    }

    /// Gives links their programs back, and removes what was made, newest first. What is gone already is as good as removed.
    pub(super) fn take_back(&mut self) {
        // First, and in one step each: what was there before goes on.
        for Replaced { link, before, now } in self.replaced.drain(..).rev() {
            if let Err(error) = sys::link_update(link.as_fd(), before.as_fd(), now.as_fd()) {
                tracing::warn!(
                    "cannot give a link its program back: {error}; the new one runs on, and the next \
                     start finds it"
                );
                // Its pins say that it is Weir's.
                return;
            }
        }
        for file in self.files.drain(..).rev() {
            link::detach(&file);
            let _ = fs::remove_file(file);
        }
        for folder in self.folders.drain(..).rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The open maps.
#[derive(Debug, Default)]
pub(super) struct Pinned {
    maps: Vec<(&'static MapSpec, OwnedFd)>,
}

impl Pinned {
    pub(super) fn push(&mut self, spec: &'static MapSpec, map: OwnedFd) {
        self.maps.push((spec, map));
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (&'static MapSpec, BorrowedFd<'_>)> {
        self.maps.iter().map(|(spec, map)| (*spec, map.as_fd()))
    }

    /// Another descriptor of a map.
    pub(super) fn clone_of(&self, spec: &MapSpec) -> io::Result<OwnedFd> {
        self.each()
            .find(|(it, _)| it.name == spec.name)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, spec.name))?
            .1
            .try_clone_to_owned()
    }
}

/// Compares what is pinned with what this version pins, before anything is reused: a map that
/// only has the right name would be read as something that it is not.
pub(super) fn check(paths: &Paths) -> Result<(), KernelError> {
    for spec in specs() {
        let path = map_path(paths, spec);
        match sys::open_pinned(&path) {
            Ok(object) => compare(&path, spec, object.as_fd())?,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) if source.raw_os_error() == Some(libc::EACCES) && path.exists() => {
                let what = format!("it cannot be opened as a BPF object: {source}");
                return Err(KernelError::ForeignPin { path, what });
            }
            Err(source) if source.raw_os_error() == Some(libc::EINVAL) => {
                let what = format!("it cannot be opened as a BPF object: {source}");
                return Err(KernelError::ForeignPin { path, what });
            }
            Err(source) => return Err(KernelError::Pin { operation: "open", path, source }),
        }
    }
    Ok(())
}

/// Compares one map with its specification.
pub(super) fn compare(
    path: &Path,
    spec: &MapSpec,
    object: BorrowedFd<'_>,
) -> Result<(), KernelError> {
    let foreign = |what: String| KernelError::ForeignPin { path: path.to_owned(), what };
    let found = sys::map_shape(object).map_err(|error| foreign(format!("not a map: {error}")))?;
    let wanted = [spec.kind as u32, spec.key_size, spec.value_size, spec.flags];
    let is = [found.kind, found.key_size, found.value_size, found.flags];
    if is != wanted {
        return Err(foreign(format!(
            "type, key size, value size and flags are {is:?}, not {wanted:?}"
        )));
    }
    let fixed = !spec.resizable && spec.kind != MapKind::RingBuf;
    let entries = entries(spec);
    if fixed && found.max_entries != entries {
        return Err(foreign(format!("it holds {} entries, not {entries}", found.max_entries)));
    }
    Ok(())
}

/// Entries that a map has unless its site wants others: in `HELLOS` each CPU needs a slot of its
/// own to check segments in.
pub(super) fn entries(spec: &MapSpec) -> u32 {
    if *spec != map::HELLOS {
        return spec.max_entries;
    }
    // Where the CPUs cannot be counted there are rarely more than have slots anyway.
    let more = possible_cpus().unwrap_or(0).saturating_sub(map::capacity::HELLO_CPUS);
    spec.max_entries.saturating_add(u32::try_from(more).unwrap_or(0))
}
