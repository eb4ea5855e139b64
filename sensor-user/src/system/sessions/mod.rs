//! Who is logged in over SSH, and from where: peers that an exemption at the management port is for.
//!
//! A connection to the port is worth nothing, and neither are many of them: somebody must have been
//! through authentication. Three places say so, each written by a privileged process and none by the
//! client: logind's sessions, utmp (by the address that sshd noted, never by the name), and the tree of
//! sshd's processes. Before authentication sshd's children run as its privilege-separation user, or say
//! `[preauth]`, `[net]`, `[priv]` or `[accepted]` in their titles, also when a client claims the name of a
//! real user; those count for nothing. And whatever such a place says counts only while a connection from
//! there to a management port is open.
//!
//! Reads only. Where this process may not look at others' sockets (`CAP_SYS_PTRACE`), the process tree
//! tells nothing, and where sshd listens is read from its configuration.

mod logind;
mod ports;
mod processes;
mod tracker;
mod utmp;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

pub use self::tracker::Tracker;
use super::sockets::{self, Inbound, SocketError};

/// Where things are read from.
#[derive(Clone, Debug)]
pub struct Places {
    /// `/proc`
    pub proc: PathBuf,
    /// utmp(5)
    pub utmp: PathBuf,
    /// logind's sessions.
    pub logind: PathBuf,
    /// sshd_config(5)
    pub sshd_config: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            utmp: "/run/utmp".into(),
            logind: "/run/systemd/sessions".into(),
            sshd_config: "/etc/ssh/sshd_config".into(),
        }
    }
}

/// What there is of sessions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sessions {
    /// Management ports.
    pub ports: Vec<u16>,
    /// Addresses that somebody is logged in from.
    pub peers: BTreeSet<IpAddr>,
}

/// Looks at this host. `management` are its management ports; where sshd listens without it.
///
/// # Errors
/// If the kernel does not list its sockets.
pub fn look(places: &Places, management: Option<&[u16]>) -> Result<Sessions, SocketError> {
    let ports = match management {
        Some(ports) => ports.to_vec(),
        None => ports::of_sshd(places, &sockets::listeners()?),
    };
    let connected = sockets::connected_to(&ports)?;
    let peers = authenticated(places, &connected);
    Ok(Sessions { ports, peers })
}

/// The far ends of connections that somebody authenticated on.
fn authenticated(places: &Places, connected: &[Inbound]) -> BTreeSet<IpAddr> {
    let mut open: BTreeSet<IpAddr> = connected.iter().map(|it| it.remote).collect();
    if open.is_empty() {
        return BTreeSet::new();
    }
    let mut peers = BTreeSet::new();
    let said = logind::peers(places).into_iter().chain(utmp::peers(places));
    for peer in said {
        if open.remove(&peer) {
            peers.insert(peer);
        }
    }
    // The costliest place, asked only about who is left.
    let rest: Vec<Inbound> =
        connected.iter().filter(|it| open.contains(&it.remote)).copied().collect();
    if !rest.is_empty() {
        let sockets = processes::sockets_of_sessions(&places.proc);
        peers.extend(rest.iter().filter(|it| sockets.contains(&it.inode)).map(|it| it.remote));
    }
    peers
}

/// Whether a process is one of sshd's, by its name; since OpenSSH 9.8 sessions have a program of their
/// own.
fn is_sshd(proc: &Path, pid: u32) -> bool {
    processes::name(proc, pid).is_some_and(|name| matches!(name.as_str(), "sshd" | "sshd-session"))
}

#[cfg(test)]
mod tests;
