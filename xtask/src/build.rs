//! `cargo xtask build`: the BPF object, then the `weir` binary with the object inside.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context as _, Result};

use crate::{
    process::run,
    setup,
    toolchain::{BPF_TARGET, CoreLibrary, Toolchain},
    workspace::{Workspace, cargo_program},
};

/// Crates that may use unstable features: aya-ebpf needs one, our own program is named by its
/// crate (the binary) and by its package.
const UNSTABLE_CRATES: &str = "aya_ebpf,weir_bpf,sensor_ebpf";

/// Folders and files that decide what the BPF object contains.
const BPF_SOURCES: [&str; 3] = ["sensor-ebpf", "sensor-common/src", "sensor-common/Cargo.toml"];

/// Variables that would change a build behind its back: they are meant for the host.
const HOST_ONLY_VARIABLES: [&str; 8] = [
    "RUSTC_BOOTSTRAP",
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTUP_TOOLCHAIN",
    "CARGO_INCREMENTAL",
];

/// Options of `cargo xtask build`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask build --release   target/release/weir, one file with the BPF object inside
  cargo xtask build --log       for debugging: packets can be logged one by one")]
pub(crate) struct Options {
    /// Optimise the `weir` binary (the BPF object always is)
    #[arg(long)]
    pub(crate) release: bool,
    /// Build the BPF object only
    #[arg(long)]
    pub(crate) bpf_only: bool,
    /// Compile logs of single packets into the BPF object; they stay silent until the loader asks
    #[arg(long, conflicts_with = "release")]
    pub(crate) log: bool,
}

/// Builds, and says where the result is.
pub(crate) fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    let object = bpf_object_with(workspace, options.log)?;
    eprintln!("built {}", object.display());
    if !options.bpf_only {
        let [binary] = if options.log {
            let mut cargo = workspace.cargo();
            cargo.args(["build", "--bin", "weir", "--features", "weir-sensor/bpf-log"]);
            run(&mut cargo).context("build weir with logs of packets")?;
            [workspace.host_program(profile_dir(false), "weir")]
        } else {
            host_binaries(workspace, ["weir"], options.release)?
        };
        eprintln!("built {}", binary.display());
    }
    Ok(())
}

/// The cargo profile's folder below the target directory.
pub(crate) fn profile_dir(release: bool) -> &'static str {
    if release { "release" } else { "debug" }
}

/// Builds programs for the host and returns where they are. Cargo is asked for them among all host
/// packages, never package by package: otherwise features would differ from those that tests are
/// built with, and dependencies would be compiled twice.
pub(crate) fn host_binaries<const N: usize>(
    workspace: &Workspace,
    names: [&str; N],
    release: bool,
) -> Result<[PathBuf; N]> {
    let mut cargo = workspace.cargo();
    cargo.arg("build");
    for name in names {
        cargo.args(["--bin", name]);
    }
    if release {
        cargo.arg("--release");
    }
    run(&mut cargo).with_context(|| format!("build {}", names.join(" and ")))?;
    Ok(names.map(|name| workspace.host_program(profile_dir(release), name)))
}

/// Builds the BPF object, installing what that needs, and returns where it is.
pub(crate) fn bpf_object(workspace: &Workspace) -> Result<PathBuf> {
    bpf_object_with(workspace, false)
}

fn bpf_object_with(workspace: &Workspace, log: bool) -> Result<PathBuf> {
    let toolchain = setup::ensure_toolchain(workspace)?;
    let mut cargo = bpf_cargo(workspace, &toolchain, "build");
    if log {
        cargo.args(["--features", "log"]);
    }
    run(&mut cargo).context("build the BPF object")?;
    let built = workspace.bpf_build_dir().join(BPF_TARGET).join("release/weir-bpf");
    let object = workspace.bpf_object();
    install(&built, &object, newest(workspace)?)?;
    Ok(object)
}

