//! Profiles: what is remembered of each source, from events alone.
//!
//! A source gets a profile when its first connection is proven, so forged packets cannot fill the
//! table; port scans, which prove nothing, have a small table of their own, and TLS fingerprints one
//! that one sender cannot empty. All are bounded: the least recently seen goes first, and is
//! counted. Events may be lost, doubled or late: counts then err on the low side and never stay
//! wrong.

pub mod source;

mod arrivals;
mod campaign;
mod closed;
pub(crate) mod distinct;
mod hellos;
mod latest;
mod limits;
pub(crate) mod lru;
mod open;
mod prefix;
pub(crate) mod probation;
mod quic;
mod read;
mod recent;
mod rhythm;
mod service;
mod signals;
mod spread;
pub(crate) mod subject;
mod systems;
mod track;
mod unproven;
mod usage;
mod view;
mod windows;

use weir_common::abi::{
    Closed, Established, Milestone, MilestoneKind, Protocol, ServiceSet, SourceKey,
    flow::FLOW_PROXIED,
};

pub(crate) use self::signals::MOST_DISTINCT;
use self::{
    campaign::{Campaigns, Cluster, Speaker},
    latest::Latest,
    lru::Lru,
    prefix::Prefixes,
    service::Service,
    signals::Signals,
    systems::Systems,
    unproven::Unproven,
    usage::Fingerprints,
    view::Resumers,
};
pub(crate) use self::{
    closed::{Kind, Measure},
    rhythm::Volume,
    unproven::Count,
};
pub use self::{
    limits::{ProfileCounters, ProfileLimits},
    track::Track,
    view::View,
};
use crate::{
    event::{HELLO_DELAY_UNIT_NS, Hello, Signal},
    score::registry::Registry,
};

/// Round-trip times kept of a source.
const ROUND_TRIPS: u8 = 32;

/// One source.
#[derive(Debug)]
struct Profile {
    first_ns: u64,
    last_ns: u64,
    systems: Systems,
    // Nanoseconds.
    round_trips: Latest<u32>,
    cluster: Option<Cluster>,
    // The one that it came to last.
    service: u8,
    // Index: scope.
    tracks: Vec<Track>,
}

/// QUIC handshakes that are remembered until both halves are known.
const QUIC_HALVES: usize = 16_384;

/// All sources. What a source does is kept by *scope*: a set of services that is judged together.
#[derive(Debug)]
pub struct Profiles {
    limits: ProfileLimits,
    scopes: Vec<ServiceSet>,
    sources: Lru<SourceKey, Profile>,
    unproven: Unproven,
    fingerprints: Fingerprints,
    quic: quic::QuicHandshakes,
    prefixes: Prefixes,
    campaigns: Campaigns,
    signals: Signals,
    // Index: service.
    services: Vec<Service>,
    // Index: scope.
    resumers: Vec<Resumers>,
    counters: ProfileCounters,
}

impl Profiles {
    /// Empty profiles for these scopes.
    #[must_use]
    pub fn new(limits: ProfileLimits, scopes: Vec<ServiceSet>, registry: &Registry) -> Self {
        Self {
            limits,
            resumers: scopes.iter().map(|_| Resumers::default()).collect(),
            scopes,
            sources: Lru::new(limits.sources),
            unproven: Unproven::new(limits.scanners),
            fingerprints: Fingerprints::new(limits.fingerprints),
            quic: quic::QuicHandshakes::new(QUIC_HALVES),
            prefixes: Prefixes::new(limits.prefixes),
            campaigns: Campaigns::new(limits.campaigns),
            signals: Signals::new(limits.told, registry),
            services: (0..=u8::MAX).map(|_| Service::default()).collect(),
            counters: ProfileCounters::default(),
        }
    }

    /// A flow of this source was proven.
    pub fn established(&mut self, source: &SourceKey, event: &Established) {
        let (at_ns, service) = (event.header.at_ns, event.header.service);
        let limits = self.limits;
        let counters = &mut self.counters;
        let profile = Self::touch(&mut self.sources, &self.scopes, counters, source, at_ns);
        profile.service = service;
        // Through a proxy the SYN is the proxy's.
        if event.flags & FLOW_PROXIED == 0 {
            profile.systems.note(&event.syn, at_ns);
            if event.rtt_ns != u32::MAX {
                profile.round_trips.push(event.rtt_ns, ROUND_TRIPS);
            }
        }
        let is_quic = event.key.protocol == Protocol::Udp as u32;
        let offered = if is_quic { self.quic.proven(&event.key) } else { None };
        let mut is_news = false;
        for track in profile.in_scope(&self.scopes, service) {
            is_news |= track.established(&event.key, at_ns, &limits, counters);
            if let Some(resumption) = offered {
                track.hellos.quic_handshake(at_ns, resumption);
            }
        }
        if is_news {
            self.came(source, service, at_ns);
        }
    }

