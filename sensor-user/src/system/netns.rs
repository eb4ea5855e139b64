//! Which network namespace this thread is in.

use std::{fs, io, os::unix::fs::MetadataExt};

/// The inode of this thread's network namespace: part of a pinned link's name, because interface
/// indices repeat between namespaces.
pub fn inode() -> io::Result<u64> {
    Ok(fs::metadata("/proc/thread-self/ns/net")?.ino())
}

#[cfg(test)]
pub(crate) use test_namespace::{add_address, private};

/// A namespace of its own for a test that makes real sockets.
#[cfg(test)]
mod test_namespace {
    use std::{
        ffi::c_char,
        io::{self, Write},
        os::fd::AsRawFd,
        thread,
    };

    use nix::{
        sched::{CloneFlags, unshare},
        sys::socket::{AddressFamily, SockFlag, SockType, socket},
    };

    /// Runs `test` on a thread in a new network namespace whose loopback is up; the namespace goes
    /// with the thread.
    ///
    /// Without privileges the test is left with the line that CI looks for, written past the test
    /// harness, which would keep a passing test's output to itself.
    pub(crate) fn private(test: impl FnOnce() + Send) {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                    // Without a standard output there is nobody to tell.
                    let _ = writeln!(
                        io::stdout(),
                        "SKIPPED-PRIVILEGED: {name}: needs root to make network namespaces ({error})"
                    );
                    return;
                }
                interface_request("lo", libc::SIOCSIFFLAGS, |request| {
                    request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
                });
                test();
            });
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        });
    }

    /// Gives an interface of this thread's namespace an IPv4 address.
    pub(crate) fn add_address(interface: &str, address: [u8; 4]) {
        interface_request(interface, libc::SIOCSIFADDR, |request| {
            // struct sockaddr_in behind a struct sockaddr: port, then the address.
            let mut sa_data = [0; 14];
            sa_data[2..6].copy_from_slice(&address.map(|byte| byte as c_char));
            request.ifr_ifru.ifru_addr =
                libc::sockaddr { sa_family: libc::AF_INET as u16, sa_data };
        });
    }

    fn interface_request(name: &str, command: libc::Ioctl, fill: impl FnOnce(&mut libc::ifreq)) {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None).unwrap();
        // SAFETY: `ifreq` is plain data for which zero is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as c_char;
        }
        fill(&mut request);
        // SAFETY: `request` is live and of the type that these two commands read.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), command, &raw mut request) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}
