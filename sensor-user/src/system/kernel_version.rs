//! Which kernel this is, and whether it describes its types (BTF).

use std::{fmt, path::Path};

/// The running kernel's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelVersion {
    /// "6" of 6.12.3-cloud.
    pub major: u32,
    /// "12" of 6.12.3-cloud.
    pub minor: u32,
    /// The whole of it, as `uname -r` prints.
    pub release: String,
}

/// The oldest kernel that Weir's programs are made for: the first with XDP over several buffers and
/// its helpers (`BPF_F_XDP_HAS_FRAGS`, `bpf_xdp_store_bytes`). Ring buffers (5.8), the coarse clock
/// (5.11) and atomic compare-exchange (5.12) are older.
pub const OLDEST: (u32, u32) = (5, 18);

/// From here on TC programs are attached as links (TCX), which are replaced atomically and outlive
/// the daemon; below, as filters of a clsact qdisc.
pub const TCX: (u32, u32) = (6, 6);

impl KernelVersion {
    /// The running kernel.
    #[must_use]
    pub fn running() -> Option<Self> {
        let name = nix::sys::utsname::uname().ok()?;
        Self::parse(name.release().to_str()?)
    }

    /// Reads a release string.
    #[must_use]
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|character: char| !character.is_ascii_digit());
        Some(Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
            release: release.to_owned(),
        })
    }

    /// Whether this kernel is at least `(major, minor)`.
    #[must_use]
    pub fn at_least(&self, wanted: (u32, u32)) -> bool {
        (self.major, self.minor) >= wanted
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.release)
    }
}

/// Whether the kernel publishes its own types.
#[must_use]
pub fn has_btf() -> bool {
    Path::new("/sys/kernel/btf/vmlinux").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        let debian = KernelVersion::parse("6.1.0-28-cloud-amd64").unwrap();
        assert!(debian.at_least((5, 15)) && !debian.at_least(TCX));
        assert!(KernelVersion::parse("6.18.44").unwrap().at_least(TCX));
        assert!(!KernelVersion::parse("5.4.0").unwrap().at_least(OLDEST));
        assert_eq!(KernelVersion::parse("mainline"), None);
        assert!(KernelVersion::running().is_some());
    }
}
