//! How the store is.

use serde::{Deserialize, Serialize};

use crate::store::StoreHealth;

/// The store, within the status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Whether what is to be kept reaches the disk.
    pub writable: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Since when not, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble_since_s: Option<u64>,
    /// Works that wait.
    pub queued: usize,
    /// Works that were lost, because too much waited.
    pub lost: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Where a database went that could not be used, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_aside: Option<String>,
}

impl From<StoreHealth> for StoreStatus {
    fn from(health: StoreHealth) -> Self {
        Self {
            writable: health.is_writable(),
            trouble: health.trouble,
            trouble_since_s: health.trouble_since_s,
            queued: health.queued,
            lost: health.lost,
            bytes: health.bytes,
            set_aside: health.set_aside,
        }
    }
}

impl StoreStatus {
    /// What follows from not being able to write.
    pub(crate) fn failing(&self) -> Option<String> {
        let trouble = self.trouble.as_ref()?;
        Some(format!(
            "{trouble}: verdicts are in force, but new ones do not survive a restart of the host, and \
             those taken back come back with a restart"
        ))
    }

    /// What the operator should look at.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = String> + use<> {
        let trouble = self.failing();
        let lost = (self.lost > 0)
            .then(|| format!("{} records could not be stored and are lost", self.lost));
        let aside = self.set_aside.as_ref().map(|aside| {
            format!("the store could not be used and was moved to {aside}; a new one was begun")
        });
        trouble.into_iter().chain(lost).chain(aside)
    }
}
