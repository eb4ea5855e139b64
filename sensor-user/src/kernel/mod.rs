//! The kernel's side: loads, verifies, pins and attaches the programs, and reaches their maps.
//! The only module that names aya.
//!
//! | file | what |
//! | --- | --- |
//! | `object` | the programs that this binary carries, and their loading |
//! | `pins` | what is pinned, and whether it is ours |
//! | `upgrade` | taking over from another ABI version |
//! | `attach`, `link`, `clsact` | interfaces: attach, take over, replace in one step |
//! | `table`, `tables`, `fingerprints` | maps with their types; `Dataplane` over them |
//! | `events`, `hellos` | the ring buffers |
//! | `audit` | what the self-audit reads, looks at and puts right |
//! | `packet_log` | logs of single packets, in debug builds |
//! | `replay` | test runs and a clock that stands still, for tests and benchmarks |
//! | `detach` | removing everything |
//! | `batch` | many elements of a map with one call |
//! | `sys` | bpf(2), as much of it as aya does not offer |

mod attach;
mod audit;
mod batch;
mod clsact;
mod detach;
mod error;
mod events;
mod fingerprints;
mod hellos;
mod link;
mod object;
#[cfg(feature = "bpf-log")]
mod packet_log;
mod pins;
mod replay;
mod ring;
mod sys;
mod table;
mod tables;
mod upgrade;

use std::io;

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use ipnet::IpNet;
use weir_common::{
    abi::{Control, Flow, FlowKey, Guard, Outbound, Verdict, VerdictClass, map},
    tls::Seed,
};

use self::{attach::Attacher, audit::Auditor, pins::Made, tables::Tables, upgrade::Takeover};
pub use self::{
    error::KernelError, events::Events, hellos::Hellos, replay::TestPacket, sys::TestRunResult,
};
use crate::{
    daemon::sensor::{Attachment, Hook, LoadedProgram, MapMemory, Options, Preference, Sensor},
    enforce::dataplane::{
        Dataplane, DataplaneError, ServiceName, ServicePort, Subject, TallySnapshot,
    },
    system::{interface::Interface, paths::Paths},
};

/// What is different in tests; the default is what a host runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Time comes from [`Kernel::set_replay_clock_ns`].
    pub replay: bool,
    /// Use clsact filters even where TC has links.
    pub clsact: bool,
    /// Await a ClientHello again that was read.
    pub read_again: bool,
}

/// The loaded programs and their maps.
pub struct Kernel {
    ebpf: Ebpf,
    paths: Paths,
    variant: Variant,
    tables: Tables,
    rings: Rings,
    made: Made,
    takeover: Takeover,
    filtered: Vec<Interface>,
    /// Interfaces that this process made an entry of in `INTERFACES`.
    noted: Vec<u32>,
    auditor: Auditor,
}

/// What a load made.
struct Loaded {
    ebpf: Ebpf,
    tables: Tables,
    rings: Rings,
    takeover: Takeover,
}

/// The ring buffers, until somebody asks for them.
struct Rings {
    events: Option<RingBuf<MapData>>,
    hellos: Option<RingBuf<MapData>>,
}

impl Kernel {
    /// Readies programs and maps, taking up what an earlier run pinned. On failure, what this call
    /// made is taken back.
    pub fn load(options: &Options, variant: Variant) -> Result<Self, KernelError> {
        let mut made = Made::default();
        match load(options, variant, &mut made) {
            Ok(Loaded { ebpf, tables, rings, takeover }) => Ok(Self {
                ebpf,
                paths: options.paths.clone(),
                variant,
                tables,
                rings,
                made,
                takeover,
                filtered: Vec::new(),
                noted: Vec::new(),
                auditor: Auditor::default(),
            }),
            Err(error) => {
                made.take_back();
                Err(error)
            }
        }
    }
}

fn load(options: &Options, variant: Variant, made: &mut Made) -> Result<Loaded, KernelError> {
    let takeover = Takeover::prepare(options)?;
    let (mut ebpf, pinned) = object::load(options, variant, &takeover, made)?;
    let tables = Tables::new(pinned)
        .map_err(|source| KernelError::System { what: "the pinned maps", source })?;
    let mut ring = |spec| object::take_ring(&mut ebpf, spec).ok_or(KernelError::NoObject);
    let rings = Rings { events: Some(ring(&map::EVENTS)?), hellos: Some(ring(&map::HELLO_BYTES)?) };
    Ok(Loaded { ebpf, tables, rings, takeover })
}

fn taken(ring: Option<RingBuf<MapData>>) -> Result<RingBuf<MapData>, KernelError> {
    ring.ok_or_else(|| ring_error(io::Error::other("it is taken already")))
}

const fn ring_error(source: io::Error) -> KernelError {
    KernelError::System { what: "the ring buffer", source }
}

impl Sensor for Kernel {
    type Error = KernelError;
    type Events = Events;
    type Hellos = Hellos;

    fn open(options: &Options) -> Result<Self, KernelError> {
        Self::load(options, Variant::default())
    }

    fn detach_all(paths: &Paths) -> Result<Vec<String>, KernelError> {
        detach::detach_all(paths)
    }

    fn attach(&mut self, interface: &str, wanted: Preference) -> Result<Attachment, KernelError> {
        self.takeover.copy(&self.tables)?;
        let link = Interface::named(interface)?;
        // Before the first packet, and as if the hook were none of the driver's: taking a checksum
        // that is only begun for a bad one would lose the hellos of honest clients.
        self.note_interface(&link, false)?;
        let mut attacher = Attacher {
            ebpf: &mut self.ebpf,
            paths: &self.paths,
            variant: self.variant,
            made: &mut self.made,
            filtered: &mut self.filtered,
        };
        let attachment = attacher.attach(interface, wanted)?;
        self.note_interface(&link, attachment.ingress == Hook::XdpNative)?;
        self.watch(&link, &attachment, wanted)?;
        Ok(attachment)
    }

