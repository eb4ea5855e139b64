//! A tunnel interface whose far end is the test: packets without a link-layer header.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::fd::{AsFd, AsRawFd},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::Namespace;

/// `TUNSETIFF` of include/uapi/linux/if_tun.h.
const TUN_SET_INTERFACE: libc::c_ulong = 0x4004_54ca;

/// Longest packet that is read whole.
const LONGEST: usize = 65_536;

/// The far end of a tunnel. Dropping it removes the interface.
#[derive(Debug)]
pub struct Tun {
    file: File,
}

impl Tun {
    /// Makes the interface in a namespace; it has no address and is down.
    pub fn create(namespace: &Namespace, interface: &str) -> Result<Self> {
        let file = namespace
            .run(|| open(interface))?
            .with_context(|| format!("cannot make the tunnel {interface}"))?;
        Ok(Self { file })
    }

    /// Sends an IP packet: it arrives at the interface.
    pub fn send(&self, packet: &[u8]) -> Result<()> {
        (&self.file).write_all(packet).context("cannot send into the tunnel")
    }

    /// The next packet within `patience` that left through the interface and is wanted.
    pub fn expect(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + patience;
        let mut packet = vec![0; LONGEST];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if poll(&mut ready, left).context("cannot wait for a packet")? == 0 {
                return Ok(None);
            }
            match (&self.file).read(&mut packet) {
                Ok(length) => {
                    let packet = packet.get(..length).unwrap_or_default();
                    if wanted(packet) {
                        return Ok(Some(packet.to_vec()));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("cannot read from the tunnel"),
            }
        }
    }
}

fn open(interface: &str) -> Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: an all-zero ifreq is a valid value of that plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: the request is live, and this ioctl reads and writes an ifreq.
    if unsafe { libc::ioctl(file.as_raw_fd(), TUN_SET_INTERFACE, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(file)
}
