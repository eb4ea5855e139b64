//! Whether a directory is a BPF file system, where pins live.

use std::{io, path::Path};

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

/// Whether `path` exists and is inside a mounted BPF file system.
pub fn is_mounted(path: &Path) -> io::Result<bool> {
    Ok(statfs(path)?.filesystem_type() == BPF_FS_MAGIC)
}

#[cfg(test)]
mod tests {
    #[test]
    fn proc_is_not_a_bpf_file_system() {
        assert!(!super::is_mounted("/proc".as_ref()).unwrap());
        assert!(super::is_mounted("/nonexistent".as_ref()).is_err());
    }
}
