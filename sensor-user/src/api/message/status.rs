//! What the daemon is doing.

use serde::{Deserialize, Serialize};
use weir_common::abi::Mode;

use super::{
    AuditReport, BrakeStatus, LabelStatus, LookupStatus, Readiness, SandboxStatus, SignalStatus,
    StoreStatus,
};
use crate::reputation::ReputationStatus;

/// Answer of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Weir's version.
    pub version: String,
    /// Version of the contract between kernel and daemon.
    pub abi: u32,
    /// The daemon's process id.
    pub pid: u32,
    /// When it started (RFC 3339).
    pub started_at: String,
    /// How far enforcement goes, and why not further.
    pub mode: ModeStatus,
    /// The mode that is on, if it is not normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switched: Option<super::ModeOn>,
    /// What is never blocked.
    #[serde(default)]
    pub guards: GuardStatus,
    /// The policy files in force.
    pub policy: PolicyStatus,
    /// Interfaces with Weir on them.
    pub interfaces: Vec<InterfaceStatus>,
    /// Programs in the kernel.
    pub programs: Vec<ProgramStatus>,
    /// Whether Weir does what its policy says.
    #[serde(default)]
    pub readiness: Readiness,
    /// What the self-audit finds.
    #[serde(default)]
    pub audit: AuditReport,
    /// How far the daemon has shut itself in.
    #[serde(default)]
    pub sandbox: SandboxStatus,
    /// Packets by reason; reasons that never occurred are left out.
    pub counters: Vec<ReasonCount>,
    /// Packets by service and outcome.
    pub services: Vec<ServiceCount>,
    /// Events from the kernel.
    pub events: EventStatus,
    /// ClientHellos.
    pub hellos: HelloStatus,
    /// What applications and logs said.
    #[serde(default)]
    pub signals: SignalStatus,
    /// Questions of proxies.
    #[serde(default)]
    pub lookups: LookupStatus,
    /// Feeds, and what tells networks and countries of addresses.
    #[serde(default)]
    pub reputation: ReputationStatus,
    /// The circuit breaker, and what policies do to the trusted.
    pub brakes: BrakeStatus,
    /// What somebody said that sources were.
    #[serde(default)]
    pub labels: LabelStatus,
    /// Whether what is to be kept reaches the disk.
    #[serde(default)]
    pub store: StoreStatus,
    /// Verdicts in force, by action and mode.
    pub verdicts: Vec<VerdictCount>,
    /// Sources with a profile in the daemon.
    pub profiles: usize,
    /// Decisions made since the daemon started.
    pub decisions: u64,
    /// Open connections of dropped sources that were ended.
    pub connections_ended: u64,
    /// From the packet that crossed a threshold to the verdict in the kernel.
    pub latency: Latency,
    /// The daemon's and the maps' memory.
    pub memory: MemoryStatus,
    /// What the operator should look at, one sentence each.
    pub warnings: Vec<String>,
}

/// What is never blocked, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardStatus {
    /// This host's own addresses.
    pub own: usize,
    /// Its gateways.
    pub gateways: usize,
    /// Peers of sessions in which somebody is logged in, at the management port only.
    pub sessions: usize,
    /// Prefixes of declared ranges.
    pub ranges: usize,
    /// Prefixes of declared proxies.
    pub proxies: usize,
    /// How often somebody who is logged in did not count, because too many did.
    pub sessions_refused: u64,
    /// Verdicts that an allow ended.
    pub lifted: u64,
}

/// A mode by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModeName {
    /// Pass everything.
    Off,
    /// Measure, and count what would have been done.
    Observe,
    /// Act.
    Enforce,
}

impl From<Mode> for ModeName {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Off => Self::Off,
            Mode::Observe => Self::Observe,
            Mode::Enforce => Self::Enforce,
        }
    }
}

impl std::fmt::Display for ModeName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        })
    }
}

/// How far enforcement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeStatus {
    /// The least of what follows.
    pub effective: ModeName,
    /// What the policy files allow.
    pub policy: ModeName,
    /// What the circuit breaker allows.
    pub breaker: ModeName,
    /// Whether the kill switch is on: everything passes.
    pub kill: bool,
}

