//! The host's key that checkpoints are signed with (Ed25519, RFC 8032).

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{
    chain::{from_hex, hex},
    secret::{self, KeyError},
};

/// A public key.
pub type PublicKey = [u8; 32];

/// What signs checkpoints.
pub struct SigningKey {
    path: PathBuf,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", hex(&self.public()))
    }
}

impl SigningKey {
    /// Reads the key, or makes one.
    ///
    /// # Errors
    /// If there is none and none can be made, or if the file keeps no secret.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        match Self::read(path)? {
            Some(key) => Ok(key),
            None => Self::make(path)?.put_into_place(),
        }
    }

    /// Reads the key; `None` if there is none.
    ///
    /// # Errors
    /// If the file cannot be read, keeps no secret, or is not one of ours.
    pub fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let Some(text) = secret::read(path)? else { return Ok(None) };
        let malformed = || KeyError::Malformed { path: path.into() };
        let seed: [u8; 32] = from_hex(text.trim_end()).ok_or_else(malformed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| malformed())?;
        Ok(Some(Self { path: path.into(), pair }))
    }

    /// A new key, beside the one that is in place.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn make(path: &Path) -> Result<Self, KeyError> {
        let seed: [u8; 32] = secret::random()?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|_| KeyError::Malformed { path: path.into() })?;
        secret::write(&next(path), &format!("{}\n", hex(&seed)))?;
        Ok(Self { path: path.into(), pair })
    }

    /// Puts a new key where the one before was.
    ///
    /// # Errors
    /// If the file cannot be moved.
    pub fn put_into_place(self) -> Result<Self, KeyError> {
        let path = &self.path;
        fs::rename(next(path), path).map_err(|source| KeyError::File {
            operation: "put into place",
            path: path.clone(),
            source,
        })?;
        Ok(self)
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        // Ed25519 keys have 32 bytes.
        self.pair.public_key().as_ref().try_into().unwrap_or_default()
    }

    /// Signs.
    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.pair.sign(message).as_ref().try_into().unwrap_or([0; 64])
    }
}

/// Where a key lies until the journal says that it replaces the one before.
fn next(path: &Path) -> PathBuf {
    path.with_extension("next")
}

/// Whether a signature is that key's on that message.
pub(super) fn is_signed(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_signs_what_only_its_public_half_confirms() {
        let place = std::env::temp_dir().join(format!("weir-signature-{}", std::process::id()));
        let path = place.join("signature.key");
        let key = SigningKey::open(&path).unwrap();
        let signature = key.sign(b"said");
        let again = SigningKey::open(&path).unwrap();
        assert_eq!(again.public(), key.public());
        assert!(is_signed(&again.public(), b"said", &signature));
        assert!(!is_signed(&again.public(), b"else", &signature));
        let other = SigningKey::make(&path).unwrap();
        assert_eq!(SigningKey::open(&path).unwrap().public(), key.public(), "not yet in place");
        let other = other.put_into_place().unwrap();
        assert_eq!(SigningKey::open(&path).unwrap().public(), other.public());
        assert!(!is_signed(&other.public(), b"said", &signature));
        fs::remove_dir_all(&place).unwrap();
    }
}