    /// A connection came to a service, of a network.
    fn came(&mut self, source: &SourceKey, service: u8, at_ns: u64) {
        let evicted = self.prefixes.established(source, at_ns);
        self.counters.evicted_prefixes += u64::from(evicted);
        if let Some(service) = self.services.get_mut(usize::from(service)) {
            service.established(source, at_ns);
        }
    }

    /// A proven flow of this source ended.
    pub fn closed(&mut self, source: &SourceKey, event: &Closed) {
        let (at_ns, service) = (event.header.at_ns, event.header.service);
        let counters = &mut self.counters;
        let profile = Self::touch(&mut self.sources, &self.scopes, counters, source, at_ns);
        profile.service = service;
        let mut is_news = false;
        let mut library = None;
        for (track, scope) in profile.tracks.iter_mut().zip(&self.scopes) {
            if scope.contains(service) {
                is_news |= track.closed(event, counters);
                library = track.hellos.latest().filter(|_| closed::has_hello(&event.flow));
            } else {
                // It may have been proven before its name said which service it is for.
                track.turned_out_elsewhere(&event.key, event.flow.proven_ns);
            }
        }
        if !is_news {
            return;
        }
        let speaker = library.map_or(Speaker::System(profile.systems.latest()), Speaker::Library);
        let cluster = Cluster::of(speaker, service, &event.flow);
        if let Some(library) = library {
            self.fingerprints.closed(library, cluster.shape());
        }
        let (first_ns, known) = (profile.first_ns, &mut profile.cluster);
        self.counters.evicted_campaigns +=
            self.campaigns.closed(source, first_ns, known, cluster, at_ns);
    }

    /// A proven flow of this source goes on.
    pub fn progress(&mut self, source: &SourceKey, event: &Closed) {
        let limits = self.limits;
        let counters = &mut self.counters;
        let at_ns = event.header.at_ns;
        let profile = Self::touch(&mut self.sources, &self.scopes, counters, source, at_ns);
        profile.service = event.header.service;
        for track in profile.in_scope(&self.scopes, event.header.service) {
            track.progress(event, &limits, counters);
        }
    }

    /// A threshold was crossed by this source.
    pub fn milestone(&mut self, source: &SourceKey, event: &Milestone) {
        let (at_ns, service) = (event.header.at_ns, event.header.service);
        match MilestoneKind::from_u8(event.header.detail) {
            Some(MilestoneKind::Stalled) => {
                let limits = self.limits;
                let counters = &mut self.counters;
                let profile = Self::touch(&mut self.sources, &self.scopes, counters, source, at_ns);
                for track in profile.in_scope(&self.scopes, service) {
                    track.stalled(&event.key, at_ns, &limits, counters);
                }
            }
            // About a service, not about a source.
            Some(MilestoneKind::Guarding | MilestoneKind::Pressure) | None => {}
            Some(kind) => {
                let Some(count) = unproven_count(kind) else { return };
                let evicted = self.unproven.note(source, count, event);
                self.counters.evicted_scanners += u64::from(evicted);
            }
        }
    }

    /// An application said something of this source.
    pub fn signal(&mut self, source: &SourceKey, event: &Signal) {
        self.counters.evicted_told += self.signals.note(source, event);
    }

    /// A source was limited, rejected or dropped on authentic evidence.
    pub fn judged(&mut self, source: &SourceKey, at_ns: u64) {
        self.prefixes.judged(source, at_ns);
    }

    /// SYNs press on a service.
    pub fn pressure(&mut self, event: &Milestone) {
        let (syns, proven) = (event.value as u32, (event.value >> 32) as u32);
        if let Some(service) = self.services.get_mut(usize::from(event.header.service)) {
            service.pressure(syns, proven, event.header.at_ns);
        }
    }

    /// A ClientHello of this source was read. The name in it may have refined the service: then the
    /// connection counts there, and no longer where it seemed to belong.
    pub fn hello(&mut self, source: &SourceKey, event: &Hello) {
        if event.is_quic() {
            self.hello_over_quic(source, event);
            return;
        }
        let limits = self.limits;
        let counters = &mut self.counters;
        let evicted = self.fingerprints.record(&event.stable, source, event.service, event.at_ns);
        counters.evicted_fingerprints += u64::from(evicted);
        let profile = Self::touch(&mut self.sources, &self.scopes, counters, source, event.at_ns);
        profile.service = event.service;
        let pairs = profile.tracks.iter_mut().zip(&self.scopes);
        for ((track, scope), resumers) in pairs.zip(&mut self.resumers) {
            if !scope.contains(event.service) {
                track.turned_out_elsewhere(&event.key, event.proven_ns());
                continue;
            }
            track.turned_out_here(&event.key, event.proven_ns(), &limits, counters);
            resumers.note_hello();
            let has_ended = track.closed.has_any();
            if track.hellos.over_tcp(event, has_ended) {
                resumers.add(source);
            }
        }
    }

