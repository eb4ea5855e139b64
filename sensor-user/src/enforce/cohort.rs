//! Who is trusted, and what verdicts do to them.
//!
//! Brakes measure harm to the trusted and never the share of all traffic, which the attacker
//! chooses. A source is trusted if, well before what is being judged (an incident, a policy's change), it
//! had completed sessions on several occasions, and no verdict had acted on it; or if somebody labelled
//! it human or allow-listed it. One labelled a bot is not.
//!
//! Promises: pure and driven by events' own times; bounded; only authentic evidence counts (proven
//! connections, and decisions on authentic evidence: never a packet that anyone can send); harm counts
//! sources and networks, never packets or attempts, and a network weighs a few sources at most.

mod crowd;
mod harm;
mod listed;
mod meter;
mod network;
mod record;
mod store;
mod turn;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use weir_common::abi::{
    Action, CloseReason, Closed, Established, Protocol, ServiceSet, SourceKey,
    flow::{FLOW_FIN_IN, FLOW_FIN_OUT, FLOW_PROXIED, FLOW_REFUSED, FLOW_RESET_SENT},
    key::Address,
    time::SECOND_NS,
};

pub(crate) use self::store::{bytes, key};
pub use self::{
    harm::{Affected, Harm},
    listed::Listed,
    meter::Outcome,
    record::{Punished, Visits},
    store::{Kept, ROWS, SCHEMA, forget, recall, retain, write},
    turn::Awoken,
};
use self::{meter::Meter, record::Records};
use crate::{
    event::Event,
    label::Verdict as Said,
    policy::Proxies,
    profile::lru::Lru,
    score::{Clock, Decision, feature::Evidence},
    system::address,
};

/// Sources of whom decisions are remembered, so that a later label counts for them.
const JUDGED: usize = 16_384;
/// Decisions remembered of one source.
const JUDGED_OF_ONE: usize = 8;
/// Labelled sources that are known.
const LABELLED: usize = 65_536;
/// How long somebody is remembered who does not come back.
pub const RETENTION_S: u64 = 30 * 24 * 3600;
/// Most sources of whom something waits to be written.
const UNWRITTEN: usize = 1 << 18;
/// Most meters of policies.
const METERS: usize = 512;

/// What makes a source trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct TrustRule {
    /// How long before what is judged it must have had its sessions, ns.
    pub before_ns: u64,
    /// On how many occasions.
    pub sessions: u32,
    /// How far apart those are at least, ns.
    pub gap_ns: u64,
}

impl Default for TrustRule {
    fn default() -> Self {
        Self { before_ns: 3600 * SECOND_NS, sessions: 2, gap_ns: 600 * SECOND_NS }
    }
}

/// Why a source is trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is not.
    Stranger,
    /// It had sessions.
    Earned,
    /// It is allow-listed.
    Listed,
    /// It is labelled human.
    Human,
}

impl Standing {
    /// Whether it is trusted.
    #[must_use]
    pub fn is_trusted(self) -> bool {
        self != Self::Stranger
    }

    /// Whether somebody said so, by a label or a list.
    #[must_use]
    pub const fn is_named(self) -> bool {
        matches!(self, Self::Listed | Self::Human)
    }
}

/// What to measure the harm of.
#[derive(Clone, PartialEq, Debug)]
pub struct Watch {
    /// The policy.
    pub policy: Arc<str>,
    /// Its version: two versions of a policy, one of them a shadow, are measured apart.
    pub version: Arc<str>,
    /// The services that it judges.
    pub services: ServiceSet,
    /// When this version began to act: only who was trusted well before counts. `None`: it does not act,
    /// and so cannot have chosen who completes sessions.
    pub acting_since_ns: Option<u64>,
    /// How far back figures go, ns.
    pub window_ns: u64,
}

#[derive(Debug)]
struct Watched {
    watch: Watch,
    meter: Meter,
}

#[derive(Clone, Debug)]
struct Judged {
    policy: Arc<str>,
    version: Arc<str>,
    is_enforced: bool,
    acts: bool,
    at_ns: u64,
}

/// How the cohort stands, for status output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct CohortCounts {
    /// Sources that have the sessions that trust needs.
    pub regulars: usize,
    /// Sources that are labelled.
    pub labelled: usize,
    /// Sources that were not taken because their network has its part.
    pub refused: u64,
    /// Sources that had to go for others.
    pub evicted: u64,
}

