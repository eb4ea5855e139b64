//! bpf(2), as much of it as the harness needs beside the daemon's own loader: programs of others,
//! one map that a test must fill before the daemon's code does, and emptying maps.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

// enum bpf_cmd, include/uapi/linux/bpf.h
const MAP_UPDATE_ELEM: i32 = 2;
const MAP_DELETE_ELEM: i32 = 3;
const MAP_GET_NEXT_KEY: i32 = 4;
const PROG_LOAD: i32 = 5;
const OBJ_GET: i32 = 7;
const PROG_TEST_RUN: i32 = 10;
const PROG_GET_NEXT_ID: i32 = 11;
const PROG_GET_FD_BY_ID: i32 = 13;
const OBJ_GET_INFO_BY_FD: i32 = 15;

/// Offset of `name` in `struct bpf_prog_info`, and its length.
const INFO_NAME: std::ops::Range<usize> = 64..80;

/// Calls bpf(2).
///
/// # Safety
/// `T` must be the `repr(C)` prefix of `union bpf_attr` that `command` reads, and every address in
/// it must be valid for what the command does with it.
unsafe fn bpf<T>(command: i32, attributes: &mut T) -> io::Result<i32> {
    let address: *mut T = attributes;
    // SAFETY: the caller vouches for the contents; size and address are of the same object.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, address, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// Takes over a descriptor that a call returned.
fn owned(descriptor: i32) -> OwnedFd {
    // SAFETY: called only with a descriptor that the kernel just made for us.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

#[repr(C)]
#[derive(Default)]
struct ObjectPath {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Opens a pinned object.
pub(super) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = ObjectPath { pathname: name.as_ptr() as u64, ..ObjectPath::default() };
    // SAFETY: `pathname` is a NUL-terminated string that outlives the call.
    unsafe { bpf(OBJ_GET, &mut attributes) }.map(owned)
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

/// Writes an element of an array map with a `u32` key, whose values are `V`s.
///
/// # Safety
/// The map's values must have the size of `V`, and `V` no padding.
pub(super) unsafe fn update<V: Copy>(map: BorrowedFd<'_>, key: u32, value: &V) -> io::Result<()> {
    let mut attributes = Element {
        map_fd: map.as_raw_fd() as u32,
        key: (&raw const key) as u64,
        value: (&raw const *value) as u64,
        ..Element::default()
    };
    // SAFETY: key and value are live, and the caller vouches for their shapes.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// Removes every element of a hash map, whose keys have at most 64 bytes.
pub(super) fn clear(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut key = [0u64; 8];
    loop {
        // Without a key it is the first one that is asked for: `value` is where it goes.
        let mut next = Element {
            map_fd: map.as_raw_fd() as u32,
            value: key.as_mut_ptr() as u64,
            ..Element::default()
        };
        // SAFETY: there is room for a key.
        match unsafe { bpf(MAP_GET_NEXT_KEY, &mut next) } {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut found = Element {
            map_fd: map.as_raw_fd() as u32,
            key: key.as_ptr() as u64,
            ..Element::default()
        };
        // SAFETY: the key is the one that was just read.
        match unsafe { bpf(MAP_DELETE_ELEM, &mut found) } {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// Loads a program of a kind from `enum bpf_prog_type`.
pub(super) fn load(kind: u32, instructions: &[u64]) -> io::Result<OwnedFd> {
    let mut attributes = Load {
        prog_type: kind,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
    };
    // SAFETY: instructions and licence are live for the call.
    unsafe { bpf(PROG_LOAD, &mut attributes) }.map(owned)
}

#[repr(C)]
#[derive(Default)]
struct Identity {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// The smallest program id above `id`.
pub(super) fn next_program(id: u32) -> io::Result<Option<u32>> {
    let mut attributes = Identity { id, ..Identity::default() };
    // SAFETY: this command reads and writes numbers only.
    match unsafe { bpf(PROG_GET_NEXT_ID, &mut attributes) } {
        Ok(_) => Ok(Some(attributes.next_id)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a program by its id.
pub(super) fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attributes = Identity { id, ..Identity::default() };
    // SAFETY: this command reads numbers only.
    unsafe { bpf(PROG_GET_FD_BY_ID, &mut attributes) }.map(owned)
}

#[repr(C)]
#[derive(Default)]
struct InfoByDescriptor {
    fd: u32,
    length: u32,
    info: u64,
}

/// A program's name, of which the kernel keeps 15 bytes.
pub(super) fn program_name(program: BorrowedFd<'_>) -> io::Result<String> {
    let mut info = [0u64; 32];
    let mut attributes = InfoByDescriptor {
        fd: program.as_raw_fd() as u32,
        length: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: `info` points at `length` writable bytes that outlive the call; zeroed, so the kernel
    // sees no request for instructions or map ids in it.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    let bytes: Vec<u8> = info.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let name = bytes.get(INFO_NAME).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

#[repr(C)]
#[derive(Default)]
struct Run {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

/// Runs a program `repeat` times over one packet: what it returned last, and the mean duration of
/// a run in ns.
pub(super) fn test_run(
    program: BorrowedFd<'_>,
    packet: &[u8],
    repeat: u32,
) -> io::Result<(u32, u32)> {
    let mut attributes = Run {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: packet.len() as u32,
        data_in: packet.as_ptr() as u64,
        repeat,
        ..Run::default()
    };
    // SAFETY: the packet is live and as long as said; no output is asked for.
    unsafe { bpf(PROG_TEST_RUN, &mut attributes) }?;
    Ok((attributes.retval, attributes.duration))
}
