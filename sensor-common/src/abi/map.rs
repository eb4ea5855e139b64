//! Maps: names, capacities and shapes, once for the kernel programs, the loader and the docs.
//!
//! The loader compares every pinned map with its [`MapSpec`] before it reuses it.

use crate::tls::keys::Seed;

use super::{
    control::{Control, Guard, SERVICE_SLOTS, Service},
    flow::{Flow, Handshake, Outbound, Source},
    hello::Capture,
    key::{BucketKey, FlowKey, SourceKey},
    quic::{QuicHandshake, QuicService},
    scan::Scan,
    synthetic::Nonce,
    tally::{TALLY_SLOTS, Tally},
    verdict::{CLASS_COUNT, SERVICE_COUNT, Verdict, VerdictClass},
};

/// Kernel map types that Weir uses (`enum bpf_map_type`, include/uapi/linux/bpf.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum MapKind {
    /// `BPF_MAP_TYPE_HASH`
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`
    Array = 2,
    /// `BPF_MAP_TYPE_PERCPU_ARRAY`
    PerCpuArray = 6,
    /// `BPF_MAP_TYPE_LRU_HASH`
    LruHash = 9,
    /// `BPF_MAP_TYPE_LPM_TRIE`
    LpmTrie = 11,
    /// `BPF_MAP_TYPE_RINGBUF`
    RingBuf = 27,
}

/// `BPF_F_NO_PREALLOC`: memory is taken as entries come.
pub const NO_PREALLOC: u32 = 1;

/// What a program works in. It does not outlive the packet and is not part of the ABI, but its size
/// is part of the map's shape.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Scratch {
    /// The packet on its way.
    pub work: crate::pipeline::Work,
    /// Where a new flow's record is made.
    pub flow: Flow,
    /// Where a half-open connection's record is made.
    pub handshake: Handshake,
    /// Where a QUIC handshake's record is made.
    pub quic: QuicHandshake,
    /// Where a source's record is made.
    pub source: Source,
}

/// Entries of `SCRATCH`: one a direction.
pub const SCRATCH_SLOTS: usize = 2;

/// Default capacities: entries, or bytes for ring buffers. Those of hashes can be configured.
pub mod capacity {
    /// `V4_EXACT`, `V6_EXACT`
    pub const EXACT: usize = 1 << 20;
    /// `V4_PREFIXES`, `V6_PREFIXES`
    pub const PREFIXES: usize = 1 << 18;
    /// `HANDSHAKES`
    pub const HANDSHAKES: usize = 1 << 16;
    /// `QUIC_HANDSHAKES`
    pub const QUIC_HANDSHAKES: usize = 1 << 14;
    /// `QUIC_BUDGETS`
    pub const QUIC_BUDGETS: usize = 1 << 14;
    /// `FLOWS`
    pub const FLOWS: usize = 1 << 16;
    /// `OUTBOUND`
    pub const OUTBOUND: usize = 1 << 15;
    /// `SOURCES`
    pub const SOURCES: usize = 1 << 16;
    /// `BUCKETS`
    pub const BUCKETS: usize = 1 << 15;
    /// `SCANS`
    pub const SCANS: usize = 1 << 14;
    /// `SYN_RETRIES`
    pub const SYN_RETRIES: usize = 1 << 16;
    /// `EVENTS`, bytes
    pub const EVENTS: usize = 1 << 22;
    /// `HELLOS`: sets of four slots
    pub const HELLOS: usize = 1 << 10;
    /// `HELLOS`: CPUs that have a slot of their own to check segments in; the loader makes more
    /// where there are more.
    pub const HELLO_CPUS: usize = 64;
    /// `HELLO_BYTES`, bytes
    pub const HELLO_BYTES: usize = 1 << 22;
    /// `FINGERPRINT_VERDICTS`, `SYN_VERDICTS`
    pub const FINGERPRINTS: usize = 1 << 16;
    /// `FLOW_VERDICTS`
    pub const FLOW_VERDICTS: usize = 1 << 13;
    /// `SNI_SERVICES`
    pub const SNI_SERVICES: usize = 1 << 13;
    /// `PROXIES`
    pub const PROXIES: usize = 1 << 13;
    /// `INTERFACES`
    pub const INTERFACES: usize = 1 << 8;
}

/// In `INTERFACES`: packets may carry a checksum that is only begun, because they come from this
/// machine (veth, tun, virtio).
pub const INTERFACE_PARTIAL_CHECKSUMS: u32 = 1 << 0;

/// The shape of a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapSpec {
    /// Name, as in the object and as pinned.
    pub name: &'static str,
    /// Kernel type.
    pub kind: MapKind,
    /// Key size in bytes; 0 for ring buffers.
    pub key_size: u32,
    /// Value size in bytes; 0 for ring buffers.
    pub value_size: u32,
    /// Default capacity.
    pub max_entries: u32,
    /// `BPF_F_*` flags.
    pub flags: u32,
    /// Whether a site may choose another capacity.
    pub resizable: bool,
    /// Of what was measured: the ABI version since which key, value and meaning are what they are. A
    /// version takes such a map up from an earlier one as it stands. 0: it is filled anew.
    pub same_since: u32,
}

const fn map<K, V>(name: &'static str, kind: MapKind, max_entries: usize) -> MapSpec {
    MapSpec {
        name,
        kind,
        key_size: size_of::<K>() as u32,
        value_size: size_of::<V>() as u32,
        max_entries: max_entries as u32,
        flags: 0,
        resizable: false,
        same_since: 0,
    }
}

impl MapSpec {
    const fn lazy(mut self) -> Self {
        self.flags |= NO_PREALLOC;
        self
    }

    const fn resizable(mut self) -> Self {
        self.resizable = true;
        self
    }

    const fn same_since(mut self, version: u32) -> Self {
        self.same_since = version;
        self
    }
}

/// The kill switch: outside the versioned directory, so that it holds for every version.
pub const KILL: MapSpec = map::<u32, u32>("KILL", MapKind::Array, 1);
/// Modes and settings.
pub const CONTROL: MapSpec = map::<u32, Control>("CONTROL", MapKind::Array, 1);
/// The daemon's pulse, as a tick.
pub const HEARTBEAT: MapSpec = map::<u32, u32>("HEARTBEAT", MapKind::Array, 1);
/// Protected services by protocol and port.
pub const SERVICES: MapSpec = map::<u32, Service>("SERVICES", MapKind::Array, SERVICE_SLOTS);
/// SYN guards by service.
pub const GUARDS: MapSpec = map::<u32, Guard>("GUARDS", MapKind::Array, SERVICE_COUNT);
/// Exact IPv4 verdicts.
pub const V4_EXACT: MapSpec =
    map::<u32, Verdict>("V4_EXACT", MapKind::Hash, capacity::EXACT).lazy().resizable();
/// Exact IPv6 verdicts: /64 with the lower half zero, and /128 with any other lower half.
pub const V6_EXACT: MapSpec =
    map::<[u32; 4], Verdict>("V6_EXACT", MapKind::Hash, capacity::EXACT).lazy().resizable();
/// IPv4 prefix verdicts.
pub const V4_PREFIXES: MapSpec =
    map::<[u32; 2], Verdict>("V4_PREFIXES", MapKind::LpmTrie, capacity::PREFIXES)
        .lazy()
        .resizable();
/// IPv6 prefix verdicts.
pub const V6_PREFIXES: MapSpec =
    map::<[u32; 5], Verdict>("V6_PREFIXES", MapKind::LpmTrie, capacity::PREFIXES)
        .lazy()
        .resizable();
/// What verdict classes mean.
pub const VERDICT_CLASSES: MapSpec =
    map::<u32, VerdictClass>("VERDICT_CLASSES", MapKind::Array, CLASS_COUNT);
/// Half-open connections.
pub const HANDSHAKES: MapSpec =
    map::<FlowKey, Handshake>("HANDSHAKES", MapKind::LruHash, capacity::HANDSHAKES)
        .resizable()
        .same_since(2);
/// QUIC clients that are not proven yet, or were lately.
pub const QUIC_HANDSHAKES: MapSpec =
    map::<FlowKey, QuicHandshake>("QUIC_HANDSHAKES", MapKind::LruHash, capacity::QUIC_HANDSHAKES)
        .resizable()
        .same_since(2);
/// What is known of services' QUIC servers, and how many Initials strangers may have decrypted.
pub const QUIC_SERVICES: MapSpec =
    map::<u32, QuicService>("QUIC_SERVICES", MapKind::Array, SERVICE_COUNT).same_since(2);
/// Initials that a source may have decrypted: the theoretical arrival time of the next one, ns.
pub const QUIC_BUDGETS: MapSpec =
    map::<u32, u64>("QUIC_BUDGETS", MapKind::Array, capacity::QUIC_BUDGETS);
/// Proven flows.
pub const FLOWS: MapSpec =
    map::<FlowKey, Flow>("FLOWS", MapKind::LruHash, capacity::FLOWS).resizable().same_since(2);
/// Flows that this host opened.
pub const OUTBOUND: MapSpec =
    map::<FlowKey, Outbound>("OUTBOUND", MapKind::LruHash, capacity::OUTBOUND)
        .resizable()
        .same_since(2);
/// Proven sources.
pub const SOURCES: MapSpec =
    map::<SourceKey, Source>("SOURCES", MapKind::LruHash, capacity::SOURCES)
        .resizable()
        .same_since(2);
/// Limiters: the theoretical arrival time of the next conforming connection, ns.
pub const BUCKETS: MapSpec =
    map::<BucketKey, u64>("BUCKETS", MapKind::LruHash, capacity::BUCKETS).resizable();
/// What sources do without proof.
pub const SCANS: MapSpec = map::<u32, Scan>("SCANS", MapKind::Array, capacity::SCANS);
/// First SYNs held back by a guard, so that the retransmission is known: tag and tick.
pub const SYN_RETRIES: MapSpec =
    map::<u32, u64>("SYN_RETRIES", MapKind::Array, capacity::SYN_RETRIES);
/// The secret of match keys, made with the maps and as old as what they hold.
pub const KEY_SEED: MapSpec = map::<u32, Seed>("KEY_SEED", MapKind::Array, 1).same_since(2);
/// Verdicts by match key or stable key.
pub const FINGERPRINT_VERDICTS: MapSpec =
    map::<u64, Verdict>("FINGERPRINT_VERDICTS", MapKind::Hash, capacity::FINGERPRINTS)
        .lazy()
        .resizable();
/// Verdicts by SYN signature.
pub const SYN_VERDICTS: MapSpec =
    map::<u64, Verdict>("SYN_VERDICTS", MapKind::Hash, capacity::FINGERPRINTS).lazy().resizable();
/// Verdicts by flow: what the daemon found out too late for the kernel.
pub const FLOW_VERDICTS: MapSpec =
    map::<FlowKey, Verdict>("FLOW_VERDICTS", MapKind::LruHash, capacity::FLOW_VERDICTS).resizable();
/// Services by the name asked for: hash of the port's service and name (see `tls::name`).
pub const SNI_SERVICES: MapSpec =
    map::<u64, u32>("SNI_SERVICES", MapKind::Hash, capacity::SNI_SERVICES).lazy().resizable();
/// Declared proxies that send a PROXY header.
pub const PROXIES: MapSpec =
    map::<[u32; 5], u32>("PROXIES", MapKind::LpmTrie, capacity::PROXIES).lazy().resizable();
/// What is particular about an interface: `INTERFACE_*` bits.
pub const INTERFACES: MapSpec =
    map::<u32, u32>("INTERFACES", MapKind::Hash, capacity::INTERFACES).lazy();
/// ClientHellos that arrive: sets of [`super::hello::HELLO_WAYS`] slots; then a slot a CPU.
pub const HELLOS: MapSpec =
    map::<u32, Capture>("HELLOS", MapKind::Array, capacity::HELLOS + capacity::HELLO_CPUS);
/// ClientHellos to the daemon.
pub const HELLO_BYTES: MapSpec =
    map::<(), ()>("HELLO_BYTES", MapKind::RingBuf, capacity::HELLO_BYTES).same_since(3);
/// Events to the daemon.
pub const EVENTS: MapSpec =
    map::<(), ()>("EVENTS", MapKind::RingBuf, capacity::EVENTS).same_since(2);
/// Counters.
pub const TALLY: MapSpec = map::<u32, Tally>("TALLY", MapKind::PerCpuArray, TALLY_SLOTS);
/// Memory to work in: headers and new flows' records, for ingress (0) and egress (1).
pub const SCRATCH: MapSpec = map::<u32, Scratch>("SCRATCH", MapKind::PerCpuArray, SCRATCH_SLOTS);
/// The clock of tests and replay; read only where the load-time constant `REPLAY` is set.
pub const REPLAY_CLOCK: MapSpec = map::<u32, u64>("REPLAY_CLOCK", MapKind::Array, 1);

/// What the daemon's synthetic packet begins with, while there is one.
pub const AUDIT_NONCE: MapSpec = map::<u32, Nonce>("AUDIT_NONCE", MapKind::Array, 1);

/// Every map that belongs to this ABI version (all but [`KILL`]).
pub const VERSIONED: &[MapSpec] = &[
    CONTROL,
    HEARTBEAT,
    SERVICES,
    GUARDS,
    V4_EXACT,
    V6_EXACT,
    V4_PREFIXES,
    V6_PREFIXES,
    VERDICT_CLASSES,
    HANDSHAKES,
    QUIC_HANDSHAKES,
    QUIC_SERVICES,
    QUIC_BUDGETS,
    FLOWS,
    OUTBOUND,
    SOURCES,
    BUCKETS,
    SCANS,
    SYN_RETRIES,
    KEY_SEED,
    FINGERPRINT_VERDICTS,
    SYN_VERDICTS,
    FLOW_VERDICTS,
    SNI_SERVICES,
    PROXIES,
    INTERFACES,
    HELLOS,
    HELLO_BYTES,
    EVENTS,
    TALLY,
    SCRATCH,
    REPLAY_CLOCK,
    AUDIT_NONCE,
];
