//! Who counts as logged in, on a host made of files.

use std::{fs, os::unix::fs::symlink};

use super::*;

/// Directories that look like a host's.
struct Host {
    root: PathBuf,
    places: Places,
}

impl Host {
    fn new(name: &str) -> Self {
        let root =
            std::env::temp_dir().join(format!("weir-sessions-{name}-{}", std::process::id()));
        let places = Places {
            proc: root.join("proc"),
            utmp: root.join("utmp"),
            logind: root.join("logind"),
            sshd_config: root.join("sshd_config"),
        };
        fs::create_dir_all(&places.proc).unwrap();
        fs::create_dir_all(&places.logind).unwrap();
        Self { root, places }
    }

    fn process(&self, pid: u32, parent: u32, uid: u32, name: &str, title: &str, socket: u32) {
        let folder = self.places.proc.join(pid.to_string());
        fs::create_dir_all(folder.join("fd")).unwrap();
        fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
        fs::write(folder.join("cmdline"), format!("{title}\0")).unwrap();
        let status = format!("Name:\t{name}\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        fs::write(folder.join("status"), status).unwrap();
        if socket != 0 {
            symlink(format!("socket:[{socket}]"), folder.join("fd/4")).unwrap();
        }
    }

    /// sshd, which everybody below is a child of, and a monitor of root's for each connection.
    fn sshd(&self) {
        self.process(1, 0, 0, "systemd", "/sbin/init", 0);
        self.process(
            100,
            1,
            0,
            "sshd",
            "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",
            3,
        );
    }

    /// Who counts of those who are connected, by the last byte of the address and the socket.
    fn counts(&self, connected: &[(u8, u32)]) -> Vec<IpAddr> {
        let connected: Vec<Inbound> = connected
            .iter()
            .map(|(last, inode)| Inbound { remote: peer(*last), port: 22, inode: *inode })
            .collect();
        authenticated(&self.places, &connected).into_iter().collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn peer(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

#[test]
fn connections_alone_earn_nothing_however_many() {
    let host = Host::new("many");
    host.sshd();
    let connected: Vec<(u8, u32)> = (0..=255).map(|last| (last, 1000 + u32::from(last))).collect();
    for (_, inode) in &connected {
        host.process(*inode, 100, 0, "sshd", "sshd: [accepted]", *inode);
        host.process(10_000 + inode, *inode, 105, "sshd", "sshd: [net]", *inode);
    }
    assert!(host.counts(&connected).is_empty());
}

#[test]
fn a_session_that_was_authenticated_counts_and_what_only_looks_like_one_does_not() {
    let host = Host::new("tree");
    host.sshd();
    // Logged in.
    host.process(200, 100, 0, "sshd", "sshd: alice [priv]", 50);
    host.process(201, 200, 1000, "sshd", "sshd: alice@pts/0", 50);
    // The same since OpenSSH 9.8, and root.
    host.process(210, 100, 0, "sshd-session", "sshd-session: root@pts/1", 51);
    host.process(211, 210, 0, "sshd-session", "sshd-session: root@pts/1", 51);
    // A client that claims to be alice.
    host.process(220, 100, 0, "sshd", "sshd: alice [priv]", 52);
    host.process(221, 220, 105, "sshd", "sshd: alice [net]", 52);
    // sshd's own user, whatever its title says.
    host.process(230, 100, 0, "sshd", "sshd: sshd@pts/9", 53);
    host.process(231, 230, 105, "sshd", "sshd: sshd@pts/9", 53);
    // A user's program that calls itself sshd.
    host.process(240, 201, 1000, "bash", "-bash", 0);
    host.process(241, 240, 1000, "sshd", "sshd: alice@pts/0", 54);
    // A child of it, too.
    host.process(242, 241, 1000, "sshd", "sshd: alice@pts/0", 55);
    let connected = [(50, 50), (51, 51), (52, 52), (53, 53), (54, 54), (55, 55), (56, 0)];
    assert_eq!(host.counts(&connected), [peer(50), peer(51)]);
}

#[test]
fn logind_is_believed_of_open_sessions_with_an_address_that_is_connected() {
    let host = Host::new("logind");
    host.sshd();
    host.process(300, 100, 0, "sshd", "sshd: alice [priv]", 0);
    host.process(301, 1, 0, "login", "login", 0);
    let session = |name: &str, change: &[(&str, &str)]| {
        let mut fields = vec![
            ("REMOTE", "1"),
            ("SERVICE", "sshd"),
            ("STATE", "active"),
            ("CLASS", "user"),
            ("LEADER", "300"),
        ];
        fields.retain(|(key, _)| !change.iter().any(|(other, _)| other == key));
        fields.extend(change);
        let lines: Vec<String> =
            fields.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(host.places.logind.join(name), lines.concat()).unwrap();
    };
    session("1", &[("REMOTE_HOST", "203.0.113.1")]);
    session("2", &[("REMOTE_HOST", "203.0.113.2"), ("STATE", "closing")]);
    session("3", &[("REMOTE_HOST", "203.0.113.3"), ("SERVICE", "cron")]);
    session("4", &[("REMOTE_HOST", "203.0.113.4"), ("LEADER", "999")]);
    session("5", &[("REMOTE_HOST", "203.0.113.5"), ("LEADER", "301")]);
    session("6", &[("REMOTE_HOST", "host.example")]);
    session("7", &[("REMOTE_HOST", "203.0.113.7"), ("CLASS", "greeter")]);
    session("8", &[("REMOTE_HOST", "203.0.113.8")]);
    let connected: Vec<(u8, u32)> = (1..8).map(|last| (last, 0)).collect();
    assert_eq!(host.counts(&connected), [peer(1)], "the eighth has no connection");
}

#[test]
fn utmp_is_believed_of_addresses_and_never_of_names() {
    let host = Host::new("utmp");
    host.sshd();
    host.process(400, 100, 0, "sshd", "sshd: alice [priv]", 0);
    host.process(401, 1, 1000, "screen", "screen", 0);
    let by_name = {
        let mut record = utmp::record(7, 400, &[]);
        record[76..87].copy_from_slice(b"203.0.113.2");
        record
    };
    let records = [
        utmp::record(7, 400, &[203, 0, 113, 1]),
        by_name,
        utmp::record(8, 400, &[203, 0, 113, 3]),
        utmp::record(7, 401, &[203, 0, 113, 4]),
        utmp::record(7, 999, &[203, 0, 113, 5]),
        vec![7; 100],
    ];
    fs::write(&host.places.utmp, records.concat()).unwrap();
    let connected: Vec<(u8, u32)> = (1..8).map(|last| (last, 0)).collect();
    assert_eq!(host.counts(&connected), [peer(1)]);
}

#[test]
fn this_host_can_be_looked_at() {
    look(&Places::default(), None).unwrap();
    assert_eq!(look(&Places::default(), Some(&[2222])).unwrap().ports, [2222]);
}
