//! What cannot be parsed passes and is counted by its reason; what can be is, however deep.

use weir_common::abi::Reason;
use weir_lab::{
    bpf::Hook,
    packet::{Ethernet, Extension, Frame, Ipv4, Ipv6, ipv4, ipv6},
};

use crate::{
    expect::{Expect, passes_as, served, syn_served},
    play, play_everywhere,
    stage::{NONE, SHOP, Stage},
};

const VISITOR: [u8; 4] = [203, 0, 113, 77];
const SERVER: [u8; 4] = [198, 51, 100, 10];
const VISITOR6: [u16; 8] = [0x2001, 0xdb8, 0x113, 77, 0, 0, 0, 7];
const SERVER6: [u16; 8] = [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x10];

/// From the visitor to the server, whatever follows.
fn v4() -> Ipv4 {
    ipv4(VISITOR, SERVER)
}

fn v6() -> Ipv6 {
    ipv6(VISITOR6, SERVER6)
}

fn chain(extensions: &[Extension]) -> Ipv6 {
    extensions.iter().cloned().fold(v6(), Ipv6::extension)
}

fn options() -> Extension {
    Extension::Destination(Vec::new())
}

fn cuts(stage: &mut Stage<'_>, what: &str, frame: &Frame) {
    for (cut, bytes) in frame.truncations() {
        stage.arrives(&format!("{what}, cut {cut}"), &bytes, passes_as(Reason::PassTruncated));
    }
}

#[test]
fn packets_that_are_not_ip() {
    play("packets_that_are_not_ip", |stage| {
        stage.story("what is neither IPv4 nor IPv6 is none of Weir's business");
        for (what, ethertype) in
            [("ARP", 0x0806), ("LLDP", 0x88cc), ("EAPOL", 0x888e), ("a length (802.3)", 0x0040)]
        {
            let frame = Ethernet::new().raw(ethertype, &[0; 46]).build();
            stage.arrives(what, &frame, passes_as(Reason::PassNotIp));
        }
        let frame = Ethernet::new().vlan(7).raw(0x0806, &[0; 28]).build();
        stage.arrives("ARP in a VLAN", &frame, passes_as(Reason::PassNotIp));
    });
}

#[test]
fn packets_that_end_inside_a_header() {
    play("packets_that_end_inside_a_header", |stage| {
        stage.story("a packet that ends before its lengths say passes, even from a blocked source");
        let tagged = Ethernet::new().service_vlan(1).vlan(2);
        stage.verdict("0.0.0.0/0", 1, &crate::verdicts::DROP);
        stage.verdict("::/0", 1, &crate::verdicts::DROP);
        let syn = v4().options(&[7, 7, 4, 0, 0, 0, 0]).tcp(40_000, 443).syn().linux_options();
        cuts(stage, "IPv4, options, TCP", &syn.payload(b"data").frame());
        let syn = tagged.ipv4(VISITOR, SERVER).tcp(40_000, 443).syn();
        cuts(stage, "QinQ, IPv4, TCP", &syn.payload(b"data").frame());
        cuts(stage, "IPv4, UDP", &v4().udp(40_000, 443).payload(b"data").frame());
        cuts(stage, "IPv4, ICMP", &v4().icmp(8, 0).payload(b"ping").frame());
        let long = chain(&[
            Extension::HopByHop(vec![5, 2, 0, 0]),
            Extension::Routing { kind: 4, segments_left: 0, data: vec![0; 20] },
            Extension::Fragment { offset: 0, more: true, id: 9 },
            Extension::Authentication,
            options(),
        ]);
        cuts(stage, "IPv6, five extensions, TCP", &long.tcp(40_000, 443).syn().frame());
        cuts(stage, "IPv6, UDP", &v6().udp(40_000, 443).payload(b"data").frame());
        cuts(stage, "IPv6, ICMPv6", &v6().icmp(128, 0).payload(b"ping").frame());
    });
}

