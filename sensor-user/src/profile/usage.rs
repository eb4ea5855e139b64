//! What is known of each TLS fingerprint: who uses it, how often, since when.
//!
//! A fingerprint is known by its stable form, so that resumption and padding do not make two of one
//! client. Bounded, and a sender alone cannot push out what others use too.

use weir_common::abi::{ServiceSet, SourceKey, time::SECOND_NS};

use super::{distinct::sender, probation::Probation, recent::Recent, windows::Windows};
use crate::fingerprint::ja4::Ja4;

/// Senders of one fingerprint that are told apart; counts end there.
pub(crate) const MOST_SENDERS: usize = 128;

/// Senders from which on a fingerprint is established.
const ESTABLISHED: usize = 2;

/// Fewest connections of a service of which a share says something.
const FEWEST: u64 = 64;

const HOUR_NS: u64 = 3600 * SECOND_NS;
const SLOT_NS: u64 = 10 * SECOND_NS;
const SLOTS: usize = 6;

/// One fingerprint.
#[derive(Debug)]
pub(crate) struct Usage {
    first_ns: u64,
    connections: u64,
    // By what each is told by.
    senders: Recent<u64>,
    newcomers: Windows,
    shapes: Shapes,
    minute: Minute,
    hours: Hours,
}

/// All fingerprints.
#[derive(Debug)]
pub(crate) struct Fingerprints {
    known: Probation<Ja4, Usage>,
    hours: Hours,
}

impl Fingerprints {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { known: Probation::new(capacity), hours: Hours::default() }
    }

    /// A connection with it came to a service. Says whether another fingerprint had to go for it.
    pub(crate) fn record(
        &mut self,
        fingerprint: &Ja4,
        source: &SourceKey,
        service: u8,
        at_ns: u64,
    ) -> bool {
        self.hours.record(service, at_ns);
        let (usage, evicted) = self.known.get_or_insert(fingerprint, || Usage::new(at_ns));
        usage.connections += 1;
        usage.minute.record(at_ns);
        usage.hours.record(service, at_ns);
        let is_established = {
            if usage.senders.note(sender(source), at_ns, MOST_SENDERS) {
                usage.newcomers.record(at_ns, 1);
            }
            usage.senders.len() >= ESTABLISHED
        };
        let evicted_by_it = is_established && self.known.establish(fingerprint);
        evicted || evicted_by_it
    }

    /// A connection with it ended, and was of this shape.
    pub(crate) fn closed(&mut self, fingerprint: &Ja4, shape: u64) {
        if let Some(usage) = self.known.get_mut(fingerprint) {
            usage.shapes.record(shape);
        }
    }

    pub(crate) fn get(&self, fingerprint: &Ja4) -> Option<&Usage> {
        self.known.get(fingerprint)
    }

    /// Its share of the connections of some services in this hour and the one before; unknown below
    /// [`FEWEST`].
    pub(crate) fn share(
        &self,
        fingerprint: &Ja4,
        services: ServiceSet,
        now_ns: u64,
    ) -> Option<f64> {
        let all = self.hours.within(services, now_ns);
        let own = self.get(fingerprint)?.hours.within(services, now_ns);
        (all >= FEWEST).then(|| own as f64 / all as f64)
    }

    /// Takes another capacity; returns how many fingerprints had to go.
    pub(crate) fn resize(&mut self, capacity: usize) -> u64 {
        self.known.resize(capacity)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}

impl Usage {
    fn new(at_ns: u64) -> Self {
        Self {
            first_ns: at_ns,
            connections: 0,
            senders: Recent::default(),
            newcomers: Windows::default(),
            shapes: Shapes::default(),
            minute: Minute::default(),
            hours: Hours::default(),
        }
    }

    /// When a connection with it was first seen.
    pub(crate) const fn first_ns(&self) -> u64 {
        self.first_ns
    }

    /// Connections with it.
    pub(crate) const fn connections(&self) -> u64 {
        self.connections
    }

    /// Senders that use it, at most [`MOST_SENDERS`].
    pub(crate) fn senders(&self) -> usize {
        self.senders.len()
    }

    /// Senders that used it in the last hour, at most [`MOST_SENDERS`].
    pub(crate) fn senders_last_hour(&self, now_ns: u64) -> usize {
        self.senders.within(now_ns, 3600)
    }

