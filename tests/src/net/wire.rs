//! A packet socket: sends frames as they are, and hears what passes an interface.

use std::{
    io,
    mem::{size_of, zeroed},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Namespace;
use crate::packet::{Read, ReadTcp, read};

/// Longest frame that is read whole: a super-packet, where offloads are on.
const LONGEST: usize = 65_536 + 18;

/// Room for frames that nobody read yet, so that a flood does not push out what a test waits for.
const RECEIVE_BUFFER: libc::c_int = 32 << 20;

/// How long an interface may have no room for another frame.
const ROOM: Duration = Duration::from_secs(5);

/// A packet socket on one interface. It belongs to the namespace in which it was opened and can be
/// used from any thread.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
}

/// A frame that was heard.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// The frame.
    pub(super) bytes: Vec<u8>,
    /// Whether the host of the interface sent it.
    pub(super) outgoing: bool,
}

impl Wire {
    /// Opens a socket on `interface` of `namespace`.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = namespace
            .run(|| open(interface, libc::ETH_P_ALL))?
            .with_context(|| format!("cannot open a packet socket on {interface}"))?;
        Ok(Self { socket })
    }

    /// Opens a socket on `interface` of the calling thread's namespace that only sends: the kernel
    /// does not copy it every frame that passes.
    pub fn sender(interface: &str) -> Result<Self> {
        let socket = open(interface, 0)
            .with_context(|| format!("cannot open a packet socket on {interface}"))?;
        Ok(Self { socket })
    }

    /// Sends a frame. It leaves through the interface whatever its addresses say.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        // SAFETY: the pointer and length are those of a live slice, and the socket is open.
        let sent =
            unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error())
                .with_context(|| format!("cannot send a frame of {} bytes", frame.len()));
        }
        Ok(())
    }

    /// Sends a frame, and waits while the interface has no room for it: for floods that are to arrive
    /// whole.
    pub fn send_patiently(&self, frame: &[u8]) -> Result<()> {
        let deadline = Instant::now() + ROOM;
        loop {
            let Err(error) = self.send(frame) else { return Ok(()) };
            let cause = error.root_cause().downcast_ref::<io::Error>();
            let is_full = cause.and_then(io::Error::raw_os_error) == Some(libc::ENOBUFS);
            if !is_full || Instant::now() >= deadline {
                return Err(error);
            }
            thread::park_timeout(Duration::from_micros(100));
        }
    }

    /// The next packet that arrives within `patience` and is wanted; others are passed over.
    pub fn expect(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&Read) -> bool,
    ) -> Result<Option<Read>> {
        let deadline = Instant::now() + patience;
        while let Some(heard) = self.hear(deadline.saturating_duration_since(Instant::now()))? {
            if heard.outgoing {
                continue;
            }
            if let Some(packet) = read(&heard.bytes)
                && wanted(&packet)
            {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    /// The next TCP segment that arrives within `patience` and is wanted; others are passed over.
    pub fn expect_tcp(
        &self,
        patience: Duration,
        mut wanted: impl FnMut(&ReadTcp) -> bool,
    ) -> Result<Option<ReadTcp>> {
        let packet =
            self.expect(patience, |packet| packet.tcp.as_ref().is_some_and(&mut wanted))?;
        Ok(packet.and_then(|packet| packet.tcp))
    }

    /// Every TCP segment that has arrived by now or arrives within `patience`.
    pub fn collect_tcp(&self, patience: Duration) -> Result<Vec<ReadTcp>> {
        let mut segments = Vec::new();
        let deadline = Instant::now() + patience;
        while let Some(segment) =
            self.expect_tcp(deadline.saturating_duration_since(Instant::now()), |_| true)?
        {
            segments.push(segment);
        }
        Ok(segments)
    }

    /// Throws away what was heard so far.
    pub fn forget(&self) -> Result<()> {
        while self.hear(Duration::ZERO)?.is_some() {}
        Ok(())
    }

    /// The next frame that passes within `patience`, in either direction.
    pub(super) fn hear(&self, patience: Duration) -> Result<Option<Heard>> {
        let mut ready = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, timeout) {
            Ok(0) | Err(nix::Error::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error).context("cannot wait for a frame"),
        }
        let mut bytes = vec![0u8; LONGEST];
        // SAFETY: an all-zero sockaddr_ll is a valid value of that plain C struct.
        let mut from: libc::sockaddr_ll = unsafe { zeroed() };
        let mut from_length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: buffer and address are live, writable and as long as the lengths say.
        let length = unsafe {
            libc::recvfrom(
                self.socket.as_raw_fd(),
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                libc::MSG_DONTWAIT,
                (&raw mut from).cast(),
                &raw mut from_length,
            )
        };
        match usize::try_from(length) {
            Ok(length) => {
                bytes.truncate(length);
                Ok(Some(Heard { bytes, outgoing: from.sll_pkttype == libc::PACKET_OUTGOING }))
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                error => Err(error).context("cannot receive a frame"),
            },
        }
    }

    /// Frames that the kernel could not keep for this socket since the last call.
    pub(super) fn lost(&self) -> Result<u32> {
        // SAFETY: an all-zero tpacket_stats is a valid value of that plain C struct.
        let mut stats: libc::tpacket_stats = unsafe { zeroed() };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the value is live, writable and as long as its length says.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut length,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error()).context("cannot read packet statistics");
        }
        Ok(stats.tp_drops)
    }
}

fn open(interface: &str, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let index = nix::net::if_::if_nametoindex(interface)?;
    let protocol = (protocol as u16).to_be();
    // SAFETY: a plain system call without pointers.
    let descriptor = unsafe {
        libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(protocol))
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just opened and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // SAFETY: an all-zero sockaddr_ll is a valid value of that plain C struct.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = index as i32;
    // SAFETY: the address is live and as long as the length says.
    let bound = unsafe {
        libc::bind(
            descriptor,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if bound != 0 {
        return Err(io::Error::last_os_error());
    }
    let room = RECEIVE_BUFFER;
    // SAFETY: the value is live and as long as the length says.
    let sized = unsafe {
        libc::setsockopt(
            descriptor,
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const room).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if sized != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}
