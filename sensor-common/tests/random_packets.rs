//! Packets that nobody in their right mind sends: they never make the engine panic, never come out
//! with a wrong length or checksum, and never prove anybody.

#![expect(clippy::indexing_slicing, reason = "a packet that is too short fails the test loudly")]

use proptest::{collection::vec, prelude::*};
use weir_common::{
    abi::{
        Action, Control, Mode, Reason, Service, ServiceSet, Verdict, VerdictClass,
        control::service_index,
    },
    host::{BufferPacket, Emitted, MemoryTables},
    packet::{Heading, Link},
    pipeline::{self, Decision, Work},
};

const PORT: u16 = 443;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// The server's first sequence number, which a blind sender cannot know.
const SERVER_ISN: u32 = 0x7357_0000;

/// Tables with one protected port.
fn tables() -> MemoryTables {
    let mut tables = MemoryTables::default();
    tables.set_control(Control {
        policy_mode: Mode::Enforce as u8,
        breaker_mode: Mode::Enforce as u8,
        stall_ns: 1_000_000,
        ..Control::default()
    });
    tables.set_service(service_index(false, PORT), Service { id: 1, ..Service::default() });
    tables
}

/// Everyone is dropped or rejected.
fn refuse_everyone(tables: &MemoryTables, action: Action) {
    let class = VerdictClass {
        action: action as u8,
        mode: Mode::Enforce as u8,
        reason: Reason::DropOperator as u8,
        services: ServiceSet::ALL,
        ..VerdictClass::default()
    };
    tables.set_class(1, class);
    let [_, v4, _, v6] = tables.verdicts();
    for table in [v4, v6] {
        table.insert(&[0; 4], 0, Verdict { class: 1, ..Verdict::default() });
    }
}

fn run(tables: &MemoryTables, link: Link, heading: Heading, frame: &[u8]) -> (Decision, Vec<u8>) {
    let mut packet = BufferPacket::new(frame);
    let decision = match heading {
        Heading::Ingress => pipeline::ingress(&mut packet, tables, link, &mut Work::default()),
        Heading::Egress => {
            pipeline::egress(&packet, tables, link, &mut Work::default());
            Decision::Pass
        }
    };
    (decision, packet.bytes().to_vec())
}

/// A TCP segment between the visitor (ingress) and the server.
#[derive(Clone, Copy, Debug)]
struct Segment {
    v6: bool,
    heading: Heading,
    flags: u8,
    seq: u32,
    ack: u32,
    payload: u8,
    options: u8,
}

impl Segment {
    /// As bare IP, lengths right; checksums do not matter to the engine.
    fn build(&self) -> Vec<u8> {
        let options = usize::from(self.options % 11) * 4;
        let tcp_len = 20 + options + usize::from(self.payload);
        let visitor = [203, 0, 113, 7];
        let server = [198, 51, 100, 10];
        let wide =
            |tail: [u8; 4]| [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0][..], &tail].concat();
        let (from, to, ports) = match self.heading {
            Heading::Ingress => (visitor, server, [40_000, PORT]),
            Heading::Egress => (server, visitor, [PORT, 40_000]),
        };
        let mut packet = if self.v6 {
            let mut head = vec![0x60, 0, 0, 0];
            head.extend((tcp_len as u16).to_be_bytes());
            head.extend([6, 64]);
            head.extend(wide(from));
            head.extend(wide(to));
            head
        } else {
            let mut head = vec![0x45, 0];
            head.extend((20 + tcp_len as u16).to_be_bytes());
            head.extend([0, 0, 0, 0, 64, 6, 0, 0]);
            head.extend(from);
            head.extend(to);
            head
        };
        packet.extend(ports.iter().flat_map(|port| port.to_be_bytes()));
        packet.extend(self.seq.to_be_bytes());
        packet.extend(self.ack.to_be_bytes());
        packet.extend([((5 + options / 4) << 4) as u8, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        packet.extend(vec![1; options + usize::from(self.payload)]);
        packet
    }
}

/// Sequence numbers that meet: near a few bases.
fn number() -> impl Strategy<Value = u32> {
    (prop_oneof![Just(1000u32), Just(SERVER_ISN), Just(u32::MAX), any::<u32>()], 0..4u32)
        .prop_map(|(base, offset)| base.wrapping_add(offset))
}

fn heading() -> impl Strategy<Value = Heading> {
    prop_oneof![Just(Heading::Ingress), Just(Heading::Egress)]
}

fn segment() -> impl Strategy<Value = Segment> {
    let flags = vec(prop_oneof![Just(FIN), Just(SYN), Just(RST), Just(ACK)], 0..3)
        .prop_map(|flags| flags.into_iter().fold(0, |all, flag| all | flag));
    (any::<bool>(), heading(), flags, number(), number(), 0..40u8, any::<u8>()).prop_map(
        |(v6, heading, flags, seq, ack, payload, options)| Segment {
            v6,
            heading,
            flags,
            seq,
            ack,
            payload,
            options,
        },
    )
}

/// A segment with bytes changed and its end cut off.
fn mutilated() -> impl Strategy<Value = (Heading, Vec<u8>)> {
    (segment(), vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), any::<Option<u8>>())
        .prop_map(|(segment, changes, cut)| {
            let mut bytes = segment.build();
            for (at, value) in changes {
                *at.get_mut(&mut bytes) = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(usize::from(cut));
            }
            (segment.heading, bytes)
        })
}

