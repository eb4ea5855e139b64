//! The self-audit's way to the kernel: what it reads, what it looks at, what it puts right.
//!
//! | file | what |
//! | --- | --- |
//! | `reader` | verdicts and classes, read on a thread of its own |
//! | `settings` | the tables that are no verdicts, against what was set |
//! | `pinned` | pins, which may be removed while what they pin lives on |
//! | `attachment` | links, filters and interfaces |
//! | `ask` | synthetic packets through the live program |

mod ask;
mod attachment;
mod pinned;
mod reader;
mod settings;

use std::{io, net::IpAddr};

use weir_common::abi::{Verdict, VerdictClass};

pub(super) use self::attachment::Watched;
use super::Kernel;
use crate::{
    daemon::{
        audited::{Audited, Inspection, Reconciled},
        sensor::Attachment,
    },
    enforce::{
        audit::{Reader, Site, Stray, synthetic::Answer},
        dataplane::DataplaneError,
    },
    system::received::received,
};

/// Every how many looks received packets are compared with those that were seen.
const RECONCILE_EVERY: u64 = 5;

/// What the audit keeps from look to look.
#[derive(Debug, Default)]
pub(super) struct Auditor {
    pub(super) watched: Vec<Watched>,
    services: settings::Rounds,
    looks: u64,
    /// Received and seen packets at the last comparison.
    counted: Option<Reconciled>,
}

impl Audited for Kernel {
    fn reader(&self) -> io::Result<Option<Box<dyn Reader>>> {
        Ok(Some(Box::new(reader::KernelReader::new(&self.tables)?)))
    }

    fn verdict_at(&self, site: Site) -> Result<Option<Verdict>, DataplaneError> {
        match site {
            Site::Prefix(net) => self.tables.verdict(&net),
            Site::Subject(subject) => self.tables.fingerprints.verdict(&subject),
        }
    }

    fn class_at(&self, id: u16) -> Result<VerdictClass, DataplaneError> {
        self.tables.class(id)
    }

    fn remove_stray(&mut self, stray: Stray) -> Result<(), DataplaneError> {
        self.tables.remove_stray(&stray.0)
    }

    fn inspect(&mut self) -> Inspection {
        let mut inspection = Inspection::default();
        inspection.settings_amiss = !self.inspect_settings(&mut inspection.findings);
        self.inspect_pins(&mut inspection.findings);
        self.inspect_attachments(&mut inspection);
        self.auditor.looks += 1;
        if self.auditor.looks % RECONCILE_EVERY == 1 {
            inspection.packets = self.reconcile();
        }
        inspection
    }

    fn ask(&mut self, attachment: &Attachment, frame: &[u8]) -> io::Result<Option<Answer>> {
        self.ask_live(attachment, frame)
    }

    fn is_ethernet(&self, attachment: &Attachment) -> bool {
        self.auditor
            .watched
            .iter()
            .find(|it| it.attachment.interface == attachment.interface)
            .is_none_or(|it| it.is_ethernet)
    }
}

impl Kernel {
    /// Packets received and seen since the comparison before; `None` the first time, and where an
    /// interface is gone.
    fn reconcile(&mut self) -> Option<Reconciled> {
        let mut now = Reconciled { received: 0, seen: self.tables.packets_seen().ok()? };
        for watched in &self.auditor.watched {
            now.received += received(&watched.attachment.interface).ok()??.packets;
        }
        let before = self.auditor.counted.replace(now)?;
        Some(Reconciled {
            received: now.received.checked_sub(before.received)?,
            seen: now.seen.checked_sub(before.seen)?,
        })
    }
}

/// Whether an address' prefix is stored under a key that no verdict of ours has.
fn is_stray(address: IpAddr, length: u8) -> bool {
    match address {
        IpAddr::V4(_) => length == 32,
        IpAddr::V6(it) => length == 64 || length == 128 && it.to_bits() as u64 != 0,
    }
}
