//! The maps. Names, keys, values and capacities are those of `weir_common::abi::map`; the
//! compiler holds the two together below.
//!
//! "Full" says what happens then; "empty" when a map should be.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use weir_common::abi::{
    BucketKey, Capture, Control, Flow, FlowKey, Guard, Handshake, Outbound, QuicHandshake,
    QuicService, Scan, Service, Source, SourceKey, Tally, Verdict, VerdictClass,
    control::SERVICE_SLOTS,
    map::{self, MapSpec, SCRATCH_SLOTS, Scratch, capacity},
    synthetic::Nonce,
    tally::TALLY_SLOTS,
    verdict::{CLASS_COUNT, SERVICE_COUNT},
};
use weir_common::tls::Seed;

const LAZY: usize = BPF_F_NO_PREALLOC as usize;

/// Kill switch: 0 off, 1 on. Written by `weir kill` alone; read by every program.
#[btf_map]
pub(crate) static KILL: Array<u32, 1> = Array::new();

/// Modes and settings. Written by the daemon, read by every program.
#[btf_map]
pub(crate) static CONTROL: Array<Control, 1> = Array::new();

/// Tick of the daemon's last pulse. Written by the daemon, read when a verdict is about to act.
#[btf_map]
pub(crate) static HEARTBEAT: Array<u32, 1> = Array::new();

/// Protocol and port → protected service. Written by the daemon, read for every TCP and UDP packet.
#[btf_map]
pub(crate) static SERVICES: Array<Service, SERVICE_SLOTS> = Array::new();

/// Service → SYN guard. Rate written by the daemon, state by ingress.
#[btf_map]
pub(crate) static GUARDS: Array<Guard, SERVICE_COUNT> = Array::new();

/// IPv4 address → verdict. Written by the daemon; hits by ingress. Full: the daemon's write fails
/// and is reported. Empty: when nobody is judged.
#[btf_map]
pub(crate) static V4_EXACT: HashMap<u32, Verdict, { capacity::EXACT }, LAZY> = HashMap::new();

/// IPv6 /64, its lower half zero, or an address with any other lower half → verdict. As `V4_EXACT`.
#[btf_map]
pub(crate) static V6_EXACT: HashMap<[u32; 4], Verdict, { capacity::EXACT }, LAZY> = HashMap::new();

/// IPv4 prefix → verdict, longest match. As `V4_EXACT`.
#[btf_map]
pub(crate) static V4_PREFIXES: LpmTrie<u32, Verdict, { capacity::PREFIXES }> = LpmTrie::new();

/// IPv6 prefix → verdict, longest match. As `V4_EXACT`.
#[btf_map]
pub(crate) static V6_PREFIXES: LpmTrie<[u32; 4], Verdict, { capacity::PREFIXES }> = LpmTrie::new();

/// Class → what it means. Written by the daemon before the entries that name it.
#[btf_map]
pub(crate) static VERDICT_CLASSES: Array<VerdictClass, CLASS_COUNT> = Array::new();

/// Conversation → half-open connection. Written by ingress and egress. Full: the least recently
/// used is given up, and its handshake's features are unknown. Empty: when nobody connects.
#[btf_map]
pub(crate) static HANDSHAKES: LruHashMap<FlowKey, Handshake, { capacity::HANDSHAKES }> =
    LruHashMap::new();

/// Conversation → QUIC handshake. Written by ingress and egress. Full: the least recently used is
/// given up, and its client is not proven. Empty: when nobody speaks QUIC.
#[btf_map]
pub(crate) static QUIC_HANDSHAKES: LruHashMap<
    FlowKey,
    QuicHandshake,
    { capacity::QUIC_HANDSHAKES },
> = LruHashMap::new();

/// Service → what its QUIC server does with ids, and limiter state. Written by ingress and egress.
#[btf_map]
pub(crate) static QUIC_SERVICES: Array<QuicService, SERVICE_COUNT> = Array::new();

/// Hash of a source → limiter state. Written by ingress. Full: sources share a cell.
#[btf_map]
pub(crate) static QUIC_BUDGETS: Array<u64, { capacity::QUIC_BUDGETS }> = Array::new();