/// The Internet checksum, apart from the product's own: zero over what includes it rightly.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What is wrong with a packet that claims to be a reset.
fn flaws(packet: &[u8]) -> Option<&'static str> {
    let is_v6 = packet[0] >> 4 == 6;
    let (head, addresses) = if is_v6 { (40, 8..40) } else { (20, 12..20) };
    if packet.len() != head + 20 {
        return Some("it is not two bare headers");
    }
    let said = if is_v6 {
        40 + u16::from_be_bytes([packet[4], packet[5]])
    } else {
        u16::from_be_bytes([packet[2], packet[3]])
    };
    if usize::from(said) != packet.len() {
        return Some("its length is wrong");
    }
    if !is_v6 && (checksum(&[&packet[..20]]) != 0 || packet[0] != 0x45) {
        return Some("its IPv4 header is wrong");
    }
    if !is_v6 && u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0 {
        return Some("it is a fragment");
    }
    let tcp = &packet[head..];
    if checksum(&[&packet[addresses], &[0, 6, 0, 20], tcp]) != 0 {
        return Some("its TCP checksum is wrong");
    }
    (tcp[13] & RST == 0).then_some("it does not reset")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn random_bytes_pass_as_they_are(
        frames in vec(vec(any::<u8>(), 0..160), 1..20),
        ethernet in any::<bool>(),
        heading in heading(),
    ) {
        let tables = tables();
        let link = if ethernet { Link::Ethernet } else { Link::None };
        for frame in frames {
            let (decision, after) = run(&tables, link, heading, &frame);
            prop_assert_eq!(decision, Decision::Pass);
            prop_assert_eq!(after, frame);
        }
    }

    #[test]
    fn mutilated_segments_pass_as_they_are(packets in vec(mutilated(), 1..30)) {
        let tables = tables();
        for (number, (heading, packet)) in (1u64..).zip(packets) {
            tables.set_now_ns(number << 20);
            let (decision, after) = run(&tables, Link::None, heading, &packet);
            prop_assert_eq!(decision, Decision::Pass);
            prop_assert_eq!(after, packet);
        }
    }

    #[test]
    fn what_is_rewritten_is_a_whole_reset(
        before in vec(segment(), 0..20),
        after in vec(mutilated(), 1..20),
        reject in any::<bool>(),
    ) {
        let tables = tables();
        tables.set_now_ns(1 << 40);
        for segment in before {
            run(&tables, Link::None, segment.heading, &segment.build());
        }
        refuse_everyone(&tables, if reject { Action::Reject } else { Action::Drop });
        for (number, (heading, packet)) in (1u64..).zip(after) {
            tables.set_now_ns((1 << 40) + (number << 31));
            let (decision, now) = run(&tables, Link::None, heading, &packet);
            if decision == Decision::Reply || decision == Decision::Pass && now != packet {
                prop_assert_eq!(flaws(&now), None, "{:?} became {:?}", packet, now);
            }
        }
    }

    /// A sender that hears nothing: it does not know the server's first number. The server answers
    /// as Linux does: with SYN-ACKs, bare ACKs, FINs and resets, but with data to nobody.
    #[test]
    fn who_hears_nothing_proves_nothing(packets in vec(segment(), 1..60)) {
        let tables = tables();
        for (number, mut segment) in (1u64..).zip(packets) {
            tables.set_now_ns(number << 28);
            match segment.heading {
                Heading::Ingress if segment.ack == SERVER_ISN.wrapping_add(1) => continue,
                Heading::Ingress => {}
                Heading::Egress => {
                    segment.payload = 0;
                    segment.seq = SERVER_ISN;
                    // It acknowledges a SYN that came; more only once it was acknowledged itself.
                    let is_mapped = |address: &[u32; 4]| address[..2] == [0, 0];
                    let half_open = tables.handshakes();
                    let own = half_open.iter().find(|(key, _)| is_mapped(&key.remote) != segment.v6);
                    let Some((_, own)) = own else { continue };
                    segment.ack = own.client_isn.wrapping_add(1);
                }
            }
            run(&tables, Link::None, segment.heading, &segment.build());
        }
        prop_assert!(tables.sources().is_empty());
        prop_assert!(tables.flows().is_empty());
        let told = tables.take_events();
        prop_assert!(!told.iter().any(|event| matches!(event, Emitted::Established(_))));
    }
}
