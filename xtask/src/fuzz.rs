//! `cargo xtask fuzz`: hostile inputs made by libFuzzer, for everything that hostile bytes reach.
//!
//! The targets are in `fuzz/`, a workspace of its own. They are instrumented with what the stable
//! compiler passes on to LLVM, as `cargo fuzz` does, and without a sanitizer: the code that they
//! reach is safe Rust, where a wrong index or a wrapped number is a panic.

use std::{ffi::OsStr, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    process::{capture, run},
    setup,
    workspace::Workspace,
};

/// Coverage by edge, comparisons as hints.
const FLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "--cfg=fuzzing",
];

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz                            every target, ten minutes each
  cargo xtask fuzz hello_walk --seconds 60    one of them
  cargo xtask fuzz --seconds 60 --keep        then add to fuzz/corpus what reached new code

Inputs found go to target/fuzz/corpus, those that break something to target/fuzz/artifacts.")]
pub(crate) struct Options {
    /// The target: a file's name in fuzz/fuzz_targets; all if none is named
    target: Option<String>,
    /// How long each target is run
    #[arg(long, value_name = "N", default_value_t = 600)]
    seconds: u32,
    /// Afterwards copy to fuzz/corpus the inputs that reach what no input there reaches
    #[arg(long)]
    keep: bool,
}

/// Builds the targets, and runs one after the other. Ends at the first input that breaks something.
pub(crate) fn main(workspace: &Workspace, options: &Options) -> Result<()> {
    let targets = chosen(workspace, options.target.as_deref())?;
    setup::ensure_cpp_compiler(workspace)?;
    let programs = build(workspace, &targets)?;
    for target in &targets {
        let folders = Folders::of(workspace, target)?;
        eprintln!("fuzz: {target}, {} s", options.seconds);
        let mut fuzzer = Command::new(programs.join(target));
        fuzzer
            .args([&folders.found, &folders.kept])
            .arg(format!("-max_total_time={}", options.seconds))
            .args(["-max_len=6000", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"])
            .arg(format!("-artifact_prefix={}/", folders.broken.display()));
        run(&mut fuzzer).with_context(|| {
            format!(
                "an input breaks {target}: once it is fixed, keep the input in {}",
                folders.kept.display()
            )
        })?;
        if options.keep {
            let mut merge = Command::new(programs.join(target));
            // By edges, without how often: a few small files are enough to keep them all.
            run(merge.args(["-merge=1", "-use_counters=0"]).args([&folders.kept, &folders.found]))?;
        }
    }
    Ok(())
}

/// The target of this name, or every one.
fn chosen(workspace: &Workspace, name: Option<&str>) -> Result<Vec<String>> {
    let folder = workspace.root.join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut targets = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("read {}", folder.display()))?.path();
        targets.extend(path.file_stem().and_then(OsStr::to_str).map(str::to_owned));
    }
    targets.sort();
    match name {
        None => Ok(targets),
        Some(name) if targets.iter().any(|target| target == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("there is no target {name}: there are {}", targets.join(", ")),
    }
}

/// Where a target's inputs are.
struct Folders {
    /// Found in runs on this machine.
    found: PathBuf,
    /// Kept with the code.
    kept: PathBuf,
    /// Those that broke something.
    broken: PathBuf,
}

impl Folders {
    fn of(workspace: &Workspace, target: &str) -> Result<Self> {
        let folders = Self {
            found: workspace.target.join("fuzz/corpus").join(target),
            kept: workspace.root.join("fuzz/corpus").join(target),
            broken: workspace.target.join("fuzz/artifacts").join(target),
        };
        for folder in [&folders.found, &folders.kept, &folders.broken] {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        Ok(folders)
    }
}

/// Builds the targets; returns the folder of the programs.
fn build(workspace: &Workspace, targets: &[String]) -> Result<PathBuf> {
    let version = capture(Command::new("rustc").arg("-vV").current_dir(&workspace.root))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("`rustc -vV` does not name its host")?;
    // Apart from the other builds: instrumented dependencies are of no use to them.
    let folder = workspace.target.join("fuzz/build");
    run(workspace
        .cargo()
        .env("CARGO_TARGET_DIR", &folder)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml"])
        // With a target, build scripts and macros are not instrumented.
        .args(["--target", host])
        .args(targets.iter().flat_map(|target| ["--bin", target])))?;
    Ok(folder.join(host).join("release"))
}
