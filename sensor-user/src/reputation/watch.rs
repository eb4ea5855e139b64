//! A file that others replace: read again when it changes.
//!
//! Times and sizes say cheaply that nothing changed; contents say that something did. A file that is
//! being written is read when it has been still for a second.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ring::digest;

/// How long a file must have been still.
const STILL: Duration = Duration::from_secs(1);

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than {} MiB", path.display(), largest >> 20)]
    TooLarge { path: PathBuf, largest: u64 },
    #[error("{} is not a file", path.display())]
    NotAFile { path: PathBuf },
}

/// What tells one state of a file from another, as far as a look from outside goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified_ns: i128,
    // Also changes where somebody sets the other times back.
    changed_ns: i128,
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// SHA-256.
pub(super) type Digest = [u8; 32];

/// The digest of some contents.
pub(super) fn digest_of(contents: &[u8]) -> Digest {
    let found = digest::digest(&digest::SHA256, contents);
    found.as_ref().try_into().unwrap_or_default()
}

/// A file, and what it was when it was read last.
#[derive(Debug)]
pub(super) struct Watched {
    path: PathBuf,
    largest: u64,
    stamp: Option<Stamp>,
    digest: Option<Digest>,
}

impl Watched {
    pub(super) const fn new(path: PathBuf, largest: u64) -> Self {
        Self { path, largest, stamp: None, digest: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has the contents looked at again, though they may be the same.
    pub(super) const fn forget(&mut self) {
        self.stamp = None;
        self.digest = None;
    }

    /// The contents, if they are others than before. `now` is the wall clock; the first read waits for
    /// nothing.
    pub(super) fn read_if_new(&mut self, now: SystemTime) -> Result<Option<Vec<u8>>, WatchError> {
        let failed = |source| WatchError::Read { path: self.path.clone(), source };
        let metadata = fs::metadata(&self.path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(WatchError::NotAFile { path: self.path.clone() });
        }
        if metadata.len() > self.largest {
            return Err(WatchError::TooLarge { path: self.path.clone(), largest: self.largest });
        }
        let stamp = Stamp::of(&metadata);
        if self.stamp == Some(stamp) {
            return Ok(None);
        }
        // A time ahead of the clock says nothing.
        let age = now.duration_since(metadata.modified().map_err(failed)?);
        if self.stamp.is_some() && age.is_ok_and(|age| age < STILL) {
            return Ok(None);
        }
        let contents = self.read()?;
        // Looked at before the contents were: what changed meanwhile is seen the next time.
        self.stamp = Some(stamp);
        let digest = digest_of(&contents);
        let is_new = self.digest != Some(digest);
        self.digest = Some(digest);
        Ok(is_new.then_some(contents))
    }

    fn read(&self) -> Result<Vec<u8>, WatchError> {
        let failed = |source| WatchError::Read { path: self.path.clone(), source };
        let mut contents = Vec::new();
        let file = File::open(&self.path).map_err(failed)?;
        file.take(self.largest + 1).read_to_end(&mut contents).map_err(failed)?;
        if contents.len() as u64 > self.largest {
            return Err(WatchError::TooLarge { path: self.path.clone(), largest: self.largest });
        }
        Ok(contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_read_when_they_change_and_have_been_still() {
        let path = std::env::temp_dir().join(format!("weir-watch-{}", std::process::id()));
        fs::write(&path, "one").unwrap();
        let mut watched = Watched::new(path.clone(), 64);
        let later = || SystemTime::now() + 2 * STILL;
        let mut read = |now| {
            watched
                .read_if_new(now)
                .map(|found| found.map(|bytes| String::from_utf8(bytes).unwrap()))
        };
        assert_eq!(read(SystemTime::now()).unwrap().as_deref(), Some("one"), "at once");
        assert_eq!(read(later()).unwrap(), None);
        // Of the same size, and in the same file.
        fs::write(&path, "two").unwrap();
        assert_eq!(read(SystemTime::now()).unwrap(), None, "still being written");
        assert_eq!(read(later()).unwrap().as_deref(), Some("two"));
        // Replaced by the same contents.
        let other = path.with_extension("new");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(read(later()).unwrap(), None);
        // Replaced by others.
        fs::write(&other, "three").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(read(later()).unwrap().as_deref(), Some("three"));
        fs::write(&path, "x".repeat(65)).unwrap();
        assert!(matches!(read(later()), Err(WatchError::TooLarge { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(read(later()), Err(WatchError::Read { .. })));
        fs::create_dir(&path).unwrap();
        assert!(matches!(read(later()), Err(WatchError::NotAFile { .. })));
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "three").unwrap();
        assert_eq!(read(later()).unwrap(), None, "as before");
        fs::remove_file(&path).unwrap();
    }
}
