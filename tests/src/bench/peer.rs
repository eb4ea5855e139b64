//! The peers: xdp-filter (Debian package xdp-tools), and a program that only drops.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::case::{BLOCKED, BLOCKED_BY_PREFIX, Peer};
use crate::{
    bpf::Program,
    net::{Lab, run},
};

/// The program that xdp-filter loads for all features with the policy to allow.
const XDP_FILTER: &str = "xdpfilt_alw_all";

/// Where xdp-filter pins.
const BPFFS: &str = "/sys/fs/bpf";

/// The loaded peers.
pub(super) struct Peers {
    filter: Program,
    bare: Program,
}

impl Peers {
    /// Loads them.
    pub(super) fn new() -> Result<Self> {
        Ok(Self { filter: xdp_filter()?, bare: Program::drop_all()? })
    }

    /// What a peer returns, and how long it takes, ns.
    pub(super) fn time(&self, peer: Peer, packet: &[u8], repeat: u32) -> Result<(u32, u32)> {
        let program = match peer {
            Peer::XdpFilter => &self.filter,
            Peer::Bare => &self.bare,
        };
        program.test_run(packet, repeat).context("cannot run a peer")
    }
}

/// Lets xdp-filter load itself in a lab and block what is blocked, and keeps its program. All else
/// goes with the lab, and the host's own xdp-filter, if it runs one, does not notice.
fn xdp_filter() -> Result<Program> {
    let lab = Lab::new()?;
    let interface = lab.link().edge_interface;
    let program = lab.edge().run(|| {
        private_bpffs()?;
        filter(&["load", interface, "--policy", "allow", "--features", "all"])?;
        for address in [BLOCKED, BLOCKED_BY_PREFIX] {
            filter(&["ip", &address.to_string(), "--mode", "src"])?;
        }
        Program::by_name(XDP_FILTER)
    })??;
    program.with_context(|| format!("xdp-filter loaded no program {XDP_FILTER}"))
}

/// Gives the calling thread a bpffs of its own where xdp-filter pins.
fn private_bpffs() -> Result<()> {
    ensure!(Path::new(BPFFS).is_dir(), "{BPFFS} does not exist: mount sysfs");
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)
        .context("cannot make mounts private")?;
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), none)
        .with_context(|| format!("cannot mount bpffs at {BPFFS}"))?;
    Ok(())
}

fn filter(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("xdp-filter");
    // Attached by itself and not as a part of libxdp's dispatcher, which could not be run alone.
    command.env("LIBXDP_SKIP_DISPATCHER", "1").args(arguments);
    run(&mut command, "").context("xdp-filter comes with Debian's package xdp-tools")?;
    Ok(())
}
