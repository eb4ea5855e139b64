//! Debian's names of what is needed, and how to tell whether it is here. Told by the files that
//! are used rather than by asking the package manager, so that it works on any distribution.

use std::path::{Path, PathBuf};

use crate::{process::find_program, toolchain::DEBIAN_RUSTC};

/// A purpose that packages serve.
#[derive(Debug, Clone, Copy)]
pub(super) enum Needs<'a> {
    /// A compiler with a prebuilt `core` for the BPF target.
    Compiler,
    /// Building bpf-linker against this LLVM.
    LinkerBuild {
        /// LLVM's major version.
        llvm_major: u32,
    },
    /// Clippy for the BPF target.
    Clippy {
        /// The compiler that it has to come with.
        rustc: &'a Path,
    },
    /// Running the lab, the privileged tests and the benchmarks.
    Lab,
    /// Unpacking the release that the real TLS clients come from.
    Clients,
    /// libFuzzer, which is C++.
    Fuzzer,
}

/// Programs that the lab runs, and the packages that have them.
const LAB_PROGRAMS: [(&str, &str); 8] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ethtool", "ethtool"),
    ("tcpdump", "tcpdump"),
    ("bpftool", "bpftool"),
    ("openssl", "openssl"),
    // Asks about clients.
    ("nginx", "nginx-light"),
    // The benchmark's peer.
    ("xdp-filter", "xdp-tools"),
];

/// Packages that are missing for a purpose.
pub(super) fn missing(needs: Needs<'_>) -> Vec<String> {
    let mut packages: Vec<String> = match needs {
        Needs::Compiler => ["rustc-web", "libstd-rust-web-dev-bpf"].map(String::from).to_vec(),
        Needs::LinkerBuild { llvm_major } => linker_build(llvm_major),
        Needs::Clippy { rustc } => {
            let missing = rustc == Path::new(DEBIAN_RUSTC)
                && !rustc.with_file_name("clippy-driver").is_file();
            missing.then(|| "rust-web-clippy".to_owned()).into_iter().collect()
        }
        Needs::Lab => LAB_PROGRAMS
            .into_iter()
            .filter(|(program, _)| find_program(program).is_none())
            .map(|(_, package)| package.to_owned())
            .collect(),
        Needs::Clients => find_program("debootstrap")
            .is_none()
            .then(|| "debootstrap".into())
            .into_iter()
            .collect(),
        Needs::Fuzzer => find_program("c++").is_none().then(|| "g++".into()).into_iter().collect(),
    };
    packages.dedup();
    packages
}

/// The lab's programs and where they are.
pub(super) fn lab_programs() -> impl Iterator<Item = (&'static str, Option<PathBuf>)> {
    LAB_PROGRAMS.into_iter().map(|(program, _)| (program, find_program(program)))
}

/// Debian installs each LLVM under a folder of its own.
pub(super) fn llvm_prefix(llvm_major: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{llvm_major}"))
}

fn linker_build(llvm_major: u32) -> Vec<String> {
    let prefix = llvm_prefix(llvm_major);
    let files = [
        (prefix.join("bin/llvm-config"), format!("llvm-{llvm_major}-dev")),
        (prefix.join("lib/libPolly.a"), format!("libpolly-{llvm_major}-dev")),
        (prefix.join("lib/libclang.so"), format!("libclang-{llvm_major}-dev")),
        (PathBuf::from("/usr/include/zlib.h"), "zlib1g-dev".into()),
        (PathBuf::from("/usr/include/zstd.h"), "libzstd-dev".into()),
    ];
    files.into_iter().filter(|(file, _)| !file.exists()).map(|(_, package)| package).collect()
}
