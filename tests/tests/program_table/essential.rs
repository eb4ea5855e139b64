//! What the network itself needs passes under the widest drop: neighbour and listener discovery,
//! path-MTU discovery, DHCP. What only looks like it does not.

use weir_common::abi::{Action, Mode, Reason};
use weir_lab::packet::{Ethernet, Extension, Ipv4, Ipv6, ipv4, ipv6};

use crate::{
    expect::{Expect, dropped_by, dropped_opaque, passes_as},
    play, play_everywhere,
    stage::{NONE, Stage},
    verdicts::DROP,
};

const CLASS: u16 = 5;

fn v4() -> Ipv4 {
    ipv4([203, 0, 113, 9], [198, 51, 100, 10])
}

fn v6() -> Ipv6 {
    ipv6([0x2001, 0xdb8, 0x113, 9, 0, 0, 0, 7], [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x10])
}

fn essential() -> Expect {
    passes_as(Reason::PassEssential)
}

/// Drops; the first, second, fourth … hit of the entry is told.
struct Drops(u32);

impl Drops {
    fn next(&mut self, expect: Expect) -> Expect {
        self.0 += 1;
        if self.0.is_power_of_two() {
            expect.hit(CLASS, Action::Drop, Mode::Enforce, self.0)
        } else {
            expect
        }
    }
}

fn all_blocked(stage: &mut Stage<'_>, story: &'static str) {
    stage.story(story).verdict("0.0.0.0/0", CLASS, &DROP).verdict("::/0", CLASS, &DROP);
}

#[test]
fn ipv4_needs_path_mtu_discovery_and_dhcp() {
    play_everywhere("ipv4_needs_path_mtu_discovery_and_dhcp", |stage| {
        all_blocked(stage, "IPv4 under a covering drop");
        let mut drops = Drops(0);
        let embedded = v4().tcp(443, 40_000).build();
        let embedded = embedded.get(14..).unwrap_or_default();
        let needed = v4().fragmentation_needed(1400).payload(embedded).build();
        stage.arrives("fragmentation needed", &needed, essential());
        for (what, kind, code) in [
            ("ping", 8, 0),
            ("port unreachable", 3, 3),
            ("redirect", 5, 1),
            ("time exceeded", 11, 0),
        ] {
            let frame = v4().icmp(kind, code).payload(embedded).build();
            stage.arrives(what, &frame, drops.next(dropped_opaque(CLASS)));
        }
        stage.arrives("a DHCP offer", &v4().udp(67, 68).build(), essential());
        stage.arrives("a DHCP request", &v4().udp(68, 67).build(), essential());
        stage.arrives("between DHCP servers", &v4().udp(67, 67).build(), essential());
        let from_dhcp = v4().udp(67, 443).build();
        stage.arrives("port 67 to a service", &from_dhcp, drops.next(dropped_by(CLASS, 3)));
        let to_dhcp = v4().udp(40_000, 68).build();
        stage.arrives("any port to 68", &to_dhcp, drops.next(dropped_by(CLASS, NONE)));
        let over_tcp = v4().tcp(67, 68).syn().build();
        stage.arrives("DHCP's ports over TCP", &over_tcp, drops.next(dropped_by(CLASS, NONE)));
        let icmp6 = v4().raw(58, &[135, 0, 0, 0, 0, 0, 0, 0]).build();
        stage.arrives("ICMPv6 in IPv4", &icmp6, drops.next(dropped_opaque(CLASS)));
        let fragment = v4().fragment(8, false).raw(1, &[3, 4, 0, 0, 0, 0, 5, 0]).build();
        stage.arrives("a later fragment", &fragment, drops.next(dropped_opaque(CLASS)));
        let short = v4().raw(1, &[3]).build();
        stage.arrives("half a type and code", &short, drops.next(dropped_opaque(CLASS)));
    });
}

#[test]
fn ipv6_needs_neighbours_listeners_path_mtu_and_dhcp() {
    play_everywhere("ipv6_needs_neighbours_listeners_path_mtu_and_dhcp", |stage| {
        all_blocked(stage, "IPv6 under a covering drop");
        let mut drops = Drops(0);
        let target = [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x10];
        for (what, frame) in [
            ("neighbour solicitation", v6().neighbour_solicitation(target).build()),
            ("neighbour advertisement", v6().neighbour_advertisement(target).build()),
            ("router solicitation", v6().hop_limit(255).icmp(133, 0).build()),
            ("router advertisement", v6().hop_limit(255).icmp(134, 0).payload(&[0; 8]).build()),
            ("redirect", v6().hop_limit(255).icmp(137, 0).payload(&[0; 32]).build()),
            ("listener query behind hop-by-hop", v6().listener_query().build()),
            ("listener report", v6().hop_limit(1).icmp(131, 0).payload(&[0; 16]).build()),
            ("listener done", v6().hop_limit(1).icmp(132, 0).payload(&[0; 16]).build()),
            (
                "listener report, version 2",
                v6().hop_limit(1).icmp(143, 0).payload(&[0; 20]).build(),
            ),
            ("packet too big", v6().packet_too_big(1280).payload(&[0; 48]).build()),
            (
                "packet too big behind an extension",
                v6().extension(Extension::Destination(Vec::new())).packet_too_big(1280).build(),
            ),
            ("DHCPv6 to the client", v6().udp(547, 546).build()),
            ("DHCPv6 to the server", v6().udp(546, 547).build()),
        ] {
            stage.arrives(what, &frame, essential());
        }
        for (what, frame) in [
            ("solicitation from beyond a router", v6().hop_limit(254).icmp(135, 0).build()),
            ("ping", v6().icmp(128, 0).build()),
            ("unreachable", v6().icmp(1, 4).payload(&[0; 48]).build()),
            ("ICMP in IPv6", v6().raw(1, &[3, 4, 0, 0, 0, 0, 5, 0]).build()),
            (
                "a later fragment of a solicitation",
                v6().hop_limit(255)
                    .extension(Extension::Fragment { offset: 8, more: false, id: 1 })
                    .raw(58, &[135, 0, 0, 0, 0, 0, 0, 0])
                    .build(),
            ),
        ] {
            stage.arrives(what, &frame, drops.next(dropped_opaque(CLASS)));
        }
        let datagram = v6().udp(546, 443).build();
        stage.arrives("port 546 to a service", &datagram, drops.next(dropped_by(CLASS, 3)));
    });
}

#[test]
fn arp_passes_and_tags_hide_nothing() {
    play("arp_passes_and_tags_hide_nothing", |stage| {
        all_blocked(stage, "the link layer under a covering drop");
        let arp = Ethernet::new().raw(0x0806, &[0; 46]).build();
        stage.arrives("ARP", &arp, passes_as(Reason::PassNotIp));
        let tagged = Ethernet::new().service_vlan(1).vlan(2);
        let ping = tagged.clone().ipv4([203, 0, 113, 9], [198, 51, 100, 10]).icmp(8, 0).build();
        let expect = dropped_opaque(CLASS).hit(CLASS, Action::Drop, Mode::Enforce, 1);
        stage.arrives("ping behind two tags", &ping, expect);
        let needed = tagged.ipv4([203, 0, 113, 9], [198, 51, 100, 10]).fragmentation_needed(1400);
        stage.arrives("fragmentation needed behind two tags", &needed.build(), essential());
    });
}
