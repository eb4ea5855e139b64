//! What the daemon keeps in its state directory, beside the kill switch and the store: the numbers of
//! services, known fingerprints, and baselines. Losing any costs what was learned, never enforcement.

use std::{fs, path::PathBuf, sync::Arc};

use crate::{
    fingerprint::known::{self, KnownError, KnownFingerprints},
    policy::ServiceIds,
    system::{
        durable::{self, DurableError},
        paths::Paths,
    },
};

/// Largest file of baselines that is read.
const LARGEST_BASELINES: u64 = 256 << 20;

/// The files, and the boot that times in them belong to.
#[derive(Clone, Debug)]
pub(super) struct StateFiles {
    services: PathBuf,
    fingerprints: PathBuf,
    baselines: PathBuf,
    boot_id: Arc<str>,
}

impl StateFiles {
    /// The files of these paths.
    pub(super) fn new(paths: &Paths, boot_id: String) -> Self {
        Self {
            services: paths.services_file(),
            fingerprints: paths.fingerprints_file(),
            baselines: paths.baselines_file(),
            boot_id: boot_id.into(),
        }
    }

    /// Names this boot.
    pub(super) const fn boot_id(&self) -> &Arc<str> {
        &self.boot_id
    }

    /// Where known fingerprints are.
    pub(super) fn fingerprints_file(&self) -> PathBuf {
        self.fingerprints.clone()
    }

    /// The fingerprints that earlier runs learned. A file that cannot be used is reported and passed
    /// over: they are learned anew.
    pub(super) fn known_fingerprints(&self) -> KnownFingerprints {
        let file = self.fingerprints.display();
        let length = fs::metadata(&self.fingerprints).map_or(0, |metadata| metadata.len());
        if length > known::LARGEST_BYTES as u64 {
            let found = usize::try_from(length).unwrap_or(usize::MAX);
            tracing::warn!(%file, "{}", KnownError::TooLong { found });
            return KnownFingerprints::default();
        }
        let contents = match durable::read(&self.fingerprints) {
            Ok(Some(contents)) => contents,
            Ok(None) => return KnownFingerprints::default(),
            Err(error) => {
                tracing::warn!("{error}; fingerprints are learned anew");
                return KnownFingerprints::default();
            }
        };
        KnownFingerprints::read(&contents).unwrap_or_else(|error| {
            tracing::warn!(%file, "{error}");
            KnownFingerprints::default()
        })
    }

    /// Where baselines are.
    pub(super) fn baselines_file(&self) -> PathBuf {
        self.baselines.clone()
    }

    /// The baselines that earlier runs learned. A file that cannot be read is reported and passed
    /// over: they are learned anew.
    pub(super) fn baselines(&self) -> Option<Vec<u8>> {
        let length = fs::metadata(&self.baselines).map_or(0, |metadata| metadata.len());
        if length > LARGEST_BASELINES {
            let file = self.baselines.display();
            tracing::warn!(%file, "larger than baselines ever are; they are learned anew");
            return None;
        }
        durable::read(&self.baselines).unwrap_or_else(|error| {
            tracing::warn!("{error}; baselines are learned anew");
            None
        })
    }

    /// The numbers of services of an earlier run.
    pub(super) fn service_ids(&self) -> Result<ServiceIds, DurableError> {
        let Some(text) = durable::read(&self.services)? else {
            return Ok(ServiceIds::default());
        };
        Ok(serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::warn!(
                file = %self.services.display(),
                %error,
                "cannot read the numbers of services; verdicts still in the kernel may be listed \
                 under other services"
            );
            ServiceIds::default()
        }))
    }

    /// Keeps the numbers of services.
    pub(super) fn keep_service_ids(&self, ids: &ServiceIds) -> Result<(), DurableError> {
        // A map of names to numbers can always be written as JSON.
        let text = serde_json::to_vec_pretty(ids).unwrap_or_default();
        durable::write(&self.services, &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_passed_over_and_what_was_kept_comes_back() {
        let root = std::env::temp_dir().join(format!("weir-state-{}", std::process::id()));
        let paths = Paths { state_dir: root.clone(), ..Paths::default() };
        let files = StateFiles::new(&paths, "boot".into());
        assert_eq!(files.service_ids().unwrap(), ServiceIds::default());
        let ids = ServiceIds::default().assign(["shop"]).unwrap();
        files.keep_service_ids(&ids).unwrap();
        assert_eq!(files.service_ids().unwrap(), ids);
        durable::write(&paths.services_file(), b"{torn").unwrap();
        assert_eq!(files.service_ids().unwrap(), ServiceIds::default());
        assert!(files.known_fingerprints().is_empty(), "there is none");
        durable::write(&files.fingerprints_file(), b"{torn").unwrap();
        assert!(files.known_fingerprints().is_empty());
        std::fs::remove_file(files.fingerprints_file()).unwrap();
        std::fs::create_dir(files.fingerprints_file()).unwrap();
        assert!(files.known_fingerprints().is_empty(), "not a file");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
