//! Records from the kernel to the daemon. One a connection or a threshold, never one a packet.

use super::{
    flow::Flow,
    key::{Address, FlowKey, SourceKey},
    syn::SynSignature,
};

/// What an event is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EventKind {
    /// A flow was proven.
    Established = 1,
    /// A proven flow ended.
    Closed = 2,
    /// A threshold was crossed.
    Milestone = 3,
    /// A verdict decided a packet: the 1st, 2nd, 4th, 8th … of that entry.
    Hit = 4,
    /// A proven flow goes on, and has got some way.
    Progress = 5,
}

impl EventKind {
    /// The kind of an ABI byte.
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Established,
            2 => Self::Closed,
            3 => Self::Milestone,
            4 => Self::Hit,
            5 => Self::Progress,
            _ => return None,
        })
    }
}

/// First bytes of every event.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct EventHeader {
    /// When the packet that caused it was seen, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// [`EventKind`].
    pub kind: u8,
    /// Kind-specific: [`CloseReason`], [`MilestoneKind`], [`super::Action`].
    pub detail: u8,
    /// The protected service; 0 = none.
    pub service: u8,
    /// Kind-specific: of a hit, the [`super::Mode`].
    pub mode: u8,
    /// Interface it was seen on; 0 = unknown.
    pub ifindex: u32,
}
const _: () = assert!(size_of::<EventHeader>() == 16);

/// A flow was proven. One through a declared proxy is reported a second time, with
/// [`super::flow::FLOW_PROXIED`], when the proxy has named the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Established {
    /// Common part.
    pub header: EventHeader,
    /// The flow.
    pub key: FlowKey,
    /// From SYN to the server's SYN-ACK, ns; `u32::MAX` = unknown.
    pub server_ns: u32,
    /// From SYN-ACK to the client's ACK, ns; `u32::MAX` = unknown.
    pub rtt_ns: u32,
    /// Proven connections of this source so far, this one included.
    pub connections: u32,
    /// Proven connections of this source in the last ten seconds.
    pub connections_10s: u32,
    /// `FLOW_*` bits.
    pub flags: u16,
    /// TTL of the SYN; 0 = unknown. Forgeable.
    pub ttl: u8,
    /// SYN retransmissions.
    pub syn_retries: u8,
    /// The client's port where a proxy named it, network byte order.
    pub client_port: u16,
    /// The class of a verdict that would have refused the connection, had it been enforced, as seen
    /// at the packet that proved it, at its SYN (a limit's verdict too), or where a proxy named its
    /// client; 0 = none.
    pub would_class: u16,
    /// Whom a declared proxy named; zero: the peer is the client.
    pub client: Address,
    /// What the SYN looked like; all zero: unknown. Forgeable.
    pub syn: SynSignature,
}
const _: () = assert!(size_of::<Established>() == 136);

/// How a flow ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum CloseReason {
    /// Both sides sent FIN.
    Fin = 1,
    /// The client reset it, with a sequence number that the server accepts (RFC 5961).
    ClientReset = 2,
    /// The server reset it.
    ServerReset = 3,
    /// A new handshake on the same ports.
    Reopened = 4,
    /// Nobody sent for long: said by the daemon, of connections whose end no packet shows.
    Idle = 5,
}

/// A proven flow ended. The same record tells of one that goes on ([`EventKind::Progress`]): at 8,
/// 16, 32 … exchanges, at 16, 32, 64 … records of application data from the client, and where the
/// client still sends half a minute after the last record of the flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Closed {
    /// Common part; `detail` is a [`CloseReason`], or 0 where the flow goes on.
    pub header: EventHeader,
    /// The flow.
    pub key: FlowKey,
    /// Its record, as it stood.
    pub flow: Flow,
}
const _: () = assert!(size_of::<Closed>() == 376);

/// Which threshold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MilestoneKind {
    /// Authentic. The client of a proven flow waits for an answer longer than `stall_ns` and goes
    /// on sending small pieces: an unfinished request. `value` is the wait in ms.
    Stalled = 1,
    /// Forgeable. A source tried this many distinct local ports in a minute: `value`. Ports of no
    /// service, by SYN or datagram; any port, by flags that no stack sends.
    Ports = 2,
    /// Forgeable. A service's SYN guard holds SYNs back; at most one a second. `value` is how
    /// many since the last report.
    Guarding = 3,
    /// Forgeable. A source's first SYNs to protected ports that it has not proven, and that the server
    /// has not refused, in a minute: 8, 16, 32 …
    HalfOpen = 4,
    /// Forgeable. A source's segments to protected ports that belong to no flow and no handshake, in
    /// a minute: 32, 64, 128 … What follows the end of a flow does not count.
    Strays = 5,
    /// Forgeable. A source's segments with flags that no stack sends, to any port, in a minute: 8,
    /// 16, 32 …
    OddFlags = 6,
    /// Forgeable. A source's datagrams to UDP services that belong to no flow and to nothing that a
    /// QUIC Initial began, in a minute: 32, 64, 128 …
    Datagrams = 7,
    /// Forgeable. SYNs to a service in the last full second, [`PRESSING_SYNS`] or more; of a second
    /// with 128 of them these are told at once, and the rest when it is over. `value` holds how many in
    /// its lower half, and how many handshakes were proven meanwhile in its upper half. The peer's address and port are zero: it names nobody.
    Pressure = 8,
}

/// SYNs in a second from which a service's [`MilestoneKind::Pressure`] is told.
pub const PRESSING_SYNS: u32 = 32;

impl MilestoneKind {
    /// The kind of an ABI byte.
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Stalled,
            2 => Self::Ports,
            3 => Self::Guarding,
            4 => Self::HalfOpen,
            5 => Self::Strays,
            6 => Self::OddFlags,
            7 => Self::Datagrams,
            8 => Self::Pressure,
            _ => return None,
        })
    }
}

/// A threshold was crossed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Milestone {
    /// Common part; `detail` is a [`MilestoneKind`].
    pub header: EventHeader,
    /// The flow of the packet that crossed it.
    pub key: FlowKey,
    /// See [`MilestoneKind`].
    pub value: u64,
}
const _: () = assert!(size_of::<Milestone>() == 64);

/// A verdict decided a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Hit {
    /// Common part; `detail` is an [`super::Action`], `mode` a [`super::Mode`].
    pub header: EventHeader,
    /// Whose packet it was.
    pub source: SourceKey,
    /// The entry's class.
    pub class: u16,
    /// Length of the prefix that the entry is stored under.
    pub prefix_len: u8,
    /// [`VerdictKind`].
    pub by: u8,
    /// Packets that the entry decided so far.
    pub hits: u32,
    /// The key of the entry where it is not an address: see [`VerdictKind`].
    pub fingerprint: u64,
}
const _: () = assert!(size_of::<Hit>() == 40);

/// What an entry that decided a packet goes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum VerdictKind {
    /// The source's address.
    Address = 0,
    /// A TLS fingerprint's match key or stable key.
    Fingerprint = 1,
    /// A SYN signature's key.
    Syn = 2,
    /// The flow.
    Flow = 3,
}

impl VerdictKind {
    /// The kind of an ABI byte; unknown bytes are `Address`.
    #[must_use]
    pub const fn from_u8(byte: u8) -> Self {
        match byte {
            1 => Self::Fingerprint,
            2 => Self::Syn,
            3 => Self::Flow,
            _ => Self::Address,
        }
    }
}