#[test]
fn headers_that_contradict_themselves() {
    play_everywhere("headers_that_contradict_themselves", |stage| {
        stage.story("a header that contradicts itself");
        let malformed = || passes_as(Reason::PassMalformed);
        let truncated = || passes_as(Reason::PassTruncated);
        let syn = || v4().tcp(40_000, 443).syn();
        for (what, ip) in [
            ("IPv4 header of four words", v4().header_words(4)),
            ("IPv4 header of no words", v4().header_words(0)),
            ("IPv4 header longer than the packet", v4().header_words(15)),
            ("IPv4 shorter than its header", v4().total_length(19)),
        ] {
            stage.arrives(what, &ip.tcp(40_000, 443).syn().build(), malformed());
        }
        let longer = v4().total_length(41).tcp(40_000, 443).syn().build();
        stage.arrives("IPv4 longer than the frame", &longer, truncated());
        let longer = v6().payload_length(21).tcp(40_000, 443).syn().build();
        stage.arrives("IPv6 longer than the frame", &longer, truncated());

        stage.story("a transport header that contradicts itself is judged by address all the same");
        let short = syn().header_words(4).build();
        stage.arrives("TCP header of four words", &short, malformed());
        let long = syn().header_words(6).build();
        stage.arrives("TCP header longer than the packet", &long, malformed());
        let inside = v4().total_length(39).tcp(40_000, 443).syn().build();
        stage.arrives("IPv4 that ends inside TCP", &inside, malformed().padded_by(1));
        let cut = v4().raw(6, &[0; 19]).build();
        stage.arrives("a TCP header of 19 bytes", &cut, truncated());
        let cut = v4().raw(17, &[0; 7]).build();
        stage.arrives("a UDP header of 7 bytes", &cut, truncated());
        let cut = v6().raw(6, &[0; 19]).build();
        stage.arrives("a TCP header of 19 bytes on IPv6", &cut, truncated());
        let lying = v4().udp(40_000, 443).length(4).build();
        stage.arrives("a UDP length that lies is the server's to judge", &lying, served(3));
    });
}

#[test]
fn versions_that_do_not_fit_the_ethertype() {
    play("versions_that_do_not_fit_the_ethertype", |stage| {
        stage.story("the ethertype says one version and the header another");
        let four = v4().version(6).tcp(40_000, 443).syn().build();
        stage.arrives("IPv4 that says 6", &four, passes_as(Reason::PassMalformed));
        let six = v6().version(4).tcp(40_000, 443).syn().build();
        stage.arrives("IPv6 that says 4", &six, passes_as(Reason::PassMalformed));
        let as_six = Ethernet::new().ethertype(0x86dd).ipv4(VISITOR, SERVER).raw(6, &[0; 40]);
        stage.arrives("IPv4 called IPv6", &as_six.build(), passes_as(Reason::PassMalformed));
    });
}

#[test]
fn a_length_of_zero_is_a_super_packet_only_where_there_are_such() {
    play_everywhere("a_length_of_zero_is_a_super_packet", |stage| {
        stage.story("IPv6 without a length is as long as its buffer (RFC 2675, BIG TCP)");
        let jumbo = v6().payload_length(0).tcp(40_000, 443).syn().build();
        stage.arrives("payload length 0", &jumbo, syn_served(SHOP));

        stage.story("IPv4 without a length: TC sees super-packets, and XDP none");
        let big = v4().total_length(0).udp(40_000, 53).build();
        let expect = match stage.hook() {
            Hook::Tc => served(NONE),
            Hook::Xdp | Hook::Host => passes_as(Reason::PassMalformed),
        };
        stage.arrives("total length 0", &big, expect.peculiar());
    });
}

