//! What `weir … --format json` prints, as far as the lab reads it. Read here as an outsider would:
//! unknown fields are passed over, and a field that was renamed is an error.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

/// `weir status`.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The daemon's process id.
    pub pid: u32,
    /// How far enforcement goes.
    pub mode: Mode,
    /// The policy in force.
    pub policy: PolicyInForce,
    /// Interfaces with Weir on them.
    pub interfaces: Vec<Interface>,
    /// Packets by reason.
    pub counters: Vec<ReasonCount>,
    /// Packets by service and outcome.
    pub services: Vec<ServiceCount>,
    /// Events from the kernel.
    pub events: Events,
    /// From the packet that crossed a threshold to the verdict in the kernel.
    pub latency: Latency,
    /// Memory.
    pub memory: Memory,
    /// What the operator should look at.
    pub warnings: Vec<String>,
}

impl Status {
    /// Packets counted under a reason.
    #[must_use]
    pub fn packets(&self, reason: &str) -> u64 {
        self.counters.iter().filter(|count| count.reason == reason).map(|count| count.packets).sum()
    }

    /// Flows that the kernel holds for proven, since its maps were made.
    #[must_use]
    pub fn proofs(&self) -> u64 {
        self.packets("proven_handshake") + self.packets("proven_answer")
    }

    /// A map's figures.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&MapMemory> {
        self.memory.maps.iter().find(|map| map.name == name)
    }
}

/// How far enforcement goes.
#[derive(Clone, Debug, Deserialize)]
pub struct Mode {
    /// `off`, `observe` or `enforce`.
    pub effective: String,
    /// Whether the kill switch is on.
    pub kill: bool,
}

/// The policy in force.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct PolicyInForce {
    /// When it was read.
    pub loaded_at: String,
    /// Why the last one was refused.
    pub reload_error: Option<String>,
}

/// An interface with Weir on it.
#[derive(Clone, Debug, Deserialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Where the ingress program is.
    pub ingress: String,
    /// Where the egress program is.
    pub egress: String,
    /// Why there.
    pub why: String,
}

/// Packets by reason.
#[derive(Clone, Debug, Deserialize)]
pub struct ReasonCount {
    /// Name of the reason.
    pub reason: String,
    /// How many.
    pub packets: u64,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Count {
    /// How many packets.
    pub packets: u64,
}

/// Packets by service and outcome.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceCount {
    /// Name.
    pub service: String,
    /// Passed.
    pub passed: Count,
    /// Dropped or rejected.
    pub dropped: Count,
    /// Held back.
    pub limited: Count,
}

/// Events from the kernel since the daemon started.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Events {
    /// Flows proven.
    pub established: u64,
    /// Proven flows that ended.
    pub closed: u64,
    /// Lost because the ring buffer was full.
    pub lost: u64,
}

/// How fast verdicts are.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Latency {
    /// How many verdicts the figures are of.
    pub samples: usize,
    /// Half were faster, in milliseconds.
    pub median_ms: f64,
    /// 99 of 100 were faster, in milliseconds.
    pub p99_ms: f64,
}

/// Memory.
#[derive(Clone, Debug, Deserialize)]
pub struct Memory {
    /// The daemon's resident memory.
    pub resident_bytes: u64,
    /// The kernel's memory for all maps.
    pub kernel_bytes: u64,
    /// Map by map.
    pub maps: Vec<MapMemory>,
}

/// A map.
#[derive(Clone, Debug, Deserialize)]
pub struct MapMemory {
    /// Name.
    pub name: String,
    /// Entries in it, where the kernel counts them.
    pub entries: Option<u64>,
    /// Capacity.
    pub max_entries: u64,
    /// Kernel memory.
    pub bytes: u64,
}

/// `weir verdicts`.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdicts {
    /// In order of their prefixes.
    pub verdicts: Vec<Verdict>,
    /// In order of their names.
    pub fingerprints: Vec<FingerprintVerdict>,
}

impl Verdicts {
    /// Those that cover an address.
    pub fn of(&self, address: IpAddr) -> impl Iterator<Item = &Verdict> {
        self.verdicts.iter().filter(move |verdict| verdict.prefix.contains(&address))
    }
}

