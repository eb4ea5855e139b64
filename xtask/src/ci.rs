//! `cargo xtask ci`: what CI does, from the very script that CI runs.

use std::process::Command;

use anyhow::Result;

use crate::{process::run, workspace::Workspace};

/// Runs `.ci/run` as CI does: a privileged test that cannot run is a failure.
pub(crate) fn main(workspace: &Workspace) -> Result<()> {
    run(Command::new("bash")
        .arg(workspace.root.join(".ci/run"))
        .current_dir(&workspace.root)
        .env("CARGO_TARGET_DIR", &workspace.target)
        .env("CI", "true"))
}
