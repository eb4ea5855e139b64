//! Whom an event is about.
//!
//! A declared proxy is not a client. What comes through it is about whom it named; what comes
//! before it named anybody, or from one that never does, is about nobody.

use weir_common::abi::{FlowKey, SourceKey, flow::FLOW_PROXIED, key::Address};

use super::lru::Lru;
use crate::{event::Event, policy::Proxies, system::address};

/// The clients behind proxies, by flow: some events name the flow only. Bounded; of a flow that had
/// to go, those events are about nobody.
#[derive(Debug)]
pub(crate) struct Subjects {
    proxied: Lru<FlowKey, Address>,
}

impl Subjects {
    /// Room for so many flows through proxies.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { proxied: Lru::new(capacity) }
    }

    /// The source that an event is about; `None`: a proxy, or nobody.
    pub(crate) fn of(&mut self, event: &Event, proxies: &Proxies) -> Option<SourceKey> {
        let client = match event {
            Event::Established(event) if event.flags & FLOW_PROXIED != 0 => {
                *self.proxied.get_or_insert(&event.key, || event.client).0 = event.client;
                event.client
            }
            Event::Established(event) => {
                // Another connection on the same ports.
                self.proxied.remove(&event.key);
                event.key.remote
            }
            Event::Closed(event) => {
                self.proxied.remove(&event.key);
                if event.flow.flags & FLOW_PROXIED == 0 {
                    event.key.remote
                } else {
                    event.flow.client
                }
            }
            Event::Progress(event) if event.flow.flags & FLOW_PROXIED != 0 => event.flow.client,
            Event::Progress(event) => event.key.remote,
            Event::Signal(event) => event.client,
            Event::Milestone(event) => {
                self.proxied.get(&event.key).copied().unwrap_or(event.key.remote)
            }
            Event::Hello(event) => event.client,
            Event::Hit(_) | Event::Tick { .. } => return None,
        };
        let is_somebody = client != Address::default() && !proxies.contains(address::ip(&client));
        is_somebody.then(|| SourceKey::from_address(&client))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use weir_common::abi::{Closed, Established, Flow, Milestone, MilestoneKind};

    use super::*;
    use crate::{
        event::Hello,
        policy::{self, ServiceIds},
    };

    const SITE: &str = "
kind: Site
proxies: {lb: {from: [10.0.0.0/24], client: proxy-protocol}}
services: {shop: {tcp: [443], behind: [lb]}}
ladders: {default: [{at: 50, action: mark, for: 1m}]}
---
kind: Policy
metadata: {name: p}
applies: [shop]
rules: [{name: r, points: 1, when: source.connections_1s > 1}]
";

    fn words(text: &str) -> Address {
        address::words(text.parse().unwrap())
    }

    fn source(text: &str) -> Option<SourceKey> {
        Some(SourceKey::from_address(&words(text)))
    }

    fn key(from: &str, port: u16) -> FlowKey {
        FlowKey { remote: words(from), remote_port: port, ..FlowKey::default() }
    }

    fn established(from: &str, port: u16, client: Option<&str>) -> Event {
        Event::Established(Established {
            key: key(from, port),
            client: client.map_or_else(Address::default, words),
            flags: if client.is_some() { FLOW_PROXIED } else { 0 },
            ..Established::default()
        })
    }

    fn stalled(from: &str, port: u16) -> Event {
        let mut milestone = Milestone { key: key(from, port), ..Milestone::default() };
        milestone.header.detail = MilestoneKind::Stalled as u8;
        Event::Milestone(milestone)
    }

    #[test]
    fn what_comes_through_a_proxy_is_about_whom_it_named() {
        let policy = policy::parse("test", SITE, Path::new("."), &ServiceIds::default()).unwrap();
        let mut subjects = Subjects::new(2);
        let mut about = |event: &Event| subjects.of(event, &policy.proxies);
        assert_eq!(about(&established("192.0.2.1", 1, None)), source("192.0.2.1"));
        assert_eq!(about(&established("10.0.0.7", 2, None)), None, "nobody is named yet");
        assert_eq!(about(&stalled("10.0.0.7", 2)), None);
        let named = established("10.0.0.7", 2, Some("2001:db8::1"));
        assert_eq!(about(&named), source("2001:db8::1"));
        assert_eq!(about(&stalled("10.0.0.7", 2)), source("2001:db8::1"));
        assert_eq!(about(&established("10.0.0.7", 3, Some("10.0.0.8"))), None, "another proxy");
        let flow = Flow { flags: FLOW_PROXIED, client: words("192.0.2.9"), ..Flow::default() };
        let closed = Event::Closed(Closed { key: key("10.0.0.7", 2), flow, ..Closed::default() });
        assert_eq!(about(&closed), source("192.0.2.9"));
        assert_eq!(about(&stalled("10.0.0.7", 2)), None, "it is over");
        let hello = Hello { client: words("192.0.2.3"), ..Hello::test() };
        assert_eq!(about(&Event::Hello(hello)), source("192.0.2.3"));
        let hello = Hello { client: words("10.0.0.7"), ..Hello::test() };
        assert_eq!(about(&Event::Hello(hello)), None);
    }

    #[test]
    fn bounded() {
        let proxies = Proxies::default();
        let mut subjects = Subjects::new(4);
        for port in 0..100 {
            subjects.of(&established("10.0.0.7", port, Some("192.0.2.1")), &proxies);
        }
        assert_eq!(subjects.proxied.len(), 4);
    }
}
