//! What the daemon asks of the kernel beyond its tables: attach, events, figures. The loop is
//! written against these traits, so that tests run it on the in-memory twin.

use std::{collections::BTreeMap, future::Future, io};

use serde::{Deserialize, Serialize};
use weir_common::{abi::FlowKey, host::HelloRecord};

use super::audited::Audited;
use crate::{enforce::dataplane::DataplaneError, event::Event, system::paths::Paths};

/// What programs and maps are made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to pin.
    pub paths: Paths,
    /// Entries of maps, by name, where they differ from the default.
    pub capacities: BTreeMap<&'static str, u32>,
}

/// Where the ingress program shall go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Preference {
    /// Native XDP, else generic XDP, else TC; says which and why.
    #[default]
    Auto,
    /// Native XDP or nothing.
    Xdp,
    /// Generic XDP or nothing.
    XdpGeneric,
    /// TC or nothing.
    Tc,
}

/// Where a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the network core.
    XdpGeneric,
    /// TC as a link (kernel 6.6 and later).
    Tcx,
    /// TC as a filter of a clsact qdisc.
    Clsact,
}

impl Hook {
    /// The name in listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }
}

/// Weir on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the interface.
    pub interface: String,
    /// Its index in this network namespace.
    pub index: u32,
    /// Where the ingress program is.
    pub ingress: Hook,
    /// Where the egress program is.
    pub egress: Hook,
    /// Why there, in a sentence.
    pub why: String,
    /// Whether Weir was there already, from an earlier run.
    pub taken_over: bool,
}

/// A program in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedProgram {
    /// Name.
    pub name: String,
    /// The kernel's hash of its instructions.
    pub tag: u64,
}

/// A map's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapMemory {
    /// Name.
    pub name: String,
    /// Entries in it; `None` where the kernel does not count them.
    pub entries: Option<u64>,
    /// Capacity.
    pub max_entries: u64,
    /// Kernel memory in bytes.
    pub bytes: u64,
}

/// The kernel's side of Weir.
pub trait Sensor: Audited + Sized {
    /// What can go wrong with programs and links.
    type Error: std::error::Error + Send + Sync + 'static;
    /// Where events come from.
    type Events: RecordStream<Event>;
    /// Where ClientHellos come from.
    type Hellos: RecordStream<HelloRecord>;

    /// Loads the programs, and makes the maps or takes over those of an earlier run. Nothing is
    /// attached yet; on failure nothing new is left behind.
    fn open(options: &Options) -> Result<Self, Self::Error>;

    /// Removes everything of Weir's from every interface and from the BPF file system; says what
    /// that was, as paths or `interface hook`.
    fn detach_all(paths: &Paths) -> Result<Vec<String>, Self::Error>;

    /// Attaches to an interface, or takes over what an earlier run left attached.
    fn attach(&mut self, interface: &str, wanted: Preference) -> Result<Attachment, Self::Error>;

    /// Removes what this process attached and pinned and was not there before it; for a start
    /// that fails half-way.
    fn roll_back(&mut self);

    /// The stream of events; asked for once.
    fn events(&mut self) -> Result<Self::Events, Self::Error>;

    /// The stream of ClientHellos; asked for once.
    fn hellos(&mut self) -> Result<Self::Hellos, Self::Error>;

    /// Programs in the kernel.
    fn programs(&self) -> Vec<LoadedProgram>;

    /// Tells the programs which flows this host opened before they were attached.
    fn seed_outbound(&mut self, flows: &[FlowKey]) -> Result<(), DataplaneError>;

    /// Sizes of all maps.
    fn memory(&self) -> Result<Vec<MapMemory>, DataplaneError>;

    /// Whether the kill switch is on.
    fn kill(&self) -> Result<bool, DataplaneError>;

    /// Turns the kill switch.
    fn set_kill(&mut self, on: bool) -> Result<(), DataplaneError>;
}

/// Both streams of a sensor.
#[derive(Debug)]
pub struct Streams<S: Sensor> {
    /// Events.
    pub events: S::Events,
    /// ClientHellos.
    pub hellos: S::Hellos,
}

/// Records from the kernel: events, or ClientHellos, which come apart so that a flood of them costs
/// nothing else.
pub trait RecordStream<T> {
    /// Waits until there are records, and appends them to `batch`: at least one, and not more than
    /// the loop should handle before it looks at anything else. Must be cancel-safe.
    fn next(&mut self, batch: &mut Vec<T>) -> impl Future<Output = io::Result<()>>;

    /// Records so far that could not be read.
    fn unreadable(&self) -> u64;
}
