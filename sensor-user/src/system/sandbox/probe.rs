//! Tries what must not work, within the walls of the part that calls it, and says what came of it: a
//! test reads that in the log. Only in debug builds, and only where `WEIR_SANDBOX_PROBE` is set.
//!
//! Nothing here does harm where a wall is missing: what would is asked for in a way that fails all the
//! same, with another error.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    ptr,
    time::Duration,
};

use super::Plan;

/// A port that nobody asks.
const DISCARD: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// Tries all of it.
pub(super) fn run(part: &str, plan: Option<&Plan>) {
    if std::env::var_os("WEIR_SANDBOX_PROBE").is_none() {
        return;
    }
    let state = plan.and_then(|plan| plan.written.first().cloned()).unwrap_or_default();
    let tried: [(&str, io::Result<()>); 11] = [
        // An unknown command: EINVAL from bpf(2) itself.
        ("bpf", call(libc::SYS_bpf, [9_999, 0, 0, 0])),
        // No such file, if it may be called at all.
        ("execve", call(libc::SYS_execve, [c"/nonexistent".as_ptr() as usize, 0, 0, 0])),
        // No such process.
        ("ptrace", call(libc::SYS_ptrace, [libc::PTRACE_PEEKDATA as usize, 0, 0, 0])),
        ("unshare", call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0])),
        ("init_module", call(libc::SYS_init_module, [0, 0, 0, 0])),
        ("perf", call(libc::SYS_perf_event_open, [0, 0, 0, 0])),
        ("packet-socket", socket(libc::AF_PACKET)),
        ("ip-socket", socket(libc::AF_INET)),
        ("connect", TcpStream::connect_timeout(&DISCARD, Duration::from_secs(1)).map(drop)),
        ("read-root", fs::read_dir("/root").map(drop)),
        ("read-state", fs::read_dir(&state).map(drop)),
    ];
    let file = std::env::temp_dir().join(format!("weir-probe-{}-{part}", std::process::id()));
    let written = File::create_new(&file).map(drop);
    let _ = fs::remove_file(&file);
    let told: Vec<String> = tried
        .into_iter()
        .chain([("write-tmp", written)])
        .map(|(what, result)| format!("{what}={}", errno(result)))
        .collect();
    tracing::info!("sandbox probe {part}: {}", told.join(" "));
}

fn errno(result: io::Result<()>) -> String {
    let Err(error) = result else { return "done".into() };
    match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM".into(),
        Some(libc::EACCES) => "EACCES".into(),
        Some(number) => number.to_string(),
        None => error.kind().to_string(),
    }
}

fn socket(family: libc::c_int) -> io::Result<()> {
    let flags = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: this call reads no memory.
    let fd = unsafe { libc::socket(family, flags, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us and nobody else owns it.
    unsafe { libc::close(fd) };
    Ok(())
}

fn call(number: libc::c_long, arguments: [usize; 4]) -> io::Result<()> {
    let [first, second, third, fourth] = arguments;
    let none: *const u8 = ptr::null();
    // SAFETY: every caller above passes null or a live string where the call takes an address, and all
    // of them fail before they use it.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, none) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
