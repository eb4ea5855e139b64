//! Every decision of a daemon, gathered while it decides: it keeps the latest thousand only.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Result, ensure};

use super::{Decision, Weir};

/// How many are asked for: all that a daemon keeps.
const LATEST: usize = 1024;

/// The decisions of one daemon.
#[derive(Clone, Debug, Default)]
pub struct Chronicle {
    /// By number, in the order in which they were made.
    decisions: BTreeMap<u64, Decision>,
}

impl Chronicle {
    /// Asks for the latest ones. Fails if some were made and forgotten in between.
    pub fn look(&mut self, weir: &Weir<'_>) -> Result<()> {
        let latest = weir.decisions(LATEST)?;
        for (before, decision) in (1..).zip(latest.decisions) {
            // Numbers count from the daemon's start: another daemon has another chronicle.
            self.decisions.insert(latest.made.saturating_sub(before), decision);
        }
        let known = self.decisions.len() as u64;
        ensure!(known >= latest.made, "{} decisions were made, and {known} seen", latest.made);
        Ok(())
    }

    /// All, in the order in which they were made.
    pub fn all(&self) -> impl Iterator<Item = &Decision> {
        self.decisions.values()
    }

    /// Those about an address.
    pub fn of(&self, address: IpAddr) -> impl Iterator<Item = &Decision> {
        self.all().filter(move |decision| decision.is_about(address))
    }

    /// The strongest one about an address; of equals the first.
    #[must_use]
    pub fn strongest(&self, address: IpAddr) -> Option<&Decision> {
        self.of(address).min_by_key(|decision| (usize::MAX - decision.strength(), decision.at_ns))
    }

    /// The first one about an address that would hold it back.
    #[must_use]
    pub fn first_to_restrict(&self, address: IpAddr) -> Option<&Decision> {
        self.of(address).find(|decision| decision.strength() >= Decision::LIMIT)
    }
}