/// Conversation → proven flow. Written by ingress and egress on proof. Full: the least recently
/// used is given up and no longer measured. Empty: when no connection is open.
#[btf_map]
pub(crate) static FLOWS: LruHashMap<FlowKey, Flow, { capacity::FLOWS }> = LruHashMap::new();

/// Conversation → when this host last sent on it. Written by egress, seeded by the daemon; read
/// when a drop is about to hit an unprotected port. Full: the least recently used is given up.
#[btf_map]
pub(crate) static OUTBOUND: LruHashMap<FlowKey, Outbound, { capacity::OUTBOUND }> =
    LruHashMap::new();

/// Source → its record since first proof. Written by ingress and egress. Full: the least recently
/// used is given up and must prove itself again.
#[btf_map]
pub(crate) static SOURCES: LruHashMap<SourceKey, Source, { capacity::SOURCES }> = LruHashMap::new();

/// Source and class → limiter state. Written by ingress. Full: the least recently used starts
/// again with a whole burst.
#[btf_map]
pub(crate) static BUCKETS: LruHashMap<BucketKey, u64, { capacity::BUCKETS }> = LruHashMap::new();

/// Hash of source → distinct ports. Written by ingress. Full: a cell passes to another source.
#[btf_map]
pub(crate) static SCANS: Array<Scan, { capacity::SCANS }> = Array::new();

/// Hash of a held-back SYN → tag and tick. Written by ingress. Full: a cell passes to another SYN,
/// whose predecessor must come a third time.
#[btf_map]
pub(crate) static SYN_RETRIES: Array<u64, { capacity::SYN_RETRIES }> = Array::new();

/// The secret of match keys. Written once by the daemon, read by ingress.
#[btf_map]
pub(crate) static KEY_SEED: Array<Seed, 1> = Array::new();

/// Match key or stable key of a ClientHello → verdict. As `V4_EXACT`.
#[btf_map]
pub(crate) static FINGERPRINT_VERDICTS: HashMap<u64, Verdict, { capacity::FINGERPRINTS }, LAZY> =
    HashMap::new();

/// Key of a SYN signature → verdict. As `V4_EXACT`.
#[btf_map]
pub(crate) static SYN_VERDICTS: HashMap<u64, Verdict, { capacity::FINGERPRINTS }, LAZY> =
    HashMap::new();

/// Conversation → verdict. Written by the daemon where it found out too late for the kernel. Full:
/// the least recently used is given up, and its flow goes on.
#[btf_map]
pub(crate) static FLOW_VERDICTS: LruHashMap<FlowKey, Verdict, { capacity::FLOW_VERDICTS }> =
    LruHashMap::new();

/// Hash of a port's service and a name → service. Written by the daemon, read at the hello.
#[btf_map]
pub(crate) static SNI_SERVICES: HashMap<u64, u32, { capacity::SNI_SERVICES }, LAZY> =
    HashMap::new();

/// Prefix of declared proxies that send a PROXY header → 1. Written by the daemon, read when a
/// flow's first data comes.
#[btf_map]
pub(crate) static PROXIES: LpmTrie<[u32; 4], u32, { capacity::PROXIES }> = LpmTrie::new();

/// Interface → `INTERFACE_*` bits. Written by the daemon at attach, read where a checksum fails.
#[btf_map]
pub(crate) static INTERFACES: HashMap<u32, u32, { capacity::INTERFACES }, LAZY> = HashMap::new();

/// Sets of slots → a ClientHello that arrives in several segments; behind them one slot a CPU, to
/// check segments in before they count. Written by ingress. Full: the daemon reassembles it.
/// Empty: when no hello is half there.
#[btf_map]
pub(crate) static HELLOS: Array<Capture, { capacity::HELLOS + capacity::HELLO_CPUS }> =
    Array::new();

/// ClientHellos to the daemon. Full: the record is lost and counted.
#[btf_map]
pub(crate) static HELLO_BYTES: RingBuf<(), { capacity::HELLO_BYTES }> = RingBuf::new();

/// Events to the daemon. Full: the event is lost and counted by kind.
#[btf_map]
pub(crate) static EVENTS: RingBuf<(), { capacity::EVENTS }> = RingBuf::new();

