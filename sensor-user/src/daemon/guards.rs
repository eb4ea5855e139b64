//! Keeps what is never blocked current, by itself: a thread hears of new addresses and routes from the
//! kernel, looks at who is logged in every five seconds, and tells the loop when something differs.
//!
//! What an exemption can be had by is in [`crate::enforce::guard`]. Bounded: one view waits for the loop at
//! most, a look that takes long is followed by a pause (ten times as long, five seconds at most), and a
//! change that is missed is seen a minute later all the same.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use serde_json::json;
use tokio::sync::mpsc;
use weir_common::abi::{Action, Protocol, ServiceSet};

use super::{Daemon, sensor::Sensor};
use crate::{
    api::message::GuardStatus,
    enforce::{
        dataplane::ServicePort,
        guard::{Allowed, AllowedKind, Guards},
        ledger::{Lifted, Origin},
        names,
    },
    event::Event,
    journal::{Actor, Kind, Record},
    policy::{CompiledPolicy, MANAGEMENT, NeverBlock},
    system::{
        address, clock,
        route::{self, Changes},
        sessions::{self, Places, Tracker},
    },
};

/// How often sessions are looked at, and the longest that a missed notice of anything else stays unseen.
const EVERY: Duration = Duration::from_secs(5);
/// How often addresses and routes are looked at without notice.
const ALL_EVERY: Duration = Duration::from_secs(60);
/// Notices come in bursts; this long after one, the rest of it is there.
const SETTLED: Duration = Duration::from_millis(100);
/// So many times as long as a look took, nobody looks again, but for no longer than [`EVERY`].
const REST: u32 = 10;

/// This host, as guards see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct HostView {
    own: Vec<IpAddr>,
    gateways: Vec<IpAddr>,
    sessions: Vec<IpAddr>,
    /// Where it is managed.
    ports: Vec<u16>,
    /// How often somebody who is logged in did not count, because too many did.
    pub(super) refused_sessions: u64,
}

impl HostView {
    /// Somebody is logged in, and this is the one management port.
    #[cfg(test)]
    pub(super) fn log_in(&mut self, peer: IpAddr, port: u16) {
        self.sessions = vec![peer];
        self.ports = vec![port];
    }

    /// Nobody is logged in any more.
    #[cfg(test)]
    pub(super) fn log_out(&mut self) {
        self.sessions.clear();
    }

    /// Guards of this host under a policy.
    pub(super) fn guards(&self, policy: &CompiledPolicy) -> Guards {
        Guards::new(self.own.iter().copied())
            .with_gateways(self.gateways.iter().copied())
            .with_sessions(self.sessions.iter().copied(), self.management(policy))
            .with_ranges(&policy.never_block.ranges)
            .with_proxies(&policy.proxies)
    }

    /// The services at management ports: those that are declared there, and one that stands for the
    /// other ports.
    fn management(&self, policy: &CompiledPolicy) -> ServiceSet {
        let ids = self.ports.iter().map(|port| service_at(policy, *port).unwrap_or(MANAGEMENT));
        let mut set = ServiceSet::NONE;
        // The number is some service's own where there are 255 of them.
        let is_free = policy.service_name(MANAGEMENT).is_none();
        ids.filter(|id| *id != MANAGEMENT || is_free).for_each(|id| set.insert(id));
        set
    }

    /// The kernel's table of ports, with management ports that no service declares.
    pub(super) fn service_ports(&self, policy: &CompiledPolicy) -> Vec<ServicePort> {
        let mut ports = policy.service_ports();
        if policy.service_name(MANAGEMENT).is_some() {
            return ports;
        }
        let own = self.ports.iter().filter(|port| service_at(policy, **port).is_none());
        ports.extend(own.map(|port| ServicePort {
            protocol: Protocol::Tcp,
            port: *port,
            service: MANAGEMENT,
            flags: 0,
        }));
        ports
    }
}

fn service_at(policy: &CompiledPolicy, port: u16) -> Option<u8> {
    let ports = policy.service_ports();
    let found = ports.iter().find(|it| it.protocol == Protocol::Tcp && it.port == port);
    found.map(|it| it.service)
}

/// Looks at this host, again and again.
#[derive(Debug)]
struct Lookout {
    places: Places,
    tracker: Tracker,
    view: HostView,
    looked_at_all: Option<Instant>,
}

impl Lookout {
    fn new() -> Self {
        Self {
            places: Places::default(),
            tracker: Tracker::default(),
            view: HostView::default(),
            looked_at_all: None,
        }
    }

