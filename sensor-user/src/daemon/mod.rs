//! The daemon: what it checks before it starts, its loop, and what it answers.
//!
//! `Daemon` holds everything and is driven by one task: events from the kernel, requests from the
//! control socket, a tick a second, and the ends of chores. It is generic over the kernel's side,
//! so that its tests run on the in-memory twin.
//!
//! | file | what |
//! | --- | --- |
//! | `start` | checks, in an order that leaves nothing half-attached |
//! | `confine` | the walls around it, before anything is loaded |
//! | `serve` | the loop and its signals |
//! | `decide` | events → decisions → ledger → kernel → connections ended |
//! | `explain` | why somebody is treated as they are |
//! | `guards` | what is never blocked, kept current |
//! | `modes` | sets of overrides, and the way back |
//! | `hellos` | ClientHellos: read, learned from, refused late |
//! | `tick` | once a second: pulse, idle hoarders, what expired, what has to be kept |
//! | `signals` | what applications and logs say, joined to flows, becomes events |
//! | `baselines` | what is usual at services, over restarts |
//! | `feeds` | what is known of addresses from elsewhere |
//! | `audit` | whether the kernel does what the ledger wants |
//! | `lookup` | what proxies are told |
//! | `cohort` | who is trusted, and what policies do to them |
//! | `breaker` | what of it brakes enforcement |
//! | `labels` | what somebody says that sources were |
//! | `operate` | the operator's verdicts |
//! | `keep` | what the ledger wants, on disk |
//! | `report` | status, verdicts |
//! | `record` | events, kept for replay |
//! | `journal` | what is written down |
//! | `readiness` | whether all is as it should be |
//! | `stages` | how far policies go: stages, gates, versions that watch |
//! | `reload` | another policy; the last good one stays on any mistake |

mod audit;
pub mod audited;
mod baselines;
mod breaker;
mod caps;
mod chores;
mod cohort;
mod confine;
mod decide;
mod explain;
mod feeds;
mod forget;
mod guards;
pub(crate) mod hellos;
mod hidden;
pub(crate) mod history;
mod journal;
mod keep;
pub mod kill;
mod labels;
mod latency;
pub mod lock;
mod log;
mod lookup;
mod modes;
pub(crate) mod open_flows;
mod operate;
mod pressure;
mod readiness;
mod ready;
mod record;
mod reload;
mod remember;
mod report;
pub mod sensor;
mod serve;
mod signals;
mod stages;
mod start;
mod state;
mod tick;

use std::{net::TcpListener, path::PathBuf, sync::Arc};

use ipnet::IpNet;

use self::{
    audit::AuditDesk,
    breaker::BreakerDesk,
    chores::{Chore, Chores},
    feeds::FeedDesk,
    hellos::Hellos,
    history::History,
    keep::Keeper,
    latency::Latencies,
    open_flows::OpenFlows,
    pressure::Pressed,
    record::Recorder,
    sensor::{Attachment, Sensor},
    signals::SignalDesk,
    stages::StageDesk,
    state::StateFiles,
};
use crate::{
    api::{lookup::Lookup, message::EventStatus},
    enforce::{
        cohort::Cohort,
        guard::Guards,
        ledger::{Ledger, durable::KeptOffence},
    },
    fingerprint::known::KnownFingerprints,
    journal::{Actor, Desk},
    policy::CompiledPolicy,
    score::{Clock, Engine},
    system::clock,
};

pub use self::{
    record::RecordingPlan,
    start::{Plan, run},
};

