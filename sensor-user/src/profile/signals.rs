//! What applications said: of each source, of each entity, of each service.
//!
//! Only what the Site declares is counted. Bounded: the least recently named source goes first;
//! entities, whose names a client makes up, are on probation until they were named three times.

use weir_common::abi::SourceKey;

use super::{lru::Lru, probation::Probation, recent::Recent, windows::Windows};
use crate::{
    event::Signal,
    score::registry::{Counted, Declared, Registry, SignalFeature, Subject},
};

/// Distinct things told apart for one kind of signal; counts end there.
pub(crate) const MOST_DISTINCT: usize = 128;
/// Signals from which on an entity is established.
const ESTABLISHED: u32 = 3;

/// One kind of signal about one subject.
#[derive(Debug, Default)]
struct Tally {
    kind: u16,
    signals: Windows,
    entities: Recent<u64>,
    endpoints: Recent<u64>,
    sources: Recent<[u32; 2]>,
}

/// What was said of one subject.
#[derive(Debug, Default)]
struct Told {
    times: u32,
    // The entity that was named last; 0 = none.
    entity: u64,
    // Ascending by kind.
    tallies: Vec<Tally>,
}

/// What is declared: kinds by subject.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Wanted {
    features: Vec<SignalFeature>,
}

/// All signals.
#[derive(Debug)]
pub(crate) struct Signals {
    wanted: Wanted,
    sources: Lru<SourceKey, Told>,
    entities: Probation<u64, Told>,
    // Index: service.
    services: Vec<Told>,
}

impl Signals {
    pub(crate) fn new(capacity: usize, registry: &Registry) -> Self {
        Self {
            wanted: Wanted::of(registry),
            sources: Lru::new(capacity),
            entities: Probation::new(capacity),
            services: Vec::new(),
        }
    }

    /// Takes another registry. Numbers of signals may mean others there: then all begins anew.
    pub(crate) fn replace(&mut self, capacity: usize, registry: &Registry) {
        if self.wanted == Wanted::of(registry) {
            self.sources.resize(capacity);
            self.entities.resize(capacity);
        } else {
            *self = Self::new(capacity, registry);
        }
    }

    /// An application said something. Says how many others had to go for it.
    pub(crate) fn note(&mut self, source: &SourceKey, signal: &Signal) -> u64 {
        if self.wanted.features.is_empty() {
            return 0;
        }
        let (told, evicted) = self.sources.get_or_insert(source, Told::default);
        let mut evicted = u64::from(evicted);
        if signal.entity != 0 {
            told.entity = signal.entity;
        }
        told.note(&self.wanted, Subject::Source, source, signal);
        if signal.entity != 0 && self.wanted.wants(Subject::Entity, signal.kind) {
            let (told, pushed_out) = self.entities.get_or_insert(&signal.entity, Told::default);
            told.note(&self.wanted, Subject::Entity, source, signal);
            let is_established = told.times >= ESTABLISHED;
            evicted += u64::from(pushed_out);
            evicted += u64::from(is_established && self.entities.establish(&signal.entity));
        }
        if signal.service != 0 && self.wanted.wants(Subject::Service, signal.kind) {
            let index = usize::from(signal.service);
            if self.services.len() <= index {
                self.services.resize_with(index + 1, Told::default);
            }
            if let Some(told) = self.services.get_mut(index) {
                told.note(&self.wanted, Subject::Service, source, signal);
            }
        }
        evicted
    }

    /// A declared feature's value; `None` where there is no such subject.
    pub(crate) fn measure(
        &self,
        feature: &SignalFeature,
        source: &SourceKey,
        service: Option<u8>,
        now_ns: u64,
    ) -> Option<f64> {
        let told = match feature.subject {
            Subject::Source => self.sources.get(source),
            Subject::Entity => {
                let entity = self.sources.get(source)?.entity;
                (entity != 0).then_some(())?;
                self.entities.get(&entity)
            }
            Subject::Service => self.services.get(usize::from(service?)),
        };
        let tally = told.and_then(|told| told.tally(feature.signal));
        Some(tally.map_or(0.0, |tally| tally.measure(feature, now_ns)))
    }
}

impl Wanted {
    fn of(registry: &Registry) -> Self {
        let signals = registry.declared().filter_map(|declared| match declared {
            Declared::Signal(feature) => Some(*feature),
            Declared::Feed(_) => None,
        });
        Self { features: signals.collect() }
    }

    fn wants(&self, subject: Subject, kind: u16) -> bool {
        self.features.iter().any(|it| it.subject == subject && it.signal == kind)
    }

    fn counts(&self, subject: Subject, kind: u16, counted: Counted) -> bool {
        let same =
            |it: &SignalFeature| (it.subject, it.signal, it.counted) == (subject, kind, counted);
        self.features.iter().any(same)
    }
}

