//! Which versions of Weir have pins here, and which of them interfaces run.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use weir_common::abi::map::MapSpec;

use crate::{
    kernel::{error::KernelError, link, sys},
    system::{
        interface::Interface,
        paths::{Paths, abi_version},
        traffic_control,
    },
};

/// A version with pins.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) number: u32,
    pub(super) folder: PathBuf,
    /// Ids of its pinned programs.
    pub(super) programs: Vec<u32>,
    /// Whether an interface runs one of them.
    pub(super) is_attached: bool,
}

impl Version {
    /// Where it pins a map of this name.
    pub(super) fn map(&self, spec: &MapSpec) -> PathBuf {
        self.folder.join("maps").join(spec.name)
    }
}

/// This version, if it has pins, and the others, those that are attached first.
pub(super) fn find(paths: &Paths) -> Result<(Option<Version>, Vec<Version>), KernelError> {
    let running = running(paths);
    let mut own = None;
    let mut others = Vec::new();
    for (number, folder) in folders(paths)? {
        let programs: Vec<u32> = programs(&folder).map(|(_, id)| id).collect();
        let is_attached = programs.iter().any(|id| running.contains(id));
        let version = Version { number, folder, programs, is_attached };
        if number == abi_version() {
            own = Some(version);
        } else {
            others.push(version);
        }
    }
    others.sort_unstable_by_key(|it| (!it.is_attached, it.number));
    Ok((own, others))
}

/// The program of this id, if another version pinned it.
pub(in crate::kernel) fn program_of_another_version(paths: &Paths, id: u32) -> Option<OwnedFd> {
    let folders = folders(paths).ok()?.into_iter().filter(|(number, _)| *number != abi_version());
    folders
        .flat_map(|(_, folder)| programs(&folder))
        .find_map(|(program, it)| (it == id).then_some(program))
}

/// Programs that interfaces run: by links of ours wherever they are, by traffic control here.
pub(super) fn running(paths: &Paths) -> Vec<u32> {
    let mut ids = link::in_use(paths);
    for interface in Interface::all().unwrap_or_default() {
        let programs = traffic_control::programs(interface.index).unwrap_or_default();
        ids.extend(programs.into_iter().map(|it| it.id));
    }
    ids
}

/// Folders of versions, this one's included.
fn folders(paths: &Paths) -> Result<Vec<(u32, PathBuf)>, KernelError> {
    let root = paths.pins();
    let fail = |source| KernelError::Pin { operation: "list", path: root.clone(), source };
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        if let Some(number) = number(&path) {
            folders.push((number, path));
        }
    }
    Ok(folders)
}

/// The version that a folder's name says.
fn number(folder: &Path) -> Option<u32> {
    folder.file_name()?.to_str()?.strip_prefix('v')?.parse().ok()
}

/// Programs that are pinned in a version's folder, with their ids.
fn programs(folder: &Path) -> impl Iterator<Item = (OwnedFd, u32)> + use<> {
    let entries = fs::read_dir(folder.join("programs")).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let program = sys::open_pinned(&entry.path()).ok()?;
        let (id, _) = sys::program_identity(program.as_fd()).ok()?;
        Some((program, id))
    })
}
