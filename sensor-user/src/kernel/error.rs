//! What can go wrong between the daemon and the kernel's programs.

use std::{io, path::PathBuf};

/// An error of this module: operation, object, what to do.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// This binary was built without the kernel programs.
    #[error(
        "this binary carries no kernel programs: build it with `cargo xtask build`, which makes them first"
    )]
    NoObject,
    /// The kernel publishes no BTF.
    #[error(
        "the kernel publishes no BTF at /sys/kernel/btf/vmlinux: run a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian's and Ubuntu's are)"
    )]
    NoBtf,
    /// Something below the pin directory is not what it should be.
    #[error(
        "{path} is not what this version pins there ({what}): it is a stranger's, or damaged. Stop Weir and run `weir detach`, or remove it by hand"
    )]
    ForeignPin {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file operation in the BPF file system failed.
    #[error("cannot {operation} {path}: {source}")]
    Pin {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The object could not be loaded.
    #[error("cannot load the kernel programs: {0}")]
    Load(#[from] aya::EbpfError),
    /// One program was refused.
    #[error(
        "the kernel refused program {program}: {source}. Needed are CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root; `weir doctor` says more"
    )]
    Program {
        /// Its name.
        program: &'static str,
        /// What the kernel said, with the verifier's log.
        source: Box<aya::programs::ProgramError>,
    },
    /// The interface is not there or cannot be read.
    #[error(transparent)]
    Interface(#[from] crate::system::interface::InterfaceError),
    /// Somebody else's XDP program is on the interface.
    #[error(
        "{interface} already runs an XDP program that is not Weir's (id {program_id}): Weir never replaces a stranger's program. Detach it (`ip link set dev {interface} xdp off`, or `xdp-loader unload {interface} --all`), or run with --mode tc beside it"
    )]
    ForeignXdp {
        /// The interface.
        interface: String,
        /// The program's id.
        program_id: u32,
    },
    /// The program behind one of our links is not ours.
    #[error(
        "the link {path} on {interface} runs program {program_id}, which is not the one that Weir pinned: stop Weir, run `weir detach`, and start it again"
    )]
    ForeignProgram {
        /// The link's pin.
        path: PathBuf,
        /// The interface.
        interface: String,
        /// The program's id.
        program_id: u32,
    },
    /// A hook could not be attached to.
    #[error("cannot attach to {interface} by {hook}: {source}{advice}")]
    Attach {
        /// The interface.
        interface: String,
        /// Which hook.
        hook: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// Traffic control refused a filter.
    #[error("cannot attach to {interface} by a clsact filter: {source}")]
    Clsact {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A table could not be read or written.
    #[error(transparent)]
    Dataplane(#[from] crate::enforce::dataplane::DataplaneError),
    /// A system fact could not be read.
    #[error("cannot read {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}
