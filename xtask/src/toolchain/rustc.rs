//! Compilers for the BPF target. Its `core` is either prebuilt (Debian packages it) or compiled
//! along with the program from the library's sources, which only a nightly offers.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Rejected;
use crate::process::{capture, find_program};

/// The BPF target of the host's byte order.
#[cfg(target_endian = "little")]
pub(crate) const BPF_TARGET: &str = "bpfel-unknown-none";
/// The BPF target of the host's byte order.
#[cfg(target_endian = "big")]
pub(crate) const BPF_TARGET: &str = "bpfeb-unknown-none";

/// Names the one compiler to use.
pub(crate) const RUSTC_VARIABLE: &str = "WEIR_BPF_RUSTC";

/// Where Debian's packages put their compiler. Named by path because rustup's comes first on `PATH`.
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// Where the compiler gets `core` for the BPF target from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CoreLibrary {
    /// It comes with the compiler.
    Prebuilt,
    /// Cargo compiles it, with `-Z build-std=core`.
    BuildStd,
}

/// A compiler that can build for the BPF target.
#[derive(Debug, Clone)]
pub(crate) struct BpfRustc {
    /// The program.
    pub(crate) path: PathBuf,
    /// First line of `rustc --version --verbose`.
    pub(crate) version: String,
    /// Major version of its LLVM; the linker's must be the same.
    pub(crate) llvm_major: u32,
    /// Where `core` comes from.
    pub(crate) core: CoreLibrary,
}

impl BpfRustc {
    /// Usable compilers, best first: that of [`RUSTC_VARIABLE`] alone if set; Debian's; rustup's nightly.
    pub(crate) fn candidates(rejected: &mut Rejected) -> Vec<Self> {
        if let Some(path) = env::var_os(RUSTC_VARIABLE) {
            return Self::inspect(RUSTC_VARIABLE, Path::new(&path), rejected).into_iter().collect();
        }
        let debian = Self::inspect("Debian's compiler", Path::new(DEBIAN_RUSTC), rejected);
        let nightly = match rustup_nightly() {
            Some(path) => Self::inspect("rustup's nightly", &path, rejected),
            None => {
                rejected.push("rustup's nightly: not installed");
                None
            }
        };
        debian.into_iter().chain(nightly).collect()
    }

    fn inspect(name: &str, path: &Path, rejected: &mut Rejected) -> Option<Self> {
        if !path.is_file() {
            rejected.push(format!("{name}: there is no {}", path.display()));
            return None;
        }
        let facts = capture(Command::new(path).args(["--version", "--verbose"])).and_then(|text| {
            let sysroot = capture(Command::new(path).args(["--print", "sysroot"]))?;
            Ok((text, PathBuf::from(sysroot.trim())))
        });
        let (text, sysroot) = match facts {
            Ok(facts) => facts,
            Err(error) => {
                rejected.push(format!("{name}: {error:#}"));
                return None;
            }
        };
        let version = text.lines().next().unwrap_or_default().to_owned();
        let Some(llvm_major) = llvm_major(&text) else {
            rejected.push(format!("{name} ({version}): does not say which LLVM it has"));
            return None;
        };
        let Some(core) = core_library(&sysroot, &version) else {
            rejected.push(format!(
                "{name} ({version}): has no core library for {BPF_TARGET}, neither prebuilt nor, on a nightly, as source"
            ));
            return None;
        };
        Some(Self { path: path.to_path_buf(), version, llvm_major, core })
    }
}

/// rustup's nightly compiler itself, not its proxy.
fn rustup_nightly() -> Option<PathBuf> {
    let rustup = find_program("rustup")?;
    // A toolchain that is not there must not be installed by a mere question.
    let path = capture(
        Command::new(rustup)
            .args(["which", "--toolchain", "nightly", "rustc"])
            .env("RUSTUP_AUTO_INSTALL", "0"),
    )
    .ok()?;
    Some(PathBuf::from(path.trim()))
}

/// "LLVM version: 22.1.8" → 22.
fn llvm_major(verbose_version: &str) -> Option<u32> {
    let version = verbose_version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

fn core_library(sysroot: &Path, version: &str) -> Option<CoreLibrary> {
    let rustlib = sysroot.join("lib/rustlib");
    let prebuilt = fs::read_dir(rustlib.join(BPF_TARGET).join("lib"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"));
    if prebuilt {
        return Some(CoreLibrary::Prebuilt);
    }
    let has_source = rustlib.join("src/rust/library/core/Cargo.toml").is_file();
    (has_source && version.contains("nightly")).then_some(CoreLibrary::BuildStd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_version_is_read_from_what_the_compiler_prints() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nLLVM version: 22.1.8\n";
        assert_eq!(llvm_major(text), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0\n"), None);
    }

    #[test]
    fn an_empty_sysroot_has_no_core_library() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(core_library(nowhere, "rustc 1.97.0-nightly"), None);
    }

    #[test]
    fn a_compiler_that_is_not_there_is_rejected_by_name() {
        let mut rejected = Rejected::default();
        let found = BpfRustc::inspect("this one", Path::new("/nonexistent/rustc"), &mut rejected);
        assert!(found.is_none());
        let lines: Vec<_> = rejected.lines().collect();
        assert_eq!(lines, ["this one: there is no /nonexistent/rustc"]);
    }
}