/// Who is trusted, and what becomes of them.
#[derive(Debug)]
pub struct Cohort {
    rule: TrustRule,
    calendar: Clock,
    records: Records,
    labels: Lru<SourceKey, Said>,
    listed: Listed,
    judged: Lru<SourceKey, Vec<Judged>>,
    host: Meter,
    // By policy and version.
    meters: BTreeMap<(Arc<str>, Arc<str>), Watched>,
    changed: BTreeSet<[u32; 2]>,
}

impl Cohort {
    /// A cohort that knows nobody. `window_ns`: how far back the host's figures go.
    #[must_use]
    pub fn new(rule: TrustRule, window_ns: u64, calendar: Clock) -> Self {
        Self {
            rule,
            calendar,
            records: Records::new(),
            labels: Lru::new(LABELLED),
            listed: Listed::default(),
            judged: Lru::new(JUDGED),
            host: Meter::new(window_ns),
            meters: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Takes another rule; what sessions were counted stay counted.
    pub fn set_rule(&mut self, rule: TrustRule) {
        self.rule = rule;
    }

    /// Takes another list.
    pub fn set_listed(&mut self, listed: Listed) {
        self.listed = listed;
    }

    /// Begins to measure the harm of a policy's version; goes on if it is measured already. What began to
    /// act at another time, or looks at other services, is measured anew; what watched and begins to act
    /// keeps whom it saw.
    pub fn watch(&mut self, watch: Watch) {
        let key = (Arc::clone(&watch.policy), Arc::clone(&watch.version));
        if self.meters.get(&key).is_some_and(|known| known.watch == watch) {
            return;
        }
        if self.meters.len() < METERS || self.meters.contains_key(&key) {
            let known = self.meters.remove(&key);
            let meter = known.and_then(|known| Self::carried(known, &watch));
            let meter = meter.unwrap_or_else(|| Meter::new(watch.window_ns));
            self.meters.insert(key, Watched { watch, meter });
        }
    }

    /// Measures only what a condition holds for from now on.
    pub fn retain(&mut self, keep: impl Fn(&Watch) -> bool) {
        self.meters.retain(|_, watched| keep(&watched.watch));
    }

    /// Why a source is trusted as regards what happened, or began, at a time.
    #[must_use]
    pub fn standing(&self, source: &SourceKey, at_ns: u64) -> Standing {
        match self.labels.get(source) {
            Some(Said::Human) => return Standing::Human,
            Some(Said::Bot) => return Standing::Stranger,
            None => {}
        }
        let at = self.unix_ns(at_ns);
        if self.listed.contains(source, at / SECOND_NS) {
            return Standing::Listed;
        }
        let by = at.saturating_sub(self.rule.before_ns);
        if self.records.is_trusted(source, by) { Standing::Earned } else { Standing::Stranger }
    }

    /// Whether a source is trusted as regards what happened, or began, at a time
    /// (`CLOCK_MONOTONIC` ns): the time that must lie between is taken off here.
    #[must_use]
    pub fn is_trusted(&self, source: &SourceKey, before_ns: u64) -> bool {
        self.standing(source, before_ns).is_trusted()
    }

    /// Takes an event in. `would`: the policy whose verdict would have refused this connection, and
    /// whether it is one that is enforced when nothing holds it back; from the kernel's own word.
    pub fn note(&mut self, event: &Event, proxies: &Proxies, would: Option<(&str, bool)>) {
        match event {
            Event::Established(event) => self.established(event, proxies, would),
            Event::Closed(event) => self.closed(event, proxies),
            _ => {}
        }
    }

    fn established(&mut self, event: &Established, proxies: &Proxies, would: Option<(&str, bool)>) {
        let client = named(&event.client, event.flags).unwrap_or(event.key.remote);
        let Some(source) = somebody(&client, proxies) else { return };
        let (at_ns, service) = (event.header.at_ns, event.header.service);
        let now = self.standing(&source, at_ns);
        if !now.is_trusted() {
            return;
        }
        self.host.source(&source, now.is_named(), Outcome::Served, at_ns);
        self.host.connection(Outcome::Served, at_ns);
        if would.is_some_and(|(_, is_enforced)| is_enforced) {
            self.host.connection(Outcome::Would, at_ns);
            self.host.source(&source, now.is_named(), Outcome::Would, at_ns);
        }
        self.each(&source, at_ns, |watch, meter, standing| {
            if !watch.services.contains(service) {
                return;
            }
            meter.source(&source, standing.is_named(), Outcome::Served, at_ns);
            meter.connection(Outcome::Served, at_ns);
            if would.is_some_and(|(policy, _)| *watch.policy == *policy) {
                meter.source(&source, standing.is_named(), Outcome::Would, at_ns);
                meter.connection(Outcome::Would, at_ns);
            }
        });
    }

    fn closed(&mut self, event: &Closed, proxies: &Proxies) {
        let client = named(&event.flow.client, event.flow.flags).unwrap_or(event.key.remote);
        let Some(source) = somebody(&client, proxies) else { return };
        let at_ns = event.header.at_ns;
        if event.flow.flags & (FLOW_REFUSED | FLOW_RESET_SENT) != 0 {
            if self.standing(&source, at_ns).is_trusted() {
                self.host.connection(Outcome::Dropped, at_ns);
            }
            let service = event.flow.service;
            self.each(&source, at_ns, |watch, meter, _| {
                if watch.services.contains(service) {
                    meter.connection(Outcome::Dropped, at_ns);
                }
            });
        } else if is_session(event) {
            let at = self.unix_ns(at_ns);
            if self.records.session(&source, &self.rule, at) {
                self.touch(&source);
            }
        }
    }

    /// Takes a decision in. `acts`: its verdict is enforced now, and nothing stronger holds instead.
    pub fn judged(&mut self, decision: &Decision, acts: bool) {
        let is_about_source = decision.whole_service.is_none();
        if !is_about_source || decision.evidence != Evidence::Authentic {
            return;
        }
        let judged = Judged {
            policy: Arc::clone(&decision.policy),
            version: Arc::clone(&decision.version),
            is_enforced: decision.mode == weir_common::abi::Mode::Enforce,
            acts,
            at_ns: decision.at_ns,
        };
        self.take(&decision.source, decision.action, judged);
    }

    /// Counts what was decided about a source, and remembers it.
    fn take(&mut self, source: &SourceKey, action: Action, judged: Judged) {
        if judged.acts && action >= Action::Limit {
            let at = self.unix_ns(judged.at_ns);
            self.records.punish(source, at);
            self.touch(source);
        }
        if action < Action::Reject {
            return;
        }
        self.count(source, &judged);
        let (all, _) = self.judged.get_or_insert(source, Vec::new);
        if all.len() >= JUDGED_OF_ONE {
            all.remove(0);
        }
        all.push(judged);
    }

    /// Counts a decision, if it is about somebody who is trusted.
    fn count(&mut self, source: &SourceKey, judged: &Judged) {
        let at_ns = judged.at_ns;
        let outcome = if judged.acts { Outcome::Dropped } else { Outcome::Would };
        let now = self.standing(source, at_ns);
        if now.is_trusted() && (judged.is_enforced || judged.acts) {
            self.host.source(source, now.is_named(), outcome, at_ns);
        }
        let (policy, version) = (&judged.policy, &judged.version);
        self.each(source, at_ns, |watch, meter, standing| {
            if watch.policy == *policy && watch.version == *version {
                meter.source(source, standing.is_named(), outcome, at_ns);
            }
        });
    }

    /// Visits the meters for which a source is trusted.
    fn each(
        &mut self,
        source: &SourceKey,
        at_ns: u64,
        mut visit: impl FnMut(&Watch, &mut Meter, Standing),
    ) {
        let mut meters = std::mem::take(&mut self.meters);
        for watched in meters.values_mut() {
            let since_ns = watched.watch.acting_since_ns.map_or(at_ns, |since| since.min(at_ns));
            let standing = self.standing(source, since_ns);
            if standing.is_trusted() {
                visit(&watched.watch, &mut watched.meter, standing);
            }
        }
        self.meters = meters;
    }

    /// Time passed: what is older than the windows is over.
    pub fn pass(&mut self, now_ns: u64) {
        self.host.pass(now_ns);
        for watched in self.meters.values_mut() {
            watched.meter.pass(now_ns);
        }
        let since = self.unix_ns(now_ns).saturating_sub(RETENTION_S * SECOND_NS);
        self.records.sweep(since);
    }

    /// Harm by one version of a policy; `None` if it is not measured.
    #[must_use]
    pub fn harm(&self, policy: &str, version: &str) -> Option<Harm> {
        let key = (Arc::from(policy), Arc::from(version));
        self.meters.get(&key).map(|watched| watched.meter.harm())
    }

    /// Harm by all policies that are enforced.
    #[must_use]
    pub fn host_harm(&self) -> Harm {
        self.host.harm()
    }

    /// The trusted sources that policies refused within the host's window, or would have refused.
    #[must_use]
    pub fn harmed(&self) -> Vec<SourceKey> {
        self.host.harmed()
    }

    /// Since when a version of a policy that is measured acts; `None`: it is not, or it does not.
    #[must_use]
    pub fn acting_since(&self, policy: &Arc<str>, version: &Arc<str>) -> Option<u64> {
        let key = (Arc::clone(policy), Arc::clone(version));
        self.meters.get(&key).and_then(|watched| watched.watch.acting_since_ns)
    }

    /// How many sources are labelled human, and how many bot.
    #[must_use]
    pub fn labelled(&self) -> (usize, usize) {
        let human = self.labels.iter().filter(|(_, said)| **said == Said::Human).count();
        (human, self.labels.len() - human)
    }

    /// Begins to count the host's harm anew, over this window.
    pub fn restart_host(&mut self, window_ns: u64) {
        self.host = Meter::new(window_ns);
    }

    /// Somebody said what a source is; `None`: nobody says anything any more. What was decided about it
    /// within the windows counts accordingly.
    pub fn label(&mut self, source: &SourceKey, said: Option<Said>) {
        match said {
            Some(said) => *self.labels.get_or_insert(source, || said).0 = said,
            None => drop(self.labels.remove(source)),
        }
        let judged = self.judged.get(source).cloned().unwrap_or_default();
        match said {
            Some(Said::Human) => {
                if self.records.forgive(source) {
                    self.touch(source);
                }
                for judged in judged {
                    self.count(source, &judged);
                }
            }
            Some(Said::Bot) => {
                self.host.remove(source);
                for watched in self.meters.values_mut() {
                    watched.meter.remove(source);
                }
            }
            None => {}
        }
    }

    /// What somebody said of a source.
    #[must_use]
    pub fn label_of(&self, source: &SourceKey) -> Option<Said> {
        self.labels.get(source).copied()
    }

    /// A policy was found to be wrong and acts no more: those whom it refused are trusted as before, and
    /// what it did to them is no reason for the breaker any more.
    pub fn forgive(&mut self, policy: &str) {
        let mut victims: BTreeSet<[u32; 2]> = BTreeSet::new();
        for ((name, _), watched) in &self.meters {
            if **name == *policy {
                victims.extend(watched.meter.dropped().iter().map(|source| source.words));
            }
        }
        for words in victims {
            let source = SourceKey { words };
            if self.records.forgive(&source) {
                self.touch(&source);
            }
            self.host.acquit(&source);
        }
    }

    /// How it stands.
    #[must_use]
    pub fn counts(&self) -> CohortCounts {
        let (refused, evicted) = self.records.turned_away();
        CohortCounts {
            regulars: self.records.regulars(),
            labelled: self.labels.len(),
            refused,
            evicted,
        }
    }

    /// Notes that what is known of a source is to be written.
    fn touch(&mut self, source: &SourceKey) {
        // Beyond it the row waits until something else is learned of the source.
        if self.changed.len() < UNWRITTEN {
            self.changed.insert(source.words);
        }
    }

    const fn unix_ns(&self, at_ns: u64) -> u64 {
        self.calendar.unix_s_at_zero.saturating_mul(SECOND_NS).saturating_add(at_ns)
    }
}

/// Whom a declared proxy named.
fn named(client: &Address, flags: u16) -> Option<Address> {
    (flags & FLOW_PROXIED != 0).then_some(*client)
}

/// The source of an address, unless it is a proxy's or nobody's.
fn somebody(client: &Address, proxies: &Proxies) -> Option<SourceKey> {
    let is_somebody = *client != Address::default() && !proxies.contains(address::ip(client));
    is_somebody.then(|| SourceKey::from_address(client))
}

/// Whether a connection was a session: something was asked and answered, and it ended properly, that
/// is, somebody sent a FIN in window. (Many clients close while the server still says goodbye, and their
/// kernels answer that with a reset.) Of QUIC no end can be seen, so silence is one.
fn is_session(event: &Closed) -> bool {
    let flow = &event.flow;
    let is_udp = event.key.protocol == Protocol::Udp as u32;
    let has_ended = if is_udp {
        event.header.detail == CloseReason::Idle as u8
    } else {
        event.header.detail == CloseReason::Fin as u8
            || flow.flags & (FLOW_FIN_IN | FLOW_FIN_OUT) != 0
    };
    has_ended && event.header.service != 0 && flow.ingress.payloads > 0 && flow.egress.payloads > 0
}

#[cfg(test)]
pub(crate) mod tests;