#[test]
fn tags() {
    play("tags", |stage| {
        stage.story("up to two VLAN tags are passed over, a third is not");
        let port = |port| move |link: Ethernet| link.ipv4(VISITOR, SERVER).tcp(port, 443).syn();
        for (what, link, port) in [
            ("802.1Q", Ethernet::new().vlan(100), port(41_000)),
            ("802.1Q with priority", Ethernet::new().tag(0x8100, 0xe064), port(41_001)),
            ("802.1ad alone", Ethernet::new().service_vlan(1), port(41_002)),
            ("QinQ", Ethernet::new().service_vlan(1).vlan(2), port(41_003)),
            ("802.1Q twice", Ethernet::new().vlan(1).vlan(2), port(41_004)),
        ] {
            stage.arrives(what, &port(link).build(), syn_served(SHOP));
        }
        let six = Ethernet::new().service_vlan(1).vlan(2).ipv6(VISITOR6, SERVER6);
        stage.arrives("QinQ, IPv6", &six.tcp(41_000, 443).syn().build(), syn_served(SHOP));
        let three = Ethernet::new().service_vlan(1).vlan(2).vlan(3);
        let too_deep = passes_as(Reason::PassTooDeep);
        stage.arrives("three tags", &port(41_005)(three).build(), too_deep);
        let padded = [port(41_006)(Ethernet::new().vlan(1)).build(), vec![0; 6]].concat();
        stage.arrives("a tag and padding", &padded, syn_served(SHOP).padded_by(6));
    });
}

#[test]
fn ipv4_options_and_fragments() {
    play_everywhere("ipv4_options_and_fragments", |stage| {
        stage.story("options are passed over");
        for words in [1u16, 5, 10] {
            let syn = v4().options(&vec![1; usize::from(words) * 4]);
            let syn = syn.tcp(42_000 + words, 443).syn().build();
            stage.arrives(&format!("{words} words of options"), &syn, syn_served(SHOP));
        }
        stage.story("the first fragment has ports, later ones have not");
        let first = v4().fragment(0, true).tcp(42_100, 443).syn().build();
        stage.arrives("first fragment", &first, syn_served(SHOP));
        let later = v4().fragment(1480, false).raw(6, &[0; 40]).build();
        stage.arrives("later fragment", &later, passes_as(Reason::PassFragment));
        let later = v4().fragment(8, true).raw(17, &[0; 40]).build();
        stage.arrives("later fragment that overlaps", &later, passes_as(Reason::PassFragment));
        let tiny = v4().fragment(0, true).raw(6, &[0; 8]).build();
        stage.arrives("first fragment too small for TCP", &tiny, passes_as(Reason::PassTruncated));
    });
}

#[test]
fn ipv6_extension_headers() {
    play_everywhere("ipv6_extension_headers", |stage| {
        stage.story("one to six extension headers are followed, a seventh is not");
        for count in 1..=7u16 {
            let syn = chain(&vec![options(); usize::from(count)]);
            let syn = syn.tcp(43_000 + count, 443).syn().build();
            let expect: Expect =
                if count <= 6 { syn_served(SHOP) } else { passes_as(Reason::PassTooDeep) };
            stage.arrives(&format!("{count} headers"), &syn, expect);
        }
        stage.story("every kind of extension header");
        for (number, (what, extension)) in (0u16..).zip([
            ("hop-by-hop", Extension::HopByHop(vec![5, 2, 0, 0])),
            ("long options", Extension::Destination(vec![0; 200])),
            ("routing", Extension::Routing { kind: 4, segments_left: 1, data: vec![0; 36] }),
            ("authentication", Extension::Authentication),
            ("first fragment", Extension::Fragment { offset: 0, more: true, id: 1 }),
            ("atomic fragment", Extension::Fragment { offset: 0, more: false, id: 2 }),
            ("mobility", Extension::Other { number: 135, bytes: vec![0; 8] }),
        ]) {
            let syn = v6().extension(extension).tcp(43_100 + number, 443).syn().build();
            stage.arrives(what, &syn, syn_served(SHOP));
        }
        stage.story("where the chain ends before a transport header");
        let fragment = passes_as(Reason::PassFragment);
        let later = Extension::Fragment { offset: 1480, more: false, id: 3 };
        stage.arrives("later fragment", &v6().extension(later).raw(6, &[0; 40]).build(), fragment);
        let long = Extension::Other { number: 60, bytes: vec![0, 255, 0, 0, 0, 0, 0, 0] };
        let beyond = v6().extension(long).raw(6, &[0; 20]).build();
        stage.arrives("an extension beyond the end", &beyond, passes_as(Reason::PassTruncated));
        let empty = v6().extension(options()).raw(0, &[]).build();
        stage.arrives("an extension that is not there", &empty, passes_as(Reason::PassTruncated));
        let other = || passes_as(Reason::PassOtherProtocol);
        stage.arrives("no next header (59)", &v6().raw(59, &[]).build(), other());
        stage.arrives("ESP (50)", &v6().raw(50, &[0; 32]).build(), other());
    });
}

