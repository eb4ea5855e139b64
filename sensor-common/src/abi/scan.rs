//! What sources do without proof: distinct ports, half-open connections, segments of nothing.
//! Forgeable, all of it.

use super::key::SourceKey;

/// Words of a port bitmap.
pub const SCAN_WORDS: usize = 2;

/// Value of `SCANS`: what one source did in a minute without proving that it exists. A cell belongs
/// to one source at a time, so another source can displace a count but never raise it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Scan {
    /// Whose cell this is.
    pub source: SourceKey,
    /// Distinct local ports that it tried, one bit a hashed port (linear counting, Whang et al. 1990).
    pub ports: [u64; SCAN_WORDS],
    /// Tick of the first deed in this window.
    pub since_tick: u32,
    /// First SYNs to protected ports in this window, less those that it proved and those
    /// that the server refused.
    pub half_open: u32,
    /// The most of them that was reported in this window.
    pub half_open_told: u32,
    /// Segments to protected ports in this window that belong to no flow and no handshake.
    pub strays: u32,
    /// Such segments that are to be expected, because flows of it ended: they do not count.
    pub expected: u32,
    /// Segments in this window with flags that no stack sends.
    pub odd_flags: u32,
    /// Datagrams to UDP services in this window that belong to no flow and no handshake.
    pub datagrams: u32,
    /// Zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Scan>() == 56);