    /// One over QUIC proves nothing: it is only compared with what is known of the source already.
    fn hello_over_quic(&mut self, source: &SourceKey, event: &Hello) {
        let offered = self.quic.offered(&event.key, event.offers_resumption);
        if let Some(profile) = self.sources.get_mut(source) {
            for track in profile.in_scope(&self.scopes, event.service) {
                track.hellos.over_quic(event);
                if let Some(resumption) = offered {
                    track.hellos.quic_handshake(event.at_ns, resumption);
                }
            }
        }
    }

    /// Forgets what was idle for too long.
    pub fn tick(&mut self, now_ns: u64) {
        let idle = self.limits.idle_ns;
        while self.sources.pop_oldest_if(|p| now_ns.saturating_sub(p.last_ns) > idle).is_some() {}
        self.unproven.tick(now_ns);
    }

    /// Forgets a source's open connections in a scope: they are being ended.
    pub fn end_all(&mut self, source: &SourceKey, scope: usize, now_ns: u64) {
        if let Some(profile) = self.sources.get_mut(source)
            && let Some(track) = profile.tracks.get_mut(scope)
        {
            track.end_all(now_ns);
        }
    }

    /// Takes new scopes. Tracks of scopes that stay the same are kept.
    pub fn replace_scopes(
        &mut self,
        limits: ProfileLimits,
        scopes: Vec<ServiceSet>,
        registry: &Registry,
    ) {
        let from: Vec<Option<usize>> = scopes
            .iter()
            .map(|scope| self.scopes.iter().position(|before| before == scope))
            .collect();
        self.sources.for_each(|profile| {
            let mut before: Vec<Option<Track>> = profile.tracks.drain(..).map(Some).collect();
            profile.tracks = from
                .iter()
                .map(|index| {
                    let kept = index.and_then(|index| before.get_mut(index));
                    kept.and_then(Option::take).unwrap_or_default()
                })
                .collect();
        });
        let mut before = std::mem::take(&mut self.resumers);
        let mut kept = |index: usize| before.get_mut(index).map(std::mem::take);
        self.resumers =
            from.iter().map(|index| index.and_then(&mut kept).unwrap_or_default()).collect();
        self.scopes = scopes;
        self.limits = limits;
        self.counters.evicted_sources += self.sources.resize(limits.sources);
        self.counters.evicted_scanners += self.unproven.resize(limits.scanners);
        self.counters.evicted_fingerprints += self.fingerprints.resize(limits.fingerprints);
        self.counters.evicted_prefixes += self.prefixes.resize(limits.prefixes);
        self.counters.evicted_campaigns += self.campaigns.resize(limits.campaigns);
        self.signals.replace(limits.told, registry);
    }

    fn touch<'a>(
        sources: &'a mut Lru<SourceKey, Profile>,
        scopes: &[ServiceSet],
        counters: &mut ProfileCounters,
        source: &SourceKey,
        at_ns: u64,
    ) -> &'a mut Profile {
        let (profile, evicted) = sources.get_or_insert(source, || Profile {
            first_ns: at_ns,
            last_ns: at_ns,
            systems: Systems::default(),
            round_trips: Latest::default(),
            cluster: None,
            service: 0,
            tracks: scopes.iter().map(|_| Track::default()).collect(),
        });
        counters.evicted_sources += u64::from(evicted);
        profile.last_ns = profile.last_ns.max(at_ns);
        profile
    }
}

impl Profile {
    fn in_scope(&mut self, scopes: &[ServiceSet], service: u8) -> impl Iterator<Item = &mut Track> {
        let pairs = self.tracks.iter_mut().zip(scopes);
        pairs.filter(move |(_, scope)| scope.contains(service)).map(|(track, _)| track)
    }
}

/// What a milestone counts that proves nothing about a source.
const fn unproven_count(kind: MilestoneKind) -> Option<Count> {
    Some(match kind {
        MilestoneKind::Ports => Count::Ports,
        MilestoneKind::HalfOpen => Count::HalfOpen,
        MilestoneKind::Strays => Count::Strays,
        MilestoneKind::OddFlags => Count::OddFlags,
        MilestoneKind::Datagrams => Count::Datagrams,
        MilestoneKind::Stalled | MilestoneKind::Guarding | MilestoneKind::Pressure => return None,
    })
}

/// Whether two times are of one proof: that of a hello is known to a microsecond, and no ports are
/// used again within one.
pub(crate) const fn is_same_proof(one_ns: u64, other_ns: u64) -> bool {
    one_ns.abs_diff(other_ns) <= 2 * HELLO_DELAY_UNIT_NS
}

#[cfg(test)]
mod tests;
