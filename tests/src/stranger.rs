//! Programs, links and maps that are not Weir's, put where Weir would like to be.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use anyhow::{Context, Result};

use crate::net::{Lab, Namespace};

// enum bpf_cmd, include/uapi/linux/bpf.h
const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const OBJ_PIN: libc::c_int = 6;
const LINK_CREATE: libc::c_int = 28;

/// `BPF_MAP_TYPE_HASH`
const HASH: u32 = 1;

/// `r0 = 2; exit`: `XDP_PASS` for an interface, `TC_ACT_SHOT` for traffic control.
const RETURN_TWO: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];

/// What a stranger's program is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// XDP: passes every packet.
    XdpPass,
    /// Traffic control: drops every packet, so that one can tell whether it runs.
    TcDrop,
}

/// Where a stranger attaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Hook {
    /// `BPF_XDP`
    Xdp = 37,
    /// `BPF_TCX_INGRESS`
    TcxIngress = 46,
    /// `BPF_TCX_EGRESS`
    TcxEgress = 47,
}

/// A BPF object that is not Weir's. Dropping it closes it: a program stays while it is pinned, a
/// link stays attached while it is pinned or held.
#[derive(Debug)]
pub struct Stranger {
    descriptor: OwnedFd,
}

impl Stranger {
    /// Loads a program.
    pub fn program(purpose: Purpose) -> Result<Self> {
        #[repr(C)]
        struct Load {
            prog_type: u32,
            insn_cnt: u32,
            insns: u64,
            license: u64,
            log: [u64; 2],
            kern_version: u32,
            prog_flags: u32,
            prog_name: [u8; 16],
            prog_ifindex: u32,
            expected_attach_type: u32,
        }
        let (prog_type, expected_attach_type) = match purpose {
            // BPF_PROG_TYPE_XDP; a link takes only programs made for where its first one was.
            Purpose::XdpPass => (6, Hook::Xdp as u32),
            // BPF_PROG_TYPE_SCHED_CLS
            Purpose::TcDrop => (3, 0),
        };
        let mut attributes = Load {
            prog_type,
            insn_cnt: RETURN_TWO.len() as u32,
            insns: RETURN_TWO.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            log: [0; 2],
            kern_version: 0,
            prog_flags: 0,
            prog_name: *b"stranger\0\0\0\0\0\0\0\0",
            prog_ifindex: 0,
            expected_attach_type,
        };
        // SAFETY: instructions and licence are live for the call.
        let descriptor = unsafe { bpf(PROG_LOAD, &mut attributes) };
        Ok(Self { descriptor: descriptor.context("cannot load a stranger's program")? })
    }

    /// Makes a hash map of ten entries.
    pub fn map(key_size: u32, value_size: u32) -> Result<Self> {
        #[repr(C)]
        struct Create {
            map_type: u32,
            key_size: u32,
            value_size: u32,
            max_entries: u32,
            map_flags: u32,
        }
        let mut attributes =
            Create { map_type: HASH, key_size, value_size, max_entries: 10, map_flags: 0 };
        // SAFETY: this command reads numbers only.
        let descriptor = unsafe { bpf(MAP_CREATE, &mut attributes) };
        Ok(Self { descriptor: descriptor.context("cannot make a stranger's map")? })
    }

    pub(crate) fn raw(&self) -> i32 {
        self.descriptor.as_raw_fd()
    }

    /// Attaches this program behind whatever is attached there; returns the link.
    pub fn attach(&self, namespace: &Namespace, interface: &str, hook: Hook) -> Result<Self> {
        #[repr(C)]
        struct Create {
            prog_fd: u32,
            target_ifindex: u32,
            attach_type: u32,
            flags: u32,
            more: [u64; 2],
        }
        let link = namespace.run(|| {
            let mut attributes = Create {
                prog_fd: self.descriptor.as_raw_fd() as u32,
                target_ifindex: nix::net::if_::if_nametoindex(interface)?,
                attach_type: hook as u32,
                flags: 0,
                more: [0; 2],
            };
            // SAFETY: this command reads numbers only.
            unsafe { bpf(LINK_CREATE, &mut attributes) }
        })?;
        let descriptor =
            link.with_context(|| format!("cannot attach a stranger to {interface}"))?;
        Ok(Self { descriptor })
    }

    /// Pins it; folders are made as needed.
    pub fn pin(&self, path: &Path) -> Result<()> {
        #[repr(C)]
        struct Pin {
            pathname: u64,
            bpf_fd: u32,
            file_flags: u32,
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let name = CString::new(path.as_os_str().as_bytes())?;
        let mut attributes = Pin {
            pathname: name.as_ptr() as u64,
            bpf_fd: self.descriptor.as_raw_fd() as u32,
            file_flags: 0,
        };
        // SAFETY: `pathname` is a NUL-terminated string that outlives the call. The result is no
        // descriptor but 0, which must not be owned.
        let result = unsafe { call(OBJ_PIN, &mut attributes) };
        result.map(drop).with_context(|| format!("cannot pin a stranger at {}", path.display()))
    }
}

/// The inode that names the edge's network namespace, as Weir's pins of links have it.
pub fn edge_inode(lab: &Lab) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata(lab.edge().path())?.ino())
}

/// Calls bpf(2) for a command that returns a new descriptor.
///
/// # Safety
/// As for [`call`].
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller vouches for the attributes.
    let descriptor = unsafe { call(command, attributes) }?;
    // SAFETY: the kernel just made this descriptor for us and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Calls bpf(2).
///
/// # Safety
/// `T` must be the `repr(C)` prefix of `union bpf_attr` that `command` reads, and every address in
/// it must be valid for what the command does with it.
pub(crate) unsafe fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    let address: *mut T = attributes;
    // SAFETY: the caller vouches for the contents; size and address are of the same object.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, address, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}
