//! The kernel's side in memory, with failures on demand.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use ipnet::IpNet;
use tokio::sync::mpsc;
use weir_common::{
    abi::{Control, Flow, FlowKey, Guard, Verdict, VerdictClass},
    host::HelloRecord,
    tls::Seed,
};

use super::{
    audited::{Audited, Inspection},
    sensor::{
        Attachment, Hook, LoadedProgram, MapMemory, Options, Preference, RecordStream, Sensor,
    },
};
use crate::{
    enforce::{
        audit::{Reader, Site, Stray, synthetic::Answer},
        dataplane::{Dataplane, DataplaneError, ServiceName, ServicePort, Subject, TallySnapshot},
        memory::MemoryDataplane,
    },
    event::Event,
    system::paths::Paths,
};

/// An interface that cannot be attached to.
#[derive(Debug, thiserror::Error)]
#[error("cannot attach to {0}: it has a foreign XDP program")]
pub(super) struct Refused(String);

/// The twin.
#[derive(Default)]
pub(super) struct Twin {
    pub(super) tables: MemoryDataplane,
    /// Interfaces of this name cannot be attached to.
    pub(super) refuses: Option<String>,
    pub(super) is_killed: bool,
    /// Set by [`Sensor::roll_back`]; outlives the twin.
    pub(super) rolled_back: Arc<AtomicBool>,
    pub(super) outbound: Vec<FlowKey>,
    pub(super) stream: Option<TwinStream>,
    pub(super) hellos: Option<mpsc::Receiver<Vec<HelloRecord>>>,
    /// What every look at everything but verdicts comes to.
    pub(super) inspection: Inspection,
    /// What the program answers to synthetic packets.
    pub(super) answer: Option<Answer>,
}

/// Events that a test sends.
#[derive(Debug)]
pub(super) struct TwinStream(mpsc::Receiver<Vec<Event>>);

impl Twin {
    /// A twin, and where its events come from.
    pub(super) fn with_events() -> (Self, mpsc::Sender<Vec<Event>>) {
        let (sender, receiver) = mpsc::channel(16);
        (Self { stream: Some(TwinStream(receiver)), ..Self::default() }, sender)
    }
}

/// ClientHellos that a test sends; without a sender, none ever come.
#[derive(Debug)]
pub(super) struct TwinHellos(pub(super) Option<mpsc::Receiver<Vec<HelloRecord>>>);

impl RecordStream<HelloRecord> for TwinHellos {
    async fn next(&mut self, batch: &mut Vec<HelloRecord>) -> io::Result<()> {
        if let Some(hellos) = &mut self.0
            && let Some(records) = hellos.recv().await
        {
            batch.extend(records);
            return Ok(());
        }
        std::future::pending().await
    }

    fn unreadable(&self) -> u64 {
        4
    }
}

impl RecordStream<Event> for TwinStream {
    async fn next(&mut self, batch: &mut Vec<Event>) -> io::Result<()> {
        match self.0.recv().await {
            Some(events) => batch.extend(events),
            None => return Err(io::Error::other("the twin went away")),
        }
        Ok(())
    }

    fn unreadable(&self) -> u64 {
        3
    }
}

impl Sensor for Twin {
    type Error = Refused;
    type Events = TwinStream;
    type Hellos = TwinHellos;

    fn open(_: &Options) -> Result<Self, Refused> {
        Ok(Self::with_events().0)
    }

    fn detach_all(_: &Paths) -> Result<Vec<String>, Refused> {
        Ok(vec!["lo xdp-native".into()])
    }

    fn attach(&mut self, interface: &str, _: Preference) -> Result<Attachment, Refused> {
        if self.refuses.as_deref() == Some(interface) {
            return Err(Refused(interface.into()));
        }
        Ok(Attachment {
            interface: interface.into(),
            // As the loopback device, so that it is still there when looked for.
            index: 1,
            ingress: Hook::XdpNative,
            egress: Hook::Tcx,
            why: "the driver has native XDP".into(),
            taken_over: false,
        })
    }

    fn roll_back(&mut self) {
        self.rolled_back.store(true, Ordering::Relaxed);
    }

    fn events(&mut self) -> Result<TwinStream, Refused> {
        self.stream.take().ok_or_else(|| Refused("events".into()))
    }

    fn hellos(&mut self) -> Result<TwinHellos, Refused> {
        Ok(TwinHellos(self.hellos.take()))
    }

    fn programs(&self) -> Vec<LoadedProgram> {
        vec![LoadedProgram { name: "weir_ingress".into(), tag: 0x00ff_1234_5678_9abc }]
    }

    fn seed_outbound(&mut self, flows: &[FlowKey]) -> Result<(), DataplaneError> {
        self.outbound.extend(flows);
        Ok(())
    }

    fn memory(&self) -> Result<Vec<MapMemory>, DataplaneError> {
        Ok(vec![MapMemory {
            name: "V4_EXACT".into(),
            entries: Some(self.tables.len() as u64),
            max_entries: self.tables.capacities.exact as u64,
            bytes: 4096,
        }])
    }

    fn kill(&self) -> Result<bool, DataplaneError> {
        Ok(self.is_killed)
    }

    fn set_kill(&mut self, on: bool) -> Result<(), DataplaneError> {
        self.is_killed = on;
        Ok(())
    }
}

impl Audited for Twin {
    fn reader(&self) -> io::Result<Option<Box<dyn Reader>>> {
        Ok(None)
    }

    fn verdict_at(&self, site: Site) -> Result<Option<Verdict>, DataplaneError> {
        Ok(match site {
            Site::Prefix(net) => {
                let all = self.tables.read_verdicts()?;
                all.into_iter().find(|(it, _)| *it == net).map(|(_, verdict)| verdict)
            }
            Site::Subject(subject) => {
                let all = self.tables.read_subjects()?;
                all.into_iter().find(|(it, _)| *it == subject).map(|(_, verdict)| verdict)
            }
        })
    }

    fn class_at(&self, id: u16) -> Result<VerdictClass, DataplaneError> {
        let classes = self.tables.read_classes()?;
        Ok(classes
            .into_iter()
            .find(|(it, _)| *it == id)
            .map(|(_, class)| class)
            .unwrap_or_default())
    }

    fn remove_stray(&mut self, _: Stray) -> Result<(), DataplaneError> {
        Ok(())
    }

    fn inspect(&mut self) -> Inspection {
        self.inspection.clone()
    }

    fn ask(&mut self, _: &Attachment, _: &[u8]) -> io::Result<Option<Answer>> {
        Ok(self.answer)
    }

    fn is_ethernet(&self, _: &Attachment) -> bool {
        true
    }
}

impl Dataplane for Twin {
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