/// Counters. Written by ingress and egress, read by the daemon.
#[btf_map]
pub(crate) static TALLY: PerCpuArray<Tally, TALLY_SLOTS> = PerCpuArray::new();

/// Direction → memory to work in. A CPU runs one ingress and one egress program at a time.
#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<Scratch, SCRATCH_SLOTS> = PerCpuArray::new();

/// The clock of tests and replay.
#[btf_map]
pub(crate) static REPLAY_CLOCK: Array<u64, 1> = Array::new();

/// What the daemon's synthetic packet begins with. Written by the daemon around each, read where a
/// packet has metadata. Empty (zero): when nothing is asked.
#[btf_map]
pub(crate) static AUDIT_NONCE: Array<Nonce, 1> = Array::new();

/// A map's definition and its specification must agree on sizes.
const fn agrees<K, V>(spec: &MapSpec, max_entries: usize) -> bool {
    spec.key_size as usize == size_of::<K>()
        && spec.value_size as usize == size_of::<V>()
        && spec.max_entries as usize == max_entries
}

const _: () = assert!(
    agrees::<u32, u32>(&map::KILL, 1)
        && agrees::<u32, Control>(&map::CONTROL, 1)
        && agrees::<u32, u32>(&map::HEARTBEAT, 1)
        && agrees::<u32, Service>(&map::SERVICES, SERVICE_SLOTS)
        && agrees::<u32, Guard>(&map::GUARDS, SERVICE_COUNT)
        && agrees::<u32, Verdict>(&map::V4_EXACT, capacity::EXACT)
        && agrees::<[u32; 4], Verdict>(&map::V6_EXACT, capacity::EXACT)
        && agrees::<[u32; 2], Verdict>(&map::V4_PREFIXES, capacity::PREFIXES)
        && agrees::<[u32; 5], Verdict>(&map::V6_PREFIXES, capacity::PREFIXES)
        && agrees::<u32, VerdictClass>(&map::VERDICT_CLASSES, CLASS_COUNT)
        && agrees::<FlowKey, Handshake>(&map::HANDSHAKES, capacity::HANDSHAKES)
        && agrees::<FlowKey, QuicHandshake>(&map::QUIC_HANDSHAKES, capacity::QUIC_HANDSHAKES)
        && agrees::<u32, QuicService>(&map::QUIC_SERVICES, SERVICE_COUNT)
        && agrees::<u32, u64>(&map::QUIC_BUDGETS, capacity::QUIC_BUDGETS)
        && agrees::<FlowKey, Flow>(&map::FLOWS, capacity::FLOWS)
        && agrees::<FlowKey, Outbound>(&map::OUTBOUND, capacity::OUTBOUND)
        && agrees::<SourceKey, Source>(&map::SOURCES, capacity::SOURCES)
        && agrees::<BucketKey, u64>(&map::BUCKETS, capacity::BUCKETS)
        && agrees::<u32, Scan>(&map::SCANS, capacity::SCANS)
        && agrees::<u32, u64>(&map::SYN_RETRIES, capacity::SYN_RETRIES)
        && agrees::<u32, Seed>(&map::KEY_SEED, 1)
        && agrees::<u64, Verdict>(&map::FINGERPRINT_VERDICTS, capacity::FINGERPRINTS)
        && agrees::<u64, Verdict>(&map::SYN_VERDICTS, capacity::FINGERPRINTS)
        && agrees::<FlowKey, Verdict>(&map::FLOW_VERDICTS, capacity::FLOW_VERDICTS)
        && agrees::<u64, u32>(&map::SNI_SERVICES, capacity::SNI_SERVICES)
        && agrees::<[u32; 5], u32>(&map::PROXIES, capacity::PROXIES)
        && agrees::<u32, u32>(&map::INTERFACES, capacity::INTERFACES)
        && agrees::<u32, Capture>(&map::HELLOS, capacity::HELLOS + capacity::HELLO_CPUS)
        && agrees::<u32, Tally>(&map::TALLY, TALLY_SLOTS)
        && agrees::<u32, Scratch>(&map::SCRATCH, SCRATCH_SLOTS)
        && agrees::<u32, u64>(&map::REPLAY_CLOCK, 1)
        && agrees::<u32, Nonce>(&map::AUDIT_NONCE, 1)
);
