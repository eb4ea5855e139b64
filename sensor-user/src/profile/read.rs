//! What is asked of profiles.

use weir_common::abi::SourceKey;

use super::{ProfileCounters, Profiles, View, view::Resumers};

impl Profiles {
    /// What is known of a source in a scope, at this time, and of the service that it came to.
    pub fn view(
        &mut self,
        source: &SourceKey,
        scope: usize,
        service: Option<u8>,
        now_ns: u64,
    ) -> View<'_> {
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
            source: *source,
            service_id: service,
            service: service.and_then(|service| self.services.get(usize::from(service))),
            prefix: self.prefixes.get(source),
            campaign: profile.and_then(|it| it.cluster.as_ref()).and_then(|cluster| {
                let is_here = self.scopes.get(scope).is_some_and(|it| it.contains(cluster.service));
                self.campaigns.of(cluster).filter(|_| is_here && !cluster.is_mixed())
            }),
            signals: &self.signals,
        }
    }

    /// When anything was last seen of a source, with what comes `in_its_name`; 0 = never.
    #[must_use]
    pub fn last_ns(&self, source: &SourceKey, in_its_name: bool) -> u64 {
        let proven = self.sources.get(source).map_or(0, |profile| profile.last_ns);
        if in_its_name { proven.max(self.unproven.get(source).last_ns()) } else { proven }
    }

    /// The service of a scope that a source came to last.
    pub(crate) fn latest_service(&self, source: &SourceKey, scope: usize) -> Option<u8> {
        let service = self.sources.get(source)?.service;
        self.scopes.get(scope)?.contains(service).then_some(service)
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
}
