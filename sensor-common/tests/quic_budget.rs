//! Initials that the daemon decrypts: a flood from addresses that do not exist neither fills the
//! ring buffer nor shuts out those who proved that they do.

use weir_common::{
    abi::{Control, Mode, Reason, Service, control::service_index, tally::reason_index},
    host::{BufferPacket, MemoryTables},
    packet::{Heading, Link},
    pipeline::{self, Work},
};

const SERVICE: u8 = 3;
const SECOND: u64 = 1_000_000_000;
const SERVER: [u8; 4] = [198, 51, 100, 10];

fn tables() -> MemoryTables {
    let mut tables = MemoryTables::default();
    tables.set_control(Control {
        policy_mode: Mode::Enforce as u8,
        breaker_mode: Mode::Enforce as u8,
        seed: 0x5eed,
        ..Control::default()
    });
    tables.set_service(service_index(true, 443), Service { id: SERVICE, ..Service::default() });
    tables.set_now_ns(1000 * SECOND);
    tables
}

/// A datagram of 1,200 bytes with a long header.
fn datagram(client: [u8; 4], heading: Heading, to: &[u8], from: &[u8]) -> Vec<u8> {
    let mut quic = vec![0xc0, 0, 0, 0, 1];
    for id in [to, from] {
        quic.push(id.len() as u8);
        quic.extend(id);
    }
    quic.resize(1200, 0);
    let (source, destination, ports) = match heading {
        Heading::Ingress => (client, SERVER, [0x9c, 0x40, 1, 187]),
        Heading::Egress => (SERVER, client, [1, 187, 0x9c, 0x40]),
    };
    let mut bytes = vec![0x45, 0];
    bytes.extend(1228u16.to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    bytes.extend(source);
    bytes.extend(destination);
    bytes.extend(ports);
    bytes.extend(1208u16.to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(quic);
    bytes
}

fn arrives(tables: &MemoryTables, client: [u8; 4], to: &[u8]) {
    let mut packet = BufferPacket::new(&datagram(client, Heading::Ingress, to, &[7; 4]));
    pipeline::ingress(&mut packet, tables, Link::None, &mut Work::default());
}

fn counted(tables: &MemoryTables, reason: Reason) -> u64 {
    tables.counted(reason_index(reason)).packets
}

/// So many sources that nobody has seen, an Initial each.
fn flood(tables: &MemoryTables, sources: u32) {
    for source in 0..sources {
        arrives(tables, (0x0a00_0000 + source).to_be_bytes(), &[1; 8]);
    }
}

#[test]
fn strangers_share_one_budget_and_the_proven_do_not_pay_for_them() {
    let tables = tables();
    let known = [203, 0, 113, 7];
    arrives(&tables, known, &[1; 8]);
    let reply = BufferPacket::new(&datagram(known, Heading::Egress, &[7; 4], &[2; 8]));
    pipeline::egress(&reply, &tables, Link::None, &mut Work::default());
    arrives(&tables, known, &[2; 8]);
    assert_eq!(counted(&tables, Reason::ProvenQuic), 1);

    tables.set_now_ns(2000 * SECOND);
    let before = counted(&tables, Reason::QuicInitial);
    flood(&tables, 3000);
    // A few of the sources share a cell, and so a budget, with another.
    let passed = counted(&tables, Reason::QuicInitial) - before;
    assert!((990..=1000).contains(&passed), "{passed}");
    assert_eq!(passed + counted(&tables, Reason::QuicOverBudget), 3000);
    assert_eq!(tables.fingerprints().take_records().len() as u64, before + passed);

    arrives(&tables, known, &[2; 8]);
    assert_eq!(tables.fingerprints().take_records().len(), 1, "the proven are heard");
    arrives(&tables, [203, 0, 113, 8], &[1; 8]);
    assert!(tables.fingerprints().take_records().is_empty(), "strangers wait");
    tables.set_now_ns(2000 * SECOND + SECOND / 100);
    flood(&tables, 100);
    let later = tables.fingerprints().take_records().len();
    assert!((9..=11).contains(&later), "{later} in ten milliseconds");
}
