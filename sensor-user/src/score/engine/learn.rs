//! Learning what is usual: sources that nothing is held against teach the baselines of the services
//! that they visit.

use weir_common::abi::SourceKey;

use super::{Engine, judge::Cause};
use crate::score::{
    baseline::{BaselineCounters, BaselineError, Baselines, SavedBaselines},
    decision::Decision,
    feature::Evidence,
    measure::Measurements,
    offence::Case,
};

impl Engine {
    /// What a source showed with an event, after it was judged by it.
    pub(super) fn learn(&mut self, source: &SourceKey, cause: &Cause, decisions: &[Decision]) {
        // What belongs to no service proves nothing.
        let Some(service) = cause.service else { return };
        if self.ranked.iter().all(|(_, bases)| bases.is_empty()) {
            return;
        }
        let is_judged = decisions.iter().any(|it| it.evidence == Evidence::Authentic)
            || self.policy.policies.iter().any(|policy| {
                let case = Case::new(source, &policy.name, Evidence::Authentic);
                self.offences.is_live(&case, cause.at_ns)
            });
        if is_judged {
            self.baselines.withdraw(source);
            return;
        }
        let hour = self.clock.hour(cause.at_ns);
        for (scope, (services, bases)) in self.ranked.iter().enumerate() {
            if bases.is_empty() || !services.contains(service) {
                continue;
            }
            let view = self.profiles.view(source, scope, Some(service), self.now_ns);
            if view.track.is_none() {
                continue;
            }
            let features = &self.policy.features;
            let mut measured = Measurements::new(features, view, &*self.reputation, self.now_ns);
            for base in bases {
                if let Some(value) = measured.get(*base) {
                    self.baselines.observe(services, *base, source, value, cause.at_ns, hour);
                }
            }
        }
    }

    /// What baselines did.
    #[must_use]
    pub fn baseline_counters(&self) -> BaselineCounters {
        self.baselines.counters()
    }

    /// All that is learned, to be kept over a restart.
    #[must_use]
    pub fn save_baselines(&self) -> SavedBaselines {
        self.baselines.save(&self.policy.features)
    }

    /// Takes what an earlier run learned.
    ///
    /// # Errors
    /// If this is not what [`SavedBaselines::write`] gave; then nothing changes.
    pub fn load_baselines(&mut self, text: &[u8], now_ns: u64) -> Result<(), BaselineError> {
        self.baselines = Baselines::load(text, &self.policy.features, now_ns)?;
        Ok(())
    }
}
