//! What cannot be enforced here: clients hidden behind the address of a gateway or load balancer. Looked at
//! once a minute, for readiness.

use std::net::IpAddr;

use super::{Daemon, sensor::Sensor};
use crate::{
    api::message::{Cause, Reason},
    profile::source,
    system::{
        address,
        fan_in::{self, FanIn, Neighbours},
    },
};

/// What was found last: who hides clients, and how many TLS fingerprints were seen behind each.
#[derive(Clone, Debug, Default)]
pub(super) struct Hidden(Option<(FanIn, Vec<f64>)>);

impl<S: Sensor> Daemon<S> {
    /// Looks at who has the open connections.
    pub(super) fn watch_hidden(&mut self) {
        let neighbours = match Neighbours::look() {
            Ok(neighbours) => neighbours,
            Err(error) => {
                tracing::warn!("cannot look this host's networks up: {error}");
                return;
            }
        };
        // Sources of IPv6 are /64s, and so are links.
        let counts = self.open_flows.clients();
        let counts = counts.map(|(source, count)| (source::net(source).addr(), count));
        let found = fan_in::judge(counts, &neighbours);
        self.hidden = Hidden(found.map(|found| {
            let behind = found.peers.iter().map(|peer| self.fingerprints_of(*peer)).collect();
            (found, behind)
        }));
    }

    /// Distinct TLS fingerprints of an address in the last hour.
    fn fingerprints_of(&mut self, peer: IpAddr) -> f64 {
        let source = weir_common::abi::SourceKey::from_address(&address::words(peer));
        let compiled = std::sync::Arc::clone(self.engine.policy());
        let known = self.engine.known(&source);
        let values = known.iter().flat_map(|known| &known.values);
        let is_it = |id| {
            compiled.features.info(id).is_some_and(|info| info.name == "source.fingerprints_1h")
        };
        values.filter(|(id, _)| is_it(*id)).map(|(_, value)| *value).fold(0.0, f64::max)
    }

    /// What readiness says of it.
    pub(super) fn clients_hidden(&self) -> Option<Reason> {
        let (found, behind) = self.hidden.0.as_ref()?;
        let most = behind.iter().copied().fold(0.0, f64::max);
        let seen = if most > 0.0 {
            format!("; up to {most:.0} TLS fingerprints behind one of them in the last hour")
        } else {
            String::new()
        };
        let text = format!("{}{seen}; {}", found.sentence(), FanIn::ADVICE);
        Some(Reason::warns(Cause::ClientsHidden, text))
    }
}
