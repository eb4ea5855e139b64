//! A feature's value, read from what is known of a source.

use weir_common::abi::time::SECOND_NS;

use super::{
    baseline::{Baselines, Place},
    feature::{FEATURE_COUNT, Feature},
    registry::{Declared, FeatureId, Registry},
    reputation::Reputation,
};
use crate::profile::{Count, Kind, Measure, Track, View, Volume};

/// Fewest open connections of which a share says something.
const FEWEST_OPEN: usize = 8;

const MINUTE: u32 = 60;
const TEN_MINUTES: u32 = 600;
const HOUR: u32 = 3600;

/// What features are read from besides the source's profile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) registry: &'a Registry,
    pub(super) reputation: &'a dyn Reputation,
    pub(super) baselines: &'a Baselines,
    /// The hour of the day, 0 to 23.
    pub(super) hour: u8,
}

/// Features that have a rank in the service's baseline: the rank, and what it is of.
pub(super) const RANKED: [(Feature, Feature); 6] = [
    (Feature::Connections10mRank, Feature::Connections10m),
    (Feature::Exchanges10mRank, Feature::Exchanges10m),
    (Feature::Handshakes10mRank, Feature::Handshakes10m),
    (Feature::RegularityRank, Feature::ConnectionRegularity),
    (Feature::RequestBytesRank, Feature::RequestBytesP50),
    (Feature::ResponseBytesRank, Feature::ResponseBytesP50),
];

/// The features of one source in one scope at one time, each measured at most once and only if
/// asked for.
pub(super) struct Measurements<'a> {
    around: Around<'a>,
    view: View<'a>,
    now_ns: u64,
    known: [Option<Option<f64>>; FEATURE_COUNT],
}

impl<'a> Measurements<'a> {
    pub(super) const fn new(around: Around<'a>, view: View<'a>, now_ns: u64) -> Self {
        Self { around, view, now_ns, known: [None; FEATURE_COUNT] }
    }