/// A verdict on a fingerprint.
#[derive(Clone, Debug, Deserialize)]
pub struct FingerprintVerdict {
    /// `ja4:…`, `stable:…` or `tcp:…`.
    pub fingerprint: String,
    /// `active`, `waiting` and others.
    pub state: String,
    /// Packets that it decided.
    pub hits: u64,
}

/// A verdict in force.
#[derive(Clone, Debug, Deserialize)]
pub struct Verdict {
    /// Whom it is about.
    #[serde(deserialize_with = "prefix")]
    pub prefix: IpNet,
    /// `allow`, `mark`, `limit`, `reject` or `drop`.
    pub action: String,
    /// `observe` or `enforce`.
    pub mode: String,
    /// `active`, or what keeps it from counting.
    pub state: String,
    /// Services; none = everything.
    pub services: Vec<String>,
    /// `operator` or the name of a policy's rule.
    pub origin: String,
    /// Why.
    pub reason: String,
    /// In how many seconds it ends.
    pub expires_in_s: Option<u64>,
    /// Packets that it decided.
    pub hits: u64,
}

impl Verdict {
    /// Whether it is enforced and keeps packets of established connections out.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.mode == "enforce" && matches!(self.action.as_str(), "drop" | "reject")
    }

    /// Whether it is enforced and holds anything back at all.
    #[must_use]
    pub fn restricts(&self) -> bool {
        self.blocks() || (self.mode == "enforce" && self.action == "limit")
    }
}

/// `weir decisions`.
#[derive(Clone, Debug, Deserialize)]
pub struct Decisions {
    /// Newest first.
    pub decisions: Vec<Decision>,
    /// How many were made since the daemon started; the oldest are not kept.
    pub made: u64,
}

impl Decisions {
    /// Those about a prefix that covers an address.
    pub fn of(&self, address: IpAddr) -> impl Iterator<Item = &Decision> {
        self.decisions.iter().filter(move |decision| decision.is_about(address))
    }
}

/// A decision.
#[derive(Clone, Debug, Deserialize)]
pub struct Decision {
    /// Its id.
    pub id: String,
    /// When the packet that crossed the threshold was seen, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// From that packet to the verdict in the kernel; absent if nothing new was written.
    pub to_verdict_ms: Option<f64>,
    /// Whom it is about; `*`: a whole service, and nobody.
    pub source: String,
    /// The same as a prefix; `::/0` for a whole service.
    #[serde(deserialize_with = "prefix")]
    pub prefix: IpNet,
    /// Name of the policy.
    pub policy: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// `allow`, `observe`, `mark`, `limit`, `reject` or `drop`.
    pub action: String,
    /// `observe` or `enforce`.
    pub mode: String,
    /// For how long, in seconds.
    pub for_s: f64,
    /// 0 to 100.
    pub score: f64,
    /// OWASP Automated Threat ids.
    pub owasp: Vec<String>,
    /// What added up to the score.
    pub factors: Vec<Factor>,
}

impl Decision {
    /// Strength of the weakest action that holds anything back.
    pub const LIMIT: usize = 3;

    /// Where its action stands among all, from `allow` = 0.
    #[must_use]
    pub fn strength(&self) -> usize {
        ["allow", "observe", "mark", "limit", "reject", "drop"]
            .iter()
            .position(|action| *action == self.action)
            .unwrap_or_default()
    }

    /// Whether it names an address.
    #[must_use]
    pub fn is_about(&self, address: IpAddr) -> bool {
        self.source != "*" && self.prefix.contains(&address)
    }

    /// When its verdict stood in the kernel, `CLOCK_MONOTONIC` ns.
    #[must_use]
    pub fn in_kernel_ns(&self) -> Option<u64> {
        self.to_verdict_ms.map(|ms| self.at_ns + (ms * 1e6) as u64)
    }
}

/// A part of a score.
#[derive(Clone, Debug, Deserialize)]
pub struct Factor {
    /// Name.
    pub name: String,
    /// Points.
    pub points: f64,
    /// `rule`, `trust`, `cap` and others.
    pub kind: String,
    /// What was seen.
    pub text: String,
}

fn prefix<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<IpNet, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}
