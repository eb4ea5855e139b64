//! bpf-linker: which one to use, and whose LLVM it was built with.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::Rejected;
use crate::{process::find_program, workspace::Workspace};

/// The version that `setup` installs.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";

/// Names the one linker to use.
pub(crate) const LINKER_VARIABLE: &str = "WEIR_BPF_LINKER";

/// A bpf-linker.
#[derive(Debug, Clone)]
pub(crate) struct Linker {
    /// The program.
    pub(crate) path: PathBuf,
}

impl Linker {
    /// A linker for a compiler with this LLVM: that of [`LINKER_VARIABLE`] alone if set; the one that
    /// `setup` installed; the one on `PATH`.
    pub(crate) fn find(
        workspace: &Workspace,
        llvm_major: u32,
        rejected: &mut Rejected,
    ) -> Option<Self> {
        if let Some(path) = env::var_os(LINKER_VARIABLE) {
            return fitting(LINKER_VARIABLE, PathBuf::from(path), llvm_major, rejected);
        }
        let own = Self::install_root(workspace, llvm_major).join("bin/bpf-linker");
        if own.is_file() {
            return Some(Self { path: own });
        }
        match find_program("bpf-linker") {
            Some(path) => fitting("bpf-linker on PATH", path, llvm_major, rejected),
            None => {
                rejected.push(format!("bpf-linker for LLVM {llvm_major}: not installed"));
                None
            }
        }
    }

    /// Where `setup` installs the linker for a compiler with this LLVM. The path names both
    /// versions, so that another compiler gets another linker.
    pub(crate) fn install_root(workspace: &Workspace, llvm_major: u32) -> PathBuf {
        workspace.tools_dir().join(format!("bpf-linker-{BPF_LINKER_VERSION}-llvm-{llvm_major}"))
    }
}

/// Takes a linker whose LLVM is the compiler's, or cannot be told: bpf-linker itself then reports
/// bitcode that it cannot read.
fn fitting(name: &str, path: PathBuf, llvm_major: u32, rejected: &mut Rejected) -> Option<Linker> {
    if !path.is_file() {
        rejected.push(format!("{name}: there is no {}", path.display()));
        return None;
    }
    match shared_llvm_major(&path) {
        Some(major) if major != llvm_major => {
            rejected.push(format!(
                "{name} ({}): is built with LLVM {major}, the compiler with LLVM {llvm_major}",
                path.display()
            ));
            None
        }
        _ => Some(Linker { path }),
    }
}

/// The major version of the shared LLVM library that a program names, `None` if it names none
/// (LLVM is then linked statically).
fn shared_llvm_major(program: &Path) -> Option<u32> {
    const NAME: &[u8] = b"libLLVM.so.";
    let bytes = fs::read(program).ok()?;
    let at = bytes.windows(NAME.len()).position(|window| window == NAME)?;
    let digits: String = bytes
        .iter()
        .skip(at + NAME.len())
        .take_while(|byte| byte.is_ascii_digit())
        .map(|&byte| char::from(byte))
        .collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linker_built_with_another_llvm_is_rejected() {
        let dir = env::temp_dir().join(format!("xtask-linker-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("temporary folder");
        let program = dir.join("bpf-linker");
        fs::write(&program, b"\x7fELF\0libLLVM.so.21.1\0libc.so.6\0").expect("write");

        let mut rejected = Rejected::default();
        assert!(fitting("it", program.clone(), 22, &mut rejected).is_none());
        assert!(rejected.lines().any(|line| line.contains("LLVM 21")));
        assert!(fitting("it", program, 21, &mut rejected).is_some());
        fs::remove_dir_all(&dir).expect("remove the temporary folder");
    }
}
