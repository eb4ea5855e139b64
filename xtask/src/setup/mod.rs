//! `cargo xtask setup`: everything that building and testing needs. Finds what is here, installs
//! what is missing where it can (Debian, as root), and otherwise prints the commands. Changes
//! nothing when all is here. Every other verb calls the part that it needs.

mod clients;
mod packages;
mod step;

use std::env;

use anyhow::{Context as _, Result, bail};

use self::{
    packages::Needs,
    step::{Installer, Step},
};
use crate::{
    toolchain::{BpfRustc, CoreLibrary, LINKER_VARIABLE, RUSTC_VARIABLE, Rejected, Toolchain},
    workspace::Workspace,
};

/// LLVM of the compiler that Debian packages, for planning before that compiler is here.
const DEBIAN_LLVM_MAJOR: u32 = 22;

/// Options of `cargo xtask setup`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask setup             find everything, install what is missing
  cargo xtask setup --dry-run   print the commands that would be run, and run none
  cargo xtask setup --clients   also real TLS clients for `cargo xtask test real_clients` (2 GB)

Environment:
  WEIR_BPF_RUSTC    the one compiler to use for the BPF target
  WEIR_BPF_LINKER   the one bpf-linker to use")]
pub(crate) struct Options {
    /// Print what is missing and the commands that would install it; install nothing
    #[arg(long)]
    dry_run: bool,
    /// Also fetch real TLS clients, and tools that name them, into the target directory
    #[arg(long)]
    clients: bool,
}

/// Finds, installs, and prints what there is.
pub(crate) fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    let toolchain = Toolchain::find(workspace);
    let mut steps = match &toolchain {
        Ok(_) => Vec::new(),
        Err(rejected) => toolchain_steps(workspace, rejected)?,
    };
    steps.extend(step::packages_of(Needs::Lab));
    if options.clients
        && let Some(clients) = step::clients_of(workspace)
    {
        steps.extend(step::packages_of(Needs::Clients));
        steps.push(clients);
    }
    let steps = step::merged(steps);
    if options.dry_run {
        report(workspace);
        print_commands(&steps);
        return Ok(());
    }
    install(workspace, &steps)?;
    // What was installed has to be usable, and so does what was here before.
    Toolchain::require(workspace)?;
    report(workspace);
    Ok(())
}

/// The toolchain for the BPF target, installed if it is missing.
pub(crate) fn ensure_toolchain(workspace: &Workspace) -> Result<Toolchain> {
    let rejected = match Toolchain::find(workspace) {
        Ok(toolchain) => return Ok(toolchain),
        Err(rejected) => rejected,
    };
    let steps = step::merged(toolchain_steps(workspace, &rejected)?);
    install(workspace, &steps)?;
    Toolchain::require(workspace)
}

/// The programs that the lab runs, installed if some are missing.
pub(crate) fn ensure_lab(workspace: &Workspace) -> Result<()> {
    install(workspace, &step::merged(step::packages_of(Needs::Lab)))
}

/// A C++ compiler, installed if it is missing.
pub(crate) fn ensure_cpp_compiler(workspace: &Workspace) -> Result<()> {
    install(workspace, &step::merged(step::packages_of(Needs::Fuzzer)))
}

/// Clippy for the BPF target, where it can be had: Debian packages the one that fits its compiler.
pub(crate) fn ensure_bpf_clippy(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    let needs = Needs::Clippy { rustc: &toolchain.rustc.path };
    if let Some(step) = step::packages_of(needs) {
        let installer = Installer::detect();
        if installer.refuses(&step).is_none() {
            installer.run(workspace, &step)?;
        }
    }
    Ok(())
}

/// What has to be installed to get a toolchain, given why there is none.
fn toolchain_steps(workspace: &Workspace, rejected: &Rejected) -> Result<Vec<Step>> {
    for name in [RUSTC_VARIABLE, LINKER_VARIABLE] {
        if env::var_os(name).is_some() {
            // What was asked for by name is not replaced by something else.
            return Err(rejected.to_error()).with_context(|| format!("{name} is set"));
        }
    }
    let compiler = BpfRustc::candidates(&mut Rejected::default()).into_iter().next();
    let llvm_major = compiler.as_ref().map_or(DEBIAN_LLVM_MAJOR, |rustc| rustc.llvm_major);
    let mut steps = Vec::new();
    if compiler.is_none() {
        steps.extend(step::packages_of(Needs::Compiler));
    }
    steps.extend(step::packages_of(Needs::LinkerBuild { llvm_major }));
    steps.push(Step::bpf_linker(workspace, llvm_major));
    Ok(steps)
}

fn install(workspace: &Workspace, steps: &[Step]) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let installer = Installer::detect();
    if let Some(reason) = steps.iter().find_map(|step| installer.refuses(step)) {
        print_commands(steps);
        bail!("something is missing and cannot be installed from here: {reason}");
    }
    for step in steps {
        installer.run(workspace, step)?;
    }
    Ok(())
}

fn print_commands(steps: &[Step]) {
    if steps.is_empty() {
        eprintln!("setup: nothing is missing");
        return;
    }
    eprintln!("setup: run these, then again `cargo xtask setup`:");
    for line in steps.iter().flat_map(Step::command_lines) {
        eprintln!("  {line}");
    }
    if steps.iter().any(Step::is_packages) {
        eprintln!("setup: {}", step::WITHOUT_DEBIAN);
    }
}

/// Prints what was found.
fn report(workspace: &Workspace) {
    match Toolchain::find(workspace) {
        Ok(toolchain) => {
            let core = match toolchain.rustc.core {
                CoreLibrary::Prebuilt => "prebuilt core",
                CoreLibrary::BuildStd => "core from source",
            };
            eprintln!(
                "BPF compiler  {} ({}, LLVM {}, {core})",
                toolchain.rustc.path.display(),
                toolchain.rustc.version,
                toolchain.rustc.llvm_major,
            );
            eprintln!("BPF linker    {}", toolchain.linker.path.display());
        }
        Err(rejected) => {
            eprintln!("BPF toolchain none; looked at:");
            for line in rejected.lines() {
                eprintln!("  {line}");
            }
        }
    }
    for (program, place) in packages::lab_programs() {
        match place {
            Some(path) => eprintln!("{program:<13} {}", path.display()),
            None => eprintln!("{program:<13} missing"),
        }
    }
    if step::clients_of(workspace).is_none() {
        eprintln!("TLS clients   {}", clients::folder(workspace).display());
    } else {
        eprintln!("TLS clients   none, or not all (optional: `cargo xtask setup --clients`)");
    }
}
