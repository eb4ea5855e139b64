//! What proxies are told: the board follows the ledger, and their doors the policy.

use std::{net::TcpListener, sync::Arc};

use anyhow::Context;

use super::{Daemon, sensor::Sensor};
use crate::{
    api::server::{BoundSocket, ServerError},
    enforce::ledger::{Decided, Origin},
    policy::LookupSettings,
    profile::source,
    score::{Decision, feature::Evidence},
    system::paths::Paths,
};

/// Whoever may look into the run directory may ask; there is nothing else to be done here.
const SOCKET_MODE: u32 = 0o660;

/// The Unix socket for proxies.
pub(super) fn socket(paths: &Paths) -> Result<BoundSocket, ServerError> {
    BoundSocket::bind(&paths.lookup_socket(), SOCKET_MODE)
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

impl<S: Sensor> Daemon<S> {
    /// Tells proxies what is wanted now. Costs nothing if nothing changed.
    pub(super) fn post(&mut self) {
        self.ledger.publish(self.lookup.board());
        self.lookup.board().set_ceiling(self.effective_mode());
    }

    /// Tells them which decision is behind a verdict.
    pub(super) fn post_decision(&self, decision: &Decision, number: u64) {
        let origin = Origin::Policy {
            name: Arc::clone(&decision.policy),
            forgeable: decision.evidence == Evidence::Forgeable,
        };
        let decided =
            Arc::new(Decided { id: number.to_string().into(), score: decision.score.total });
        self.lookup.board().explain(source::net(&decision.source), &origin, &decided);
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