    /// What they are read from.
    pub(super) const fn view(&self) -> &View<'a> {
        &self.view
    }

    /// The values of some features, in a sentence.
    pub(super) fn sentence(&mut self, features: &[FeatureId]) -> String {
        let parts: Vec<String> = features.iter().map(|feature| self.explain(*feature)).collect();
        parts.join("; ")
    }

    /// The value; `None` if it is unknown.
    pub(super) fn get(&mut self, id: FeatureId) -> Option<f64> {
        let Some(feature) = id.as_built_in() else { return self.declared(id) };
        if let Some(Some(known)) = self.known.get(feature as usize) {
            return *known;
        }
        let ranked = RANKED.into_iter().find(|(rank, _)| *rank == feature);
        let value = match ranked {
            Some((_, base)) => self.rank(base),
            None => self.measure(feature),
        };
        if let Some(slot) = self.known.get_mut(feature as usize) {
            *slot = Some(value);
        }
        value
    }

    /// Which share of the service's own baseline lies below the source's value.
    fn rank(&mut self, base: Feature) -> Option<f64> {
        let service = self.view.service_id?;
        let value = self.get(base.into())?;
        let place = Place::new(&self.view.services, service);
        self.around.baselines.rank(place, base.into(), value, self.around.hour)
    }

    /// The value in words.
    pub(super) fn explain(&mut self, id: FeatureId) -> String {
        let value = self.get(id);
        self.around.registry.explain(id, value)
    }

    fn measure(&self, feature: Feature) -> Option<f64> {
        let group = if (feature as u8) < Feature::DistinctPorts as u8 {
            match self.view.track {
                Some(track) => self.of_source(feature, track),
                // Who never proved a connection has none; there is nothing whose spread could be
                // known.
                None => feature.is_count().then_some(0.0),
            }
        } else {
            self.of_unproven(feature)
        };
        group.or_else(|| self.of_fingerprint(feature)).or_else(|| self.of_others(feature))
    }

    /// What the source does, on connections that it proved.
    fn of_source(&self, feature: Feature, track: &Track) -> Option<f64> {
        use Feature as F;
        let now_ns = self.now_ns;
        let arrivals = |seconds| Some(track.arrivals.within(now_ns, seconds) as f64);
        let open = track.open.len();
        let median = |measure| track.closed.median(measure, now_ns);
        let share = |kind| track.closed.share(kind, now_ns);
        match feature {
            F::Connections1s => arrivals(1),
            F::Connections10s => arrivals(10),
            F::Connections1m => arrivals(MINUTE),
            F::Connections10m => arrivals(TEN_MINUTES),
            F::Connections1h => arrivals(HOUR),
            F::BusySeconds30s => Some(track.arrivals.busy(now_ns, 1, 30) as f64),
            F::BusyMinutes1h => Some(track.arrivals.busy(now_ns, 60, 60) as f64),
            F::ConnectionIntervalP50 => track.arrivals.interval_median_ns().map(seconds),
            F::ConnectionIntervalCv => track.arrivals.interval_cv(),
            F::ConnectionRegularity => track.arrivals.regularity(),
            F::OpenConnections => Some(open as f64),
            F::PeakConnections1m => Some(track.arrivals.peak(now_ns, open) as f64),
            F::StalledConnections => Some(track.open.stalled() as f64),
            F::StalledShare => {
                (open >= FEWEST_OPEN).then(|| track.open.stalled() as f64 / open as f64)
            }
            F::Age => self.view.first_ns.map(|first| seconds(now_ns.saturating_sub(first))),
            F::ConnectionDurationP50 => median(Measure::Duration).map(seconds),
            F::ExchangesPerConnectionP50 => median(Measure::Exchanges).map(|n| n as f64),
            F::RequestBytesP50 => median(Measure::RequestBytes).map(|n| n as f64),
            F::ResponseBytesP50 => median(Measure::ResponseBytes).map(|n| n as f64),
            F::LongestGapP50 => median(Measure::LongestGap).map(seconds),
            F::RequestBytesCv => track.closed.variation(Measure::RequestBytes, now_ns),
            F::ResponseBytesCv => track.closed.variation(Measure::ResponseBytes, now_ns),
            F::SingleExchangeShare => share(Kind::SingleExchange),
            F::EmptyShare => share(Kind::Empty),
            F::SilentShare => share(Kind::Silent),
            F::ResetShare => share(Kind::Reset),
            F::RetransmissionShare => share(Kind::Retransmitted),
            F::WithoutHelloShare => share(Kind::WithoutHello).filter(|_| self.view.hellos_come),
            F::UnreadHellos => Some(track.closed.count(Kind::UnfinishedHello, now_ns) as f64),
            F::QuietShare => track.closed.quiet_share(now_ns),
            F::RoundTripP50 => self.view.round_trip().map(|(median, _)| seconds(median)),
            F::RoundTripCv => self.view.round_trip().map(|(_, spread)| spread),
            _ => self.of_rhythm(feature, track).or_else(|| self.of_hellos(feature, track)),
        }
    }

    /// What goes on inside its connections.
    fn of_rhythm(&self, feature: Feature, track: &Track) -> Option<f64> {
        use Feature as F;
        let now_ns = self.now_ns;
        let Some(rhythm) = track.rhythm.as_deref() else {
            return feature.is_volume().then_some(0.0);
        };
        let within = |volume, seconds| Some(rhythm.within(volume, now_ns, seconds) as f64);
        match feature {
            F::Exchanges10s => within(Volume::Exchanges, 10),
            F::Exchanges1m => within(Volume::Exchanges, MINUTE),
            F::Exchanges10m => within(Volume::Exchanges, TEN_MINUTES),
            F::Exchanges1h => within(Volume::Exchanges, HOUR),
            F::LongestRun10m => Some(rhythm.longest_run(now_ns, TEN_MINUTES) as f64),
            F::ThinkTimeP50 => rhythm.wait_median_ns().map(seconds),
            F::QuickShare => rhythm.quick_share(),
            F::SmallPacketShare => rhythm.small_share(),
            F::ShortGapShare => rhythm.short_gap_share(),
            F::RequestBytes1m => within(Volume::RequestBytes, MINUTE),
            F::RequestBytes10m => within(Volume::RequestBytes, TEN_MINUTES),
            F::ResponseBytes1m => within(Volume::ResponseBytes, MINUTE),
            F::ResponseBytes10m => within(Volume::ResponseBytes, TEN_MINUTES),
            F::RequestRecords1m => within(Volume::RequestRecords, MINUTE),
            F::RequestRecords10m => within(Volume::RequestRecords, TEN_MINUTES),
            F::RequestPackets1m => within(Volume::RequestPackets, MINUTE),
            F::ResponsePackets1m => within(Volume::ResponsePackets, MINUTE),
            _ => None,
        }
    }

    /// How it speaks TLS.
    fn of_hellos(&self, feature: Feature, track: &Track) -> Option<f64> {
        use Feature as F;
        let now_ns = self.now_ns;
        let hellos = &track.hellos;
        let full = |late| Some(hellos.full_handshakes(now_ns, TEN_MINUTES, late) as f64);
        match feature {
            F::Handshakes10s => Some(hellos.handshakes(now_ns, 10) as f64),
            F::Handshakes1m => Some(hellos.handshakes(now_ns, MINUTE) as f64),
            F::Handshakes10m => Some(hellos.handshakes(now_ns, TEN_MINUTES) as f64),
            F::FullHandshakes10m => full(false),
            F::LateFullHandshakes10m => full(true),
            F::NeedlessHandshakes10m => {
                Some(hellos.needless_handshakes(now_ns, TEN_MINUTES) as f64)
            }
            F::ResumedShare10m => hellos.resumed_share(now_ns, TEN_MINUTES),
            F::QuicConnections10s => Some(hellos.quic_handshakes(now_ns, 10) as f64),
            F::ResumptionShare => self.view.resumption_share(),
            F::HelloDelayP50 => hellos.median_delay_ns().map(seconds),
            F::BrowserLikeness => hellos.browser_likeness(),
            F::ConflictingHellos => Some(f64::from(hellos.conflicts())),
            F::Fingerprints => Some(hellos.fingerprints().len() as f64),
            F::Fingerprints1h => Some(hellos.fingerprints_last_hour(now_ns) as f64),
            F::CommonFingerprintShare => self.view.common_share(),
            _ => None,
        }
    }

    /// What anybody can send in its name.
    fn of_unproven(&self, feature: Feature) -> Option<f64> {
        use Feature as F;
        let now_ns = self.now_ns;
        let count = |count| Some(self.view.unproven.get(count, now_ns) as f64);
        let systems = self.view.systems;
        match feature {
            F::DistinctPorts => count(Count::Ports),
            F::HalfOpen1m => count(Count::HalfOpen),
            F::StraySegments1m => count(Count::Strays),
            F::OddSegments1m => count(Count::OddFlags),
            F::StrayDatagrams1m => count(Count::Datagrams),
            F::SynSystems1h => Some(systems.map_or(0, |it| it.last_hour(now_ns)) as f64),
            F::SynTtls1h => Some(systems.map_or(0, |it| it.ttls_last_hour(now_ns)) as f64),
            F::QuicDisagreements => {
                self.view.hellos()?.quic_disagreements().map(|count| count as f64)
            }
            _ => None,
        }
    }

    /// What others do: of its campaign, its network, at the service that it came to.
    fn of_others(&self, feature: Feature) -> Option<f64> {
        use Feature as F;
        let now_ns = self.now_ns;
        let (campaign, prefix, service) = (self.view.campaign, self.view.prefix, self.view.service);
        let network = |seconds| Some(prefix?.connections(now_ns, seconds) as f64);
        let here = |seconds| Some(service?.connections(now_ns, seconds) as f64);
        match feature {
            F::CampaignSources1h => Some(campaign?.sources(now_ns) as f64),
            F::CampaignConnections1h => Some(campaign?.connections(now_ns) as f64),
            F::CampaignExclusiveShare => campaign?.exclusive_share(now_ns),
            F::CampaignAge => Some(seconds(now_ns.saturating_sub(campaign?.first_ns()))),
            F::PrefixConnections1m => network(MINUTE),
            F::PrefixConnections10m => network(TEN_MINUTES),
            F::PrefixSources10m => Some(prefix?.sources(now_ns, TEN_MINUTES) as f64),
            F::PrefixSources1h => Some(prefix?.sources(now_ns, HOUR) as f64),
            F::PrefixJudgedShare => prefix?.judged_share(now_ns),
            F::ServiceConnections10s => here(10),
            F::ServiceConnections1m => here(MINUTE),
            F::ServiceConnections10m => here(TEN_MINUTES),
            F::ServiceConnections1h => here(HOUR),
            F::ServiceSources10m => Some(service?.sources(now_ns, 10) as f64),
            F::ServiceSources1h => Some(service?.sources(now_ns, 60) as f64),
            F::ServiceSyns10s => Some(service?.syns(now_ns, 10) as f64),
            F::Asn => self.around.reputation.asn(&self.view.source).map(f64::from),
            F::Country => self.around.reputation.country(&self.view.source).map(f64::from),
            F::ServiceProvenShare10s => service?.proven_share(now_ns, 10),
            _ => None,
        }
    }

    /// What a Site declares.
    fn declared(&self, id: FeatureId) -> Option<f64> {
        match self.around.registry.declared().nth(id.as_declared()?)? {
            Declared::Signal(signal) => self.view.signal(signal, self.now_ns),
            Declared::Feed(feed) => {
                let listed = self.around.reputation.listed(*feed, &self.view.source)?;
                Some(f64::from(u8::from(listed)))
            }
        }
    }

    /// Its latest fingerprint, whoever uses it.
    fn of_fingerprint(&self, feature: Feature) -> Option<f64> {
        use Feature as F;
        let latest = || self.view.latest_fingerprint();
        match feature {
            F::FingerprintSenders => latest().map(|usage| usage.senders() as f64),
            F::FingerprintConnections => latest().map(|usage| usage.connections() as f64),
            F::FingerprintConnections1m => {
                latest().map(|usage| usage.last_minute(self.now_ns) as f64)
            }
            F::FingerprintSources1h => {
                latest().map(|usage| usage.senders_last_hour(self.now_ns) as f64)
            }
            F::FingerprintNewSources10m => latest()?.newcomers(self.now_ns).map(|n| n as f64),
            F::FingerprintSingleShapeShare => latest()?.single_shape_share(),
            F::FingerprintShare => self.view.latest_share(self.now_ns),
            F::FingerprintAge => {
                latest().map(|usage| seconds(self.now_ns.saturating_sub(usage.first_ns())))
            }
            _ => None,
        }
    }
}

