//! The messages of sock_diag(7) for TCP, and a dump of sockets.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use nix::sys::socket::SockProtocol;

use super::super::netlink::{DUMP, Netlink, ONE, push_attribute, u32_at};

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;
/// `SOCK_DESTROY`
const DESTROY: u16 = 21;
/// `INET_DIAG_REQ_BYTECODE`
const REQ_BYTECODE: u16 = 1;
/// Offset and length of `struct inet_diag_sockid` in `struct inet_diag_msg`.
const SOCKID: std::ops::Range<usize> = 4..52;

/// Offset of `idiag_inode` there.
const INODE: usize = 68;

/// Sets of TCP states, as bits (include/net/tcp_states.h).
pub(super) mod states {
    /// Connections proper, and those of which one side is still open.
    pub(in super::super) const OPEN: u32 =
        1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
    /// Established only.
    pub(in super::super) const ESTABLISHED: u32 = 1 << 1;
    /// Begun by this host, not yet answered.
    pub(in super::super) const SYN_SENT: u32 = 1 << 2;
    /// Listeners.
    pub(in super::super) const LISTEN: u32 = 1 << 10;
}

/// One socket of a dump.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket {
    family: u8,
    inode: u32,
    /// `struct inet_diag_sockid`: with its cookie, it names this very socket.
    id: [u8; 48],
}

impl Socket {
    fn parse(payload: &[u8]) -> Option<Self> {
        let id = payload.get(SOCKID)?.try_into().ok()?;
        let inode = u32_at(payload, INODE).unwrap_or_default();
        Some(Self { family: *payload.first()?, inode, id })
    }

    /// Its inode, as `/proc/PID/fd` names it; 0 where no process holds it.
    pub(super) const fn inode(&self) -> u32 {
        self.inode
    }

    /// This host's end.
    pub(super) fn local(&self) -> SocketAddr {
        SocketAddr::new(self.address(4), self.port(0))
    }

    /// The far end.
    pub(super) fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.address(20), self.port(2))
    }

    fn port(&self, at: usize) -> u16 {
        self.id.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes)
    }

    /// An address; one that is IPv4-mapped comes back as IPv4.
    fn address(&self, at: usize) -> IpAddr {
        let bytes: [u8; 16] =
            self.id.get(at..at + 16).and_then(|b| b.try_into().ok()).unwrap_or_default();
        if i32::from(self.family) == libc::AF_INET {
            let [a, b, c, d, ..] = bytes;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
    }
}

/// A connection to the kernel's socket tables.
pub(super) struct Diag(Netlink);

impl Diag {
    pub(super) fn open() -> io::Result<Self> {
        // NETLINK_SOCK_DIAG is the number 4, which has the older name NETLINK_INET_DIAG too.
        Netlink::open(SockProtocol::NetlinkSockDiag).map(Self)
    }

    /// Every TCP socket, IPv4 and IPv6, in one of `states` that `filter` accepts (bytecode of
    /// [`super::filter`]; empty = all).
    pub(super) fn dump(
        &mut self,
        states: u32,
        filter: &[u8],
        mut each: impl FnMut(Socket),
    ) -> io::Result<()> {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut body = request(family as u8, states, &[0; 48]);
            if !filter.is_empty() {
                push_attribute(&mut body, REQ_BYTECODE, filter);
            }
            let dumped = self.0.request(BY_FAMILY, DUMP, &body, |kind, payload| {
                if kind == BY_FAMILY
                    && let Some(socket) = Socket::parse(payload)
                {
                    each(socket);
                }
            });
            match dumped {
                // IPv6 is not in this kernel, or switched off.
                Err(error)
                    if family == libc::AF_INET6 && error.raw_os_error() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// Ends one socket.
    pub(super) fn destroy(&mut self, socket: &Socket) -> io::Result<()> {
        let body = request(socket.family, u32::MAX, &socket.id);
        self.0.request(DESTROY, ONE, &body, |_, _| {})
    }
}

/// `struct inet_diag_req_v2`
fn request(family: u8, states: u32, id: &[u8; 48]) -> Vec<u8> {
    let mut body = Vec::with_capacity(56);
    body.extend([family, libc::IPPROTO_TCP as u8, 0, 0]);
    body.extend(states.to_ne_bytes());
    body.extend(id);
    body
}
