//! The kernel's side: loads, verifies, pins and attaches the programs, and reaches their maps.
//! The only module that names aya.
//!
//! | file | what |
//! | --- | --- |
//! | `object` | the programs that this binary carries, and their loading |
//! | `pins` | what is pinned, and whether it is ours |
//! | `attach`, `link`, `clsact` | interfaces: attach, take over, replace in one step |
//! | `table`, `tables` | maps with their types; `Dataplane` over them |
//! | `events` | the ring buffer |
//! | `packet_log` | logs of single packets, in debug builds |
//! | `replay` | test runs and a clock that stands still, for tests and benchmarks |
//! | `detach` | removing everything |
//! | `sys` | bpf(2), as much of it as aya does not offer |

mod attach;
mod clsact;
mod detach;
mod error;
mod events;
mod link;
mod object;
#[cfg(feature = "bpf-log")]
mod packet_log;
mod pins;
mod replay;
mod sys;
mod table;
mod tables;

use std::io;

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use ipnet::IpNet;
use weir_common::abi::{Control, Flow, FlowKey, Guard, Outbound, Verdict, VerdictClass};

use self::{attach::Attacher, pins::Made, tables::Tables};
pub use self::{error::KernelError, events::Events, replay::TestPacket, sys::TestRunResult};
use crate::{
    daemon::sensor::{Attachment, LoadedProgram, MapMemory, Options, Preference, Sensor},
    enforce::dataplane::{Dataplane, DataplaneError, ServicePort, TallySnapshot},
    system::{interface::Interface, paths::Paths},
};

/// What is different in tests; the default is what a host runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Time comes from [`Kernel::set_replay_clock_ns`].
    pub replay: bool,
    /// Use clsact filters even where TC has links.
    pub clsact: bool,
}

/// The loaded programs and their maps.
pub struct Kernel {
    ebpf: Ebpf,
    paths: Paths,
    variant: Variant,
    tables: Tables,
    ring: Option<RingBuf<MapData>>,
    made: Made,
    filtered: Vec<Interface>,
}

impl Kernel {
    /// Readies programs and maps, taking up what an earlier run pinned. On failure, what this call
    /// made is taken back.
    pub fn load(options: &Options, variant: Variant) -> Result<Self, KernelError> {
        let mut made = Made::default();
        match load(options, variant, &mut made) {
            Ok((ebpf, tables, ring)) => Ok(Self {
                ebpf,
                paths: options.paths.clone(),
                variant,
                tables,
                ring: Some(ring),
                made,
                filtered: Vec::new(),
            }),
            Err(error) => {
                made.take_back();
                Err(error)
            }
        }
    }
}

fn load(
    options: &Options,
    variant: Variant,
    made: &mut Made,
) -> Result<(Ebpf, Tables, RingBuf<MapData>), KernelError> {
    let (mut ebpf, pinned) = object::load(options, variant, made)?;
    let tables = Tables::new(pinned)
        .map_err(|source| KernelError::System { what: "the pinned maps", source })?;
    let ring = object::take_ring(&mut ebpf).ok_or(KernelError::NoObject)?;
    Ok((ebpf, tables, ring))
}

impl Sensor for Kernel {
    type Error = KernelError;
    type Events = Events;

    fn open(options: &Options) -> Result<Self, KernelError> {
        Self::load(options, Variant::default())
    }

    fn detach_all(paths: &Paths) -> Result<Vec<String>, KernelError> {
        detach::detach_all(paths)
    }

    fn attach(&mut self, interface: &str, wanted: Preference) -> Result<Attachment, KernelError> {
        let mut attacher = Attacher {
            ebpf: &mut self.ebpf,
            paths: &self.paths,
            variant: self.variant,
            made: &mut self.made,
            filtered: &mut self.filtered,
        };
        attacher.attach(interface, wanted)
    }

    fn roll_back(&mut self) {
        for interface in self.filtered.drain(..) {
            if let Err(error) = clsact::detach(&interface) {
                tracing::warn!("{error}; `weir detach` tries again");
            }
        }
        self.made.take_back();
    }

    fn events(&mut self) -> Result<Events, KernelError> {
        attach::settle(&self.ebpf, &self.paths)?;
        let fail = |source| KernelError::System { what: "the ring buffer", source };
        #[cfg(feature = "bpf-log")]
        packet_log::start(&mut self.ebpf);
        let ring = self.ring.take().ok_or_else(|| fail(io::Error::other("it is taken already")))?;
        Events::new(ring).map_err(fail)
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
        self.tables.set_control(control)
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
