//! What a test asks of the pipeline, wherever it runs.

use std::fmt;

use anyhow::Result;
use ipnet::IpNet;
use weir_common::{
    abi::{Control, Guard, Tally, Verdict, VerdictClass},
    host::HelloRecord,
    packet::{Heading, Link},
    pipeline::Decision,
    tls::Seed,
};
use weir_sensor::{
    enforce::dataplane::{ServiceName, ServicePort, Subject},
    event::Event,
};

use super::Records;

/// By which way packets come to the ingress stages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hook {
    /// No kernel: the host's engine.
    Host,
    /// XDP.
    Xdp,
    /// TC.
    Tc,
}

/// A hook, on a device with or without an Ethernet header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The hook.
    pub hook: Hook,
    /// What stands before the IP header.
    pub link: Link,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hook = match self.hook {
            Hook::Host => "host",
            Hook::Xdp => "XDP",
            Hook::Tc => "TC",
        };
        match self.link {
            Link::Ethernet => write!(f, "{hook}"),
            Link::None => write!(f, "{hook} without Ethernet"),
        }
    }
}

/// What became of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fate {
    /// Where it goes.
    pub decision: Decision,
    /// The packet as it goes there.
    pub packet: Vec<u8>,
    /// Its mark; 0 where the hook has none.
    pub mark: u32,
}

/// A pipeline with tables of its own.
pub trait Engine {
    /// Where it runs.
    fn place(&self) -> Place;

    /// Sets both clocks, ns.
    fn set_now_ns(&mut self, now_ns: u64) -> Result<()>;
    /// Turns the kill switch.
    fn set_killed(&mut self, on: bool) -> Result<()>;
    /// Sets modes and settings, the seed among them.
    fn set_control(&mut self, control: &Control) -> Result<()>;
    /// Sets the daemon's pulse.
    fn pulse(&mut self, tick: u32) -> Result<()>;
    /// Replaces the table of protected ports.
    fn set_services(&mut self, ports: &[ServicePort]) -> Result<()>;
    /// Sets a service's SYN guard; its running state is kept.
    fn set_guard(&mut self, service: u8, guard: Guard) -> Result<()>;
    /// Defines a verdict class.
    fn set_class(&mut self, id: u16, class: &VerdictClass) -> Result<()>;
    /// Writes a verdict.
    fn set_verdict(&mut self, net: IpNet, verdict: Verdict) -> Result<()>;
    /// Removes a verdict.
    fn remove_verdict(&mut self, net: IpNet) -> Result<()>;
    /// Writes a verdict on something else than an address.
    fn set_subject(&mut self, subject: Subject, verdict: Verdict) -> Result<()>;
    /// Removes it.
    fn remove_subject(&mut self, subject: Subject) -> Result<()>;
    /// Replaces the table of names that refine services.
    fn set_names(&mut self, names: &[ServiceName]) -> Result<()>;
    /// Replaces the list of proxies that send a PROXY header.
    fn set_proxies(&mut self, proxies: &[IpNet]) -> Result<()>;
    /// Sets `INTERFACE_*` bits of the interface that packets seem to come from.
    fn set_interface_flags(&mut self, flags: u32) -> Result<()>;
    /// The secret that keys of fingerprints depend on.
    fn key_seed(&self) -> Seed;

    /// Whether a packet can be sent through it at all.
    fn takes(&self, _heading: Heading, _packet: &[u8]) -> bool {
        true
    }

    /// Sends one packet through the stages of ingress or egress.
    fn run(&mut self, heading: Heading, packet: &[u8]) -> Result<Fate>;

    /// Every counter, index as in `weir_common::abi::tally`.
    fn tally(&self) -> Result<Vec<Tally>>;
    /// The events since the last call.
    fn take_events(&mut self) -> Result<Vec<Event>>;
    /// The ClientHellos and QUIC Initials since the last call.
    fn take_hellos(&mut self) -> Result<Vec<HelloRecord>>;
    /// What the tables remember of conversations and sources.
    fn records(&self) -> Result<Records>;
}
