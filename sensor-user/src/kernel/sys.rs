//! bpf(2), as much of it as aya 0.14 does not offer: typed elements, links that never replace a
//! stranger's program, test runs with a context. Batches are in `batch`.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use crate::system::bpf::bpf;

// enum bpf_cmd, include/uapi/linux/bpf.h
const MAP_LOOKUP_ELEM: i32 = 1;
const MAP_UPDATE_ELEM: i32 = 2;
const MAP_GET_NEXT_KEY: i32 = 4;
const OBJ_PIN: i32 = 6;
const OBJ_GET: i32 = 7;
const PROG_TEST_RUN: i32 = 10;
const OBJ_GET_INFO_BY_FD: i32 = 15;
const LINK_CREATE: i32 = 28;
const LINK_UPDATE: i32 = 29;
const LINK_DETACH: i32 = 34;

/// Refuse a link update unless the program in place is the one expected.
const F_REPLACE: u32 = 1 << 2;
/// Kernel functions return this where an operation is not supported (include/linux/errno.h).
const ENOTSUPP: i32 = 524;

/// `enum bpf_attach_type`: where a link attaches a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum AttachType {
    /// `BPF_XDP`
    Xdp = 37,
    /// `BPF_TCX_INGRESS`
    TcxIngress = 46,
    /// `BPF_TCX_EGRESS`
    TcxEgress = 47,
}

/// Types that are plain bytes: no padding, no invalid bit pattern, no pointers.
///
/// # Safety
/// Implement it only for such types.
pub(super) unsafe trait Plain: Copy + Default {}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: called only with a descriptor that the kernel just made for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

pub(super) fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

#[repr(C)]
#[derive(Default)]
struct Pin {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// Opens a pinned object.
pub(super) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = Pin { pathname: name.as_ptr() as u64, ..Pin::default() };
    // SAFETY: `pathname` is a NUL-terminated string that outlives the call.
    unsafe { bpf(OBJ_GET, &mut attributes) }.map(owned)
}

/// Pins an object.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes =
        Pin { pathname: name.as_ptr() as u64, bpf_fd: raw(object), ..Pin::default() };
    // SAFETY: `pathname` is a NUL-terminated string that outlives the call.
    unsafe { bpf(OBJ_PIN, &mut attributes) }.map(drop)
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

