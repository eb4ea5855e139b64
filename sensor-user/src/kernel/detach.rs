//! Removing everything: links first, so that no packet meets half of Weir; then programs, maps,
//! folders.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{clsact, error::KernelError, link};
use crate::system::{interface::Interface, paths::Paths};

/// Removes what is attached and pinned, of this and of every other version. Returns what there
/// was: pins as paths below the BPF file system, filters as `interface hook`.
pub(super) fn detach_all(paths: &Paths) -> Result<Vec<String>, KernelError> {
    let mut removed = Vec::new();
    let pins = paths.pins();
    for pin in children(&paths.links())? {
        link::detach(&pin);
    }
    remove_files(&paths.links(), &paths.bpffs, &mut removed)?;
    for interface in Interface::all()? {
        removed.extend(clsact::detach(&interface)?);
    }
    remove_tree(&pins, &paths.bpffs, &mut removed)?;
    Ok(removed)
}

pub(super) fn remove_tree(
    folder: &Path,
    below: &Path,
    removed: &mut Vec<String>,
) -> Result<(), KernelError> {
    for child in children(folder)? {
        if child.is_dir() {
            remove_tree(&child, below, removed)?;
        }
    }
    remove_files(folder, below, removed)?;
    match fs::remove_dir(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => {
            Err(KernelError::Pin { operation: "remove", path: folder.to_owned(), source })
        }
    }
}

fn remove_files(folder: &Path, below: &Path, removed: &mut Vec<String>) -> Result<(), KernelError> {
    for child in children(folder)? {
        if child.is_dir() {
            continue;
        }
        fs::remove_file(&child).map_err(|source| KernelError::Pin {
            operation: "remove",
            path: child.clone(),
            source,
        })?;
        removed.push(child.strip_prefix(below).unwrap_or(&child).display().to_string());
    }
    Ok(())
}

/// A folder's entries in order; none if it is not there.
fn children(folder: &Path) -> Result<Vec<PathBuf>, KernelError> {
    let fail = |source| KernelError::Pin { operation: "list", path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fail(error)),
    };
    let mut paths = entries
        .map(|entry| entry.map(|it| it.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(fail)?;
    paths.sort();
    Ok(paths)
}