impl Told {
    fn note(&mut self, wanted: &Wanted, subject: Subject, source: &SourceKey, signal: &Signal) {
        self.times = self.times.saturating_add(1);
        if !wanted.wants(subject, signal.kind) {
            return;
        }
        let at = self.tallies.binary_search_by_key(&signal.kind, |tally| tally.kind);
        let at = at.unwrap_or_else(|at| {
            self.tallies.insert(at, Tally { kind: signal.kind, ..Tally::default() });
            at
        });
        let Some(tally) = self.tallies.get_mut(at) else { return };
        tally.signals.record(signal.at_ns, 1);
        let counts = |counted| wanted.counts(subject, signal.kind, counted);
        if signal.entity != 0 && counts(Counted::Entities) {
            tally.entities.note(signal.entity, signal.at_ns, MOST_DISTINCT);
        }
        if signal.endpoint != 0 && counts(Counted::Endpoints) {
            tally.endpoints.note(signal.endpoint, signal.at_ns, MOST_DISTINCT);
        }
        if counts(Counted::Sources) {
            tally.sources.note(source.words, signal.at_ns, MOST_DISTINCT);
        }
    }

    fn tally(&self, kind: u16) -> Option<&Tally> {
        let at = self.tallies.binary_search_by_key(&kind, |tally| tally.kind).ok()?;
        self.tallies.get(at)
    }
}

impl Tally {
    fn measure(&self, feature: &SignalFeature, now_ns: u64) -> f64 {
        let seconds = super::recent::seconds(feature.window_ns).max(1);
        match feature.counted {
            Counted::Signals => self.signals.within(now_ns, seconds) as f64,
            Counted::Entities => self.entities.within(now_ns, seconds) as f64,
            Counted::Endpoints => self.endpoints.within(now_ns, seconds) as f64,
            Counted::Sources => self.sources.within(now_ns, seconds) as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use weir_common::abi::time::SECOND_NS;

    use super::*;
    use crate::score::feature::Feature;

    const WINDOW_NS: u64 = 600 * SECOND_NS;

    fn feature(subject: Subject, counted: Counted) -> SignalFeature {
        SignalFeature { signal: 3, subject, counted, window_ns: WINDOW_NS }
    }

    fn registry() -> Registry {
        let mut registry = Registry::default();
        for (subject, counted) in [
            (Subject::Source, Counted::Signals),
            (Subject::Source, Counted::Entities),
            (Subject::Source, Counted::Endpoints),
            (Subject::Entity, Counted::Sources),
            (Subject::Service, Counted::Signals),
        ] {
            let info = Feature::Age.info().clone();
            registry.declare(info, Declared::Signal(feature(subject, counted)));
        }
        registry
    }

    fn source(n: u32) -> SourceKey {
        SourceKey { words: [u32::MAX, n] }
    }

    fn signal(entity: u64, endpoint: u64, at_s: u64) -> Signal {
        let at_ns = at_s * SECOND_NS;
        Signal { kind: 3, service: 1, entity, endpoint, at_ns, ..Signal::default() }
    }

    #[test]
    fn signals_are_counted_by_what_is_declared() {
        let mut signals = Signals::new(8, &registry());
        for n in 0..6 {
            signals.note(&source(1), &signal(n % 3 + 1, 7, 10 + n));
        }
        signals.note(&source(2), &signal(3, 0, 20));
        signals.note(&source(2), &Signal { kind: 9, ..signal(3, 0, 20) });
        let value = |n, subject, counted, at_s: u64| {
            let feature = feature(subject, counted);
            signals.measure(&feature, &source(n), Some(1), at_s * SECOND_NS)
        };
        assert_eq!(value(1, Subject::Source, Counted::Signals, 20), Some(6.0));
        assert_eq!(value(1, Subject::Source, Counted::Entities, 20), Some(3.0));
        assert_eq!(value(1, Subject::Source, Counted::Endpoints, 20), Some(1.0));
        assert_eq!(value(2, Subject::Entity, Counted::Sources, 20), Some(2.0));
        assert_eq!(value(2, Subject::Service, Counted::Signals, 20), Some(7.0));
        assert_eq!(value(1, Subject::Source, Counted::Signals, 700), Some(0.0));
        assert_eq!(value(3, Subject::Source, Counted::Signals, 20), Some(0.0), "never named");
        assert_eq!(value(3, Subject::Entity, Counted::Sources, 20), None, "it named nobody");
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_declared_and_made_up_entities_push_nobody_out() {
        let mut none = Signals::new(8, &Registry::default());
        none.note(&source(1), &signal(1, 1, 1));
        assert_eq!(none.sources.len(), 0);
        let mut signals = Signals::new(16, &registry());
        for _ in 0..3 {
            signals.note(&source(1), &signal(5, 0, 1));
        }
        let evicted: u64 = (100..1100).map(|n| signals.note(&source(2), &signal(n, 0, 2))).sum();
        assert!(evicted > 900 && signals.entities.get(&5).is_some());
        signals.replace(16, &registry());
        assert!(signals.entities.get(&5).is_some());
        signals.replace(16, &Registry::default());
        assert!(signals.entities.get(&5).is_none());
    }
}