    fn roll_back(&mut self) {
        for interface in self.filtered.drain(..) {
            if let Err(error) = clsact::detach(&interface) {
                tracing::warn!("{error}; `weir detach` tries again");
            }
        }
        for ifindex in self.noted.drain(..) {
            if let Err(error) = self.tables.fingerprints.set_interface(ifindex, false) {
                tracing::warn!("{error}; `weir detach` removes it with the maps");
            }
        }
        self.made.take_back();
    }

    fn events(&mut self) -> Result<Events, KernelError> {
        attach::settle(&self.ebpf, &self.paths)?;
        #[cfg(feature = "bpf-log")]
        packet_log::start(&mut self.ebpf);
        let events = Events::new(taken(self.rings.events.take())?).map_err(ring_error)?;
        self.takeover.copy(&self.tables)?;
        // From here on nothing fails, and nothing is taken back.
        self.made.keep();
        self.takeover.finish();
        Ok(events)
    }

    fn hellos(&mut self) -> Result<Hellos, KernelError> {
        Hellos::new(taken(self.rings.hellos.take())?).map_err(ring_error)
    }

    fn programs(&self) -> Vec<LoadedProgram> {
        let mut programs: Vec<_> = self
            .ebpf
            .programs()
            .filter_map(|(name, program)| {
                use std::os::fd::AsFd;
                let (_, tag) = sys::program_identity(program.fd().ok()?.as_fd()).ok()?;
                Some(LoadedProgram { name: name.to_owned(), tag })
            })
            .collect();
        programs.sort_by(|a, b| a.name.cmp(&b.name));
        programs
    }

    fn seed_outbound(&mut self, flows: &[FlowKey]) -> Result<(), DataplaneError> {
        let values = vec![Outbound { last_ns: crate::system::clock::monotonic_ns() }; flows.len()];
        self.tables.outbound.put_all(flows, &values)
    }

    fn memory(&self) -> Result<Vec<MapMemory>, DataplaneError> {
        self.tables.memory()
    }

    fn kill(&self) -> Result<bool, DataplaneError> {
        Ok(self.tables.kill.get(&0)?.is_some_and(|kill| kill != 0))
    }

    fn set_kill(&mut self, on: bool) -> Result<(), DataplaneError> {
        self.tables.kill.put(&0, &u32::from(on))
    }
}

impl Kernel {
    /// Notes whether packets of an interface may carry checksums that are only begun.
    fn note_interface(&mut self, link: &Interface, native: bool) -> Result<(), DataplaneError> {
        let partial = link.may_carry_partial_checksums(native);
        let is_new = self.tables.fingerprints.set_interface(link.index, partial)?;
        let bits = if partial { map::INTERFACE_PARTIAL_CHECKSUMS } else { 0 };
        self.tables.settings.interfaces.insert(link.index, bits);
        if is_new {
            self.noted.push(link.index);
        }
        Ok(())
    }
}

impl Dataplane for Kernel {
    fn write_class(&mut self, id: u16, class: &VerdictClass) -> Result<(), DataplaneError> {
        self.tables.write_class(id, class)
    }

    fn write_verdicts(&mut self, entries: &[(IpNet, Verdict)]) -> Result<(), DataplaneError> {
        self.tables.write_verdicts(entries)
    }

    fn remove_verdicts(&mut self, prefixes: &[IpNet]) -> Result<usize, DataplaneError> {
        self.tables.remove_verdicts(prefixes)
    }

    fn read_verdicts(&self) -> Result<Vec<(IpNet, Verdict)>, DataplaneError> {
        self.tables.read_verdicts()
    }

    fn write_subjects(&mut self, entries: &[(Subject, Verdict)]) -> Result<(), DataplaneError> {
        self.tables.write_subjects(entries)
    }

    fn remove_subjects(&mut self, subjects: &[Subject]) -> Result<usize, DataplaneError> {
        self.tables.remove_subjects(subjects)
    }

    fn read_subjects(&self) -> Result<Vec<(Subject, Verdict)>, DataplaneError> {
        self.tables.read_subjects()
    }

    fn key_seed(&self) -> Seed {
        self.tables.key_seed()
    }

    fn set_names(&mut self, names: &[ServiceName]) -> Result<(), DataplaneError> {
        self.tables.set_names(names)
    }

    fn set_proxies(&mut self, proxies: &[IpNet]) -> Result<(), DataplaneError> {
        self.tables.set_proxies(proxies)
    }

    fn read_classes(&self) -> Result<Vec<(u16, VerdictClass)>, DataplaneError> {
        self.tables.read_classes()
    }

    fn set_services(&mut self, ports: &[ServicePort]) -> Result<(), DataplaneError> {
        self.tables.set_services(ports)
    }

    fn set_guards(&mut self, guards: &[(u8, Guard)]) -> Result<(), DataplaneError> {
        self.tables.set_guards(guards)
    }

    fn set_control(&mut self, control: &Control) -> Result<(), DataplaneError> {
        let strays_from_ns = control.strays_from_ns.max(self.takeover.strays_from_ns);
        self.tables.set_control(&Control { strays_from_ns, ..*control })
    }

    fn pulse(&mut self, now_tick: u32) -> Result<(), DataplaneError> {
        self.tables.pulse(now_tick)
    }

    fn tally(&self) -> Result<TallySnapshot, DataplaneError> {
        self.tables.tally()
    }

    fn flow(&self, key: &FlowKey) -> Result<Option<Flow>, DataplaneError> {
        self.tables.flow(key)
    }
}
