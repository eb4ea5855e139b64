//! Where things are: the checkout, cargo's target directory, and what xtask keeps inside it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// The checkout and cargo's target directory.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// Folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target directory: `CARGO_TARGET_DIR`, or the one that xtask itself was built into.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Finds both from the environment that `cargo run` sets up.
    pub(crate) fn discover() -> Result<Self> {
        let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest_dir
            .parent()
            .with_context(|| format!("{} has no parent folder", manifest_dir.display()))?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => env::current_dir().context("read the current directory")?.join(dir),
            None => target_of_current_exe().unwrap_or_else(|| root.join("target")),
        };
        Ok(Self { root, target })
    }

    /// The BPF object that `build` writes and that sensor-user's build script embeds.
    pub(crate) fn bpf_object(&self) -> PathBuf {
        self.target.join("bpf/weir.bpf.o")
    }

    /// Cargo's output for the BPF target. Apart from the host's, because the two are built with
    /// different compilers and flags and would otherwise evict each other.
    pub(crate) fn bpf_build_dir(&self) -> PathBuf {
        self.target.join("bpf-build")
    }

    /// Tools that `setup` installs for this checkout only.
    pub(crate) fn tools_dir(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The host's cargo, run from the root of the checkout and writing to the same target
    /// directory as the cargo that started xtask.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(cargo_program());
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// `cargo install` of a tool for the host, whatever flags and target the build around it has.
    /// Tools go below the target directory: the machine's other projects keep theirs. They are not
    /// optimised: they compile in a third of the time, and cost a second or two more a run.
    pub(crate) fn cargo_install(&self, tool: &str, version: &str, root: &Path) -> Command {
        let mut command = Command::new(cargo_program());
        for name in [
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC",
            "RUSTFLAGS",
        ] {
            command.env_remove(name);
        }
        command
            .current_dir(&self.root)
            .args(["install", tool, "--version", version, "--locked"])
            .args(["--profile", "dev", "--root"])
            .arg(root)
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        command
    }

    /// A program that cargo built for the host.
    pub(crate) fn host_program(&self, profile_dir: &str, name: &str) -> PathBuf {
        self.target.join(profile_dir).join(name)
    }
}

/// The cargo that started xtask, so that nested builds use the same toolchain.
pub(crate) fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Cargo marks its target directory with a `CACHEDIR.TAG`.
fn target_of_current_exe() -> Option<PathBuf> {
    let exe = env::current_exe().ok()?;
    exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()).map(Path::to_path_buf)
}