    /// What there is now; `all` of it, or sessions alone.
    fn look(&mut self, never: &NeverBlock, all: bool) -> io::Result<&HostView> {
        if all || self.looked_at_all.is_none_or(|at| at.elapsed() >= ALL_EVERY) {
            self.view.own = address::own()?;
            self.view.gateways = route::gateways()?;
            self.looked_at_all = Some(Instant::now());
        }
        // Not to know who is logged in is no reason to know nothing else.
        match sessions::look(&self.places, never.management.as_deref()) {
            Ok(found) => {
                self.tracker.note(&found.peers, never.max_sessions, clock::monotonic_ns());
                self.view.ports = found.ports;
            }
            Err(error) => tracing::warn!("{error}; who is logged in is not known"),
        }
        self.view.sessions = self.tracker.peers().collect();
        self.view.refused_sessions = self.tracker.refused();
        Ok(&self.view)
    }
}

/// The loop's end of the thread.
#[derive(Debug)]
pub(super) struct GuardDesk {
    /// As the loop has it.
    view: HostView,
    changed: mpsc::Receiver<HostView>,
    settings: Arc<Mutex<NeverBlock>>,
    lifted: u64,
}

impl GuardDesk {
    /// Looks once, and goes on looking on a thread in the network namespace of this one.
    pub(super) fn open(policy: &CompiledPolicy) -> io::Result<Self> {
        let mut lookout = Lookout::new();
        let view = lookout.look(&policy.never_block, true)?.clone();
        let settings = Arc::new(Mutex::new(policy.never_block.clone()));
        let (tell, changed) = mpsc::channel(1);
        let known = Arc::clone(&settings);
        thread::Builder::new()
            .name("weir-guards".into())
            .spawn(move || keep_looking(lookout, &known, &tell))?;
        Ok(Self { view, changed, settings, lifted: 0 })
    }

    /// Waits for the next change. Cancel-safe.
    pub(super) async fn changed(&mut self) -> HostView {
        match self.changed.recv().await {
            Some(view) => view,
            // The thread ends with the daemon.
            None => std::future::pending().await,
        }
    }

    /// This host as the loop has it.
    pub(super) const fn view(&self) -> &HostView {
        &self.view
    }
}

