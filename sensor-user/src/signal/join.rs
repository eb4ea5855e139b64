//! The flow that a signal belongs to: what it was for, and, through a proxy, who its client is.
//!
//! A line of a log comes when its request is over, which may be after its connection: so connections
//! are remembered for a while after they ended. Bounded: the least recently seen client goes first, and
//! of one client the latest few connections are kept.
//!
//! A signal whose flow is not found still counts. It is the server's own testimony, and the server was
//! talking to somebody who completed a handshake: before this daemon started, or through a CDN whose
//! connections name nobody.

use std::net::IpAddr;

use weir_common::abi::{FlowKey, Protocol, flow::FLOW_PROXIED, key::Address, time::SECOND_NS};

use crate::{
    event::Event,
    policy::Proxies,
    profile::lru::Lru,
    system::address::{self, words},
};

/// Clients whose connections are remembered.
const CLIENTS: usize = 32_768;
/// Connections remembered of a client.
const FLOWS_EACH: usize = 4;
/// Clients behind proxies, by the proxy's connection.
const PROXIED: usize = 32_768;
/// Clocks of lines are exact to a second.
const SLACK_NS: u64 = 2 * SECOND_NS;

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recent {
    key: FlowKey,
    /// The client's port, host byte order; 0 = unknown.
    port: u16,
    service: u8,
    proven_ns: u64,
}

/// The connections of a client, the latest last.
#[derive(Debug, Default)]
struct Client {
    flows: Vec<Recent>,
}

/// Recent connections.
#[derive(Debug)]
pub struct Join {
    clients: Lru<Address, Client>,
    // By the proxy's address and port.
    proxied: Lru<(Address, u16), (Address, u8)>,
}

/// What a flow says of a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The client: as heard, or whom the proxy named on that connection.
    pub client: IpAddr,
    /// The service; 0 = no flow says it, or several say different ones.
    pub service: u8,
    /// Whether a flow was found.
    pub is_found: bool,
}

impl Default for Join {
    fn default() -> Self {
        Self { clients: Lru::new(CLIENTS), proxied: Lru::new(PROXIED) }
    }
}

impl Join {
    /// Takes note of any event.
    pub fn note(&mut self, event: &Event, proxies: &Proxies) {
        match event {
            Event::Established(event) => {
                let is_proxied = event.flags & FLOW_PROXIED != 0;
                let client = if is_proxied { event.client } else { event.key.remote };
                let port = if is_proxied { event.client_port } else { event.key.remote_port };
                let (service, at_ns) = (event.header.service, event.header.at_ns);
                self.saw(&event.key, client, port, service, at_ns, proxies);
            }
            // The name in it may have refined the service.
            Event::Hello(event) => {
                let (client, port) = (event.client, event.client_port);
                self.saw(&event.key, client, port, event.service, event.proven_ns(), proxies);
            }
            // The first that is heard of a connection from before this daemon.
            Event::Progress(event) => {
                let is_proxied = event.flow.flags & FLOW_PROXIED != 0;
                let client = if is_proxied { event.flow.client } else { event.key.remote };
                let port = if is_proxied { event.flow.client_port } else { event.key.remote_port };
                let service = event.header.service;
                self.saw(&event.key, client, port, service, event.flow.proven_ns, proxies);
            }
            _ => {}
        }
    }

    /// The flow of a signal, by address, port (0 = unknown) and time.
    #[must_use]
    pub fn find(&self, client: IpAddr, port: u16, at_ns: u64) -> Joined {
        let address = words(client);
        if let Some((named, service)) = self.proxied.get(&(address, port)).filter(|_| port != 0) {
            return Joined { client: address::ip(named), service: *service, is_found: true };
        }
        let mut joined = Joined { client, service: 0, is_found: false };
        let Some(known) = self.clients.get(&address) else { return joined };
        let begun = |flow: &&Recent| flow.proven_ns <= at_ns.saturating_add(SLACK_NS);
        let mut begun = known.flows.iter().rev().filter(begun);
        if port != 0 {
            // Of connections on one port, the latest that had begun.
            if let Some(flow) = begun.clone().find(|flow| flow.port == port) {
                return Joined { service: flow.service, is_found: true, ..joined };
            }
        }
        if let Some(latest) = begun.next() {
            joined.is_found = true;
            // Several services at once: nothing says which.
            if begun.all(|flow| flow.service == latest.service) {
                joined.service = latest.service;
            }
        }
        joined
    }

    fn saw(
        &mut self,
        key: &FlowKey,
        client: Address,
        port: u16,
        service: u8,
        proven_ns: u64,
        proxies: &Proxies,
    ) {
        let port = u16::from_be(port);
        if client != key.remote && key.protocol == Protocol::Tcp as u32 {
            let from = (key.remote, u16::from_be(key.remote_port));
            *self.proxied.get_or_insert(&from, || (client, service)).0 = (client, service);
        }
        if client == Address::default() || proxies.contains(address::ip(&client)) {
            return;
        }
        let (known, _) = self.clients.get_or_insert(&client, Client::default);
        let flow = Recent { key: *key, port, service, proven_ns };
        let same = |known: &Recent| {
            known.key == flow.key && known.proven_ns.abs_diff(proven_ns) <= SLACK_NS
        };
        match known.flows.iter_mut().find(|it| same(it)) {
            Some(known) => *known = Recent { proven_ns: known.proven_ns, ..flow },
            None => {
                if known.flows.len() >= FLOWS_EACH {
                    known.flows.remove(0);
                }
                known.flows.push(flow);
            }
        }
    }
}

#[cfg(test)]
mod tests;
