//! What the sources of one network do together: an IPv4 /24, or an IPv6 /48.
//!
//! Bounded: a network is on probation until a second source of it came, so that one sender with many
//! networks does not push out those that others share.

use weir_common::abi::SourceKey;

use super::{probation::Probation, recent::Recent, windows::Windows};

/// Sources of one network that are told apart; all that an IPv4 /24 has.
const MOST_SOURCES: usize = 256;
/// Sources from which on a network is established.
const ESTABLISHED: usize = 2;
/// Fewest sources of which a share says something.
const FEWEST: usize = 3;

const HOUR: u32 = 3600;

/// One network.
#[derive(Debug, Default)]
pub(crate) struct Prefix {
    connections: Windows,
    // By what follows the prefix in their addresses.
    sources: Recent<u16>,
    judged: Recent<u16>,
}

impl Prefix {
    /// Connections of its sources in the last `seconds`, at most 3600.
    pub(crate) fn connections(&self, now_ns: u64, seconds: u32) -> u64 {
        self.connections.within(now_ns, seconds)
    }

    /// Sources with a new connection in the last `seconds`.
    pub(crate) fn sources(&self, now_ns: u64, seconds: u32) -> usize {
        self.sources.within(now_ns, seconds)
    }

    /// Of its sources in the last hour, the share that was limited, rejected or dropped in it;
    /// unknown below [`FEWEST`].
    pub(crate) fn judged_share(&self, now_ns: u64) -> Option<f64> {
        let sources = self.sources.within(now_ns, HOUR);
        let judged = self.judged.within(now_ns, HOUR).min(sources);
        (sources >= FEWEST).then(|| judged as f64 / sources as f64)
    }
}

/// All networks.
#[derive(Debug)]
pub(crate) struct Prefixes {
    known: Probation<u64, Prefix>,
}

impl Prefixes {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { known: Probation::new(capacity) }
    }

    /// A connection of a source was proven. Says whether another network had to go for this one.
    pub(crate) fn established(&mut self, source: &SourceKey, at_ns: u64) -> bool {
        let (key, member) = split(source);
        let (prefix, evicted) = self.known.get_or_insert(&key, Prefix::default);
        prefix.connections.record(at_ns, 1);
        let is_new = prefix.sources.note(member, at_ns, MOST_SOURCES);
        let is_established = is_new && prefix.sources.within(at_ns, HOUR) >= ESTABLISHED;
        let evicted_by_it = is_established && self.known.establish(&key);
        evicted || evicted_by_it
    }

    /// A source was limited, rejected or dropped on authentic evidence.
    pub(crate) fn judged(&mut self, source: &SourceKey, at_ns: u64) {
        let (key, member) = split(source);
        if let Some(prefix) = self.known.get_mut(&key) {
            prefix.judged.note(member, at_ns, MOST_SOURCES);
        }
    }

    pub(crate) fn get(&self, source: &SourceKey) -> Option<&Prefix> {
        self.known.get(&split(source).0)
    }

    /// Takes another capacity; returns how many had to go.
    pub(crate) fn resize(&mut self, capacity: usize) -> u64 {
        self.known.resize(capacity)
    }
}

/// A source's network, and what it is told by in there.
fn split(source: &SourceKey) -> (u64, u16) {
    // Keys are in wire order.
    let [high, low] = source.words.map(u32::from_be);
    let mask = if source.v4().is_some() { 0xff } else { 0xffff };
    (u64::from(high) << 32 | u64::from(low & !mask), (low & mask) as u16)
}

#[cfg(test)]
mod tests {
    use weir_common::abi::time::SECOND_NS;

    use super::*;
    use crate::system::address;

    fn source(text: &str) -> SourceKey {
        SourceKey::from_address(&address::words(text.parse().unwrap()))
    }

    #[test]
    fn a_network_is_a_24_or_a_48() {
        let mut prefixes = Prefixes::new(8);
        for last in 1..=4 {
            prefixes.established(&source(&format!("192.0.2.{last}")), SECOND_NS);
            prefixes.established(&source(&format!("2001:db8:1:{last}::1")), SECOND_NS);
        }
        prefixes.established(&source("192.0.3.1"), SECOND_NS);
        prefixes.judged(&source("192.0.2.1"), SECOND_NS);
        for text in ["192.0.2.200", "2001:db8:1:77::1"] {
            let prefix = prefixes.get(&source(text)).unwrap();
            let counts =
                (prefix.sources(2 * SECOND_NS, 600), prefix.connections(2 * SECOND_NS, 60));
            assert_eq!(counts, (4, 4), "{text}");
        }
        let share = |text| prefixes.get(&source(text)).unwrap().judged_share(2 * SECOND_NS);
        assert_eq!(share("192.0.2.9"), Some(0.25));
        assert_eq!(share("192.0.3.9"), None, "too few");
    }

    #[test]
    fn one_sender_with_many_networks_pushes_out_none_that_others_share() {
        let mut prefixes = Prefixes::new(8);
        prefixes.established(&source("192.0.2.1"), SECOND_NS);
        prefixes.established(&source("192.0.2.2"), SECOND_NS);
        for n in 0..1000 {
            prefixes.established(&source(&format!("2001:db8:{n:x}::1")), SECOND_NS);
        }
        assert!(prefixes.get(&source("192.0.2.1")).is_some());
        assert!(prefixes.known.len() <= 8);
    }
}
