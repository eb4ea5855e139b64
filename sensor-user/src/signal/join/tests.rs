//! Which flow a signal belongs to.

use weir_common::abi::{Closed, Established, EventHeader, Flow};

use super::*;
use crate::{
    event::Hello,
    policy::{Proxy, ProxyClient},
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(from: &str, port: u16) -> FlowKey {
    FlowKey {
        remote: words(ip(from)),
        remote_port: port.to_be(),
        local_port: 443u16.to_be(),
        protocol: Protocol::Tcp as u32,
        ..FlowKey::default()
    }
}

fn proxies() -> Proxies {
    Proxies::new(vec![Proxy {
        name: "lb".into(),
        from: vec!["10.0.0.0/24".parse().unwrap()],
        client: ProxyClient::ProxyProtocol,
    }])
}

fn opened(join: &mut Join, from: &str, port: u16, service: u8, at_s: u64) {
    let header = EventHeader { at_ns: at_s * SECOND_NS, service, ..EventHeader::default() };
    let event = Established { header, key: key(from, port), ..Established::default() };
    join.note(&Event::Established(event), &proxies());
}

fn found(join: &Join, client: &str, port: u16, at_s: u64) -> (String, u8, bool) {
    let joined = join.find(ip(client), port, at_s * SECOND_NS);
    (joined.client.to_string(), joined.service, joined.is_found)
}

#[test]
fn by_address_port_and_time() {
    let mut join = Join::default();
    opened(&mut join, "192.0.2.1", 1000, 1, 10);
    opened(&mut join, "192.0.2.1", 2000, 2, 20);
    // The same port again, for another service.
    opened(&mut join, "192.0.2.1", 1000, 3, 30);
    let at = |port, at_s| found(&join, "192.0.2.1", port, at_s).1;
    assert_eq!(at(1000, 15), 1);
    assert_eq!(at(2000, 25), 2);
    assert_eq!(at(1000, 40), 3);
    assert_eq!(at(0, 15), 1, "it had only one connection then");
    assert_eq!(at(0, 40), 0, "it has several services");
    assert_eq!(at(4000, 12), 1, "a port that nobody saw is no reason to know less");
    assert_eq!(found(&join, "192.0.2.1", 1000, 5), ("192.0.2.1".into(), 0, false));
    assert_eq!(found(&join, "192.0.2.9", 1000, 40), ("192.0.2.9".into(), 0, false));
}

#[test]
fn a_hello_refines_the_service_and_does_not_count_twice() {
    let mut join = Join::default();
    opened(&mut join, "192.0.2.1", 1000, 1, 10);
    let hello = Hello {
        at_ns: 10 * SECOND_NS + 5000,
        key: key("192.0.2.1", 1000),
        client: words(ip("192.0.2.1")),
        client_port: 1000u16.to_be(),
        service: 7,
        delay_ns: Some(4096),
        ..Hello::test()
    };
    join.note(&Event::Hello(hello), &proxies());
    assert_eq!(found(&join, "192.0.2.1", 0, 11).1, 7);
}

#[test]
fn a_connection_from_before_the_daemon_is_known_when_it_goes_on() {
    let mut join = Join::default();
    let flow = Flow { proven_ns: 5 * SECOND_NS, ..Flow::default() };
    let header = EventHeader { at_ns: 60 * SECOND_NS, service: 4, ..EventHeader::default() };
    let event = Closed { header, key: key("2001:db8::7", 1000), flow };
    join.note(&Event::Progress(event), &proxies());
    assert_eq!(found(&join, "2001:db8::7", 1000, 61), ("2001:db8::7".into(), 4, true));
}

#[test]
fn through_a_proxy_the_connection_says_who_the_client_is() {
    let mut join = Join::default();
    let header = EventHeader { at_ns: SECOND_NS, service: 2, ..EventHeader::default() };
    let event = Established {
        header,
        key: key("10.0.0.7", 5000),
        flags: FLOW_PROXIED,
        client: words(ip("203.0.113.7")),
        client_port: 1234u16.to_be(),
        ..Established::default()
    };
    join.note(&Event::Established(event), &proxies());
    // The server's log has the proxy, or whom the header of the proxy named.
    assert_eq!(found(&join, "10.0.0.7", 5000, 2), ("203.0.113.7".into(), 2, true));
    assert_eq!(found(&join, "203.0.113.7", 1234, 2), ("203.0.113.7".into(), 2, true));
    assert_eq!(found(&join, "10.0.0.7", 5001, 2), ("10.0.0.7".into(), 0, false));
    // Before it named anybody, a proxy is nobody.
    opened(&mut join, "10.0.0.8", 1, 2, 3);
    assert_eq!(found(&join, "10.0.0.8", 1, 4), ("10.0.0.8".into(), 0, false));
}

#[test]
fn bounded() {
    let mut join = Join::default();
    for port in 1..=100 {
        opened(&mut join, "192.0.2.1", port, 1, u64::from(port));
    }
    let known = join.clients.get(&words(ip("192.0.2.1"))).unwrap();
    assert_eq!(known.flows.len(), FLOWS_EACH);
    for number in 0..CLIENTS + 100 {
        let address = std::net::Ipv4Addr::from(0x0b00_0000 + number as u32).to_string();
        opened(&mut join, &address, 1, 1, 1000);
    }
    assert_eq!(join.clients.len(), CLIENTS);
}
