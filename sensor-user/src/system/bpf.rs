//! The few uses of bpf(2) that need no loader: an element of a pinned map, and what is attached
//! where. `weir kill` and `weir doctor` work through this, with no daemon and no BPF object.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

// enum bpf_cmd, include/uapi/linux/bpf.h
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const OBJ_GET: libc::c_int = 7;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const PROG_QUERY: libc::c_int = 16;

/// `BPF_TCX_INGRESS` of enum bpf_attach_type.
const TCX_INGRESS: u32 = 46;
/// `BPF_TCX_EGRESS` of enum bpf_attach_type.
const TCX_EGRESS: u32 = 47;

/// Programs that one hook is asked for; the kernel allows 64 a hook (`BPF_MPROG_MAX`).
const QUERY_MAX: usize = 64;

/// A BPF object that is open.
#[derive(Debug)]
pub struct Object(OwnedFd);

/// Where TCX programs are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcxHook {
    /// On the way in.
    Ingress,
    /// On the way out.
    Egress,
}

#[repr(C)]
#[derive(Default)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
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

#[repr(C)]
#[derive(Default)]
struct Query {
    target_ifindex: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    count: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

/// Offset of `name` in `struct bpf_prog_info`, and its length.
const PROG_NAME: std::ops::Range<usize> = 64..80;

/// Opens a pinned map or program.
pub fn open_pinned(path: &Path) -> io::Result<Object> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = ObjGet { pathname: name.as_ptr() as u64, ..ObjGet::default() };
    // SAFETY: `pathname` is a NUL-terminated string that outlives the call.
    let fd = unsafe { bpf(OBJ_GET, &mut attributes) }?;
    // SAFETY: the kernel just made this descriptor for us and nobody else owns it.
    Ok(Object(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Reads one `u32` element of an array map with `u32` values.
pub fn lookup(map: &Object, key: u32) -> io::Result<u32> {
    let mut value = [0u64; 1];
    // `KILL` is not per CPU, so its value is 4 bytes; the buffer holds 8.
    element(MAP_LOOKUP_ELEM, map, key, &mut value)?;
    Ok(value.first().map_or(0, |word| u32_prefix(*word)))
}

/// Writes one `u32` element of an array map with `u32` values.
pub fn update(map: &Object, key: u32, value: u32) -> io::Result<()> {
    let mut word = [0u8; 8];
    if let Some(start) = word.first_chunk_mut() {
        *start = value.to_ne_bytes();
    }
    element(MAP_UPDATE_ELEM, map, key, &mut [u64::from_ne_bytes(word)])
}

/// Reads one element of a per-CPU array, as the 64-bit words of every CPU one after the other.
/// `words_per_cpu` is the value's size in words.
pub fn lookup_per_cpu(map: &Object, key: u32, words_per_cpu: usize) -> io::Result<Vec<u64>> {
    let mut values = vec![0u64; words_per_cpu * possible_cpus()?];
    element(MAP_LOOKUP_ELEM, map, key, &mut values)?;
    Ok(values)
}

/// Ids of the programs attached at a TCX hook, in the order in which they run; empty below
/// kernel 6.6, which has no such hook.
pub fn tcx_programs(ifindex: u32, hook: TcxHook) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; QUERY_MAX];
    let mut attributes = Query {
        target_ifindex: ifindex,
        attach_type: match hook {
            TcxHook::Ingress => TCX_INGRESS,
            TcxHook::Egress => TCX_EGRESS,
        },
        prog_ids: ids.as_mut_ptr() as u64,
        count: QUERY_MAX as u32,
        ..Query::default()
    };
    // SAFETY: `prog_ids` points at `count` writable words that outlive the call.
    match unsafe { bpf(PROG_QUERY, &mut attributes) } {
        Ok(_) => Ok(ids.into_iter().take(attributes.count as usize).collect()),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A program's name. Needs `CAP_SYS_ADMIN`: with less, the kernel refuses look-ups by id.
pub fn program_name(id: u32) -> io::Result<String> {
    let mut attributes = ById { id, ..ById::default() };
    // SAFETY: this command reads numbers only.
    let fd = unsafe { bpf(PROG_GET_FD_BY_ID, &mut attributes) }?;
    // SAFETY: the kernel just made this descriptor for us and nobody else owns it.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = [0u64; 32];
    let mut attributes = InfoByFd {
        fd: program.as_raw_fd() as u32,
        length: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: `info` points at `length` writable bytes that outlive the call; zeroed, so the
    // kernel sees no request for instructions or map ids in it.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    let bytes: Vec<u8> = info.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(super::netlink::text(bytes.get(PROG_NAME).unwrap_or_default()))
}

fn element(command: libc::c_int, map: &Object, key: u32, value: &mut [u64]) -> io::Result<()> {
    let mut attributes = Element {
        map_fd: map.0.as_raw_fd() as u32,
        key: (&raw const key) as u64,
        value: value.as_mut_ptr() as u64,
        ..Element::default()
    };
    // SAFETY: key and value are live for the call, and every caller above passes at least as many
    // bytes as the values of the maps that it names have.
    unsafe { bpf(command, &mut attributes) }.map(drop)
}

/// CPUs that per-CPU values have room for: the last number of `possible`, plus one.
pub(crate) fn possible_cpus() -> io::Result<usize> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    list.trim()
        .rsplit(['-', ','])
        .next()
        .and_then(|last| last.parse::<usize>().ok())
        .map(|last| last + 1)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, list))
}

fn u32_prefix(word: u64) -> u32 {
    word.to_ne_bytes().first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// Calls bpf(2).
///
/// # Safety
/// `T` must be the `repr(C)` prefix of `union bpf_attr` that `command` reads, and every address in
/// it must be valid for what the command does with it.
pub(crate) unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    let address: *mut T = attributes;
    // SAFETY: the caller vouches for the contents; size and address are of the same object.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, address, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_pinned_is_not_found() {
        let error = open_pinned(Path::new("/nonexistent/KILL")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(possible_cpus().unwrap() >= 1);
    }

    #[test]
    fn the_first_four_bytes_of_a_value_are_the_u32() {
        let mut bytes = [0u8; 8];
        bytes[..4].copy_from_slice(&7u32.to_ne_bytes());
        assert_eq!(u32_prefix(u64::from_ne_bytes(bytes)), 7);
    }
}
