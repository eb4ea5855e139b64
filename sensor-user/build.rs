//! Puts the BPF object where the daemon can include it: `OUT_DIR/weir.bpf.o`.
//!
//! The object is `cargo xtask build`'s work and needs a compiler for the BPF target. Where it has
//! not been built, an empty file takes its place, so that checking and testing everything else
//! needs no such compiler; loading the empty object is an error that names the command to run.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

/// Names the object, for builds whose target directory is elsewhere.
const OBJECT_VARIABLE: &str = "WEIR_BPF_OBJECT";

/// Where `cargo xtask build` writes the object, below the target directory.
const OBJECT_FOLDER: &str = "bpf";
const OBJECT_FILE: &str = "weir.bpf.o";

/// What the object is made from, below the workspace. The in-memory twin in sensor-common's `host`
/// is for the daemon alone.
const SOURCES: [&str; 2] = ["sensor-ebpf/src", "sensor-common/src"];
const NOT_SOURCES: &str = "host";

fn main() -> ExitCode {
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error=cannot embed the BPF object: {error}");
            ExitCode::FAILURE
        }
    }
}

fn embed() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    println!("cargo::rerun-if-changed=build.rs");
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let embedded = out_dir.join(OBJECT_FILE);

    if let Some(object) = env::var_os(OBJECT_VARIABLE) {
        let object = PathBuf::from(object);
        println!("cargo::rerun-if-changed={}", object.display());
        let bytes = fs::read(&object).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("{OBJECT_VARIABLE} names {}: {error}", object.display()),
            )
        })?;
        return fs::write(&embedded, bytes);
    }

    let workspace = workspace()?;
    let folder = target_dir(&out_dir, &workspace).join(OBJECT_FOLDER);
    // Cargo reruns a script at every build when a file that it watches does not exist. The folder
    // can exist before the object does, and changes when the object comes.
    if fs::create_dir_all(&folder).is_ok() {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    let object = folder.join(OBJECT_FILE);
    match fs::read(&object) {
        Ok(bytes) => {
            warn_if_stale(&object, &workspace)?;
            fs::write(&embedded, bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::write(&embedded, []),
        Err(error) => Err(error),
    }
}

/// Cargo's target directory. Cargo does not tell build scripts which it is: it is what the
/// environment says, or the folder above `OUT_DIR` that cargo tagged as a cache.
fn target_dir(out_dir: &Path, workspace: &Path) -> PathBuf {
    if let Some(dir) = env::var_os("CARGO_TARGET_DIR") {
        // Relative to where cargo was started, which for a workspace is nearly always its root.
        return workspace.join(dir);
    }
    out_dir
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .map_or_else(|| workspace.join("target"), Path::to_path_buf)
}

/// The folder of the workspace's `Cargo.toml`.
fn workspace() -> io::Result<PathBuf> {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    Ok(manifest_dir.parent().map_or_else(|| manifest_dir.clone(), Path::to_path_buf))
}

/// An old object inside a new daemon would be refused or, worse, behave as before.
fn warn_if_stale(object: &Path, workspace: &Path) -> io::Result<()> {
    let built = fs::metadata(object)?.modified()?;
    for source in SOURCES {
        let source = workspace.join(source);
        if !source.is_dir() {
            continue; // Packaged without its siblings: nothing to compare with.
        }
        println!("cargo::rerun-if-changed={}", source.display());
        if let Some(newer) = newer_below(&source, built)? {
            println!(
                "cargo::warning=the BPF object is older than {}: run `cargo xtask build`",
                newer.display()
            );
            return Ok(());
        }
    }
    Ok(())
}

/// A file below a folder that changed after `than`.
fn newer_below(folder: &Path, than: SystemTime) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() == NOT_SOURCES {
                continue;
            }
            if let Some(newer) = newer_below(&path, than)? {
                return Ok(Some(newer));
            }
        } else if entry.metadata()?.modified()? > than {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn variable(name: &str) -> io::Result<std::ffi::OsString> {
    env::var_os(name).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{name} is not set: this script is run by cargo"),
        )
    })
}
