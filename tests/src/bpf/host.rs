//! The pipeline on the host: its engine over its tables.

use anyhow::Result;
use ipnet::IpNet;
use weir_common::{
    abi::{
        Control, Guard, Protocol, Service, Tally, Verdict, VerdictClass,
        control::{self, CONTROL_FINGERPRINTS, CONTROL_FLOWS, CONTROL_SYNS},
        key::V4_MAPPED,
        tally::TALLY_SLOTS,
    },
    host::{BufferPacket, Emitted, HelloRecord, MemoryTables},
    packet::{Heading, Link},
    pipeline::{self, Decision, Work},
    tls::{Seed, name::NameHash},
};
use weir_sensor::{
    enforce::dataplane::{ServiceName, ServicePort, Subject},
    event::Event,
};

use super::{Engine, Fate, Hook, Place, Records};

/// The interface that packets seem to come from: the loopback device, as in test runs.
pub(super) const LOOPBACK: u32 = 1;

/// The secret of match keys.
const SEED: Seed = Seed { add: 0x5eed_0000_0000_5eed, multiply: 0x1357_9bdf_0246_8ace };

/// The host's engine.
#[derive(Debug)]
pub struct HostEngine {
    tables: MemoryTables,
    link: Link,
    ports: Vec<ServicePort>,
    control: Control,
}

impl HostEngine {
    /// An engine with empty tables.
    #[must_use]
    pub fn new(link: Link) -> Self {
        let mut tables = MemoryTables::default();
        tables.set_ifindex(LOOPBACK);
        tables.fingerprints_mut().seed = SEED;
        Self { tables, link, ports: Vec::new(), control: Control::default() }
    }

    fn declare(&self, ports: &[ServicePort], service: impl Fn(&ServicePort) -> Service) {
        for port in ports {
            let index = control::service_index(port.protocol == Protocol::Udp, port.port);
            self.tables.set_service(index, service(port));
        }
    }

    /// Says which tables of verdicts have entries, as the daemon does.
    fn apply_control(&mut self) {
        let tables = self.tables.fingerprints();
        let bit = |is_empty: bool, bit: u16| if is_empty { 0 } else { bit };
        let flags = bit(tables.hellos.borrow().is_empty(), CONTROL_FINGERPRINTS)
            | bit(tables.syns.borrow().is_empty(), CONTROL_SYNS)
            | bit(tables.flows.borrow().is_empty(), CONTROL_FLOWS);
        self.tables.set_control(Control { flags, ..self.control });
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
        self.control = *control;
        self.apply_control();
        Ok(())
    }

    fn pulse(&mut self, tick: u32) -> Result<()> {
        self.tables.set_pulse_tick(tick);
        Ok(())
    }

    fn set_services(&mut self, ports: &[ServicePort]) -> Result<()> {
        self.declare(&self.ports, |_| Service::default());
        self.declare(ports, |port| Service {
            id: port.service,
            flags: port.flags,
            ..Service::default()
        });
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

    fn set_subject(&mut self, subject: Subject, verdict: Verdict) -> Result<()> {
        let tables = self.tables.fingerprints();
        match subject {
            Subject::Fingerprint(key) => tables.hellos.borrow_mut().insert(key, verdict),
            Subject::Syn(key) => tables.syns.borrow_mut().insert(key, verdict),
            Subject::Flow(key) => tables.flows.borrow_mut().insert(key, verdict),
        };
        self.apply_control();
        Ok(())
    }

    fn remove_subject(&mut self, subject: Subject) -> Result<()> {
        let tables = self.tables.fingerprints();
        match subject {
            Subject::Fingerprint(key) => tables.hellos.borrow_mut().remove(&key),
            Subject::Syn(key) => tables.syns.borrow_mut().remove(&key),
            Subject::Flow(key) => tables.flows.borrow_mut().remove(&key),
        };
        self.apply_control();
        Ok(())
    }

    fn set_names(&mut self, names: &[ServiceName]) -> Result<()> {
        let tables = self.tables.fingerprints();
        let key = |name: &ServiceName| NameHash::of(&tables.seed, name.port_service, &name.name);
        *tables.names.borrow_mut() =
            names.iter().map(|name| (key(name).key(), name.service)).collect();
        Ok(())
    }

    fn set_proxies(&mut self, proxies: &[IpNet]) -> Result<()> {
        let prefixes = proxies.iter().map(|net| match net.trunc() {
            IpNet::V4(v4) => {
                let address = u32::from_ne_bytes(v4.addr().octets());
                ([0, 0, V4_MAPPED, address], 96 + u32::from(v4.prefix_len()))
            }
            IpNet::V6(v6) => (words(v6.addr().octets()), u32::from(v6.prefix_len())),
        });
        *self.tables.fingerprints().proxies.borrow_mut() = prefixes.collect();
        Ok(())
    }

    fn set_interface_flags(&mut self, flags: u32) -> Result<()> {
        self.tables.fingerprints().interfaces.borrow_mut().insert(LOOPBACK, flags);
        Ok(())
    }

    fn key_seed(&self) -> Seed {
        SEED
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
        Ok(Fate { decision, mark: packet.marked(), packet: packet.bytes().to_vec() })
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
                Emitted::Progress(event) => Event::Progress(event),
                Emitted::Milestone(event) => Event::Milestone(event),
                Emitted::Hit(event) => Event::Hit(event),
            })
            .collect())
    }

    fn take_hellos(&mut self) -> Result<Vec<HelloRecord>> {
        Ok(self.tables.fingerprints().take_records())
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
