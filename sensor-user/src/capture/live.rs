//! Frames of a live interface, both ways, over a packet socket (packet(7)).

use std::{
    io,
    mem::size_of,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::io::{Interest, unix::AsyncFd};

use super::{Frame, LinkType, MAX_FRAME};
use crate::system::interface::{Interface, InterfaceError};

/// Modems (include/uapi/linux/if_arp.h).
const ARPHRD_RAWIP: u16 = 519;
/// Room for frames that were not read yet, where the kernel grants it.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;

/// An interface cannot be heard.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// It is not there.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// Its frames begin with something that is not read.
    #[error(
        "cannot read frames of {interface}: its link type (ARPHRD {link_type}) is not Ethernet or IP"
    )]
    LinkType {
        /// Which.
        interface: String,
        /// What it said.
        link_type: u16,
    },
    /// This process may not.
    #[error(
        "cannot hear {interface}: CAP_NET_RAW is missing; run as root, or record with a tool that \
             has it and give `weir fingerprint` the file"
    )]
    Privilege {
        /// Which interface.
        interface: String,
    },
    /// The kernel refused, or the interface went away.
    #[error("cannot hear {interface}: {source}")]
    Socket {
        /// Which interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What an interface sends and receives from now on.
pub struct Live {
    interface: String,
    link: LinkType,
    socket: AsyncFd<OwnedFd>,
    frame: Vec<u8>,
    lost: u64,
}

impl Live {
    /// Opens an interface of this thread's network namespace. Needs a tokio runtime.
    ///
    /// # Errors
    /// If there is no such interface, or it cannot be heard.
    pub fn open(interface: &str) -> Result<Self, LiveError> {
        let found = Interface::named(interface)?;
        let link = match found.link_type {
            _ if found.is_ethernet() => LinkType::Ethernet,
            libc::ARPHRD_NONE
            | libc::ARPHRD_TUNNEL
            | libc::ARPHRD_TUNNEL6
            | libc::ARPHRD_SIT
            | ARPHRD_RAWIP => LinkType::Ip,
            link_type => {
                return Err(LiveError::LinkType { interface: interface.into(), link_type });
            }
        };
        let failed = |source: io::Error| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                LiveError::Privilege { interface: interface.into() }
            }
            _ => LiveError::Socket { interface: interface.into(), source },
        };
        let socket = open(found.index).and_then(register).map_err(failed)?;
        let frame = vec![0; MAX_FRAME as usize];
        Ok(Self { interface: interface.into(), link, socket, frame, lost: 0 })
    }

    /// The next frame.
    ///
    /// # Errors
    /// If the interface went away, or was taken down.
    pub async fn next_frame(&mut self) -> Result<Frame<'_>, LiveError> {
        let frame = &mut self.frame;
        let received = self
            .socket
            .async_io(Interest::READABLE | Interest::ERROR, |socket| receive(socket, frame))
            .await;
        let original = received
            .map_err(|source| LiveError::Socket { interface: self.interface.clone(), source })?;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Frame {
            time_ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            link: self.link,
            bytes: self.frame.get(..original).unwrap_or(&self.frame),
            original_len: original as u32,
        })
    }

    /// Frames that passed faster than they were read, so far.
    pub fn lost(&mut self) -> u64 {
        // The kernel's counter begins anew with every look.
        self.lost += lost(self.socket.get_ref()).unwrap_or(0);
        self.lost
    }
}

/// A packet socket that hears one interface.
fn open(index: u32) -> io::Result<OwnedFd> {
    let everything = (libc::ETH_P_ALL as u16).to_be();
    let flags = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // Protocol 0: nothing is heard before the socket is bound to its interface.
    // SAFETY: no memory is involved.
    let socket = unsafe { libc::socket(libc::AF_PACKET, flags, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let room = RECEIVE_BUFFER;
    // What cannot be granted is no failure: losses are counted.
    // SAFETY: the pointer and length are those of a live integer.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const room).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: everything,
        sll_ifindex: index as libc::c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the pointer and length are those of a live sockaddr_ll.
    let bound = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// Hands the socket to the runtime.
fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the socket is owned by what is returned, which never changes it and closes it last.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}

/// Receives one frame; its length on the wire.
fn receive(socket: &OwnedFd, frame: &mut [u8]) -> io::Result<usize> {
    let room = frame.as_mut_ptr().cast();
    // SAFETY: the pointer and length are those of a live slice that nobody else uses.
    let count = unsafe { libc::recv(socket.as_raw_fd(), room, frame.len(), libc::MSG_TRUNC) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Frames that the kernel had no room for, since the last look.
fn lost(socket: &OwnedFd) -> io::Result<u64> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: the pointers are those of live values, and the length is that of the first.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut length,
        )
    };
    if asked < 0 { Err(io::Error::last_os_error()) } else { Ok(u64::from(statistics.tp_drops)) }
}
