//! `cargo xtask demo`: people and attackers at one server, through a kernel with Weir attached.

use std::ffi::OsStr;

use anyhow::Result;

use crate::{build, privilege::become_as_root, setup, workspace::Workspace};

/// Options of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: cargo xtask demo

Everything happens in network namespaces that the demo makes and removes. It ends with 0 only if \
every attacker was stopped and nobody honest was.")]
pub(crate) struct Options {
    /// Passed on to the demo
    #[arg(last = true)]
    arguments: Vec<std::ffi::OsString>,
}

/// Builds in release, and becomes the demo.
pub(crate) fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    setup::ensure_lab(workspace)?;
    build::bpf_object(workspace)?;
    let [weir, lab] = build::host_binaries(workspace, ["weir", "weir-lab"], true)?;
    let mut arguments = vec![OsStr::new("demo")];
    arguments.extend(options.arguments.iter().map(OsStr::new));
    become_as_root(&lab, &arguments, &[("WEIR_BIN", weir.as_os_str())])
}
