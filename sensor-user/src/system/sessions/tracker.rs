//! Which peers count: not more than a few, those first that came first, and for a while after they left.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use weir_common::abi::time::SECOND_NS;

/// How long a peer counts after its last session ended: whoever lost a connection comes back.
const GRACE_NS: u64 = 600 * SECOND_NS;

/// Peers of sessions, bounded.
#[derive(Debug, Default)]
pub struct Tracker {
    // When each was seen last.
    known: BTreeMap<IpAddr, u64>,
    refused: u64,
}

impl Tracker {
    /// Takes note of who is logged in now; at most so many count, and nobody who counts loses its place
    /// to somebody who comes later.
    pub fn note(&mut self, peers: &BTreeSet<IpAddr>, most: usize, now_ns: u64) {
        self.known.retain(|_, seen_ns| now_ns.saturating_sub(*seen_ns) < GRACE_NS);
        for (peer, seen_ns) in &mut self.known {
            if peers.contains(peer) {
                *seen_ns = now_ns;
            }
        }
        while self.known.len() > most {
            self.known.pop_last();
        }
        for peer in peers {
            if self.known.contains_key(peer) {
                continue;
            }
            if self.known.len() >= most {
                self.refused += 1;
                continue;
            }
            self.known.insert(*peer, now_ns);
        }
    }

    /// Those who count.
    pub fn peers(&self) -> impl Iterator<Item = IpAddr> {
        self.known.keys().copied()
    }

    /// How often somebody who is logged in did not count, because too many did.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(numbers: impl IntoIterator<Item = u8>) -> BTreeSet<IpAddr> {
        numbers.into_iter().map(|number| IpAddr::from([192, 0, 2, number])).collect()
    }

    fn known(tracker: &Tracker) -> BTreeSet<IpAddr> {
        tracker.peers().collect()
    }

    #[test]
    fn a_peer_counts_until_a_while_after_its_session() {
        let mut tracker = Tracker::default();
        tracker.note(&peers([7]), 8, 0);
        tracker.note(&peers([7]), 8, GRACE_NS);
        tracker.note(&peers([]), 8, 2 * GRACE_NS - 1);
        assert_eq!(known(&tracker), peers([7]));
        tracker.note(&peers([]), 8, 2 * GRACE_NS);
        assert_eq!(known(&tracker), peers([]));
    }

    #[test]
    fn those_who_came_first_keep_their_places() {
        let mut tracker = Tracker::default();
        tracker.note(&peers([200, 201]), 2, 0);
        tracker.note(&peers(0..=255), 2, 1);
        assert_eq!(known(&tracker), peers([200, 201]));
        assert_eq!(tracker.refused(), 254);
        tracker.note(&peers([9]), 0, 2);
        assert_eq!(known(&tracker), peers([]), "nobody counts");
    }
}
