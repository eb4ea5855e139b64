//! Pseudonyms: accounts, tokens and endpoints as 64-bit numbers under a key of this host.
//!
//! A number is the first eight bytes of HMAC-SHA256. Without the key nobody can tell whether it is a
//! given account's; with another key it is another number, so replacing the key file cuts the tie to
//! everything that was kept before. Clear text is dropped as soon as the number is made.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};

/// Shortest key, in bytes.
const SHORTEST: usize = 32;
/// Longest key that is read, in bytes.
const LONGEST: u64 = 4096;
/// Mode of the file: its owner's alone.
const MODE: u32 = 0o600;

/// The key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be used.
    #[error("cannot {operation} the key of pseudonyms {}: {source}", path.display())]
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
        "others can read the key of pseudonyms {} (mode {mode:o}): chmod 600, or remove it for a new one",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It can be guessed.
    #[error(
        "the key of pseudonyms {} has {found} bytes, at least {SHORTEST} are needed: remove it for a new one",
        path.display()
    )]
    TooShort {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// The system has no randomness.
    #[error("cannot make a key of pseudonyms: the system gives no random bytes")]
    NoRandomness,
}

/// Makes pseudonyms.
pub struct Pseudonyms(hmac::Key);

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms(…)")
    }
}

impl Pseudonyms {
    /// Reads the key, or makes one.
    ///
    /// # Errors
    /// If there is none and none can be made, or if it keeps no secret.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let failed =
            |operation| move |source| KeyError::File { operation, path: path.into(), source };
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return make(path),
            Err(error) => return Err(failed("open")(error)),
        };
        let mode = file.metadata().map_err(failed("look at"))?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.into(), mode });
        }
        let mut key = Vec::new();
        file.take(LONGEST).read_to_end(&mut key).map_err(failed("read"))?;
        let key = key.trim_ascii();
        if key.len() < SHORTEST {
            return Err(KeyError::TooShort { path: path.into(), found: key.len() });
        }
        Ok(Self::from_key(key))
    }

    fn from_key(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The number of an account, token or subject; never 0. Case and space around it do not count, so
    /// that nobody is somebody else by writing his name in capitals.
    #[must_use]
    pub fn entity(&self, text: &str) -> u64 {
        self.number(b"entity", &text.trim().to_lowercase())
    }

    /// The number of an endpoint; never 0.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> u64 {
        self.number(b"endpoint", name)
    }

    fn number(&self, what: &[u8], text: &str) -> u64 {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(what);
        context.update(&[0]);
        context.update(text.as_bytes());
        let tag = context.sign();
        let bytes = tag.as_ref().first_chunk().copied().unwrap_or_default();
        u64::from_be_bytes(bytes).max(1)
    }
}

/// A new key, in a file that is there wholly or not at all.
fn make(path: &Path) -> Result<Pseudonyms, KeyError> {
    let failed = |operation| move |source| KeyError::File { operation, path: path.into(), source };
    let mut key = [0; SHORTEST];
    SystemRandom::new().fill(&mut key).map_err(|_| KeyError::NoRandomness)?;
    let text = key.map(|byte| format!("{byte:02x}")).concat();
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed("create the directory of"))?;
    }
    let temporary = path.with_extension("new");
    // One that is left of a start that failed may have another mode.
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(&temporary)
        .map_err(failed("create"))?;
    writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(failed("write"))?;
    fs::rename(&temporary, path).map_err(failed("put into place"))?;
    Ok(Pseudonyms::from_key(text.as_bytes()))
}

#[cfg(test)]
impl Pseudonyms {
    /// A key that everybody knows.
    pub(crate) fn test() -> Self {
        Self::from_key(b"a key for tests, 32 bytes of it.")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_name_has_one_number_and_shows_nothing() {
        let names = Pseudonyms::test();
        assert_eq!(names.entity("ada"), names.entity(" Ada "));
        assert_ne!(names.entity("ada"), names.entity("bob"));
        assert_ne!(names.entity("/login"), names.endpoint("/login"));
        assert_ne!(names.endpoint("/Login"), names.endpoint("/login"));
        let other = Pseudonyms::from_key(b"another key for tests, 32 bytes.");
        assert_ne!(names.entity("ada"), other.entity("ada"));
        // printf 'entity\0ada' | openssl dgst -sha256 -hmac 'a key for tests, 32 bytes of it.'
        assert_eq!(names.entity("ada"), 0x69ce_0f61_19ca_c7dc);
        assert_eq!(format!("{names:?}"), "Pseudonyms(…)");
    }

    #[test]
    fn the_key_is_made_once_kept_and_can_be_replaced() {
        let directory = std::env::temp_dir().join(format!("weir-entity-{}", std::process::id()));
        let path = directory.join("deep").join("entity.key");
        let first = Pseudonyms::open(&path).unwrap().entity("ada");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Pseudonyms::open(&path).unwrap().entity("ada"), first);
        fs::remove_file(&path).unwrap();
        assert_ne!(Pseudonyms::open(&path).unwrap().entity("ada"), first);

        fs::write(&path, "short\n").unwrap();
        let error = Pseudonyms::open(&path).unwrap_err();
        assert!(matches!(error, KeyError::TooShort { found: 5, .. }), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Pseudonyms::open(&path).unwrap_err();
        assert!(matches!(error, KeyError::Exposed { mode: 0o640, .. }), "{error}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = Pseudonyms::open(&path).unwrap_err();
        assert!(matches!(error, KeyError::Exposed { .. } | KeyError::File { .. }), "{error}");
        fs::remove_dir_all(&directory).unwrap();
    }
}