/// The running daemon.
struct Daemon<S> {
    sensor: S,
    engine: Engine,
    ledger: Ledger,
    /// What the ledger guards: this host's own addresses, its gateways, declared proxies.
    guards: Guards,
    /// This host, as guards see it.
    guard_desk: guards::GuardDesk,
    /// The mode that is on.
    modes: modes::ModeDesk,
    /// Who hides clients behind its address.
    hidden: hidden::Hidden,
    /// How the kill switch was when it was written down last.
    kill_noted: Option<bool>,
    /// Where it says who turned it.
    kill_note: PathBuf,
    /// Prefixes with an allow: their connections are never ended.
    allowed: Vec<IpNet>,
    open_flows: OpenFlows,
    /// Who is trusted, and what policies do to them.
    cohort: Cohort,
    brakes: BreakerDesk,
    /// Which hellos stand behind JA4s.
    known: KnownFingerprints,
    hellos: Hellos,
    signals: SignalDesk,
    /// What is known of addresses.
    feeds: FeedDesk,
    history: History,
    /// Whether the kernel does what the ledger wants.
    audit: AuditDesk,
    /// Guards before services' SYNs that policies put up for a while.
    pressed: Pressed,
    /// How far policies go.
    stages: StageDesk,
    /// What proxies are told, from a thread of its own.
    lookup: Arc<Lookup>,
    /// Where to answer them from now on, after a reload that says so.
    moved: Option<Option<TcpListener>>,
    recorder: Option<Recorder>,
    latencies: Latencies,
    events: EventStatus,
    connections_ended: u64,
    chores: Chores,
    /// Chores that found the queue full.
    postponed: Vec<Chore>,
    /// Connections to be ended once more at the next tick: a dump can miss one that is just being
    /// accepted.
    again: Vec<crate::system::sockets::Targets>,
    attachments: Vec<Attachment>,
    files: StateFiles,
    keeper: Keeper,
    journal: Desk,
    /// In whose name the command that is carried out was given.
    asked_by: Actor,
    policy_file: PathBuf,
    policy_loaded_ns: u64,
    reload_error: Option<String>,
    /// When events were lost.
    losses: readiness::Losses,
    /// The last failure to write to the kernel, until a later write succeeds.
    kernel_error: Option<String>,
    started_ns: u64,
    ticks: u64,
}

/// What a daemon is made of.
struct Parts<S> {
    sensor: S,
    policy: Arc<CompiledPolicy>,
    policy_file: PathBuf,
    stages: StageDesk,
    ledger: Ledger,
    /// What earlier runs knew of repeated offences.
    offences: Vec<KeptOffence>,
    guards: Guards,
    guard_desk: guards::GuardDesk,
    modes: modes::ModeDesk,
    chores: Chores,
    files: StateFiles,
    keeper: Keeper,
    journal: Desk,
    kill_note: PathBuf,
    signals: SignalDesk,
    feeds: FeedDesk,
}

impl<S: Sensor> Daemon<S> {
    fn new(parts: Parts<S>) -> Self {
        let now_ns = clock::monotonic_ns();
        let calendar = Clock { unix_s_at_zero: clock::unix_s_at_zero() };
        let hellos = Hellos::new(parts.sensor.key_seed(), now_ns);
        let brakes = parts.policy.brakes;
        let mut daemon = Self {
            sensor: parts.sensor,
            engine: Engine::new(parts.policy, calendar),
            ledger: parts.ledger,
            guards: parts.guards,
            guard_desk: parts.guard_desk,
            modes: parts.modes,
            hidden: hidden::Hidden::default(),
            kill_noted: None,
            kill_note: parts.kill_note,
            allowed: Vec::new(),
            open_flows: OpenFlows::default(),
            cohort: Cohort::new(brakes.trusted, brakes.breaker.window_ns, calendar),
            brakes: BreakerDesk::new(&brakes, now_ns),
            known: parts.files.known_fingerprints(),
            hellos,
            signals: parts.signals,
            feeds: parts.feeds,
            history: History::default(),
            audit: AuditDesk::default(),
            pressed: Pressed::default(),
            stages: parts.stages,
            lookup: Arc::default(),
            moved: None,
            recorder: None,
            latencies: Latencies::default(),
            events: EventStatus::default(),
            connections_ended: 0,
            chores: parts.chores,
            postponed: Vec::new(),
            again: Vec::new(),
            attachments: Vec::new(),
            files: parts.files,
            keeper: parts.keeper,
            journal: parts.journal,
            asked_by: Actor::Daemon,
            policy_file: parts.policy_file,
            policy_loaded_ns: now_ns,
            reload_error: None,
            losses: readiness::Losses::default(),
            kernel_error: None,
            started_ns: now_ns,
            ticks: 0,
        };
        daemon.note_allowed(now_ns);
        daemon.set_cohort();
        daemon.restage(&Actor::Daemon);
        daemon.assume_verdicts(now_ns);
        daemon.recall_offences(parts.offences);
        daemon.recall_baselines(now_ns);
        daemon.set_lookup();
        daemon.engine.set_reputation(daemon.feeds.current());
        daemon
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod twin;
