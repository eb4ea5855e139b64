//! What the self-audit asks of the kernel's side.

use std::io;

use weir_common::abi::{Verdict, VerdictClass};

use super::sensor::Attachment;
use crate::enforce::{
    audit::{Finding, Reader, Site, Stray, synthetic::Answer},
    dataplane::{Dataplane, DataplaneError},
};

/// What one look at everything but verdicts came to.
#[derive(Clone, Debug, Default)]
pub struct Inspection {
    /// What was not as it should be, and what became of it.
    pub findings: Vec<Finding>,
    /// Interfaces that Weir is to be on, as it is there now.
    pub attachments: Vec<Attachment>,
    /// Of them, those that run Weir's programs both ways.
    pub attached: usize,
    /// Whether modes or services are not as they were set, and could not be set again.
    pub settings_amiss: bool,
    /// Packets that the interfaces received and that the programs saw since the look before, where
    /// that was compared.
    pub packets: Option<Reconciled>,
}

/// Packets of all interfaces between two looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reconciled {
    /// By the drivers' account.
    pub received: u64,
    /// By the programs' counters.
    pub seen: u64,
}

/// The kernel's side, as the self-audit sees it.
pub trait Audited: Dataplane {
    /// What reads verdicts, on a thread of its own. `None`: nothing can be read that way.
    fn reader(&self) -> io::Result<Option<Box<dyn Reader>>>;

    /// The verdict at a place, as it stands just now.
    fn verdict_at(&self, site: Site) -> Result<Option<Verdict>, DataplaneError>;

    /// What a class means just now.
    fn class_at(&self, id: u16) -> Result<VerdictClass, DataplaneError>;

    /// Removes a verdict from where none belongs.
    fn remove_stray(&mut self, stray: Stray) -> Result<(), DataplaneError>;

    /// Looks at settings, pins and attachments, and repairs what it may: never a stranger's program.
    fn inspect(&mut self) -> Inspection;

    /// Asks the live program of an interface what it does with a frame. `None`: its hook cannot be
    /// asked.
    fn ask(&mut self, attachment: &Attachment, frame: &[u8]) -> io::Result<Option<Answer>>;

    /// Whether frames of this interface begin with an Ethernet header.
    fn is_ethernet(&self, attachment: &Attachment) -> bool;
}
