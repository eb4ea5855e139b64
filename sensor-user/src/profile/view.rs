//! What is known of one source in one scope, for features to be read from.

use weir_common::abi::{ServiceSet, SourceKey};

use super::{
    Track,
    campaign::Campaign,
    distinct::sender,
    hellos::Hellos,
    latest::Latest,
    prefix::Prefix,
    service::Service,
    signals::Signals,
    spread,
    systems::Systems,
    unproven::Reported,
    usage::{Fingerprints, Usage},
};
use crate::score::registry::SignalFeature;

/// Senders, the source's own among them, from which on a fingerprint is common.
const COMMON: usize = 8;

/// Fewest round trips that say something.
const FEWEST_ROUND_TRIPS: usize = 4;

/// What is known of one source in one scope.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Its connections; `None` if it has no proven one.
    pub track: Option<&'a Track>,
    /// When its first connection was proven.
    pub first_ns: Option<u64>,
    /// What was sent in its name and proves nothing. Forgeable.
    pub(crate) unproven: Reported,
    /// What its SYNs looked like. Forgeable.
    pub(crate) systems: Option<&'a Systems>,
    pub(super) round_trips: Option<&'a Latest<u32>>,
    /// Whether another sender was seen to resume a session here: the server lets clients do it.
    pub(super) others_resume: bool,
    /// Whether a ClientHello ever came here.
    pub(crate) hellos_come: bool,
    /// The services that are judged together.
    pub(crate) services: ServiceSet,
    pub(super) fingerprints: &'a Fingerprints,
    /// Whom it is about.
    pub(crate) source: SourceKey,
    /// The service that it came to.
    pub(crate) service_id: Option<u8>,
    /// What is known of that.
    pub(crate) service: Option<&'a Service>,
    /// Its network.
    pub(crate) prefix: Option<&'a Prefix>,
    /// Those who do the same as it.
    pub(crate) campaign: Option<&'a Campaign>,
    pub(super) signals: &'a Signals,
}

impl<'a> View<'a> {
    /// Its hellos and SYNs.
    pub(crate) fn hellos(&self) -> Option<&'a Hellos> {
        self.track.map(|track| &track.hellos)
    }

    /// Median round-trip time, nanoseconds, and the spread of the middle of them; unknown below
    /// [`FEWEST_ROUND_TRIPS`].
    pub(crate) fn round_trip(&self) -> Option<(u64, f64)> {
        let mut sorted: Vec<u64> = self.round_trips?.iter().map(|ns| u64::from(*ns)).collect();
        sorted.sort_unstable();
        let is_enough = sorted.len() >= FEWEST_ROUND_TRIPS;
        is_enough.then(|| Some((spread::median(&sorted)?, spread::middle_variation(&sorted))))?
    }

    /// What applications said: a declared feature's value.
    pub(crate) fn signal(&self, feature: &SignalFeature, now_ns: u64) -> Option<f64> {
        self.signals.measure(feature, &self.source, self.service_id, now_ns)
    }

    /// What is known of the TLS fingerprint that it used last.
    pub(crate) fn latest_fingerprint(&self) -> Option<&'a Usage> {
        self.fingerprints.get(self.hellos()?.latest()?)
    }

    /// The share that this fingerprint has of the scope's connections.
    pub(crate) fn latest_share(&self, now_ns: u64) -> Option<f64> {
        self.fingerprints.share(self.hellos()?.latest()?, self.services, now_ns)
    }

    /// Of its TLS fingerprints, the share that [`COMMON`] senders use.
    pub(crate) fn common_share(&self) -> Option<f64> {
        let fingerprints = self.hellos()?.fingerprints();
        let all = fingerprints.len();
        let is_common =
            |it: &&_| self.fingerprints.get(it).is_some_and(|it| it.senders() >= COMMON);
        let common = fingerprints.filter(is_common).count();
        (all > 0).then(|| common as f64 / all as f64)
    }

    /// How often it resumed where it could; unknown where nobody else ever did.
    pub(crate) fn resumption_share(&self) -> Option<f64> {
        self.hellos()?.resumption_share().filter(|_| self.others_resume)
    }
}

/// Two of the senders that resumed sessions in one scope: enough to say whether anybody besides one
/// of them did. And whether anybody ever spoke TLS there.
#[derive(Debug, Default)]
pub(super) struct Resumers {
    senders: [Option<u64>; 2],
    hellos_come: bool,
}

impl Resumers {
    pub(super) fn add(&mut self, source: &SourceKey) {
        let key = sender(source);
        if !self.senders.contains(&Some(key))
            && let Some(free) = self.senders.iter_mut().find(|slot| slot.is_none())
        {
            *free = Some(key);
        }
    }

    pub(super) const fn note_hello(&mut self) {
        self.hellos_come = true;
    }

    pub(super) const fn hellos_come(&self) -> bool {
        self.hellos_come
    }

    pub(super) fn besides(&self, source: &SourceKey) -> bool {
        let key = sender(source);
        self.senders.iter().flatten().any(|other| *other != key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_else_must_have_resumed() {
        let source = |n: u32| SourceKey { words: [u32::MAX, n] };
        let mut resumers = Resumers::default();
        assert!(!resumers.besides(&source(1)));
        resumers.add(&source(1));
        resumers.add(&source(1));
        assert!(!resumers.besides(&source(1)) && resumers.besides(&source(2)));
        for n in 2..9 {
            resumers.add(&source(n));
        }
        assert!((0..9).all(|n| resumers.besides(&source(n))));
    }
}