fn keep_looking(mut lookout: Lookout, settings: &Mutex<NeverBlock>, tell: &mpsc::Sender<HostView>) {
    let mut changes = Changes::listen()
        .inspect_err(|error| {
            tracing::warn!(
                "{error}: changes of addresses and routes are seen within a minute only"
            );
        })
        .ok();
    let mut known = lookout.view.clone();
    while !tell.is_closed() {
        let told = match changes.as_mut().map(|changes| changes.within(EVERY)) {
            Some(Ok(told)) => told,
            Some(Err(error)) => {
                tracing::warn!(
                    "{error}: changes of addresses and routes are seen within a minute only"
                );
                changes = None;
                continue;
            }
            None => {
                thread::park_timeout(EVERY);
                false
            }
        };
        if told && let Some(Err(error)) = changes.as_mut().map(|changes| changes.within(SETTLED)) {
            tracing::debug!("{error}");
        }
        let begun = Instant::now();
        let never = settings.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match lookout.look(&never, told) {
            Ok(view) if *view != known => {
                known = view.clone();
                if tell.blocking_send(known.clone()).is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!("cannot look this host's addresses up: {error}"),
        }
        thread::park_timeout(begun.elapsed().saturating_mul(REST).min(EVERY));
    }
}

impl<S: Sensor> Daemon<S> {
    /// This host is another than before.
    pub(super) fn take_view(&mut self, view: HostView) {
        let has_other_ports = view.ports != self.guard_desk.view.ports;
        self.guard_desk.view = view;
        if has_other_ports {
            self.write_service_ports();
        }
        self.renew_guards();
    }

    /// The policy is another than before.
    pub(super) fn renew_guards(&mut self) {
        let policy = Arc::clone(self.engine.policy());
        let settings = &self.guard_desk.settings;
        *settings.lock().unwrap_or_else(PoisonError::into_inner) = policy.never_block.clone();
        let guards = self.guard_desk.view.guards(&policy);
        if guards != self.guards {
            self.set_guards(guards);
            // A failure is told in the status, and tried again every second.
            self.apply();
        }
    }

    /// Guards these from now on; in the kernel with the next `apply`.
    pub(super) fn set_guards(&mut self, guards: Guards) {
        let before: BTreeSet<Allowed> = self.guards.allowed().collect();
        let after: BTreeSet<Allowed> = guards.allowed().collect();
        let lifted = self.ledger.set_guards(guards.clone(), clock::monotonic_ns());
        self.feeds.protect(&guards);
        self.guards = guards;
        self.note_guards("added", after.difference(&before));
        self.note_guards("removed", before.difference(&after));
        self.note_lifted(&lifted, "guard");
    }

    fn note_guards<'a>(&mut self, what: &str, changed: impl Iterator<Item = &'a Allowed>) {
        let changed: Vec<&Allowed> = changed.collect();
        for kind in AllowedKind::ALL {
            let nets: Vec<IpNet> =
                changed.iter().filter(|it| it.kind == kind).map(|it| it.net).collect();
            if nets.is_empty() {
                continue;
            }
            let body = json!({"change": what, "kind": kind.name(), "count": nets.len()});
            tracing::info!("never blocked: {what} {} of kind {}", nets.len(), kind.name());
            let record = Record::new(Kind::Guard, &Actor::Daemon, body);
            // A session's peer is a person's address; the others are this host's.
            self.note(record.about(nets));
        }
    }

    /// Takes note of verdicts that an allow ended: written down, and decided anew if it comes to that.
    pub(super) fn note_lifted(&mut self, lifted: &[Lifted], by: &str) {
        let now_ns = clock::monotonic_ns();
        self.guard_desk.lifted += lifted.len() as u64;
        for Lifted { net, meaning } in lifted {
            let policy = match &meaning.origin {
                Origin::Policy { name, .. } => Some(Arc::clone(name)),
                Origin::Operator | Origin::Guard => None,
            };
            if let Some(policy) = &policy {
                let source = weir_common::abi::SourceKey::from_address(&address::words(net.addr()));
                self.engine.lift(&source, policy, now_ns);
            }
            let body = json!({
                "by": by,
                "action": names::action_name(meaning.action),
                "policy": policy.as_deref(),
                "rule": meaning.rule.as_deref(),
            });
            self.note(Record::new(Kind::Lift, &Actor::Daemon, body).about([*net]));
        }
    }

    /// What an operator allowed ends what policies decided against it. What operators said themselves is
    /// covered for as long as the allow holds.
    pub(super) fn lift_for_allow(&mut self, prefixes: &[IpNet], services: ServiceSet) {
        let now_ns = clock::monotonic_ns();
        let is_decided = |meaning: &crate::enforce::ledger::Meaning| {
            meaning.action > Action::Allow && matches!(meaning.origin, Origin::Policy { .. })
        };
        let mut lifted = Vec::new();
        for prefix in prefixes {
            lifted.extend(self.ledger.lift(prefix, services, now_ns, is_decided));
        }
        self.note_lifted(&lifted, "operator's allow");
    }

    /// Ends what policies decided against sources that they spare now.
    pub(super) fn lift_exempt(&mut self) {
        let now_ns = clock::monotonic_ns();
        let now_unix_s = clock::unix_s_at_zero() + now_ns / 1_000_000_000;
        let policy = Arc::clone(self.engine.policy());
        let mut lifted = Vec::new();
        for exempting in policy.policies.iter().filter(|policy| !policy.exempt.is_empty()) {
            let spared: Vec<IpNet> = self
                .ledger
                .list(now_ns)
                .filter(|listed| {
                    matches!(&listed.entry.meaning.origin, Origin::Policy { name, .. }
                        if *name == exempting.name)
                        && exempting.exempt.iter().any(|exempt| {
                            exempt.actions.contains(&listed.entry.meaning.action)
                                && exempt.spares(&listed.prefix, now_unix_s)
                        })
                })
                .map(|listed| listed.prefix)
                .collect();
            for net in spared {
                let ends = |meaning: &crate::enforce::ledger::Meaning| {
                    matches!(&meaning.origin, Origin::Policy { name, .. } if *name == exempting.name)
                        && exempting.exempt.iter().any(|it| it.actions.contains(&meaning.action))
                };
                lifted.extend(self.ledger.lift(&net, ServiceSet::ALL, now_ns, ends));
            }
        }
        if !lifted.is_empty() {
            self.note_lifted(&lifted, "exemption");
            self.apply();
        }
    }

    /// Whether an event is about a management port that no service declares.
    pub(super) fn is_management(&self, event: &Event) -> bool {
        let service = match event {
            Event::Established(event) => event.header.service,
            Event::Progress(event) => event.header.service,
            Event::Closed(event) => event.header.service,
            Event::Milestone(event) => event.header.service,
            Event::Hit(event) => event.header.service,
            Event::Hello(event) => event.service,
            Event::Signal(_) | Event::Tick { .. } => return false,
        };
        service == MANAGEMENT && self.engine.policy().service_name(MANAGEMENT).is_none()
    }

    /// What is never blocked, in figures.
    pub(super) fn guard_status(&self) -> GuardStatus {
        let count = |kind| self.guards.count(kind);
        GuardStatus {
            own: count(AllowedKind::Own),
            gateways: count(AllowedKind::Gateway),
            sessions: count(AllowedKind::Session),
            ranges: count(AllowedKind::Range),
            proxies: count(AllowedKind::Proxy),
            sessions_refused: self.guard_desk.view.refused_sessions,
            lifted: self.guard_desk.lifted,
        }
    }

    fn write_service_ports(&mut self) {
        let ports = self.guard_desk.view.service_ports(self.engine.policy());
        if let Err(error) = self.sensor.set_services(&ports) {
            tracing::error!("{error}; management ports are not known as such");
        }
    }
}