/// Reads an element into `value`, which has room for the map's values (per CPU: of all CPUs).
/// `Ok(false)`: there is none.
pub(super) fn lookup<K: Plain, V: Plain>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &mut [V],
) -> io::Result<bool> {
    let mut attributes = Element {
        map_fd: raw(map),
        key: (&raw const *key) as u64,
        value: value.as_mut_ptr() as u64,
        ..Element::default()
    };
    // SAFETY: key and value are live, and the map's shape was compared with K and V.
    match unsafe { bpf(MAP_LOOKUP_ELEM, &mut attributes) } {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes an element.
pub(super) fn update<K: Plain, V: Plain>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &V,
) -> io::Result<()> {
    let mut attributes = Element {
        map_fd: raw(map),
        key: (&raw const *key) as u64,
        value: (&raw const *value) as u64,
        ..Element::default()
    };
    // SAFETY: key and value are live, and the map's shape was compared with K and V.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) }.map(drop)
}

/// `BPF_NOEXIST`: only where there is none.
const NOEXIST: u64 = 1;

/// Writes an element where there is none. `Ok(false)`: there is one.
pub(super) fn insert<K: Plain, V: Plain>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &V,
) -> io::Result<bool> {
    let mut attributes = Element {
        map_fd: raw(map),
        key: (&raw const *key) as u64,
        value: (&raw const *value) as u64,
        flags: NOEXIST,
        ..Element::default()
    };
    // SAFETY: key and value are live, and the map's shape was compared with K and V.
    match unsafe { bpf(MAP_UPDATE_ELEM, &mut attributes) } {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads some key of a map that is not an array. `Ok(false)`: the map is empty.
pub(super) fn first_key<K: Plain>(map: BorrowedFd<'_>, first: &mut K) -> io::Result<bool> {
    next_key(map, None, first)
}

/// Reads the key that follows another; without one, or where that is gone, the first. `Ok(false)`:
/// there is none.
pub(super) fn next_key<K: Plain>(
    map: BorrowedFd<'_>,
    key: Option<&K>,
    next: &mut K,
) -> io::Result<bool> {
    let mut attributes = Element {
        map_fd: raw(map),
        key: key.map_or(0, |key| (&raw const *key) as u64),
        value: (&raw mut *next) as u64,
        ..Element::default()
    };
    // SAFETY: `key` is live, `next` is live and writable, and the map's shape was compared with K.
    match unsafe { bpf(MAP_GET_NEXT_KEY, &mut attributes) } {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

#[repr(C)]
#[derive(Default)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

fn info<const WORDS: usize>(object: BorrowedFd<'_>) -> io::Result<[u32; WORDS]> {
    let mut info = [0u32; WORDS];
    let mut attributes = InfoByFd {
        fd: raw(object),
        length: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: `info` points at `length` writable bytes; zeroed, so the kernel sees no request for
    // instructions or map ids in it.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(info)
}

/// A map's shape, the first words of `struct bpf_map_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapShape {
    pub(super) kind: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

/// Refuses a descriptor that is not of this kind: the kernel tells of maps, programs and links by one
/// call, in other words for each.
fn expect_kind(object: BorrowedFd<'_>, kind: &str) -> io::Result<()> {
    let is = std::fs::read_link(format!("/proc/self/fd/{}", object.as_raw_fd()))?;
    let is = is.display().to_string();
    let is = is.strip_prefix("anon_inode:").unwrap_or(&is).trim_matches(['[', ']']);
    // Kernels differ in how they write the last part: bpf_link, bpf-link.
    if is.replace('_', "-") == kind {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is a {is}, not a {kind}")))
}

/// Reads a map's shape.
pub(super) fn map_shape(map: BorrowedFd<'_>) -> io::Result<MapShape> {
    expect_kind(map, "bpf-map")?;
    let [kind, _, key_size, value_size, max_entries, flags, ..] = info::<20>(map)?;
    Ok(MapShape { kind, key_size, value_size, max_entries, flags })
}

/// Whether two descriptors are of one map.
pub(super) fn is_same_map(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    let [_, id, ..] = info::<20>(one)?;
    let [_, other, ..] = info::<20>(other)?;
    Ok(id == other)
}

/// A map's id, from `struct bpf_map_info`.
pub(super) fn map_id(map: BorrowedFd<'_>) -> io::Result<u32> {
    expect_kind(map, "bpf-map")?;
    let [_, id, ..] = info::<20>(map)?;
    Ok(id)
}

/// A program's id and tag, from `struct bpf_prog_info`.
pub(super) fn program_identity(program: BorrowedFd<'_>) -> io::Result<(u32, u64)> {
    let [_, id, tag0, tag1, ..] = info::<16>(program)?;
    let [a, b, c, d] = tag0.to_ne_bytes();
    let [e, f, g, h] = tag1.to_ne_bytes();
    Ok((id, u64::from_be_bytes([a, b, c, d, e, f, g, h])))
}

/// What a link says: its program, and the interface that it is on; 0 once that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkState {
    pub(super) program_id: u32,
    pub(super) ifindex: u32,
}

/// Reads a link's state: `struct bpf_link_info`, whose XDP and TCX parts both begin with the
/// interface.
pub(super) fn link_state(link: BorrowedFd<'_>) -> io::Result<LinkState> {
    expect_kind(link, "bpf-link")?;
    let [_, _, program_id, _, ifindex, ..] = info::<16>(link)?;
    Ok(LinkState { program_id, ifindex })
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    // Of TCX: `relative_fd`, its padding, `expected_revision`: 0 = at the end, whatever is there.
    rest: [u64; 4],
}

/// Attaches a program to an interface. Fails with `EBUSY` where XDP is taken: it never replaces.
pub(super) fn link_create(
    program: BorrowedFd<'_>,
    ifindex: u32,
    attach: AttachType,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate {
        prog_fd: raw(program),
        target_ifindex: ifindex,
        attach_type: attach as u32,
        flags,
        ..LinkCreate::default()
    };
    // SAFETY: this command reads numbers only.
    unsafe { bpf(LINK_CREATE, &mut attributes) }.map(owned)
}

#[repr(C)]
#[derive(Default)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// Replaces a link's program in one step, if it still is `old`.
pub(super) fn link_update(
    link: BorrowedFd<'_>,
    new: BorrowedFd<'_>,
    old: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut attributes = LinkUpdate {
        link_fd: raw(link),
        new_prog_fd: raw(new),
        flags: F_REPLACE,
        old_prog_fd: raw(old),
    };
    // SAFETY: this command reads numbers only.
    unsafe { bpf(LINK_UPDATE, &mut attributes) }.map(drop)
}

#[repr(C)]
#[derive(Default)]
struct LinkDetach {
    link_fd: u32,
}

/// Takes a link's program off its interface before this returns. A link that only loses its last
/// pin is released some milliseconds later.
pub(super) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = LinkDetach { link_fd: raw(link) };
    // SAFETY: this command reads a number only.
    unsafe { bpf(LINK_DETACH, &mut attributes) }.map(drop)
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

/// Words that any context fits: the kernel refuses fewer than it has.
const CONTEXT_OUT: usize = 64;

/// What a test run is given.
pub(super) struct TestRun<'a> {
    pub(super) packet: &'a [u8],
    /// `struct xdp_md` or `struct __sk_buff`; empty for the kernel's default.
    pub(super) context: &'a [u32],
    /// Where the mark stands in it, if the program may set one.
    pub(super) mark_at: Option<usize>,
    pub(super) repeat: u32,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestRunResult {
    /// What the program returned: `XDP_*` or `TC_ACT_*`.
    pub return_value: u32,
    /// The packet afterwards.
    pub packet: Vec<u8>,
    /// The packet's mark afterwards; 0 where the hook has none.
    pub mark: u32,
    /// Mean duration of a run, ns.
    pub mean_ns: u32,
}

/// Runs a program over a packet without an interface.
pub(super) fn test_run(program: BorrowedFd<'_>, run: &TestRun<'_>) -> io::Result<TestRunResult> {
    let mut out = vec![0u8; run.packet.len() + 256];
    let mut context = vec![0u32; if run.mark_at.is_some() { CONTEXT_OUT } else { 0 }];
    let mut attributes = Run {
        prog_fd: raw(program),
        data_size_in: run.packet.len() as u32,
        data_size_out: out.len() as u32,
        data_in: run.packet.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        repeat: run.repeat,
        ctx_size_in: size_of_val(run.context) as u32,
        ctx_in: if run.context.is_empty() { 0 } else { run.context.as_ptr() as u64 },
        ctx_size_out: size_of_val(context.as_slice()) as u32,
        ctx_out: if context.is_empty() { 0 } else { context.as_mut_ptr() as u64 },
        ..Run::default()
    };
    // SAFETY: packet, output and context are live and as long as said.
    unsafe { bpf(PROG_TEST_RUN, &mut attributes) }?;
    out.truncate(attributes.data_size_out as usize);
    let mark = run.mark_at.and_then(|at| context.get(at)).copied().unwrap_or(0);
    let (return_value, mean_ns) = (attributes.retval, attributes.duration);
    Ok(TestRunResult { return_value, packet: out, mark, mean_ns })
}

/// Whether an error means that the hook is not to be had here, so that another may be tried.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ERANGE | libc::ENOSYS | ENOTSUPP)
    )
}

/// Kernel memory of a map in bytes, as `/proc/self/fdinfo` says (kernel 5.11 and later count all of it).
pub(super) fn map_bytes(map: impl AsFd) -> io::Result<u64> {
    let path = format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path)?;
    let field = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    field
        .and_then(|value| value.trim().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no memlock in fdinfo"))
}
