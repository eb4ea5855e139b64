//! Somebody with root who changes what Weir has in the kernel, behind its back.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use anyhow::{Context, Result, ensure};

use crate::stranger::{Stranger, call};

// enum bpf_cmd, include/uapi/linux/bpf.h
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const OBJ_GET: libc::c_int = 7;
const LINK_UPDATE: libc::c_int = 29;
const LINK_DETACH: libc::c_int = 34;

/// A pinned map, as bytes.
#[derive(Debug)]
pub struct Map {
    descriptor: OwnedFd,
    key: usize,
    value: usize,
}

#[repr(C)]
#[derive(Default)]
struct Element {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Map {
    /// Opens a pinned map with keys and values of these sizes.
    pub fn open(path: &Path, key: usize, value: usize) -> Result<Self> {
        Ok(Self { descriptor: open(path)?, key, value })
    }

    /// Reads an entry.
    pub fn get(&self, key: &[u8]) -> Result<Vec<u8>> {
        ensure!(key.len() == self.key, "a key of {} bytes", key.len());
        let mut value = vec![0; self.value];
        let mut attributes = self.element(key, value.as_mut_ptr() as u64);
        // SAFETY: key and value have the sizes that the map was opened with.
        unsafe { call(MAP_LOOKUP_ELEM, &mut attributes) }.context("cannot read the entry")?;
        Ok(value)
    }

    /// Writes an entry.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        ensure!(key.len() == self.key && value.len() == self.value, "an entry of another shape");
        let mut attributes = self.element(key, value.as_ptr() as u64);
        // SAFETY: as above.
        unsafe { call(MAP_UPDATE_ELEM, &mut attributes) }.context("cannot write the entry")?;
        Ok(())
    }

    /// Changes bytes of an entry, from a place on; returns it as it was.
    pub fn patch(&self, key: &[u8], at: usize, with: &[u8]) -> Result<Vec<u8>> {
        let before = self.get(key)?;
        let mut after = before.clone();
        let place = after.get_mut(at..at + with.len()).context("behind the value")?;
        place.copy_from_slice(with);
        self.put(key, &after)?;
        Ok(before)
    }

    /// Removes an entry.
    pub fn remove(&self, key: &[u8]) -> Result<()> {
        ensure!(key.len() == self.key, "a key of {} bytes", key.len());
        let mut attributes = self.element(key, 0);
        // SAFETY: as above.
        unsafe { call(MAP_DELETE_ELEM, &mut attributes) }.context("cannot remove the entry")?;
        Ok(())
    }

    fn element(&self, key: &[u8], value: u64) -> Element {
        Element {
            map_fd: self.descriptor.as_raw_fd() as u32,
            key: key.as_ptr() as u64,
            value,
            ..Element::default()
        }
    }
}

/// Takes a pinned link's program off its interface; the pin stays.
pub fn detach(link: &Path) -> Result<()> {
    let link = open(link)?;
    let mut attributes = link.as_raw_fd() as u32;
    // SAFETY: this command reads a number only.
    unsafe { call(LINK_DETACH, &mut attributes) }.context("cannot detach the link")?;
    Ok(())
}

/// Puts a stranger's program into a pinned link.
pub fn replace(link: &Path, stranger: &Stranger) -> Result<()> {
    update(link, stranger.raw() as u32)
}

/// Puts a pinned program into a pinned link.
pub fn restore(link: &Path, program: &Path) -> Result<()> {
    let program = open(program)?;
    update(link, program.as_raw_fd() as u32)
}

fn update(link: &Path, program: u32) -> Result<()> {
    let link = open(link)?;
    // struct { link_fd; new_prog_fd; flags; old_prog_fd; }
    let mut attributes = [link.as_raw_fd() as u32, program, 0, 0];
    // SAFETY: this command reads numbers only.
    unsafe { call(LINK_UPDATE, &mut attributes) }.context("cannot replace the program")?;
    Ok(())
}

fn open(path: &Path) -> Result<OwnedFd> {
    #[repr(C)]
    struct Get {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Get { pathname: name.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: `pathname` is a NUL-terminated string that outlives the call.
    let opened: io::Result<libc::c_int> = unsafe { call(OBJ_GET, &mut attributes) };
    let descriptor = opened.with_context(|| format!("cannot open {}", path.display()))?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
