//! `cargo xtask lab`: the lab's own upkeep.

use std::ffi::OsStr;

use anyhow::Result;

use crate::{build, privilege::become_as_root, workspace::Workspace};

/// What to do with the lab.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Remove what a killed test or demo left behind: namespaces, processes, pins
    #[command(after_help = "Example: cargo xtask lab clean")]
    Clean,
}

/// Becomes the lab's program; builds it only if no build of it is there.
pub(crate) fn main(workspace: &Workspace, verb: &Verb) -> Result<()> {
    let there = [true, false]
        .map(|release| workspace.host_program(build::profile_dir(release), "weir-lab"))
        .into_iter()
        .find(|program| program.is_file());
    let lab = match there {
        Some(lab) => lab,
        None => {
            let [lab] = build::host_binaries(workspace, ["weir-lab"], false)?;
            lab
        }
    };
    let word = match verb {
        Verb::Clean => "clean",
    };
    become_as_root(&lab, &[OsStr::new(word)], &[])
}
