//! Files that only their owner may read: keys.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Longest file that is read, in bytes: room for thousands of keys.
const LONGEST: u64 = 1 << 20;
/// Mode of the files: their owner's alone.
const MODE: u32 = 0o600;

/// A key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be used.
    #[error(
        "cannot {operation} the key {}: {source}; check that this user may read and write it",
        path.display()
    )]
    File {
        /// What was tried, as a verb.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others can read it.
    #[error(
        "others can read the key {} (mode {mode:o}): chmod 600 it, and replace it with `weir \
         journal rotate-key`",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is not what Weir writes there.
    #[error(
        "{} is not a key that Weir wrote: put the right file back, or remove it for a new one",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("cannot make a key: the system gives no random bytes")]
    NoRandomness,
}

/// Reads a file that keeps a secret; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, KeyError> {
    let failed = |operation| move |source| KeyError::File { operation, path: path.into(), source };
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open")(error)),
    };
    let mode = file.metadata().map_err(failed("look at"))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.into(), mode });
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(failed("read"))?;
    Ok(Some(text))
}

/// Replaces a file that keeps a secret: it is there wholly or not at all, also after a power cut.
pub(super) fn write(path: &Path, text: &str) -> Result<(), KeyError> {
    let failed = |operation| move |source| KeyError::File { operation, path: path.into(), source };
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(failed("create the directory of"))?;
    let temporary = path.with_extension("new");
    // One that is left of an attempt that failed may have another mode.
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&temporary)
        .map_err(failed("create"))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed("write"))?;
    fs::rename(&temporary, path).map_err(failed("put into place"))?;
    let directory = fs::File::open(directory).map_err(failed("make durable"))?;
    directory.sync_all().map_err(failed("make durable"))
}

/// Random bytes.
pub(super) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], KeyError> {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; LENGTH];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
    Ok(bytes)
}
