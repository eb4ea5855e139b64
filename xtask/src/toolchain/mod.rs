//! The compiler and linker for the BPF target: which are here, and whether they fit together.

mod linker;
mod rustc;

use anyhow::{Error, Result, anyhow};

pub(crate) use self::{
    linker::{BPF_LINKER_VERSION, LINKER_VARIABLE, Linker},
    rustc::{BPF_TARGET, BpfRustc, CoreLibrary, DEBIAN_RUSTC, RUSTC_VARIABLE},
};
use crate::workspace::Workspace;

/// A compiler and a linker whose LLVM versions agree.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    /// Compiler.
    pub(crate) rustc: BpfRustc,
    /// Linker.
    pub(crate) linker: Linker,
}

/// What was looked at and why it was not taken, a line each.
#[derive(Debug, Default)]
pub(crate) struct Rejected(Vec<String>);

impl Rejected {
    fn push(&mut self, line: impl Into<String>) {
        self.0.push(line.into());
    }

    /// The lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The lines as one error.
    pub(crate) fn to_error(&self) -> Error {
        anyhow!("no toolchain for the BPF target; looked at:\n  {}", self.0.join("\n  "))
    }
}

impl Toolchain {
    /// Finds a compiler, then a linker for it.
    pub(crate) fn find(workspace: &Workspace) -> Result<Self, Rejected> {
        let mut rejected = Rejected::default();
        for rustc in BpfRustc::candidates(&mut rejected) {
            if let Some(linker) = Linker::find(workspace, rustc.llvm_major, &mut rejected) {
                return Ok(Self { rustc, linker });
            }
        }
        Err(rejected)
    }

    /// Like [`Toolchain::find`], as an error that says what was looked at.
    pub(crate) fn require(workspace: &Workspace) -> Result<Self> {
        Self::find(workspace).map_err(|rejected| rejected.to_error())
    }
}
