//! The operating systems that one source's SYNs look like. Forgeable, like SYNs.

use weir_common::abi::{SynSignature, time::SECOND_NS};

use super::{latest::grow_exactly, recent::Recent};
use crate::fingerprint::agreement::SystemLook;

/// Looks kept; counts end there.
const MOST: usize = 8;

const HOUR_NS: u64 = 3600 * SECOND_NS;

/// The latest looks, and when each was seen last.
#[derive(Debug, Default)]
pub(crate) struct Systems {
    // From the one that was seen longest ago.
    looks: Vec<(SystemLook, u64)>,
    ttls: Recent<u8>,
}

impl Systems {
    /// The SYN of a connection.
    pub(crate) fn note(&mut self, syn: &SynSignature, at_ns: u64) {
        let Some(look) = SystemLook::of(syn) else { return };
        self.ttls.note(syn.ttl, at_ns, MOST);
        self.looks.retain(|(known, _)| *known != look);
        if self.looks.len() == MOST {
            self.looks.remove(0);
        }
        grow_exactly(&mut self.looks);
        self.looks.push((look, at_ns));
    }

    /// The latest.
    pub(crate) fn latest(&self) -> Option<&SystemLook> {
        self.looks.last().map(|(look, _)| look)
    }

    /// How many different TTLs there were in the last hour.
    pub(crate) fn ttls_last_hour(&self, now_ns: u64) -> usize {
        self.ttls.within(now_ns, 3600)
    }

    /// How many there were in the last hour.
    pub(crate) fn last_hour(&self, now_ns: u64) -> usize {
        self.looks.iter().filter(|(_, at_ns)| now_ns.saturating_sub(*at_ns) <= HOUR_NS).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syn(scale: u8) -> SynSignature {
        SynSignature { version: 4, ttl: 64, scale, ..SynSignature::UNKNOWN }
    }

    #[test]
    fn looks_are_counted_once_bounded_and_forgotten_by_the_hour() {
        let mut systems = Systems::default();
        systems.note(&SynSignature::UNKNOWN, SECOND_NS);
        assert_eq!(systems.last_hour(SECOND_NS), 0);
        systems.note(&syn(7), SECOND_NS);
        systems.note(&syn(8), 1800 * SECOND_NS);
        systems.note(&syn(7), 1801 * SECOND_NS);
        assert_eq!(systems.last_hour(1801 * SECOND_NS), 2);
        assert_eq!(systems.last_hour(5400 * SECOND_NS + 1), 1);
        (0..=255).for_each(|scale| systems.note(&syn(scale), 6000 * SECOND_NS));
        assert_eq!(systems.last_hour(6000 * SECOND_NS), MOST);
    }
}
