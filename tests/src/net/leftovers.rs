//! Removes what crashed labs left behind: processes in their namespaces, mounts, files and the
//! namespaces themselves. A lab whose maker lives is left alone.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    LabId, command::run, directory::remove_directory, identity::ROOT, namespace::DIRECTORY,
};

/// What was removed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cleaned {
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Directories, with the bpffs mounted inside.
    pub directories: Vec<PathBuf>,
    /// Processes that were still running in one of the namespaces.
    pub processes: Vec<i32>,
}

impl Cleaned {
    /// Whether there was nothing to remove.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.directories.is_empty() && self.processes.is_empty()
    }
}

/// Removes the leftovers of every lab whose maker is gone.
pub fn clean() -> Result<Cleaned> {
    let namespaces: Vec<String> = names(DIRECTORY)?
        .into_iter()
        .filter(|name| LabId::of_namespace(name).is_some_and(|id| !id.maker_lives()))
        .collect();
    let directories: Vec<PathBuf> = names(ROOT)?
        .into_iter()
        .filter(|name| name.parse::<LabId>().is_ok_and(|id| !id.maker_lives()))
        .map(|name| Path::new(ROOT).join(name))
        .collect();
    let processes = kill_inhabitants(&namespaces)?;
    // Labs may start at the same time and clean together: what another one removed first is not
    // missed.
    for directory in &directories {
        if let Err(error) = remove_directory(directory)
            && directory.exists()
        {
            return Err(error);
        }
    }
    for name in &namespaces {
        if let Err(error) = run(Command::new("ip").args(["netns", "del", name]), "")
            && Path::new(DIRECTORY).join(name).exists()
        {
            return Err(error);
        }
    }
    Ok(Cleaned { namespaces, directories, processes })
}

/// Kills the processes that live in one of the namespaces, known by the namespace's inode.
fn kill_inhabitants(namespaces: &[String]) -> Result<Vec<i32>> {
    let inodes: BTreeSet<u64> = namespaces
        .iter()
        .filter_map(|name| fs::metadata(Path::new(DIRECTORY).join(name)).ok())
        .map(|metadata| metadata.ino())
        .collect();
    if inodes.is_empty() {
        return Ok(Vec::new());
    }
    let mut killed = Vec::new();
    for pid in names("/proc")?.iter().filter_map(|name| name.parse::<i32>().ok()) {
        let inhabits = fs::metadata(format!("/proc/{pid}/ns/net"))
            .is_ok_and(|metadata| inodes.contains(&metadata.ino()));
        if inhabits && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
            killed.push(pid);
        }
    }
    Ok(killed)
}

/// The names in a directory; none if it does not exist.
fn names(directory: &str) -> Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot list {directory}")),
    }
}