    /// Senders that used it for the first time in the last ten minutes; unknown where there are more
    /// than are told apart.
    pub(crate) fn newcomers(&self, now_ns: u64) -> Option<u64> {
        (self.senders.len() < MOST_SENDERS).then(|| self.newcomers.within(now_ns, 600))
    }

    /// The share of its connections that the most frequent shape has; unknown below
    /// [`FEWEST_SHAPES`].
    pub(crate) fn single_shape_share(&self) -> Option<f64> {
        self.shapes.largest_share()
    }

    /// Connections with it in the last minute, to ten seconds.
    pub(crate) fn last_minute(&self, now_ns: u64) -> u64 {
        self.minute.within(now_ns)
    }
}

/// Shapes that are counted.
const MOST_SHAPES: usize = 8;
/// Fewest connections of which a share says something.
const FEWEST_SHAPES: u32 = 16;
/// Counts are halved when there are more: the latest weigh most.
const MOST_COUNTED: u32 = 4096;

/// The most frequent shapes of connections (Misra and Gries, 1982): a count is too low by at most a
/// ninth of all.
#[derive(Debug, Default)]
struct Shapes {
    counts: Vec<(u64, u32)>,
    all: u32,
}

impl Shapes {
    fn record(&mut self, shape: u64) {
        self.all += 1;
        if let Some((_, count)) = self.counts.iter_mut().find(|(known, _)| *known == shape) {
            *count += 1;
        } else if self.counts.len() < MOST_SHAPES {
            self.counts.push((shape, 1));
        } else {
            self.counts.retain_mut(|(_, count)| {
                *count -= 1;
                *count > 0
            });
        }
        if self.all > MOST_COUNTED {
            self.all /= 2;
            self.counts.iter_mut().for_each(|(_, count)| *count /= 2);
            self.counts.retain(|(_, count)| *count > 0);
        }
    }

    fn largest_share(&self) -> Option<f64> {
        let largest = self.counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
        (self.all >= FEWEST_SHAPES).then(|| f64::from(largest) / f64::from(self.all))
    }
}

/// Counts of the last minute, in slots of ten seconds.
#[derive(Debug, Default)]
struct Minute {
    // The newest slot, which `counts` begins with.
    slot: u64,
    counts: [u32; SLOTS],
}

impl Minute {
    fn record(&mut self, at_ns: u64) {
        let slot = at_ns / SLOT_NS;
        if slot > self.slot {
            let by = usize::try_from(slot - self.slot).unwrap_or(SLOTS).min(SLOTS);
            self.counts.rotate_right(by);
            self.counts.iter_mut().take(by).for_each(|count| *count = 0);
            self.slot = slot;
        }
        let age = usize::try_from(self.slot - slot).unwrap_or(SLOTS);
        if let Some(count) = self.counts.get_mut(age) {
            *count = count.saturating_add(1);
        }
    }

    fn within(&self, now_ns: u64) -> u64 {
        let passed = usize::try_from((now_ns / SLOT_NS).saturating_sub(self.slot));
        let kept = SLOTS.saturating_sub(passed.unwrap_or(SLOTS));
        self.counts.iter().take(kept).map(|count| u64::from(*count)).sum()
    }
}

/// Counts by service of this hour and the one before.
#[derive(Debug, Default)]
struct Hours {
    hour: u64,
    // By service: this hour, the one before. At most 256.
    counts: Vec<(u8, [u32; 2])>,
}

impl Hours {
    fn record(&mut self, service: u8, at_ns: u64) {
        let hour = at_ns / HOUR_NS;
        if hour > self.hour {
            let is_next = hour - self.hour == 1;
            self.hour = hour;
            self.counts.retain_mut(|(_, [this, before])| {
                *before = if is_next { *this } else { 0 };
                *this = 0;
                *before > 0
            });
        }
        match self.counts.iter_mut().find(|(known, _)| *known == service) {
            Some((_, [this, _])) => *this = this.saturating_add(1),
            None => self.counts.push((service, [1, 0])),
        }
    }