impl Feature {
    /// Whether it is known to be zero for a source without a connection.
    const fn is_count(self) -> bool {
        matches!(
            self,
            Self::Connections1s
                | Self::Connections10s
                | Self::Connections1m
                | Self::Connections10m
                | Self::Connections1h
                | Self::BusySeconds30s
                | Self::BusyMinutes1h
                | Self::OpenConnections
                | Self::PeakConnections1m
                | Self::StalledConnections
                | Self::Handshakes10s
                | Self::Handshakes1m
                | Self::Handshakes10m
                | Self::FullHandshakes10m
                | Self::NeedlessHandshakes10m
                | Self::QuicConnections10s
                | Self::LateFullHandshakes10m
                | Self::UnreadHellos
                | Self::Fingerprints
                | Self::Fingerprints1h
                | Self::ConflictingHellos
        ) || self.is_volume()
    }

    /// Whether it counts what goes on inside connections.
    const fn is_volume(self) -> bool {
        matches!(
            self,
            Self::LongestRun10m
                | Self::Exchanges10s
                | Self::Exchanges1m
                | Self::Exchanges10m
                | Self::Exchanges1h
                | Self::RequestBytes1m
                | Self::RequestBytes10m
                | Self::ResponseBytes1m
                | Self::ResponseBytes10m
                | Self::RequestRecords1m
                | Self::RequestRecords10m
                | Self::RequestPackets1m
                | Self::ResponsePackets1m
        )
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / SECOND_NS as f64
}