/// The policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Files it was read from.
    pub files: Vec<String>,
    /// When (RFC 3339).
    pub loaded_at: String,
    /// Why the last reload was refused; the policy before it is still in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_error: Option<String>,
}

/// An interface with Weir on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// Index in the daemon's network namespace.
    pub index: u32,
    /// Where the ingress program is ("xdp-native", "xdp-generic", "tcx", "clsact").
    pub ingress: String,
    /// Where the egress program is ("tcx", "clsact").
    pub egress: String,
    /// Why there.
    pub why: String,
}

/// A program in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStatus {
    /// Name.
    pub name: String,
    /// The kernel's hash of its instructions, as `bpftool` prints it.
    pub tag: String,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Packets; segments where the hook sees super-packets.
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// Packets by reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// The reason's name.
    pub reason: String,
    /// What it means.
    pub explanation: String,
    /// How many.
    #[serde(flatten)]
    pub count: Count,
}

/// Packets by service and outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceCount {
    /// Name; `(unprotected)` for ports that no service declares.
    pub service: String,
    /// Passed.
    pub passed: Count,
    /// Dropped or rejected by a verdict.
    pub dropped: Count,
    /// Held back by a limiter or the SYN guard.
    pub limited: Count,
    /// Would have been dropped or limited, had the mode been enforce.
    pub would: Count,
}

/// Events from the kernel since the daemon started, and those that were lost since the maps were
/// made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventStatus {
    /// Flows proven.
    pub established: u64,
    /// Proven flows that ended.
    pub closed: u64,
    /// Thresholds crossed.
    pub milestones: u64,
    /// Packets that verdicts decided: the 1st, 2nd, 4th, 8th … of each.
    pub hits: u64,
    /// Lost because the ring buffer was full.
    pub lost: u64,
    /// Records that this version of the daemon could not read.
    pub unreadable: u64,
}

/// ClientHellos since the daemon started; `lost` since the maps were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloStatus {
    /// Read of those that the kernel collected.
    pub read: u64,
    /// Read of those that the kernel left to the daemon, put together from pieces.
    pub pieced: u64,
    /// Read over QUIC.
    pub quic: u64,
    /// Messages that do not hold together: no fingerprint.
    pub malformed: u64,
    /// Of which a part came twice and differed.
    pub conflicts: u64,
    /// Flows that the kernel left to the daemon, whose hello could not be put together.
    pub unread_flows: u64,
    /// Records not looked at: more than the daemon does in a second.
    pub skipped: u64,
    /// Lost because the ring buffer was full.
    pub lost: u64,
    /// Records that this version of the daemon could not read.
    pub unreadable: u64,
    /// Known to the kernel by other keys than to the daemon. Must be 0.
    pub mismatched: u64,
    /// Flows ended because a verdict refuses their fingerprint, when the hello had passed.
    pub refused_late: u64,
    /// Fingerprints that are known.
    pub known_fingerprints: usize,
}

/// Verdicts in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictCount {
    /// `allow`, `mark`, `limit`, `reject` or `drop`.
    pub action: String,
    /// `observe` or `enforce`.
    pub mode: String,
    /// Who set them: `operator` or `rule`.
    pub origin: String,
    /// How many.
    pub count: usize,
}

/// From the packet that crossed a threshold to the verdict in the kernel, over the latest
/// verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many verdicts the figures are of.
    pub samples: usize,
    /// Half were faster, in milliseconds.
    pub median_ms: f64,
    /// 99 of 100 were faster, in milliseconds.
    pub p99_ms: f64,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// The daemon's resident memory.
    pub resident_bytes: u64,
    /// The kernel's memory for all maps.
    pub kernel_bytes: u64,
    /// Map by map.
    pub maps: Vec<MapStatus>,
}

/// A map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapStatus {
    /// Name.
    pub name: String,
    /// Entries in it; absent where the kernel does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Capacity.
    pub max_entries: u64,
    /// Kernel memory.
    pub bytes: u64,
}
