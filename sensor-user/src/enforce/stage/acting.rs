//! Whether a policy's decision acts: a matter of its stage, its ceiling, and whom it is about.

use std::{collections::BTreeMap, sync::Arc};

use weir_common::abi::{Mode, SourceKey};

use super::{Lot, Stage};

/// How far one policy may go now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Its stage.
    pub stage: Stage,
    /// The share of sources that it acts on in canary, in parts per million.
    pub canary_ppm: u32,
}

/// What policies stand at, for the engine and the ledger. Policies that are not named watch.
#[derive(Clone, Debug, Default)]
pub struct Acting {
    lot: Lot,
    standings: BTreeMap<Arc<str>, Standing>,
    others: Standing,
}

impl Acting {
    /// Every policy at the same stage, as in tests and replays. In canary, `canary_ppm` of sources.
    #[must_use]
    pub fn all(stage: Stage, canary_ppm: u32) -> Self {
        Self { others: Standing { stage, canary_ppm }, ..Self::default() }
    }

    /// Policies at these, drawing lots with this.
    #[must_use]
    pub fn new(lot: Lot, standings: BTreeMap<Arc<str>, Standing>) -> Self {
        Self { lot, standings, others: Standing::default() }
    }

    /// Where a policy stands, its ceiling aside.
    #[must_use]
    pub fn standing(&self, policy: &str) -> Standing {
        self.standings.get(policy).copied().unwrap_or(self.others)
    }

    /// Whether what a policy decides about a source acts.
    #[must_use]
    pub fn mode(&self, policy: &str, ceiling: Stage, source: &SourceKey) -> Mode {
        let standing = self.standing(policy);
        let acts = match standing.stage.min(ceiling) {
            Stage::Monitor => false,
            Stage::Canary => self.lot.draws(source, standing.canary_ppm),
            Stage::Enforce => true,
        };
        if acts { Mode::Enforce } else { Mode::Observe }
    }

    /// Whether what a policy decides about a whole service acts. A share of that there is not, so a
    /// canary only watches.
    #[must_use]
    pub fn mode_for_all(&self, policy: &str, ceiling: Stage) -> Mode {
        match self.standing(policy).stage.min(ceiling) {
            Stage::Monitor | Stage::Canary => Mode::Observe,
            Stage::Enforce => Mode::Enforce,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::stage::EVERYBODY_PPM;

    const SOURCE: SourceKey = SourceKey { words: [1, 2] };

    #[test]
    fn a_policy_acts_as_far_as_its_stage_and_its_ceiling_go() {
        for (stage, ceiling, acts) in [
            (Stage::Monitor, Stage::Enforce, false),
            (Stage::Enforce, Stage::Monitor, false),
            (Stage::Enforce, Stage::Enforce, true),
            (Stage::Canary, Stage::Enforce, true),
            (Stage::Enforce, Stage::Canary, true),
        ] {
            let acting = Acting::all(stage, EVERYBODY_PPM);
            let mode = if acts { Mode::Enforce } else { Mode::Observe };
            assert_eq!(acting.mode("login", ceiling, &SOURCE), mode, "{stage} under {ceiling}");
        }
        assert_eq!(
            Acting::all(Stage::Canary, 0).mode("login", Stage::Enforce, &SOURCE),
            Mode::Observe
        );
    }

    #[test]
    fn a_canary_never_acts_on_a_whole_service() {
        let acting = Acting::all(Stage::Canary, EVERYBODY_PPM);
        assert_eq!(acting.mode_for_all("login", Stage::Enforce), Mode::Observe);
        let acting = Acting::all(Stage::Enforce, 0);
        assert_eq!(acting.mode_for_all("login", Stage::Enforce), Mode::Enforce);
        assert_eq!(acting.mode_for_all("login", Stage::Canary), Mode::Observe);
    }

    #[test]
    fn a_policy_that_is_not_known_watches() {
        let acting = Acting::new(Lot::default(), BTreeMap::new());
        assert_eq!(acting.mode("login", Stage::Enforce, &SOURCE), Mode::Observe);
    }
}
