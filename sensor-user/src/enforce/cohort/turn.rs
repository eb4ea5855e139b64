//! A policy that watched begins to act: what it would have done to somebody it does from now on.

use std::sync::Arc;

use weir_common::abi::{Action, SourceKey};

use super::{Cohort, Judged, Watch, Watched, meter::Meter};

/// A verdict that only watched, made on authentic evidence, and that is enforced from now on.
#[derive(Clone, Copy, Debug)]
pub struct Awoken<'a> {
    /// The policy.
    pub policy: &'a Arc<str>,
    /// The version of it that is enforced now, which answers for what was decided before.
    pub version: &'a Arc<str>,
    /// What the verdict does.
    pub action: Action,
    /// Whether it acts: nothing holds enforcement back, and nothing else holds instead.
    pub acts: bool,
    /// Since when, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
}

impl Cohort {
    /// Takes in that a verdict on a source is enforced from now on. It is harm as a decision is.
    pub fn awoken(&mut self, source: &SourceKey, verdict: &Awoken<'_>) {
        let judged = Judged {
            policy: Arc::clone(verdict.policy),
            version: Arc::clone(verdict.version),
            is_enforced: true,
            acts: verdict.acts,
            at_ns: verdict.at_ns,
        };
        self.take(source, verdict.action, judged);
    }

    /// What a version saw while it watched, if it goes on as before except that it begins to act. Those
    /// whom it drops are not seen any more, so without it the sample would be gone when it is needed.
    /// Whoever was trusted when it was seen was so before the version acts.
    pub(super) fn carried(known: Watched, next: &Watch) -> Option<Meter> {
        let watched = Watch { acting_since_ns: None, ..next.clone() };
        (next.acting_since_ns.is_some() && known.watch == watched).then_some(known.meter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::cohort::tests::{LATER_NS, cohort, connect, login, season, source, watch};

    fn awoken(cohort: &mut Cohort, address: &str, acts: bool) {
        let (policy, version) = ("login".into(), "v1".into());
        let at_ns = LATER_NS + 2;
        let verdict =
            Awoken { policy: &policy, version: &version, action: Action::Drop, acts, at_ns };
        cohort.awoken(&source(address), &verdict);
    }

    #[test]
    fn what_begins_to_act_has_its_sample_and_answers_for_what_it_decided_before() {
        let mut cohort = cohort();
        cohort.watch(watch(None));
        for n in 0..10 {
            season(&mut cohort, &format!("10.{n}.0.1"), 0);
            connect(&mut cohort, &format!("10.{n}.0.1"), LATER_NS, None);
        }
        cohort.watch(watch(Some(LATER_NS + 1)));
        awoken(&mut cohort, "10.1.0.1", true);
        awoken(&mut cohort, "10.2.0.1", false);
        awoken(&mut cohort, "192.0.2.1", true);
        for harm in [login(&cohort), cohort.host_harm()] {
            let sources = harm.sources;
            assert_eq!((sources.seen, sources.would, sources.dropped), (10, 1, 1));
            assert_eq!(harm.connections.seen, 10);
        }
        // What is taken back begins anew.
        cohort.watch(watch(None));
        assert_eq!(login(&cohort).sources.seen, 0);
    }
}
