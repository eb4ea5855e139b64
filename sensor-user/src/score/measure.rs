//! A feature's value, read from a profile.

use weir_common::abi::time::SECOND_NS;

use super::{
    feature::{FEATURE_COUNT, Feature},
    registry::{FeatureId, Registry},
};
use crate::profile::{Measure, View};

/// Fewest open connections of which a share says something.
const FEWEST_OPEN: usize = 8;

/// The features of one source in one scope at one time, each measured at most once and only if
/// asked for.
pub(super) struct Measurements<'a> {
    registry: &'a Registry,
    view: View<'a>,
    now_ns: u64,
    known: [Option<Option<f64>>; FEATURE_COUNT],
}

impl<'a> Measurements<'a> {
    pub(super) const fn new(registry: &'a Registry, view: View<'a>, now_ns: u64) -> Self {
        Self { registry, view, now_ns, known: [None; FEATURE_COUNT] }
    }

    /// The value; `None` if it is unknown.
    pub(super) fn get(&mut self, id: FeatureId) -> Option<f64> {
        let feature = id.as_built_in()?;
        if let Some(Some(known)) = self.known.get(feature as usize) {
            return *known;
        }
        let value = self.measure(feature);
        if let Some(slot) = self.known.get_mut(feature as usize) {
            *slot = Some(value);
        }
        value
    }

    /// The value in words.
    pub(super) fn explain(&mut self, id: FeatureId) -> String {
        let value = self.get(id);
        self.registry.explain(id, value)
    }

    fn measure(&self, feature: Feature) -> Option<f64> {
        let now_ns = self.now_ns;
        match feature {
            Feature::DistinctPorts => return Some(self.view.distinct_ports as f64),
            Feature::SynSystems1h => return Some(self.view.systems as f64),
            Feature::Age => {
                return self.view.first_ns.map(|first| seconds(now_ns.saturating_sub(first)));
            }
            _ => {}
        }
        let Some(track) = self.view.track else {
            // Who never proved a connection has none; there is nothing whose spread could be known.
            return is_count(feature).then_some(0.0);
        };
        let within = |seconds| Some(track.arrivals.within(now_ns, seconds) as f64);
        let open = track.open.len();
        let hellos = &track.hellos;
        let latest = self.view.latest_fingerprint();
        let variation = |measure| track.closed.variation(measure, now_ns);
        let median = |measure| track.closed.median(measure, now_ns);
        match feature {
            Feature::Connections1s => within(1),
            Feature::Connections10s => within(10),
            Feature::Connections60s => within(60),
            Feature::BusySeconds30s => Some(track.arrivals.busy_seconds(now_ns, 30) as f64),
            Feature::OpenConnections => Some(open as f64),
            Feature::StalledConnections => Some(track.open.stalled() as f64),
            Feature::StalledShare => {
                (open >= FEWEST_OPEN).then(|| track.open.stalled() as f64 / open as f64)
            }
            Feature::ConnectionIntervalCv => track.arrivals.interval_cv(),
            Feature::ConnectionDurationP50 => median(Measure::Duration).map(seconds),
            Feature::ExchangesPerConnectionP50 => median(Measure::Exchanges).map(|n| n as f64),
            Feature::RequestBytesCv => variation(Measure::RequestBytes),
            Feature::ResponseBytesCv => variation(Measure::ResponseBytes),
            Feature::Fingerprints => Some(hellos.fingerprints().len() as f64),
            Feature::Fingerprints1h => Some(hellos.fingerprints_last_hour(now_ns) as f64),
            Feature::CommonFingerprintShare => self.view.common_share(),
            Feature::FingerprintSenders => latest.map(|usage| usage.senders() as f64),
            Feature::FingerprintConnections => latest.map(|usage| usage.connections() as f64),
            Feature::FingerprintConnections60s => {
                latest.map(|usage| usage.last_minute(now_ns) as f64)
            }
            Feature::FingerprintShare => self.view.latest_share(now_ns),
            Feature::FingerprintAge => {
                latest.map(|usage| seconds(now_ns.saturating_sub(usage.first_ns())))
            }
            Feature::ResumptionShare => self.view.resumption_share(),
            Feature::HelloDelayP50 => hellos.median_delay_ns().map(seconds),
            Feature::ConflictingHellos => Some(f64::from(hellos.conflicts())),
            Feature::QuicDisagreements => hellos.quic_disagreements().map(|count| count as f64),
            // Measured above.
            Feature::Age | Feature::DistinctPorts | Feature::SynSystems1h => None,
        }
    }
}

/// Counts that are known to be zero for a source without a connection.
const fn is_count(feature: Feature) -> bool {
    matches!(
        feature,
        Feature::Connections1s
            | Feature::Connections10s
            | Feature::Connections60s
            | Feature::BusySeconds30s
            | Feature::OpenConnections
            | Feature::StalledConnections
            | Feature::Fingerprints
            | Feature::Fingerprints1h
            | Feature::ConflictingHellos
    )
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / SECOND_NS as f64
}