/// A cargo that runs `verb` (`build`, `check`) on sensor-ebpf for the BPF target.
pub(crate) fn bpf_cargo(workspace: &Workspace, toolchain: &Toolchain, verb: &str) -> Command {
    let mut cargo = match toolchain.rustc.core {
        CoreLibrary::Prebuilt => Command::new(cargo_program()),
        // Only a nightly's own cargo compiles `core`.
        CoreLibrary::BuildStd => Command::new(toolchain.rustc.path.with_file_name("cargo")),
    };
    cargo.arg(verb);
    as_bpf_build(&mut cargo, workspace, toolchain);
    cargo
}

/// The arguments and environment of a build of sensor-ebpf, for cargo and for programs that start
/// cargo themselves (clippy).
pub(crate) fn as_bpf_build(command: &mut Command, workspace: &Workspace, toolchain: &Toolchain) {
    for name in HOST_ONLY_VARIABLES {
        command.env_remove(name);
    }
    command
        .current_dir(&workspace.root)
        .args(["--package", "sensor-ebpf", "--release"])
        .args(["--target", BPF_TARGET, "--target-dir"])
        .arg(workspace.bpf_build_dir())
        .env("RUSTC", &toolchain.rustc.path)
        // Stripping and link-time optimisation are bpf-linker's own; the debug information has to
        // reach it, because BTF is made from it.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_PROFILE_RELEASE_LTO", "false")
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(toolchain));
    match toolchain.rustc.core {
        CoreLibrary::Prebuilt => command.env("RUSTC_BOOTSTRAP", UNSTABLE_CRATES),
        CoreLibrary::BuildStd => command.args(["-Z", "build-std=core"]),
    };
}

/// Cargo's encoding of flags: separated by 0x1f, so that paths may contain spaces.
pub(crate) fn rust_flags(toolchain: &Toolchain) -> OsString {
    let mut linker = OsString::from("-Clinker=");
    linker.push(&toolchain.linker.path);
    let flags: [OsString; 7] = [
        "-Cdebuginfo=2".into(),
        // 32-bit instructions and atomics (kernel 5.12): shorter programs, fewer verifier states.
        "-Ctarget-cpu=v3".into(),
        "-Clink-arg=--btf".into(),
        // Calls cost what returns cost, which is much on processors with return mitigations; and the
        // verifier follows an inlined closure only where it is used.
        "-Clink-arg=--llvm-args=--inline-threshold=3000".into(),
        // Zeroing a record is a handful of stores, and not a call to a loop over its bytes.
        "-Clink-arg=--llvm-args=--max-store-memset=64".into(),
        // Which kernel's registers and structures the program reads: the host's.
        format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH).into(),
        linker,
    ];
    flags.join(&OsString::from("\u{1f}"))
}

/// Copies the object to where the daemon's build script looks for it. An object that is already
/// there, equal and newer than every source stays as it is: a new date alone would make cargo
/// compile the daemon again.
fn install(built: &Path, object: &Path, newest_source: SystemTime) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("read {}", built.display()))?;
    let is_newer = fs::metadata(object)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|modified| modified >= newest_source);
    if is_newer && fs::read(object).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(dir) = object.parent() {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    // Renamed into place, so that a build that runs at the same time never embeds half of it.
    let partial = object.with_extension("o.partial");
    fs::write(&partial, bytes).with_context(|| format!("write {}", partial.display()))?;
    fs::rename(&partial, object).with_context(|| format!("write {}", object.display()))
}

/// When any source of the BPF object was last changed.
fn newest(workspace: &Workspace) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for source in BPF_SOURCES {
        let path = workspace.root.join(source);
        newest = newest.max(
            newest_below(&path).with_context(|| format!("read the dates of {}", path.display()))?,
        );
    }
    Ok(newest)
}

fn newest_below(path: &Path) -> io::Result<SystemTime> {
    let metadata = fs::metadata(path)?;
    let mut newest = metadata.modified()?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            newest = newest.max(newest_below(&entry?.path())?);
        }
    }
    Ok(newest)
}
