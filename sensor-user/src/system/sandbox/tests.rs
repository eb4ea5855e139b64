//! Each thread's walls, on threads of the test's own: what is allowed is part of it, too.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    path::PathBuf,
    thread,
};

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-walls-{name}-{}", std::process::id()));
        for folder in ["run", "logs", "feeds", "state"] {
            fs::create_dir_all(path.join(folder)).unwrap();
        }
        fs::write(path.join("logs/access.log"), "a line\n").unwrap();
        fs::write(path.join("state/entity.key"), "secret").unwrap();
        Self(path)
    }

    fn plan(&self) -> Plan {
        Plan {
            written: vec![self.0.join("state"), self.0.join("run")],
            read: Vec::new(),
            run_dir: self.0.join("run"),
            logs: vec![self.0.join("logs")],
            feeds: self.0.join("feeds"),
            feed_files: Vec::new(),
            required: true,
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whether the walls can be built here; says so if not.
fn is_possible(test: &str) -> bool {
    let (landlock, seccomp) = offered();
    if landlock < 5 || !seccomp {
        eprintln!("SKIPPED {test}: this kernel has Landlock {landlock}, seccomp {seccomp}");
    }
    landlock >= 5 && seccomp
}

/// Does something within the walls of a part, on a thread of its own.
fn within<T: Send + 'static>(
    part: Part,
    plan: &Plan,
    deed: impl FnOnce() -> T + Send + 'static,
) -> T {
    let plan = plan.clone();
    thread::spawn(move || {
        privileges::renounce().unwrap();
        files::enter(part, &plan).unwrap();
        calls::enter(part).unwrap();
        deed()
    })
    .join()
    .unwrap()
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

const EPERM: Option<i32> = Some(libc::EPERM);
const EACCES: Option<i32> = Some(libc::EACCES);

#[test]
fn whoever_answers_talks_over_what_is_open_and_reaches_nothing_else() {
    if !is_possible("whoever_answers_talks_over_what_is_open_and_reaches_nothing_else") {
        return;
    }
    let folder = Folder::new("api");
    let (mut here, mut there) = UnixStream::pair().unwrap();
    let socket = folder.0.join("run/control.sock");
    fs::write(&socket, "").unwrap();
    let (root, mine) = (folder.0.clone(), socket.clone());
    let found = within(Part::Api, &folder.plan(), move || {
        there.write_all(b"answer").unwrap();
        // A runtime and a thread must still be possible.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await });
        assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
        fs::remove_file(mine).unwrap();
        [
            errno(fs::read(root.join("state/entity.key"))),
            errno(fs::read(root.join("logs/access.log"))),
            errno(fs::read("/etc/passwd")),
            errno(fs::write(root.join("run/other"), "")),
            errno(UdpSocket::bind("127.0.0.1:0")),
            errno(UnixStream::connect("/nonexistent")),
            errno(std::process::Command::new("/bin/true").status()),
            errno(crate::system::bpf::open_pinned(&root.join("KILL")).map(drop)),
        ]
    });
    let walls = [EACCES, EACCES, EACCES, EACCES, EPERM, EPERM, EPERM, EPERM];
    assert_eq!(found, walls);
    let mut answer = [0; 6];
    here.read_exact(&mut answer).unwrap();
    assert!(!socket.exists());
}

#[test]
fn whoever_reads_logs_reads_logs() {
    if !is_possible("whoever_reads_logs_reads_logs") {
        return;
    }
    let folder = Folder::new("signals");
    let root = folder.0.clone();
    let found = within(Part::Signals, &folder.plan(), move || {
        assert_eq!(fs::read(root.join("logs/access.log")).unwrap(), b"a line\n");
        // Rotated: another file at the same place.
        [
            errno(fs::write(root.join("logs/access.log"), "forged")),
            errno(fs::read(root.join("state/entity.key"))),
            errno(TcpStream::connect("127.0.0.1:9")),
        ]
    });
    assert_eq!(found, [EACCES, EACCES, EPERM]);
}

#[test]
fn whoever_asks_a_server_reaches_its_port_and_no_file_of_the_daemon() {
    if !is_possible("whoever_asks_a_server_reaches_its_port_and_no_file_of_the_daemon") {
        return;
    }
    let folder = Folder::new("fetch");
    let servers = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [asked, other] = [0, 1].map(|at: usize| servers[at].local_addr().unwrap());
    let root = folder.0.clone();
    let plan = folder.plan();
    let theirs = plan.clone();
    let found = within(Part::Feeds, &plan, move || {
        fs::write(root.join("feeds/list"), "192.0.2.0/24\n").unwrap();
        // As the daemon does: one thread starts the other.
        thread::spawn(move || {
            files::enter(Part::Fetch { port: asked.port() }, &theirs).unwrap();
            calls::enter(Part::Fetch { port: asked.port() }).unwrap();
            TcpStream::connect(asked).unwrap();
            fs::read_to_string("/etc/hosts").unwrap();
            [
                errno(TcpStream::connect(other)),
                errno(TcpListener::bind("127.0.0.1:0")),
                errno(fs::read(root.join("feeds/list"))),
                errno(fs::read(root.join("state/entity.key"))),
                errno(fs::read("/etc/shadow")),
                errno(std::process::Command::new("/bin/true").status()),
            ]
        })
        .join()
        .unwrap()
    });
    assert_eq!(found, [EACCES, EACCES, EACCES, EACCES, EACCES, EPERM]);
}

#[test]
fn the_process_runs_and_traces_nothing_and_its_threads_still_begin() {
    if !is_possible("the_process_runs_and_traces_nothing_and_its_threads_still_begin") {
        return;
    }
    let folder = Folder::new("process");
    let plan = folder.plan();
    let root = folder.0.clone();
    let found = thread::spawn(move || {
        privileges::settle().unwrap();
        files::confine(&plan).unwrap();
        calls::confine().unwrap();
        thread::spawn(move || {
            fs::write(root.join("state/kill"), "").unwrap();
            fs::rename(root.join("state/kill"), root.join("state/killed")).unwrap();
            fs::read_to_string("/proc/self/status").unwrap();
            UdpSocket::bind("127.0.0.1:0").unwrap();
            [
                errno(std::process::Command::new("/bin/true").status()),
                errno(
                    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(Into::into),
                ),
                errno(fs::write(root.join("logs/access.log"), "forged")),
                errno(fs::read_dir("/root")),
            ]
        })
        .join()
        .unwrap()
    })
    .join()
    .unwrap();
    assert_eq!(found, [EPERM, EPERM, EACCES, EACCES]);
}

#[test]
fn a_file_is_reached_by_its_directory_but_never_everything_by_one_file() {
    let place = |file: &str| place_of(std::path::Path::new(file));
    assert_eq!(place("/etc/weir/policy.yaml"), PathBuf::from("/etc/weir"));
    assert_eq!(place("policy.yaml"), PathBuf::from("."));
    assert_eq!(place("/policy.yaml"), PathBuf::from("/policy.yaml"));
}
