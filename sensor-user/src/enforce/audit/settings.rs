//! The tables that are no verdicts: as they were set last, and what of it differs in the kernel.

use std::{collections::BTreeMap, fmt::Debug};

use weir_common::abi::{Control, Guard, Service};

/// One of these tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Setting {
    /// Modes and settings.
    Control,
    /// Protected ports.
    Services,
    /// SYN guards.
    Guards,
    /// Names that refine services.
    Names,
    /// Proxies that send a PROXY header.
    Proxies,
    /// What is particular about interfaces.
    Interfaces,
    /// The secret of fingerprints' keys.
    KeySeed,
}

impl Setting {
    /// The map.
    #[must_use]
    pub const fn map(self) -> &'static str {
        match self {
            Self::Control => "CONTROL",
            Self::Services => "SERVICES",
            Self::Guards => "GUARDS",
            Self::Names => "SNI_SERVICES",
            Self::Proxies => "PROXIES",
            Self::Interfaces => "INTERFACES",
            Self::KeySeed => "KEY_SEED",
        }
    }

    /// Whether every verdict depends on it.
    #[must_use]
    pub const fn concerns_all(self) -> bool {
        matches!(self, Self::Control | Self::Services)
    }
}

/// What was set. Absent: nothing was yet.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Modes and settings, as the kernel got them.
    pub control: Option<Control>,
    /// Protected ports by their place in the table; all others belong to no service.
    pub services: Option<BTreeMap<u32, Service>>,
    /// Guards by service: only their rates, the rest is the kernel's.
    pub guards: BTreeMap<u32, Guard>,
    /// Names' keys.
    pub names: Option<BTreeMap<u64, u32>>,
    /// Proxies' keys.
    pub proxies: Option<BTreeMap<[u32; 5], u32>>,
    /// Interfaces' bits.
    pub interfaces: BTreeMap<u32, u32>,
}

/// How many entries of a table differ from what they should be: missing, changed or too many.
#[must_use]
pub fn differing<K: Ord + Debug, V: PartialEq>(
    wanted: &BTreeMap<K, V>,
    found: &BTreeMap<K, V>,
) -> usize {
    let amiss = wanted.iter().filter(|(key, value)| found.get(key) != Some(value)).count();
    amiss + found.keys().filter(|key| !wanted.contains_key(key)).count()
}

/// Whether a guard has the rate that it should have.
#[must_use]
pub const fn same_rate(wanted: &Guard, found: &Guard) -> bool {
    wanted.interval_ns == found.interval_ns && wanted.burst_ns == found.burst_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_changed_and_foreign_entries_differ() {
        let wanted = BTreeMap::from([(1, 'a'), (2, 'b'), (3, 'c')]);
        assert_eq!(differing(&wanted, &wanted), 0);
        let found = BTreeMap::from([(1, 'a'), (2, 'x'), (4, 'd')]);
        assert_eq!(differing(&wanted, &found), 3);
        assert_eq!(differing(&BTreeMap::new(), &found), 3);
    }

    #[test]
    fn a_guards_running_state_is_the_kernels() {
        let wanted = Guard { interval_ns: 5, burst_ns: 9, ..Guard::default() };
        assert!(same_rate(&wanted, &Guard { tat_ns: 77, held_back: 3, ..wanted }));
        assert!(!same_rate(&wanted, &Guard { interval_ns: 0, ..wanted }));
    }
}
