//! A lab's files, and a bpffs of its own among them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{LabId, identity::ROOT};

/// The directory of one lab, with a bpffs mounted in it.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes the directories and mounts.
    pub(crate) fn create(id: LabId) -> Result<Self> {
        let directory = Self { path: Path::new(ROOT).join(id.to_string()) };
        for name in ["bpf", "state", "run"] {
            let path = directory.path.join(name);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let bpf = directory.path.join("bpf");
        mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cannot mount bpffs at {}", bpf.display()))?;
        Ok(directory)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Nobody is left to tell; `weir-lab clean` removes what stays.
        let _ = remove_directory(&self.path);
    }
}

/// Unmounts a lab's bpffs, which frees whatever was pinned in it, and removes its files.
pub(super) fn remove_directory(path: &Path) -> Result<()> {
    let bpf = path.join("bpf");
    // EINVAL: nothing is mounted there.
    match umount2(&bpf, MntFlags::MNT_DETACH) {
        Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot unmount {}", bpf.display()));
        }
    }
    fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))
}
