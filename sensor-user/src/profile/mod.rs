//! Profiles: what is remembered of each source, from events alone.
//!
//! A source gets a profile when its first connection is proven, so forged packets cannot fill the
//! table; port scans, which prove nothing, have a small table of their own, and TLS fingerprints one
//! that one sender cannot empty. All are bounded: the least recently seen goes first, and is
//! counted. Events may be lost, doubled or late: counts then err on the low side and never stay
//! wrong.

pub mod source;

mod arrivals;
mod closed;
pub(crate) mod distinct;
mod hellos;
mod latest;
pub(crate) mod lru;
mod open;
pub(crate) mod probation;
mod recent;
mod rhythm;
mod spread;
pub(crate) mod subject;
mod systems;
mod track;
mod unproven;
mod usage;
mod view;
mod windows;

use serde::Serialize;
use weir_common::abi::{
    Closed, Established, Milestone, MilestoneKind, ServiceSet, SourceKey, flow::FLOW_PROXIED,
    time::SECOND_NS,
};

pub(crate) use self::{
    closed::{Kind, Measure},
    unproven::Count,
    windows::Windows,
};
use self::{
    latest::Latest, lru::Lru, systems::Systems, unproven::Unproven, usage::Fingerprints,
    view::Resumers,
};
pub use self::{track::Track, view::View};
use crate::event::{HELLO_DELAY_UNIT_NS, Hello};

/// Round-trip times kept of a source.
const ROUND_TRIPS: u8 = 32;

/// How much is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct ProfileLimits {
    /// Sources with a proven connection.
    pub sources: usize,
    /// Sources without one, seen to try ports.
    pub scanners: usize,
    /// Open connections followed of one source and set of services. Counts end there.
    pub connections_per_source: usize,
    /// A connection whose end was not seen counts as open for so long.
    pub connection_timeout_ns: u64,
    /// A source that was not seen for so long is forgotten.
    pub idle_ns: u64,
    /// TLS fingerprints.
    pub fingerprints: usize,
}

impl Default for ProfileLimits {
    fn default() -> Self {
        Self {
            sources: 65_536,
            scanners: 16_384,
            connections_per_source: 1024,
            connection_timeout_ns: 600 * SECOND_NS,
            idle_ns: 1800 * SECOND_NS,
            fingerprints: 8192,
        }
    }
}

/// What was out of the ordinary, counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct ProfileCounters {
    /// Sources forgotten to make room.
    pub evicted_sources: u64,
    /// Scanners forgotten to make room.
    pub evicted_scanners: u64,
    /// TLS fingerprints forgotten to make room.
    pub evicted_fingerprints: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Connections not followed because their source had too many.
    pub untracked: u64,
    /// Ends of connections whose beginning was not seen.
    pub unknown_closed: u64,
}

/// One source.
#[derive(Debug)]
struct Profile {
    first_ns: u64,
    last_ns: u64,
    systems: Systems,
    // Nanoseconds.
    round_trips: Latest<u32>,
    // Index: scope.
    tracks: Vec<Track>,
}

/// All sources. What a source does is kept by *scope*: a set of services that is judged together.
#[derive(Debug)]
pub struct Profiles {
    limits: ProfileLimits,
    scopes: Vec<ServiceSet>,
    sources: Lru<SourceKey, Profile>,
    unproven: Unproven,
    fingerprints: Fingerprints,
    // Index: scope.
    resumers: Vec<Resumers>,
    counters: ProfileCounters,
}

impl Profiles {
    /// Empty profiles for these scopes.
    #[must_use]
    pub fn new(limits: ProfileLimits, scopes: Vec<ServiceSet>) -> Self {
        Self {
            limits,
            resumers: scopes.iter().map(|_| Resumers::default()).collect(),
            scopes,
            sources: Lru::new(limits.sources),
            unproven: Unproven::new(limits.scanners),
            fingerprints: Fingerprints::new(limits.fingerprints),
            counters: ProfileCounters::default(),
        }
    }

    /// A flow of this source was proven.
    pub fn established(&mut self, source: &SourceKey, event: &Established) {
        let (at_ns, service) = (event.header.at_ns, event.header.service);
        let limits = self.limits;
        let counters = &mut self.counters;
        let profile = Self::touch(&mut self.sources, &self.scopes, counters, source, at_ns);
        // Through a proxy the SYN is the proxy's.
        if event.flags & FLOW_PROXIED == 0 {
            profile.systems.note(&event.syn, at_ns);
            if event.rtt_ns != u32::MAX {
                profile.round_trips.push(event.rtt_ns, ROUND_TRIPS);
            }
        }
        for track in profile.in_scope(&self.scopes, service) {
            track.established(&event.key, at_ns, &limits, counters);
        }
    }

