//! What proxies are told: the board follows the ledger, and their doors the policy.

use std::{net::TcpListener, sync::Arc};

use anyhow::Context;
use weir_common::abi::{Action, SourceKey};

use super::{Daemon, sensor::Sensor};
use crate::{
    api::server::{BoundSocket, ServerError},
    enforce::ledger::{Decided, Origin},
    event::Signal,
    policy::{LookupSettings, signals::BUILT_IN},
    profile::source,
    score::{Decision, feature::Evidence},
    system::{clock, paths::Paths},
};

/// For the applications' group; there is nothing to be done here but to ask.
const SOCKET_MODE: u32 = 0o660;

/// The Unix socket for proxies.
pub(super) fn socket(paths: &Paths) -> Result<BoundSocket, ServerError> {
    BoundSocket::for_applications(&paths.lookup_socket(), SOCKET_MODE)
}

/// The loopback address that the policy names.
pub(super) fn loopback(settings: &LookupSettings) -> anyhow::Result<Option<TcpListener>> {
    let listen = |address| {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(listener)
    };
    let Some(address) = settings.listen else { return Ok(None) };
    listen(address).map(Some).with_context(|| {
        format!(
            "cannot answer lookups at {address}: name another port in the policy's `lookup.listen`"
        )
    })
}

fn policy_of(origin: &Origin) -> Option<Arc<str>> {
    match origin {
        Origin::Policy { name, .. } => Some(Arc::clone(name)),
        Origin::Operator | Origin::Guard => None,
    }
}

impl<S: Sensor> Daemon<S> {
    /// Tells proxies what is wanted now. Costs nothing if nothing changed.
    pub(super) fn post(&mut self) {
        self.ledger.publish(self.lookup.board());
        self.lookup.board().set_ceiling(self.effective_mode());
    }

    /// Tells them which decision is behind a verdict.
    pub(super) fn post_decision(&self, decision: &Decision) {
        let origin = Origin::Policy {
            name: Arc::clone(&decision.policy),
            forgeable: decision.evidence == Evidence::Forgeable,
        };
        let decided = Arc::new(Decided {
            id: decision.id().into(),
            score: decision.score.on(decision.evidence),
        });
        self.lookup.board().explain(source::net(&decision.source), &origin, &decided);
    }

    /// Takes marks back from a client that passed a challenge, where its score does not ask for one any
    /// more. A challenge answers a mark; what is stronger keeps its term.
    pub(super) fn note_challenge(&mut self, signal: &Signal) {
        let [passed, _] = BUILT_IN;
        if self.engine.policy().signals.kind(passed) != Some(signal.kind) {
            return;
        }
        let client = SourceKey::from_address(&signal.client);
        let net = source::net(&client);
        let now_ns = clock::monotonic_ns();
        let marks = self.ledger.entries(&net, now_ns).filter(|entry| {
            entry.meaning.action == Action::Mark && !entry.meaning.is_unproven_only()
        });
        let by: Vec<Arc<str>> =
            marks.filter_map(|entry| policy_of(&entry.meaning.origin)).collect();
        let mut lifted = 0;
        for name in by {
            if self.asks_for_mark(&client, &name) {
                continue;
            }
            let origin = Origin::Policy { name: Arc::clone(&name), forgeable: false };
            lifted += self.ledger.unblock(&net, Some(&origin));
            self.engine.lift(&client, &name, now_ns);
        }
        if lifted > 0 {
            tracing::info!("{net} passed a challenge: its mark is taken back");
            // A failure is told in the status, and tried again every second.
            self.apply();
            self.post();
        }
    }

    /// Whether a policy would still mark a client, or do more.
    fn asks_for_mark(&mut self, client: &SourceKey, policy: &Arc<str>) -> bool {
        // What no policy asks for any more is lifted too.
        let Some(score) = self.engine.score(client, policy) else { return false };
        let compiled = self.engine.policy();
        let known = compiled.policies.iter().find(|known| known.name == *policy);
        known.is_some_and(|known| known.ladder.reached(score.authentic, |_| true).is_some())
    }

    /// Takes over what a policy says of services and of how clients are named.
    pub(super) fn set_lookup(&mut self) {
        let policy = self.engine.policy();
        self.lookup.set_header(policy.lookup.header.clone());
        let services = policy.services.iter().map(|service| (service.name.clone(), service.id));
        self.lookup.board().set_services(services.collect());
        self.post();
    }
}
