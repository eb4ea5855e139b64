//! Before anything is loaded: files that nobody else reads, groups that sockets are given to, and then
//! the walls, so that every thread that follows is within them.

use std::{fs, io, os::unix::fs::PermissionsExt, path::PathBuf};

use anyhow::Context;
use nix::sys::stat::{Mode, umask};

use super::Plan;
use crate::{
    api::server,
    policy::CompiledPolicy,
    system::{group, privileges, sandbox},
};

/// The state directory is for the daemon's user alone: ledger, journal and keys are in it.
const STATE_MODE: u32 = 0o700;

/// Prepares the daemon's directories, and shuts the process in.
///
/// # Errors
/// If a directory cannot be made, or a wall is missing that the plan needs.
pub(super) fn shut_in(plan: &Plan, policy: &CompiledPolicy) -> anyhow::Result<()> {
    // Whatever is made from here on, pins included, is nobody else's until it is given away.
    umask(Mode::from_bits_truncate(0o077));
    let paths = &plan.paths;
    let groups = [group::OPERATORS, group::APPLICATIONS].into_iter().filter_map(group::id);
    if let Err(error) = privileges::join(groups) {
        tracing::warn!("cannot join the groups that sockets are for: {error}");
    }
    // A disk that cannot be written is no reason not to enforce.
    let prepared =
        private(&paths.state_dir).and_then(|()| fs::create_dir_all(paths.feeds_folder()));
    if let Err(error) = prepared {
        tracing::error!("cannot prepare {}: {error}", paths.state_dir.display());
    }
    server::make_directory(&paths.run_dir).context("cannot make the run directory")?;
    server::open_directory(&paths.run_dir).context("cannot prepare the run directory")?;
    sandbox::confine(walls(plan, policy))?;
    Ok(())
}

/// Makes a directory that only its owner looks into.
fn private(path: &PathBuf) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    if mode & !STATE_MODE == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(STATE_MODE))
}

/// What this daemon touches, by its command line and its policy.
fn walls(plan: &Plan, policy: &CompiledPolicy) -> sandbox::Plan {
    let paths = &plan.paths;
    let mut written = vec![paths.state_dir.clone(), paths.run_dir.clone(), paths.bpffs.clone()];
    written.extend(plan.recording.iter().map(|recording| sandbox::place_of(&recording.file)));
    let mut read = vec![sandbox::place_of(&plan.policy)];
    if plan.policy.is_dir() {
        read.push(plan.policy.clone());
    }
    let reputation = &policy.reputation;
    let lists = reputation.feeds.iter().filter_map(|feed| feed.file.as_ref());
    let feed_files = lists.chain(&reputation.asn).chain(&reputation.country);
    let logs = policy.signals.logs().iter().map(|log| sandbox::place_of(&log.file));
    sandbox::Plan {
        written,
        read,
        run_dir: paths.run_dir.clone(),
        logs: logs.collect(),
        feeds: paths.feeds_folder(),
        feed_files: feed_files.map(|file| sandbox::place_of(file)).collect(),
        required: plan.require_sandbox,
    }
}