#[test]
fn other_protocols_and_martians() {
    play_everywhere("other_protocols_and_martians", |stage| {
        stage.story("protocols without ports");
        let other = || passes_as(Reason::PassOtherProtocol);
        for (what, protocol) in [("GRE", 47), ("SCTP", 132), ("IPv4 in IPv4", 4), ("reserved", 255)]
        {
            stage.arrives(what, &v4().raw(protocol, &[0; 40]).build(), other());
        }
        stage.arrives("ping", &v4().icmp(8, 0).payload(b"ping").build(), other());
        stage.arrives("ping on IPv6", &v6().icmp(128, 0).payload(b"ping").build(), other());
        stage.arrives("ICMP without a byte", &v4().raw(1, &[]).build(), other());

        stage.story("source addresses that cannot be any are not measured");
        let martian = || passes_as(Reason::PassMartian);
        for source in [[224, 0, 0, 1], [255, 255, 255, 255], [0, 1, 2, 3], [240, 0, 0, 1]] {
            let syn = ipv4(source, SERVER).tcp(40_000, 443).syn().build();
            stage.arrives(&format!("{source:?}"), &syn, martian());
        }
        for (what, source) in [
            ("multicast", [0xff02, 0, 0, 0, 0, 0, 0, 1]),
            ("unspecified", [0; 8]),
            ("IPv4-mapped", [0, 0, 0, 0, 0, 0xffff, 0xcb00, 0x714d]),
        ] {
            let syn = ipv6(source, SERVER6).tcp(40_000, 443).syn().build();
            stage.arrives(what, &syn, martian());
        }
    });
}

#[test]
fn what_is_whole_is_measured() {
    play_everywhere("what_is_whole_is_measured", |stage| {
        stage.story("plain packets to services and to ports of none");
        let (four, six) = (stage.v4(443), stage.v6(443));
        stage.arrives("SYN", &four.syn().build(), syn_served(SHOP));
        stage.arrives("SYN on IPv6", &six.syn().build(), syn_served(SHOP));
        let datagram = v4().udp(40_000, 443).payload(b"initial").build();
        stage.arrives("QUIC", &datagram, served(3));
        let datagram = v6().udp(40_000, 443).no_checksum().build();
        stage.arrives("QUIC on IPv6", &datagram, served(3));
        let datagram = v4().udp(40_000, 53).build();
        stage.arrives("UDP to no service", &datagram, served(NONE));
        let segment = four.to_port(22).ask(0, 0).build();
        stage.arrives("TCP to no service", &segment, served(NONE));
        let padded = [four.with_port(40_001).segment().syn().build(), vec![0; 6]].concat();
        stage.arrives("a SYN with Ethernet padding", &padded, syn_served(SHOP).padded_by(6));
        let bad = v4().bad_checksum().tcp(40_002, 443).syn().bad_checksum().build();
        stage.arrives("checksums are the server's to check", &bad, syn_served(SHOP));
        let empty = v4().tcp(40_003, 443).build();
        stage.arrives("TCP without flags", &empty, served(SHOP));
    });
}
