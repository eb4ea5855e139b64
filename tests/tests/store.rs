//! A disk that cannot be written stops nothing but the keeping: enforcement goes on, everybody is
//! told, and what waited is kept when it can be.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use weir_lab::{
    clock::wait_until,
    net::{Family, Lab, Wire},
    packet::tcp,
    require_root,
    server::Server,
    weir::{Weir, demo_policy},
};

const PATIENCE: Duration = Duration::from_secs(30);
const EARLY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const LATE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 67);
const LIFTED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 68);
const NOBODY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 69);

/// A state directory on a file system of its own, which is as small as a test wants it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(lab: &Lab, bytes: u32) -> Self {
        let path = lab.state_dir();
        fs::create_dir_all(&path).unwrap();
        let size = format!("size={bytes}");
        let kind = Some("tmpfs");
        mount(kind, &path, kind, MsFlags::empty(), Some(size.as_str())).unwrap();
        Self(path)
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut block = 1 << 16;
        let mut file = fs::File::create(self.ballast()).unwrap();
        while block > 0 {
            if std::io::Write::write_all(&mut file, &vec![0; block]).is_err() {
                block /= 2;
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn read_only(&self, is: bool) {
        let flags = if is { MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY } else { MsFlags::MS_REMOUNT };
        mount(None::<&Path>, &self.0, None::<&Path>, flags, None::<&Path>).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn warning(weir: &Weir<'_>, text: &str) -> Option<String> {
    let status = weir.status().unwrap();
    status.warnings.into_iter().find(|warning| warning.contains(text))
}

fn block(weir: &Weir<'_>, address: Ipv4Addr) -> String {
    weir.ask(&["block", &address.to_string(), "--for", "10m", "--reason", "test"]).unwrap()
}

/// Whether the server answers a SYN of each, in order.
fn answered<const N: usize>(lab: &Lab, wire: &Wire, from: [Ipv4Addr; N], port: u16) -> [bool; N] {
    wire.forget().unwrap();
    let api = lab.link().api(Family::V4);
    for source in from {
        let from = SocketAddr::from((source, port));
        wire.send(&tcp(from, api).syn().seq(1).linux_options().build()).unwrap();
    }
    let heard = wire.collect_tcp(Duration::from_millis(400)).unwrap();
    from.map(|source| heard.iter().any(|segment| segment.to.ip() == IpAddr::from(source)))
}

#[test]
fn a_full_disk_stops_no_enforcement_and_what_waited_is_kept_when_there_is_room() {
    require_root!("a_full_disk_stops_no_enforcement_and_what_waited_is_kept_when_there_is_room");
    let lab = Lab::new().unwrap();
    let disk = SmallDisk::mount(&lab, 1 << 20);
    let _server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let edge = lab.link().edge_interface;
    let daemon = weir.run(&[edge], &demo_policy()).unwrap();
    let wire = lab.wire().unwrap();
    assert!(!block(&weir, EARLY).contains("note"), "it is stored");
    block(&weir, LIFTED);

    disk.fill();
    // The log of the database has some room left in its blocks: until that is used up.
    let mut number = 0;
    wait_until("the disk is full", PATIENCE, || {
        number += 1;
        let more = Ipv4Addr::from_bits(0x0a00_0000 + number);
        Ok(block(&weir, more).contains("would not survive a reboot"))
    })
    .unwrap();
    let said = block(&weir, LATE);
    assert!(said.starts_with("1 verdict in force"), "{said}");
    assert!(said.contains("not stored") && said.contains("the disk is full"), "{said}");
    let said = weir.ask(&["unblock", &LIFTED.to_string()]).unwrap();
    assert!(said.contains("a restart would bring it back"), "{said}");
    let told = warning(&weir, "the disk is full").unwrap();
    assert!(told.contains("weir.db"), "{told}");
    let ready = String::from_utf8(weir.output(["ready"]).unwrap().stdout).unwrap();
    assert!(ready.contains("the disk is full"), "{ready}");
    let everybody = [EARLY, LATE, LIFTED, NOBODY];
    assert_eq!(answered(&lab, &wire, everybody, 2000), [false, false, true, true]);

    // A daemon that dies now leaves its verdicts in the kernel, and the next one takes them up.
    daemon.kill().unwrap();
    let daemon = weir.run(&[edge], &demo_policy()).unwrap();
    assert_eq!(answered(&lab, &wire, [EARLY, LATE, NOBODY], 3000), [false, false, true]);
    weir.ask(&["unblock", &LIFTED.to_string()]).unwrap();

    fs::remove_file(disk.ballast()).unwrap();
    wait_until("the disk can be written", PATIENCE, || {
        Ok(warning(&weir, "the disk is full").is_none() && !block(&weir, LATE).contains("note"))
    })
    .unwrap();
    // Now it is all on disk: also after the host went down.
    daemon.kill().unwrap();
    weir.ask(&["detach"]).unwrap();
    let _daemon = weir.run(&[edge], &demo_policy()).unwrap();
    assert_eq!(answered(&lab, &wire, everybody, 4000), [false, false, true, true]);
    println!("full after {number} verdicts more; all of them kept once there was room");
}

#[test]
fn a_read_only_disk_stops_no_start_and_is_read() {
    require_root!("a_read_only_disk_stops_no_start_and_is_read");
    let lab = Lab::new().unwrap();
    let disk = SmallDisk::mount(&lab, 8 << 20);
    let _server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let edge = lab.link().edge_interface;
    let wire = lab.wire().unwrap();
    let daemon = weir.run(&[edge], &demo_policy()).unwrap();
    block(&weir, EARLY);
    // Killed, so that the log of the database is still beside it, and has to be read too.
    daemon.kill().unwrap();
    weir.ask(&["detach"]).unwrap();
    disk.read_only(true);

    let daemon = weir.run(&[edge], &demo_policy()).unwrap();
    let told = warning(&weir, "cannot write").unwrap();
    assert!(told.contains("ead-only"), "{told}");
    let said = block(&weir, LATE);
    assert!(said.contains("it would not survive a reboot"), "{said}");
    assert_eq!(answered(&lab, &wire, [EARLY, LATE, NOBODY], 2000), [false, false, true]);

    disk.read_only(false);
    wait_until("the disk can be written", PATIENCE, || {
        Ok(warning(&weir, "cannot write").is_none() && !block(&weir, LATE).contains("note"))
    })
    .unwrap();
    daemon.kill().unwrap();
    weir.ask(&["detach"]).unwrap();
    let _daemon = weir.run(&[edge], &demo_policy()).unwrap();
    assert_eq!(answered(&lab, &wire, [EARLY, LATE, NOBODY], 3000), [false, false, true]);
}

#[test]
fn a_store_that_is_corrupt_is_set_aside_and_the_kernels_verdicts_are_stored_anew() {
    require_root!("a_store_that_is_corrupt_is_set_aside_and_the_kernels_verdicts_are_stored_anew");
    let lab = Lab::new().unwrap();
    let _server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let edge = lab.link().edge_interface;
    let wire = lab.wire().unwrap();
    let daemon = weir.run(&[edge], &demo_policy()).unwrap();
    block(&weir, EARLY);
    daemon.terminate().unwrap();
    fs::write(lab.state_dir().join("weir.db"), vec![0x5a; 40_960]).unwrap();

    let daemon = weir.run(&[edge], &demo_policy()).unwrap();
    let told = warning(&weir, "a new one was begun").unwrap();
    assert!(told.contains("weir.db.corrupt-"), "{told}");
    assert_eq!(answered(&lab, &wire, [EARLY, NOBODY], 2000), [false, true]);
    daemon.terminate().unwrap();
    weir.ask(&["detach"]).unwrap();
    let _daemon = weir.run(&[edge], &demo_policy()).unwrap();
    assert_eq!(answered(&lab, &wire, [EARLY, NOBODY], 3000), [false, true], "it was stored anew");
}
