//! Who is trusted, kept in step with what the daemon sees, decides and reads from its policy.

use std::sync::Arc;

use ipnet::IpNet;
use weir_common::abi::{Action, Mode, ServiceSet, SourceKey};

use super::{Daemon, sensor::Sensor};
use crate::{
    enforce::{
        cohort::{Awoken, Listed, Watch},
        ledger::{Meaning, Origin},
    },
    event::Event,
    label::Verdict as Said,
    profile::source,
    score::{Decision, feature::Evidence},
    system::address,
};

impl<S: Sensor> Daemon<S> {
    /// Takes an event in, before anything is decided about it.
    pub(super) fn note_visit(&mut self, event: &Event) {
        let class = match event {
            Event::Established(event) => event.would_class,
            Event::Closed(_) => 0,
            _ => return,
        };
        let meaning = (class != 0).then(|| self.ledger.meaning(class)).flatten().map(Arc::clone);
        let would = meaning.as_ref().and_then(|meaning| match &meaning.origin {
            Origin::Policy { name, forgeable: false } if meaning.action >= Action::Reject => {
                Some((&**name, meaning.mode == Mode::Enforce))
            }
            _ => None,
        });
        self.cohort.note(event, &self.engine.policy().proxies, would);
    }

    /// Takes decisions in, once the kernel has them.
    pub(super) fn note_judged(&mut self, decisions: &[Decision], now_ns: u64) {
        let is_enforcing = self.effective_mode() == Mode::Enforce;
        for decision in decisions {
            let acts = is_enforcing && self.is_acted_on(decision, now_ns);
            self.cohort.judged(decision, acts);
        }
        self.weigh_harm(now_ns);
    }

    /// Takes in verdicts that only watched and are enforced from now on, once the kernel has them: whom
    /// they refuse is refused by no decision that anybody sees. Returns whether there are any.
    pub(super) fn note_awoken(&mut self, changed: &[(IpNet, Arc<Meaning>)], now_ns: u64) -> bool {
        let is_enforcing = self.effective_mode() == Mode::Enforce;
        let policy = Arc::clone(self.engine.policy());
        let mut any = false;
        for (net, meaning) in changed {
            let Origin::Policy { name, forgeable: false } = &meaning.origin else { continue };
            let source = SourceKey::from_address(&address::words(net.addr()));
            // What is wider than a source comes from no decision about one.
            if meaning.mode != Mode::Enforce || source::net(&source) != *net {
                continue;
            }
            let Some(policy) = policy.policies.iter().find(|it| it.name == *name) else { continue };
            let service = crate::enforce::names::service_ids(meaning.services).next();
            let acts = is_enforcing && self.is_held_to(&source, service, meaning.action, now_ns);
            let (version, action) = (&policy.version, meaning.action);
            let verdict = Awoken { policy: name, version, action, acts, at_ns: now_ns };
            self.cohort.awoken(&source, &verdict);
            any = true;
        }
        if any {
            self.weigh_harm(now_ns);
        }
        any
    }

    /// Whether a decision's verdict acts: it is enforced, and neither an allow nor a guard holds instead.
    fn is_acted_on(&self, decision: &Decision, now_ns: u64) -> bool {
        let of = |services: ServiceSet| crate::enforce::names::service_ids(services).next();
        let service = decision.service.filter(|service| decision.services.contains(*service));
        let service = service.or_else(|| of(decision.services));
        decision.mode == Mode::Enforce
            && self.is_held_to(&decision.source, service, decision.action, now_ns)
    }

    /// Whether what acts on a source at a service is at least as strong as an action.
    fn is_held_to(
        &self,
        source: &SourceKey,
        service: Option<u8>,
        action: Action,
        now_ns: u64,
    ) -> bool {
        let address = source::net(source).addr();
        let held = service.and_then(|service| self.ledger.lookup(address, service, now_ns));
        held.is_some_and(|(_, entry)| {
            entry.meaning.mode == Mode::Enforce && entry.meaning.action >= action
        })
    }

    /// Whether a decision is kept from acting because somebody said that its source is human. It is
    /// shown, and counts as a false positive.
    pub(super) fn is_held_by_label(&self, decision: &Decision) -> bool {
        decision.whole_service.is_none()
            && decision.action > Action::Mark
            && decision.evidence == Evidence::Authentic
            && self.cohort.label_of(&decision.source) == Some(Said::Human)
    }

    /// Takes over what the policy says of trust.
    pub(super) fn set_cohort(&mut self) {
        self.cohort.set_rule(self.engine.policy().brakes.trusted);
        self.list_trusted();
        self.set_breaker();
        self.watch_policies();
    }

    /// Has harm measured of every policy that judges now, shadows included. To be called whenever
    /// policies, or how far they go, changed: a version that acts is held to who was trusted before it
    /// did, and one that was taken back is forgiven for.
    pub(super) fn watch_policies(&mut self) {
        let policy = Arc::clone(self.engine.policy());
        for each in &policy.policies {
            // A version that goes on as before keeps its figures.
            let acting_since_ns = self.stages.acting_since_ns(&each.name);
            let before_ns = self.cohort.acting_since(&each.name, &each.version);
            if before_ns.is_some() && acting_since_ns.is_none() {
                self.cohort.forgive(&each.name);
            }
            self.cohort.watch(Watch {
                policy: Arc::clone(&each.name),
                version: Arc::clone(&each.version),
                services: each.services,
                acting_since_ns,
                window_ns: each.gates.window_ns(),
            });
        }
        let is_known = |watch: &Watch| {
            policy.policies.iter().any(|it| it.name == watch.policy && it.version == watch.version)
        };
        self.cohort.retain(is_known);
    }

    /// Tells the cohort who is allow-listed now.
    pub(super) fn list_trusted(&mut self) {
        self.cohort.set_listed(Listed::new(self.engine.policy(), &self.allowed));
    }
}
