//! `cargo xtask lint`: formatting, clippy for the host and for the BPF target, documentation
//! links, and the dependencies' licences, sources and advisories.

mod deny;

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{
    build::{as_bpf_build, bpf_cargo, rust_flags},
    process::run,
    setup,
    toolchain::Toolchain,
    workspace::Workspace,
};

/// Options of `cargo xtask lint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask lint          everything that CI looks at
  cargo xtask lint --fast   formatting and clippy for the host")]
pub(crate) struct Options {
    /// Formatting and clippy for the host only: needs no BPF toolchain and no other tool
    #[arg(long)]
    fast: bool,
}

/// Runs the checks, cheapest first; ends at the first that fails.
pub(crate) fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    eprintln!("lint: formatting");
    run(workspace.cargo().args(["fmt", "--all", "--check"]))
        .context("not formatted: run `cargo fmt --all`")?;

    eprintln!("lint: clippy, host");
    run(workspace.cargo().args(["clippy", "--all-targets", "--", "-D", "warnings"]))?;
    if options.fast {
        return Ok(());
    }

    eprintln!("lint: documentation");
    run(workspace
        .cargo()
        .args(["doc", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings"))?;

    deny::check(workspace)?;

    eprintln!("lint: clippy, BPF target");
    let toolchain = setup::ensure_toolchain(workspace)?;
    setup::ensure_bpf_clippy(workspace, &toolchain)?;
    bpf_clippy(workspace, &toolchain)
}

/// Clippy has to be the one that came with the compiler for the BPF target: it reads that
/// compiler's `core`.
fn bpf_clippy(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    let clippy = toolchain.rustc.path.with_file_name("cargo-clippy");
    if clippy.is_file() {
        let mut command = Command::new(clippy);
        command.arg("clippy");
        as_bpf_build(&mut command, workspace, toolchain);
        command.args(["--", "-D", "warnings"]);
        return run(&mut command);
    }
    eprintln!(
        "lint: there is no clippy beside {}: warnings of the compiler alone are looked at",
        toolchain.rustc.path.display()
    );
    let mut flags = rust_flags(toolchain);
    flags.push("\u{1f}-Dwarnings");
    run(bpf_cargo(workspace, toolchain, "check").env("CARGO_ENCODED_RUSTFLAGS", flags))
}
