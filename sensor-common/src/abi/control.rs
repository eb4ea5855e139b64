//! Switches and settings that the daemon writes and the kernel reads.

/// How far enforcement may go. The effective mode is the least of kill switch, breaker and policy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum Mode {
    /// Pass everything, measure nothing.
    #[default]
    Off = 0,
    /// Measure; count what would have been done.
    Observe = 1,
    /// Act.
    Enforce = 2,
}

impl Mode {
    /// The mode of an ABI byte; unknown bytes are `Off`, because the kernel path fails open.
    #[inline(always)]
    #[must_use]
    pub const fn from_u8(byte: u8) -> Self {
        match byte {
            1 => Self::Observe,
            2 => Self::Enforce,
            _ => Self::Off,
        }
    }
}

/// Value of `CONTROL`: written by the daemon at start and on reload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Control {
    /// Policy's [`Mode`].
    pub policy_mode: u8,
    /// Circuit breaker's [`Mode`].
    pub breaker_mode: u8,
    /// `CONTROL_*` bits: which tables have entries, so that an empty one costs nothing.
    pub flags: u16,
    /// Raised at every change, so that a reader sees that one happened.
    pub generation: u32,
    /// Random per load: hashes of sketches and retry cells, so that nobody can aim at a cell.
    pub seed: u64,
    /// A client that has waited this long for an answer and sends another small segment is
    /// reported once as stalled. 0 = never.
    pub stall_ns: u64,
    /// If not 0: once the daemon's pulse is older than this many ticks, nothing is enforced. A class
    /// can have a shorter limit of its own ([`super::VerdictClass::heartbeat_ticks`]).
    pub heartbeat_limit_ticks: u32,
    /// What a `mark` verdict that is enforced adds to a packet's mark (TC ingress only: XDP comes
    /// before there is one); 0 = nothing. See [`DEFAULT_MARK`].
    pub mark: u32,
    /// A proven source's own lane through the SYN guard: nanoseconds between SYNs.
    pub lane_interval_ns: u64,
    /// A proven source's own lane: how far ahead of the rate a burst may run, in nanoseconds.
    pub lane_burst_ns: u64,
    /// Segments and datagrams to protected ports that belong to nothing known count as strays from then
    /// on, `CLOCK_MONOTONIC` ns: before, they may belong to what another version of Weir knew.
    pub strays_from_ns: u64,
}
const _: () = assert!(size_of::<Control>() == 56);

/// The bit that marked packets have, unless a site chooses another: one that kube-proxy (0x4000 and
/// 0x8000), the CNI plugins (0x2000), Cilium (0x0f00), Istio (0x539) and WireGuard's `wg-quick`
/// (0xca6c) leave alone. For nftables: `meta mark & 0x80 == 0x80`.
pub const DEFAULT_MARK: u32 = 0x80;

/// `FINGERPRINT_VERDICTS` has entries.
pub const CONTROL_FINGERPRINTS: u16 = 1 << 0;
/// `SYN_VERDICTS` has entries.
pub const CONTROL_SYNS: u16 = 1 << 1;
/// `FLOW_VERDICTS` has entries.
pub const CONTROL_FLOWS: u16 = 1 << 2;

/// The name that a ClientHello asks for refines the service: `SNI_SERVICES`.
pub const SERVICE_NAMED: u8 = 1 << 0;
/// Declared proxies (`PROXIES`) send a PROXY header before anything else.
pub const SERVICE_PROXIED: u8 = 1 << 1;

/// Value of `SERVICES`, index `protocol slot * 65536 + port` (see [`service_index`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Service {
    /// The protected service; 0 = none.
    pub id: u8,
    /// `SERVICE_*` bits.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 2],
}
const _: () = assert!(size_of::<Service>() == 4);

/// Entries of `SERVICES`: TCP ports, then UDP ports.
pub const SERVICE_SLOTS: usize = 2 * 65536;

/// Where a port's service stands in `SERVICES`. `port` is in host byte order.
#[inline(always)]
#[must_use]
pub const fn service_index(is_udp: bool, port: u16) -> u32 {
    (is_udp as u32) << 16 | port as u32
}

/// Value of `GUARDS`, index service id: the SYN guard of a service, and what SYNs press on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Guard {
    /// Theoretical arrival time of the next conforming SYN: state, kept by the kernel.
    pub tat_ns: u64,
    /// Nanoseconds between first SYNs at the sustained rate; 0 = no guard.
    pub interval_ns: u64,
    /// How far ahead of the rate a burst may run, in nanoseconds.
    pub burst_ns: u64,
    /// SYNs held back since the last report: state, a lower bound under contention.
    pub held_back: u64,
    /// When the last report was made, ns: state.
    pub reported_ns: u64,
    /// When this second of SYNs began, ns: state.
    pub second_ns: u64,
    /// SYNs in it, retransmissions included: state, a lower bound under contention.
    pub syns: u32,
    /// Handshakes that were proven since it began: state, as before.
    pub proofs: u32,
    /// Zero.
    pub reserved: u64,
}
const _: () = assert!(size_of::<Guard>() == 64);
