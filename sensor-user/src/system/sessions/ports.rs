//! Where sshd listens.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    path::Path,
};

use super::{Places, processes};
use crate::system::sockets::Inbound;

/// Where sshd listens that says nothing.
const USUAL: u16 = 22;
/// Ports that count.
const MOST: usize = 16;

/// The ports of root's sshd; where this process may not see them, those of its configuration.
pub(super) fn of_sshd(places: &Places, listeners: &[Inbound]) -> Vec<u16> {
    let pids = processes::of_root(&places.proc, "sshd");
    let held: HashSet<u32> = pids.flat_map(|pid| processes::sockets(&places.proc, pid)).collect();
    let listening: BTreeSet<u16> =
        listeners.iter().filter(|it| held.contains(&it.inode)).map(|it| it.port).collect();
    // sshd also listens for what its users forward: at ports above those that only root may take.
    let own: Vec<u16> = listening.iter().copied().filter(|port| *port < 1024).collect();
    let configured = configured(&places.sshd_config);
    let found = if own.is_empty() {
        let listening = |port: &u16| listeners.iter().any(|it| it.port == *port);
        configured.into_iter().filter(listening).collect()
    } else {
        let others = configured.into_iter().filter(|port| listening.contains(port));
        own.into_iter().chain(others).collect::<BTreeSet<u16>>()
    };
    found.into_iter().take(MOST).collect()
}

/// Ports that the configuration names; the usual one where it names none or cannot be read.
fn configured(file: &Path) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    let folder = file.with_file_name("sshd_config.d");
    let mut files = vec![file.to_owned()];
    files.extend(fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    for text in files.iter().filter_map(|file| fs::read_to_string(file).ok()) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let is_port = words.next().is_some_and(|word| word.eq_ignore_ascii_case("port"));
            ports
                .extend(words.next().filter(|_| is_port).and_then(|port| port.parse::<u16>().ok()));
        }
    }
    if ports.is_empty() { [USUAL].into() } else { ports }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_ports() {
        let root = std::env::temp_dir().join(format!("weir-sshd-{}", std::process::id()));
        fs::create_dir_all(root.join("sshd_config.d")).unwrap();
        let file = root.join("sshd_config");
        assert_eq!(configured(&file), [22].into());
        fs::write(&file, "#Port 22\nPermitRootLogin no\nport 2222\n").unwrap();
        fs::write(root.join("sshd_config.d/more.conf"), "Port 2022 # why\nPort x\n").unwrap();
        assert_eq!(configured(&file), [2022, 2222].into());
        fs::remove_dir_all(&root).unwrap();
    }
}
