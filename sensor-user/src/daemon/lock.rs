//! One daemon for a run directory.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

use crate::api::server::make_directory;

/// The lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error(
        "a daemon is already running (process {pid}, lock {}): stop it first (`systemctl stop weir`), \
         or give this one directories of its own (--run-dir, --state-dir, --bpffs)",
        path.display()
    )]
    Held {
        /// Its process id, as it wrote it down.
        pid: String,
        /// The lock file.
        path: PathBuf,
    },
    /// The file could not be used.
    #[error("cannot {operation} {}: {source}; run this as root, or give another --run-dir", path.display())]
    File {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Held while the daemon runs; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct DaemonLock {
    _file: Flock<File>,
}

impl DaemonLock {
    /// Takes the lock, and writes this process's id into it.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let failed =
            |operation| move |source| LockError::File { operation, path: path.into(), source };
        if let Some(directory) = path.parent() {
            make_directory(directory).map_err(failed("create the directory of"))?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(path)
            .map_err(failed("open"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut file) => {
                file.set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| writeln!(file, "{}", std::process::id()))
                    .map_err(failed("write"))?;
                Ok(Self { _file: file })
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(failed("read"))?;
                Err(LockError::Held { pid: pid.trim().into(), path: path.into() })
            }
            Err((_, error)) => Err(failed("lock")(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let directory = std::env::temp_dir().join(format!("weir-lock-{}", std::process::id()));
        let path = directory.join("daemon.lock");
        let first = DaemonLock::take(&path).unwrap();
        let error = DaemonLock::take(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {},", std::process::id())), "{error}");
        drop(first);
        DaemonLock::take(&path).unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