    /// A proven flow of this source ended.
    pub fn closed(&mut self, source: &SourceKey, event: &Closed) {
        let (at_ns, service) = (event.header.at_ns, event.header.service);
        let counters = &mut self.counters;
        let profile = Self::touch(&mut self.sources, &self.scopes, counters, source, at_ns);
        for (track, scope) in profile.tracks.iter_mut().zip(&self.scopes) {
            if scope.contains(service) {
                track.closed(event, counters);
            } else {
                // It may have been proven before its name said which service it is for.
                track.turned_out_elsewhere(&event.key, event.flow.proven_ns);
            }
        }
    }

    /// A proven flow of this source goes on.
    pub fn progress(&mut self, source: &SourceKey, event: &Closed) {
        let limits = self.limits;
        let counters = &mut self.counters;
        let at_ns = event.header.at_ns;
        let profile = Self::touch(&mut self.sources, &self.scopes, counters, source, at_ns);
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
            // About a service, not about a source: its address is whoever's SYN came first.
            Some(MilestoneKind::Guarding) => {}
            _ => {
                let Some(count) = unproven_count(event.header.detail) else { return };
                let evicted = self.unproven.note(source, count, event);
                self.counters.evicted_scanners += u64::from(evicted);
            }
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
        let pairs = profile.tracks.iter_mut().zip(&self.scopes);
        for ((track, scope), resumers) in pairs.zip(&mut self.resumers) {
            if !scope.contains(event.service) {
                track.turned_out_elsewhere(&event.key, event.proven_ns());
                continue;
            }
            track.turned_out_here(&event.key, event.proven_ns(), &limits, counters);
            resumers.note_hello();
            if track.hellos.over_tcp(event) {
                resumers.add(source);
            }
        }
    }

    /// One over QUIC proves nothing: it is only compared with what is known of the source already.
    fn hello_over_quic(&mut self, source: &SourceKey, event: &Hello) {
        if let Some(profile) = self.sources.get_mut(source) {
            for track in profile.in_scope(&self.scopes, event.service) {
                track.hellos.over_quic(event);
            }
        }
    }

    /// Forgets what was idle for too long.
    pub fn tick(&mut self, now_ns: u64) {
        let idle = self.limits.idle_ns;
        while self.sources.pop_oldest_if(|p| now_ns.saturating_sub(p.last_ns) > idle).is_some() {}
        self.unproven.tick(now_ns);
    }

    /// What is known of a source in a scope, at this time.
    pub fn view(&mut self, source: &SourceKey, scope: usize, now_ns: u64) -> View<'_> {
        let timeout = self.limits.connection_timeout_ns;
        if let Some(profile) = self.sources.get_mut(source)
            && let Some(track) = profile.tracks.get_mut(scope)
        {
            track.time_out(now_ns, timeout);
        }
        let profile = self.sources.get(source);
        let others_resume =
            self.resumers.get(scope).is_some_and(|resumers| resumers.besides(source));
        View {
            track: profile.and_then(|profile| profile.tracks.get(scope)),
            first_ns: profile.map(|profile| profile.first_ns),
            unproven: self.unproven.get(source),
            systems: profile.map(|profile| &profile.systems),
            round_trips: profile.map(|profile| &profile.round_trips),
            others_resume,
            hellos_come: self.resumers.get(scope).is_some_and(Resumers::hellos_come),
            services: self.scopes.get(scope).copied().unwrap_or_default(),
            fingerprints: &self.fingerprints,
        }
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
    pub fn replace_scopes(&mut self, limits: ProfileLimits, scopes: Vec<ServiceSet>) {
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
    }

    /// How many sources there are, scanners apart.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.len() == 0
    }

    /// What was out of the ordinary.
    #[must_use]
    pub const fn counters(&self) -> ProfileCounters {
        self.counters
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

/// What a milestone of this number counts that proves nothing.
const fn unproven_count(detail: u8) -> Option<Count> {
    Some(match detail {
        2 => Count::Ports,
        4 => Count::HalfOpen,
        5 => Count::Strays,
        6 => Count::OddFlags,
        7 => Count::Datagrams,
        _ => return None,
    })
}

/// Whether two times are of one proof: that of a hello is known to a microsecond, and no ports are
/// used again within one.
pub(crate) const fn is_same_proof(one_ns: u64, other_ns: u64) -> bool {
    one_ns.abs_diff(other_ns) <= 2 * HELLO_DELAY_UNIT_NS
}

#[cfg(test)]
mod tests;
