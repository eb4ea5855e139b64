//! The kernel as the rest of the daemon sees it: a trait with two implementations, the BPF maps
//! (`kernel::Kernel`) and an in-memory twin ([`super::memory::MemoryDataplane`]) for tests and replay.

use ipnet::IpNet;
use weir_common::{
    abi::{Control, Flow, FlowKey, Guard, Protocol, Tally, Verdict, VerdictClass},
    tls::Seed,
};

/// What can go wrong between the daemon and the kernel's tables.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// A table has no room. What was written before it stays written.
    #[error(
        "{map} is full after {written} of {wanted} entries: unblock some, merge them into prefixes, or raise its capacity"
    )]
    Full {
        /// Name of the map.
        map: &'static str,
        /// Entries written by this call before it was full.
        written: usize,
        /// Entries that the call was asked to write.
        wanted: usize,
    },
    /// The kernel refused an operation.
    #[error("cannot {operation} {object}: {source}")]
    Kernel {
        /// What was tried, as a verb ("update", "read").
        operation: &'static str,
        /// On what ("V4_EXACT").
        object: String,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// A port that belongs to a protected service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServicePort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Port, host byte order.
    pub port: u16,
    /// Service id, 1..=255.
    pub service: u8,
    /// `SERVICE_*` bits.
    pub flags: u8,
}

/// A name that refines the service of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceName {
    /// The port's own service id, as in [`ServicePort`].
    pub port_service: u8,
    /// `www.example.com`; `.example.com` for every name below it; empty for hellos without a name
    /// that is known.
    pub name: String,
    /// The service it stands for.
    pub service: u8,
}

/// Who a verdict is about where it is not an address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// A TLS fingerprint, by match key or stable key.
    Fingerprint(u64),
    /// A SYN signature, by key.
    Syn(u64),
    /// A flow.
    Flow(FlowKey),
}

/// Counters as read at one moment, summed over CPUs; index as in `weir_common::abi::tally`.
pub type TallySnapshot = Vec<Tally>;

/// The kernel's tables.
pub trait Dataplane {
    /// Defines what a class means. Must come before the entries that name it.
    fn write_class(&mut self, id: u16, class: &VerdictClass) -> Result<(), DataplaneError>;

    /// Writes verdicts, replacing what stood under the same prefix. Full-length IPv4 and IPv6
    /// prefixes and IPv6 /64s go to the exact maps, everything else to the prefix store.
    fn write_verdicts(&mut self, entries: &[(IpNet, Verdict)]) -> Result<(), DataplaneError>;

    /// Removes verdicts; prefixes without one are passed over. Returns how many there were.
    fn remove_verdicts(&mut self, prefixes: &[IpNet]) -> Result<usize, DataplaneError>;

    /// Every verdict in the maps, expired ones included.
    fn read_verdicts(&self) -> Result<Vec<(IpNet, Verdict)>, DataplaneError>;

    /// Writes verdicts on subjects that are not addresses, replacing what stood there.
    fn write_subjects(&mut self, entries: &[(Subject, Verdict)]) -> Result<(), DataplaneError>;

    /// Removes them; subjects without a verdict are passed over. Returns how many there were.
    fn remove_subjects(&mut self, subjects: &[Subject]) -> Result<usize, DataplaneError>;

    /// Every such verdict, expired ones included.
    fn read_subjects(&self) -> Result<Vec<(Subject, Verdict)>, DataplaneError>;

    /// The secret that keys of fingerprints depend on; as old as the maps.
    fn key_seed(&self) -> Seed;

    /// Replaces the whole table of names.
    fn set_names(&mut self, names: &[ServiceName]) -> Result<(), DataplaneError>;

    /// Replaces the list of proxies that send a PROXY header.
    fn set_proxies(&mut self, proxies: &[IpNet]) -> Result<(), DataplaneError>;

    /// Every class that was ever written (class 0 and unused ones left out).
    fn read_classes(&self) -> Result<Vec<(u16, VerdictClass)>, DataplaneError>;

    /// Replaces the whole table of protected ports.
    fn set_services(&mut self, ports: &[ServicePort]) -> Result<(), DataplaneError>;

    /// Sets the SYN guard of each service named; its running state is kept.
    fn set_guards(&mut self, guards: &[(u8, Guard)]) -> Result<(), DataplaneError>;

    /// Replaces the settings. `seed`, `flags` and `generation` are the implementation's own.
    fn set_control(&mut self, control: &Control) -> Result<(), DataplaneError>;

    /// The daemon's pulse.
    fn pulse(&mut self, now_tick: u32) -> Result<(), DataplaneError>;

    /// Counters.
    fn tally(&self) -> Result<TallySnapshot, DataplaneError>;

    /// One proven flow's record as it stands.
    fn flow(&self, key: &FlowKey) -> Result<Option<Flow>, DataplaneError>;
}
