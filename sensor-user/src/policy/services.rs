//! Protected services, and what names make of the ports that they share.
//!
//! A port has one service of its own, which is all that is known of a packet before a ClientHello:
//! the one that declares the port without names, or else one made for what is left over. Names
//! refine it at the hello. In the kernel for TCP, in the daemon for QUIC.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
};

use serde::Serialize;
use weir_common::abi::control::{SERVICE_NAMED, SERVICE_PROXIED};
use weir_common::abi::{Protocol, ServiceSet};

use super::{Audience, server_name::ServerName};
use crate::enforce::{
    dataplane::{ServiceName, ServicePort},
    ladder::RateLimit,
};

/// A protected service.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Service {
    /// Its number in the kernel, 1..=255.
    pub id: u8,
    /// Its name.
    pub name: String,
    /// TCP ports.
    pub tcp: Vec<u16>,
    /// UDP ports.
    pub udp: Vec<u16>,
    /// How many first SYNs it takes before they have to be sent twice.
    pub syn_guard: Option<RateLimit>,
    /// Names that clients ask it by; without any, everything at its ports that no other service
    /// is asked by.
    pub sni: Vec<ServerName>,
    /// Whether hellos that ask for no name, or hide it, are for it.
    pub takes_unknown: bool,
    /// Who uses it.
    pub audience: Audience,
    /// Proxies that its clients come through.
    pub behind: Vec<String>,
    /// Whether it was made for what named services leave over of a port.
    pub is_remainder: bool,
}

/// A port and the services that share it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SharedPort {
    pub(super) is_udp: bool,
    pub(super) port: u16,
    /// The service of its own.
    pub(super) own: u8,
    /// Those that names lead to.
    pub(super) named: Vec<u8>,
    /// Whether declared proxies send a PROXY header there.
    pub(super) is_proxied: bool,
}

/// All protected services, ascending by number.
#[derive(Clone, Debug, Default)]
pub struct Services {
    list: Vec<Service>,
    ports: Vec<SharedPort>,
    // What names lead to, by the port's own service. Keys as in the kernel's table.
    names: BTreeMap<u8, HashMap<String, u8>>,
}

impl Services {
    pub(super) fn new(mut list: Vec<Service>, ports: Vec<SharedPort>) -> Self {
        list.sort_unstable_by_key(|service| service.id);
        let mut names: BTreeMap<u8, HashMap<String, u8>> = BTreeMap::new();
        for port in &ports {
            let named = list.iter().filter(|service| port.named.contains(&service.id));
            for service in named {
                let table = names.entry(port.own).or_default();
                table.extend(service.sni.iter().map(|name| (name.key(), service.id)));
                if service.takes_unknown {
                    table.insert(String::new(), service.id);
                }
            }
        }
        Self { list, ports, names }
    }

    /// The service that a hello at a port of `own` is for. `sni` is the name that it asks for, if
    /// any; `may_hide` says that it offers to encrypt another one, or pretends to. The same steps
    /// as the kernel's.
    #[must_use]
    pub fn named(&self, own: u8, sni: Option<&str>, may_hide: bool) -> u8 {
        let Some(names) = self.names.get(&own) else { return own };
        let unknown = || names.get("").copied().unwrap_or(own);
        let sni = sni.map(|name| name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase());
        let Some(sni) = sni.filter(|name| !name.is_empty()) else { return unknown() };
        if let Some(service) = names.get(&sni) {
            return *service;
        }
        let suffixes = sni.match_indices('.').filter_map(|(at, _)| sni.get(at..));
        match suffixes.filter_map(|suffix| names.get(suffix)).next() {
            Some(service) => *service,
            None if may_hide => unknown(),
            None => own,
        }
    }

    /// TCP ports that no other services than these share: connections to them can be told by
    /// their port alone.
    #[must_use]
    pub fn tcp_ports_of(&self, services: ServiceSet) -> Vec<u16> {
        let whole = self.ports.iter().filter(|port| {
            !port.is_udp && port.named.iter().chain([&port.own]).all(|id| services.contains(*id))
        });
        whole.map(|port| port.port).collect()
    }

    /// Gives services other SYN guards, where there is another.
    pub(super) fn set_guards(&mut self, other: impl Fn(&Service) -> Option<RateLimit>) {
        for service in &mut self.list {
            service.syn_guard = other(service).or(service.syn_guard);
        }
    }

    /// The kernel's table of ports.
    pub(super) fn port_table(&self) -> Vec<ServicePort> {
        let port = |shared: &SharedPort| {
            let named = if shared.named.is_empty() { 0 } else { SERVICE_NAMED };
            let proxied = if shared.is_proxied { SERVICE_PROXIED } else { 0 };
            ServicePort {
                protocol: if shared.is_udp { Protocol::Udp } else { Protocol::Tcp },
                port: shared.port,
                service: shared.own,
                flags: named | proxied,
            }
        };
        self.ports.iter().map(port).collect()
    }

    /// The kernel's table of names.
    pub(super) fn name_table(&self) -> Vec<ServiceName> {
        let mut table: Vec<ServiceName> = self
            .names
            .iter()
            .flat_map(|(own, names)| {
                names.iter().map(|(name, service)| ServiceName {
                    port_service: *own,
                    name: name.clone(),
                    service: *service,
                })
            })
            .collect();
        table.sort_unstable_by(|a, b| (a.port_service, &a.name).cmp(&(b.port_service, &b.name)));
        table
    }
}

impl Deref for Services {
    type Target = [Service];

    fn deref(&self) -> &[Service] {
        &self.list
    }
}

impl<'a> IntoIterator for &'a Services {
    type Item = &'a Service;
    type IntoIter = std::slice::Iter<'a, Service>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
