//! The pipeline on the host: its engine over its tables.

use anyhow::Result;
use ipnet::IpNet;
use weir_common::{
    abi::{Control, Guard, Protocol, Tally, Verdict, VerdictClass, control, tally::TALLY_SLOTS},
    host::{BufferPacket, Emitted, MemoryTables},
    packet::{Heading, Link},
    pipeline::{self, Decision, Work},
};
use weir_sensor::{enforce::dataplane::ServicePort, event::Event};

use super::{Engine, Fate, Hook, Place, Records};

/// The interface that packets seem to come from: the loopback device, as in test runs.
const LOOPBACK: u32 = 1;

/// The host's engine.
#[derive(Debug)]
pub struct HostEngine {
    tables: MemoryTables,
    link: Link,
    ports: Vec<ServicePort>,
}

impl HostEngine {
    /// An engine with empty tables.
    #[must_use]
    pub fn new(link: Link) -> Self {
        let tables = MemoryTables::default();
        tables.set_ifindex(LOOPBACK);
        Self { tables, link, ports: Vec::new() }
    }

    fn declare(&self, ports: &[ServicePort], id: impl Fn(&ServicePort) -> u8) {
        for port in ports {
            let index = control::service_index(port.protocol == Protocol::Udp, port.port);
            self.tables.set_service(index, id(port));
        }
    }
}

impl Engine for HostEngine {
    fn place(&self) -> Place {
        Place { hook: Hook::Host, link: self.link }
    }

    fn set_now_ns(&mut self, now_ns: u64) -> Result<()> {
        self.tables.set_now_ns(now_ns);
        Ok(())
    }

    fn set_killed(&mut self, on: bool) -> Result<()> {
        self.tables.set_killed(on);
        Ok(())
    }

    fn set_control(&mut self, control: &Control) -> Result<()> {
        self.tables.set_control(*control);
        Ok(())
    }

    fn pulse(&mut self, tick: u32) -> Result<()> {
        self.tables.set_pulse_tick(tick);
        Ok(())
    }

    fn set_services(&mut self, ports: &[ServicePort]) -> Result<()> {
        self.declare(&self.ports, |_| 0);
        self.declare(ports, |port| port.service);
        self.ports = ports.to_vec();
        Ok(())
    }

    fn set_guard(&mut self, service: u8, guard: Guard) -> Result<()> {
        let kept = self.tables.guard(service);
        let Guard { interval_ns, burst_ns, .. } = guard;
        self.tables.set_guard(service, Guard { interval_ns, burst_ns, ..kept });
        Ok(())
    }

    fn set_class(&mut self, id: u16, class: &VerdictClass) -> Result<()> {
        self.tables.set_class(id, *class);
        Ok(())
    }

    fn set_verdict(&mut self, net: IpNet, verdict: Verdict) -> Result<()> {
        let (table, address, length) = place_of(net);
        if let Some(table) = self.tables.verdicts().get(table) {
            table.insert(&address, length, verdict);
        }
        Ok(())
    }

    fn remove_verdict(&mut self, net: IpNet) -> Result<()> {
        let (table, address, length) = place_of(net);
        if let Some(table) = self.tables.verdicts().get(table) {
            table.remove(&address, length);
        }
        Ok(())
    }

    fn run(&mut self, heading: Heading, packet: &[u8]) -> Result<Fate> {
        let mut packet = BufferPacket::new(packet);
        let decision = match heading {
            Heading::Ingress => {
                let mut work = Work::default();
                pipeline::ingress(&mut packet, &self.tables, self.link, &mut work)
            }
            Heading::Egress => {
                let mut work = Work::default();
                pipeline::egress(&packet, &self.tables, self.link, &mut work);
                Decision::Pass
            }
        };
        Ok(Fate { decision, packet: packet.bytes().to_vec() })
    }

    fn tally(&self) -> Result<Vec<Tally>> {
        Ok((0..TALLY_SLOTS as u32).map(|index| self.tables.counted(index)).collect())
    }

    fn take_events(&mut self) -> Result<Vec<Event>> {
        let events = self.tables.take_events().into_iter();
        Ok(events
            .map(|event| match event {
                Emitted::Established(event) => Event::Established(event),
                Emitted::Closed(event) => Event::Closed(event),
                Emitted::Milestone(event) => Event::Milestone(event),
                Emitted::Hit(event) => Event::Hit(event),
            })
            .collect())
    }

    fn records(&self) -> Result<Records> {
        Ok(Records {
            flows: self.tables.flows(),
            sources: self.tables.sources(),
            handshakes: self.tables.handshakes(),
            outbound: self.tables.outbound(),
        })
    }
}

/// The table of a prefix (as [`MemoryTables::verdicts`] orders them) and its key there.
fn place_of(net: IpNet) -> (usize, [u32; 4], u32) {
    let length = u32::from(net.prefix_len());
    match net.trunc() {
        IpNet::V4(net) => {
            let word = u32::from_ne_bytes(net.addr().octets());
            (usize::from(length != 32), [word, 0, 0, 0], length)
        }
        IpNet::V6(net) => {
            let words = words(net.addr().octets());
            if matches!(length, 64 | 128) { (2, words, 128) } else { (3, words, length) }
        }
    }
}

/// An address as wire-order words.
fn words(octets: [u8; 16]) -> [u32; 4] {
    let (quads, _) = octets.as_chunks::<4>();
    let mut quads = quads.iter();
    std::array::from_fn(|_| quads.next().map_or(0, |quad| u32::from_ne_bytes(*quad)))
}
