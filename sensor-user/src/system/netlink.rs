//! Netlink (RFC 3549), as much of it as Weir needs: one request, its answers, its attributes.
//!
//! Written on `nix`'s safe sockets instead of a netlink crate because Weir sends six kinds of
//! message in all. The socket belongs to the network namespace of the thread that opened it.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use nix::errno::Errno;
use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
        setsockopt, socket, sockopt::ReceiveTimeout,
    },
    time::TimeVal,
};

/// `struct nlmsghdr`
const HEADER: usize = 16;
/// `struct nlattr`
const ATTRIBUTE_HEADER: usize = 4;
/// The kernel fills at most 32 KiB into one datagram of a dump (`NLMSG_GOODSIZE` and its
/// doublings in net/netlink/af_netlink.c).
const RECEIVE_BYTES: usize = 1 << 16;
/// The kernel answers at once; this only keeps a defect from hanging the daemon.
const PATIENCE_S: i64 = 5;

/// Messages that are taken in at once.
const MOST_TOLD: usize = 4096;

/// Flags of a request that wants every object listed.
pub(crate) const DUMP: u16 = libc::NLM_F_DUMP as u16;
/// Flags of a request about one object.
pub(crate) const ONE: u16 = libc::NLM_F_ACK as u16;

/// A netlink socket.
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket to the part of the kernel that `protocol` names.
    pub(crate) fn open(protocol: SockProtocol) -> io::Result<Self> {
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(PATIENCE_S, 0))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; RECEIVE_BYTES] })
    }

    /// Opens a socket that hears what the part of the kernel that `protocol` names tells these groups
    /// (a mask of `RTMGRP_*`).
    pub(crate) fn listen(protocol: SockProtocol, groups: u32) -> io::Result<Self> {
        let socket =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; RECEIVE_BYTES] })
    }

    /// Waits for as long until something is told; whether something was. What is told meanwhile is
    /// taken in and not looked at.
    pub(crate) fn is_told(&mut self, within: Duration) -> io::Result<bool> {
        let seconds = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
        let patience = TimeVal::new(seconds, i64::from(within.subsec_micros()));
        setsockopt(&self.socket, ReceiveTimeout, &patience)?;
        let mut told = false;
        let mut flags = MsgFlags::empty();
        // Bounded: a host whose routes never rest is looked at all the same.
        for _ in 0..MOST_TOLD {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, flags) {
                Ok(_) => told = true,
                // More was told than the socket holds.
                Err(Errno::ENOBUFS) => told = true,
                Err(Errno::EAGAIN | Errno::EINTR) => break,
                Err(error) => return Err(error.into()),
            }
            flags = MsgFlags::MSG_DONTWAIT;
        }
        Ok(told)
    }

    /// Sends one request and hands every answer (type, payload) to `each`, until the kernel says
    /// that it is done. `flags` is [`DUMP`] or [`ONE`].
    pub(crate) fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((libc::NLM_F_REQUEST as u16 | flags).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(body);
        send(self.socket.as_raw_fd(), &message, MsgFlags::empty())?;
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some((answer, next)) = Message::split(rest) {
                rest = next;
                if answer.sequence != self.sequence {
                    continue;
                }
                match i32::from(answer.kind) {
                    libc::NLMSG_DONE => return status(answer.payload),
                    libc::NLMSG_ERROR => return status(answer.payload),
                    libc::NLMSG_NOOP => {}
                    _ => each(answer.kind, answer.payload),
                }
            }
        }
    }
}

/// `NLMSG_ERROR` and `NLMSG_DONE` begin with a negative error number, or 0.
fn status(payload: &[u8]) -> io::Result<()> {
    match u32_at(payload, 0) {
        None | Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error((code as i32).wrapping_neg())),
    }
}

struct Message<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl<'a> Message<'a> {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let length = u32_at(bytes, 0)? as usize;
        let payload = bytes.get(HEADER..length)?;
        let rest = bytes.get(aligned(length)..).unwrap_or_default();
        Some((Self { kind: u16_at(bytes, 4)?, sequence: u32_at(bytes, 8)?, payload }, rest))
    }
}

/// The attributes in `bytes`: type without its flag bits, and value.
pub(crate) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & !(libc::NLA_F_NESTED as u16 | 1 << 14);
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Appends one attribute.
pub(crate) fn push_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(((ATTRIBUTE_HEADER + value.len()) as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(aligned(message.len()), 0);
}

const fn aligned(length: usize) -> usize {
    (length + 3) & !3
}

/// A native-endian `u32`.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A native-endian `u16`.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A string attribute: up to its first NUL.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_a_round_trip_and_a_truncated_tail() {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, 3, b"eth0\0");
        push_attribute(&mut bytes, 43 | 1 << 15, &7u32.to_ne_bytes());
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found, [(3, &b"eth0\0"[..]), (43, &7u32.to_ne_bytes()[..])]);

        let cut = bytes.get(..bytes.len() - 1).unwrap();
        assert_eq!(attributes(cut).count(), 1, "an attribute that is cut off is not an attribute");
        assert_eq!(attributes(&[0; 8]).count(), 0, "a length of zero must not loop");
    }

    #[test]
    fn an_error_answer_becomes_its_errno() {
        assert!(status(&0i32.to_ne_bytes()).is_ok());
        let error = status(&(-libc::EOPNOTSUPP).to_ne_bytes()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
    }
}
