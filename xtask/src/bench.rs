//! `cargo xtask bench`: what a packet costs, next to a peer measured in the same run.

use std::ffi::OsStr;

use anyhow::Result;

use crate::{build, privilege::become_as_root, setup, workspace::Workspace};

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench                         every benchmark, as a table
  cargo xtask bench drop-exact              one of them
  cargo xtask bench --format json           one JSON object a line: id, ours, peer, unit, ratio, goal, met")]
pub(crate) struct Options {
    /// Benchmarks to run; all if none is named
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One object a line.
    Json,
}

/// Builds in release, and becomes the benchmark.
pub(crate) fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    setup::ensure_lab(workspace)?;
    build::bpf_object(workspace)?;
    let [weir, lab] = build::host_binaries(workspace, ["weir", "weir-lab"], true)?;
    let format = match options.format {
        Format::Table => "table",
        Format::Json => "json",
    };
    let mut arguments = ["bench", "--format", format].map(OsStr::new).to_vec();
    arguments.extend(options.ids.iter().map(OsStr::new));
    become_as_root(&lab, &arguments, &[("WEIR_BIN", weir.as_os_str())])
}
