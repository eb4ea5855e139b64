//! The kill switch: everything passes. It must work when nothing else does, so it needs no daemon
//! and no BPF object, only a file and one element of a pinned map.
//!
//! The file exists while the switch is on. It is written first, so that a crash in between leaves
//! a switch that is on after the next start and never one that is forgotten.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};
use weir_common::abi::map;

use crate::system::{
    bpf,
    durable::{self, DurableError},
    paths::Paths,
};

/// The kill switch could not be read or turned.
#[derive(Debug, thiserror::Error)]
pub enum KillError {
    /// The file that survives a reboot.
    #[error(transparent)]
    File(#[from] DurableError),
    /// It is on now, but not written down.
    #[error("it is on in the kernel now, but will be off again after a reboot: {0}")]
    OnlyInKernel(DurableError),
    /// The map that the programs read.
    #[error(
        "cannot {operation} the kill switch in the kernel ({path}): {source}; run this as root"
    )]
    Map {
        /// What was tried, as a verb.
        operation: &'static str,
        /// Where it is pinned.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Whether there is a switch in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelSwitch {
    /// It was turned.
    Set,
    /// No program was ever loaded, so there is none.
    Absent,
}

/// Turns the switch: the file first, then the kernel. Where the file cannot be written, the kernel's
/// switch is still turned on (passing everything at once is what was asked for), and the error says
/// that it will not survive a reboot.
pub fn set(paths: &Paths, on: bool) -> Result<KernelSwitch, KillError> {
    if !on {
        durable::remove(&paths.kill_file())?;
        return set_in_kernel(paths, false);
    }
    let since = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
    let written = durable::write(&paths.kill_file(), format!("on since {since}\n").as_bytes());
    let turned = set_in_kernel(paths, true)?;
    match (written, turned) {
        (Err(source), KernelSwitch::Set) => Err(KillError::OnlyInKernel(source)),
        (written, turned) => Ok(written.map(|()| turned)?),
    }
}

/// Who turned a switch, and which way, for the journal.
#[derive(Serialize, Deserialize)]
struct Note {
    on: bool,
    uid: u32,
}

/// Leaves word of who turns the switch, for a daemon that sees it turned.
pub fn leave_note(paths: &Paths, on: bool, uid: u32) -> Result<(), DurableError> {
    // Two plain values can always be written as JSON.
    let text = serde_json::to_vec(&Note { on, uid }).unwrap_or_default();
    durable::write(&paths.kill_note(), &text)
}

/// Who turned the switch this way, if they left word.
#[must_use]
pub fn turned_by(note: &Path, on: bool) -> Option<u32> {
    let text = durable::read(note).ok()??;
    let note: Note = serde_json::from_slice(&text).ok()?;
    (note.on == on).then_some(note.uid)
}

fn set_in_kernel(paths: &Paths, on: bool) -> Result<KernelSwitch, KillError> {
    let failed = |operation| move |source| map_error(paths, operation, source);
    match bpf::open_pinned(&paths.kill_map()) {
        Ok(switch) => {
            bpf::update(&switch, 0, u32::from(on)).map_err(failed("turn"))?;
            Ok(KernelSwitch::Set)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(KernelSwitch::Absent),
        Err(error) => Err(failed("open")(error)),
    }
}

/// How the switch will be after a reboot.
pub fn persisted(paths: &Paths) -> Result<bool, KillError> {
    Ok(durable::read(&paths.kill_file())?.is_some())
}

/// How the switch is in the kernel; `None` if no program was ever loaded.
pub fn in_kernel(paths: &Paths) -> Result<Option<bool>, KillError> {
    let failed = |operation| move |source| map_error(paths, operation, source);
    match bpf::open_pinned(&paths.kill_map()) {
        Ok(switch) => bpf::lookup(&switch, 0).map(|value| Some(value != 0)).map_err(failed("read")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("open")(error)),
    }
}

fn map_error(paths: &Paths, operation: &'static str, source: io::Error) -> KillError {
    let path = format!("{} at {}", map::KILL.name, paths.kill_map().display());
    KillError::Map { operation, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_persists_with_no_program_in_the_kernel() {
        let root = std::env::temp_dir().join(format!("weir-kill-{}", std::process::id()));
        let paths =
            Paths { bpffs: root.clone(), state_dir: root.join("state"), run_dir: root.clone() };
        assert!(!persisted(&paths).unwrap());
        assert_eq!(set(&paths, true).unwrap(), KernelSwitch::Absent);
        assert!(persisted(&paths).unwrap());
        assert_eq!(in_kernel(&paths).unwrap(), None);
        assert_eq!(turned_by(&paths.kill_note(), true), None);
        leave_note(&paths, true, 7).unwrap();
        assert_eq!(turned_by(&paths.kill_note(), true), Some(7));
        assert_eq!(turned_by(&paths.kill_note(), false), None, "that was somebody else");
        set(&paths, false).unwrap();
        set(&paths, false).unwrap();
        assert!(!persisted(&paths).unwrap());
        std::fs::remove_dir_all(&root).unwrap();
    }
}