    fn within(&self, services: ServiceSet, now_ns: u64) -> u64 {
        let age = (now_ns / HOUR_NS).saturating_sub(self.hour);
        let of = |[this, before]: [u32; 2]| match age {
            0 => u64::from(this) + u64::from(before),
            1 => u64::from(this),
            _ => 0,
        };
        let within = self.counts.iter().filter(|(service, _)| services.contains(*service));
        within.map(|(_, counts)| of(*counts)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ja4(n: u32) -> Ja4 {
        format!("t13d1516h2_8daaf6152771_{n:012x}").parse().unwrap()
    }

    fn source(n: u32) -> SourceKey {
        SourceKey { words: [u32::MAX, n] }
    }

    #[test]
    fn counts_who_how_often_and_since_when() {
        let mut known = Fingerprints::new(16);
        for n in 0..200 {
            known.record(&ja4(1), &source(n), 1, (100 + u64::from(n)) * SECOND_NS);
        }
        let usage = known.get(&ja4(1)).unwrap();
        assert_eq!((usage.first_ns(), usage.connections()), (100 * SECOND_NS, 200));
        assert_eq!(usage.senders(), MOST_SENDERS);
        assert_eq!(usage.last_minute(299 * SECOND_NS), 60);
        assert_eq!(usage.last_minute(400 * SECOND_NS), 0);
    }

    #[test]
    fn newcomers_and_shapes() {
        let mut known = Fingerprints::new(16);
        for n in 0..20 {
            known.record(&ja4(1), &source(n), 1, u64::from(n) * 60 * SECOND_NS);
            known.closed(&ja4(1), if n % 4 == 0 { u64::from(n) } else { 7 });
        }
        let usage = known.get(&ja4(1)).unwrap();
        let now = 19 * 60 * SECOND_NS;
        assert_eq!((usage.newcomers(now), usage.senders_last_hour(now)), (Some(10), 20));
        assert_eq!(usage.single_shape_share(), Some(0.75));
        for n in 0..200 {
            known.record(&ja4(1), &source(n), 1, now);
        }
        assert_eq!(known.get(&ja4(1)).unwrap().newcomers(now), None, "too many to tell");
    }

    #[test]
    fn shares_are_of_the_services_asked_for_and_of_the_last_hours() {
        let mut known = Fingerprints::new(16);
        for n in 0..100 {
            known.record(&ja4(n % 4), &source(n), 1, SECOND_NS);
            known.record(&ja4(9), &source(n), 2, SECOND_NS);
        }
        let (one, both) = (ServiceSet::one(1), ServiceSet::one(1).union(ServiceSet::one(2)));
        assert_eq!(known.share(&ja4(0), one, SECOND_NS), Some(0.25));
        assert_eq!(known.share(&ja4(0), both, SECOND_NS), Some(0.125));
        assert_eq!(known.share(&ja4(0), ServiceSet::one(3), SECOND_NS), None, "too few");
        assert_eq!(known.share(&ja4(77), one, SECOND_NS), None, "never seen");
        assert_eq!(known.share(&ja4(0), one, HOUR_NS + 1), Some(0.25));
        assert_eq!(known.share(&ja4(0), one, 2 * HOUR_NS), None, "too long ago");
    }

    #[test]
    fn one_sender_cannot_push_out_what_others_use() {
        let mut known = Fingerprints::new(16);
        known.record(&ja4(1), &source(1), 1, 1);
        known.record(&ja4(1), &source(2), 1, 2);
        for n in 100..10_000 {
            known.record(&ja4(n), &source(3), 1, u64::from(n));
        }
        assert_eq!(known.get(&ja4(1)).map(Usage::senders), Some(2));
        assert!(known.len() <= 16);
    }

    proptest! {
        #[test]
        fn a_minute_equals_a_list_of_times(
            times in prop::collection::vec(0u64..200, 0..100),
            now in 0u64..300,
        ) {
            let mut minute = Minute::default();
            let mut kept: Vec<u64> = Vec::new();
            let mut newest = 0;
            for at in times {
                minute.record(at * SECOND_NS);
                newest = newest.max(at / 10);
                if at / 10 + 6 > newest {
                    kept.push(at / 10);
                }
            }
            let now = now.max(newest * 10);
            let expected = kept.iter().filter(|slot| **slot + 6 > now / 10).count();
            prop_assert_eq!(minute.within(now * SECOND_NS), expected as u64);
        }
    }
}
