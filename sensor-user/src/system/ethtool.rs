//! What a driver says of itself, through the ethtool ioctl: the interface that every driver
//! answers, also inside a network namespace whose sysfs is another's.

use std::{
    ffi::c_char,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

// include/uapi/linux/ethtool.h
const GET_DRIVER: u32 = 0x03;
const GET_FLAGS: u32 = 0x25;
const GET_CHANNELS: u32 = 0x3c;
/// `ETH_FLAG_LRO`
const FLAG_LRO: u32 = 1 << 15;

const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// A socket to ask interfaces through.
pub struct Ethtool(OwnedFd);

/// Receive and transmit queues, as the driver counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Channels {
    /// Queue pairs (or receive queues, where the driver keeps them apart) in use.
    pub current: u32,
    /// As many as the device has.
    pub maximum: u32,
}

impl Ethtool {
    /// Opens it in this thread's network namespace.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        Ok(Self(socket(AddressFamily::Inet, SockType::Datagram, flags, None)?))
    }

    /// The driver's name; `None` for interfaces that have none (loopback).
    #[must_use]
    pub fn driver(&self, interface: &str) -> Option<String> {
        // struct ethtool_drvinfo: cmd, then driver[32]; 196 bytes in all.
        let mut info = [0u32; 49];
        self.ask(interface, GET_DRIVER, &mut info).ok()?;
        let bytes: Vec<u8> = info.iter().skip(1).take(8).flat_map(|w| w.to_ne_bytes()).collect();
        Some(super::netlink::text(&bytes)).filter(|name| !name.is_empty())
    }

    /// Whether large receive offload is on; `None` if the driver does not say.
    #[must_use]
    pub fn lro(&self, interface: &str) -> Option<bool> {
        // struct ethtool_value: cmd, data.
        let mut value = [0u32; 2];
        self.ask(interface, GET_FLAGS, &mut value).ok()?;
        let [_, flags] = value;
        Some(flags & FLAG_LRO != 0)
    }

    /// Queues; `None` if the driver does not say.
    #[must_use]
    pub fn channels(&self, interface: &str) -> Option<Channels> {
        // struct ethtool_channels: cmd, max_{rx,tx,other,combined}, {rx,tx,other,combined}_count.
        let mut value = [0u32; 9];
        self.ask(interface, GET_CHANNELS, &mut value).ok()?;
        let [_, max_rx, _, _, max_combined, rx, _, _, combined] = value;
        Some(Channels { current: rx + combined, maximum: max_rx + max_combined })
    }

    fn ask<const WORDS: usize>(
        &self,
        interface: &str,
        command: u32,
        buffer: &mut [u32; WORDS],
    ) -> io::Result<()> {
        if let Some(first) = buffer.first_mut() {
            *first = command;
        }
        // SAFETY: `ifreq` is plain data for which zero is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if interface.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from as c_char;
        }
        request.ifr_ifru.ifru_data = buffer.as_mut_ptr().cast();
        // SAFETY: `request` and the buffer it points to are live, and each buffer above is the
        // size that its command writes.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
