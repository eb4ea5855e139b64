//! Files that are either wholly old or wholly new, also after a power cut.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// A file under the state directory could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {operation} {}: {source}; check that the directory exists and that this user may write it",
    path.display()
)]
pub struct DurableError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Replaces `path` with `contents`: temporary file, fsync, rename, fsync of the directory. The
/// directory is made if it is missing.
pub fn write(path: &Path, contents: &[u8]) -> Result<(), DurableError> {
    let failed = |operation| move |source| DurableError { operation, path: path.into(), source };
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(failed("create the directory of"))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = directory.join(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&temporary)
        .map_err(failed("create"))?;
    file.write_all(contents).and_then(|()| file.sync_all()).map_err(failed("write"))?;
    fs::rename(&temporary, path).map_err(failed("replace"))?;
    sync_directory(directory).map_err(failed("make durable"))
}

/// Removes `path` so that it stays removed; whether it was there.
pub fn remove(path: &Path) -> Result<bool, DurableError> {
    let failed = |operation| move |source| DurableError { operation, path: path.into(), source };
    match fs::remove_file(path) {
        Ok(()) => {
            let directory = path.parent().unwrap_or(Path::new("."));
            sync_directory(directory).map_err(failed("make durable the removal of"))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove")(error)),
    }
}

/// Reads `path`; `None` if it does not exist.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, DurableError> {
    match fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DurableError { operation: "read", path: path.into(), source }),
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_removed_once() {
        let directory = std::env::temp_dir().join(format!("weir-durable-{}", std::process::id()));
        let path = directory.join("deep").join("kill");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, b"a longer first version").unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"second");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary stays");
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_failure_names_operation_and_path() {
        let error = write(Path::new("/proc/weir/kill"), b"on").unwrap_err().to_string();
        assert!(error.contains("cannot create the directory of /proc/weir/kill"), "{error}");
    }
}
