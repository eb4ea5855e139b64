//! cargo-deny on the dependencies: licences, sources and bans always; known vulnerabilities
//! wherever their database can be had.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    process::{capture, find_program, run, run_logged},
    workspace::Workspace,
};

/// The version that is installed when there is none.
const CARGO_DENY_VERSION: &str = "0.20.2";

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let program = ensure(workspace)?;
    let deny = || {
        let mut command = Command::new(&program);
        command.current_dir(&workspace.root).arg("--locked");
        command
    };
    eprintln!("lint: licences, sources and bans of dependencies");
    run(deny().args(["check", "--hide-inclusion-graph", "licenses", "bans", "sources"]))?;

    eprintln!("lint: advisories");
    if let Err(error) = capture(deny().args(["fetch", "db"])) {
        eprintln!(
            "lint: ADVISORIES NOT CHECKED: their database cannot be fetched from here: {error:#}"
        );
        return Ok(());
    }
    run(deny().args(["check", "advisories"]))
}

/// cargo-deny, compiled into the target directory if it is neither there nor on `PATH`.
fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.tools_dir().join(format!("cargo-deny-{CARGO_DENY_VERSION}"));
    let own = root.join("bin/cargo-deny");
    if own.is_file() {
        return Ok(own);
    }
    if let Some(there) = find_program("cargo-deny") {
        return Ok(there);
    }
    run_logged(
        &mut workspace.cargo_install("cargo-deny", CARGO_DENY_VERSION, &root),
        &format!("compile cargo-deny {CARGO_DENY_VERSION} (a minute or two)"),
        &workspace.tools_dir().join("log/cargo-deny.txt"),
    )?;
    Ok(own)
}
