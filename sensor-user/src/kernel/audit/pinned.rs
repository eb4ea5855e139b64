//! Pins. What they pin lives on in this process while they are gone, but the next daemon would find
//! nothing to take up: so they are made again.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use super::super::{Kernel, attach::PROGRAMS, link::ProgramPin, pins, sys};
use crate::enforce::audit::{Fault, Finding, Outcome};

impl Kernel {
    /// Looks at the pins of maps and attached programs; those of links are looked at with them.
    pub(super) fn inspect_pins(&self, findings: &mut Vec<Finding>) {
        for (spec, map) in self.tables.pinned() {
            let path = pins::map_path(&self.paths, spec);
            let is_ours = |found: BorrowedFd<'_>| {
                sys::map_id(found).is_ok_and(|id| sys::map_id(map).is_ok_and(|ours| ours == id))
            };
            findings.extend(look(&path, map, is_ours));
        }
        for name in PROGRAMS {
            let Some(program) = self.ebpf.program(name).and_then(|it| it.fd().ok()) else {
                continue;
            };
            let Ok((id, _)) = sys::program_identity(program.as_fd()) else { continue };
            if !ProgramPin::new(&self.paths, name).has(id) {
                let path = self.paths.programs().join(name);
                findings.extend(look(&path, program.as_fd(), |found| {
                    sys::program_identity(found).is_ok_and(|(it, _)| it == id)
                }));
            }
        }
    }
}

/// Looks at one pin, and makes it again where there is none.
pub(super) fn look(
    path: &Path,
    object: BorrowedFd<'_>,
    is_ours: impl Fn(BorrowedFd<'_>) -> bool,
) -> Option<Finding> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let alarm = |text: String| Some(Finding::new(Fault::Pin, &*name, Outcome::Alarm).saying(text));
    match sys::open_pinned(path) {
        Ok(found) if is_ours(found.as_fd()) => None,
        Ok(_) => alarm(format!(
            "something else is pinned at {}: remove it, and Weir pins its own again",
            path.display()
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match again(path, object) {
            Ok(()) => Some(Finding::new(Fault::Pin, &*name, Outcome::Repaired)),
            Err(error) => alarm(format!("cannot pin {} again: {error}", path.display())),
        },
        Err(error) => alarm(format!("cannot open {}: {error}", path.display())),
    }
}

fn again(path: &Path, object: BorrowedFd<'_>) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    sys::pin(object, path)
}
