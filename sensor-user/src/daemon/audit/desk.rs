//! What the audit has under way, and what it found so far.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::mpsc::{SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::super::audited::Reconciled;
use crate::{
    api::{command::Reply, message::AuditReport},
    enforce::{
        audit::{Fault, Figures, Finding, Part, Reader},
        ledger::Unseen,
    },
};

/// Pieces that wait for the loop. The thread waits where there are more.
const PIECES: usize = 4;

/// The thread rests this long after a piece: a sweep is spread over some of its period.
const REST: Duration = Duration::from_millis(2);

/// Findings that are remembered.
pub(super) const MOST_REMEMBERED: usize = 100;

/// What comes next of a sweep.
#[derive(Debug)]
pub(in crate::daemon) enum Step {
    /// The thread read something.
    Read(Part),
    /// More of the ledger is to be gone through.
    Walk,
}

/// Who looks for a kind of fault, and says when it is over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Watch {
    Sweep,
    Look,
}

/// Something that somebody has to look at, until it is over.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) watch: Watch,
    pub(super) finding: Finding,
    pub(super) since_unix_ns: u64,
    /// Whether the look or sweep that is under way met it again.
    pub(super) is_met: bool,
}

/// A finding as it is remembered.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) at_unix_ns: u64,
    pub(super) finding: Finding,
}

/// A sweep under way.
#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) begun: Instant,
    /// How long the loop worked for it.
    pub(super) busy: Duration,
    pub(super) entries: usize,
    pub(super) amiss: usize,
    pub(super) findings: BTreeMap<Fault, Finding>,
    /// The walk over what was not seen, once everything is read.
    pub(super) unseen: Option<Unseen>,
}

/// A sweep that is over.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Swept {
    pub(super) at_unix_ns: u64,
    pub(super) entries: usize,
    pub(super) amiss: usize,
    pub(super) took: Duration,
    pub(super) busy: Duration,
}

/// How often a kind was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Counts {
    pub(super) found: u64,
    pub(super) repaired: u64,
}

/// The desk.
#[derive(Debug, Default)]
pub(in crate::daemon) struct AuditDesk {
    orders: Option<SyncSender<()>>,
    pieces: Option<mpsc::Receiver<Part>>,
    pub(super) sweep: Option<Sweep>,
    pub(super) last: Option<Swept>,
    pub(super) sweeps: u64,
    pub(super) due_at_tick: u64,
    pub(super) is_hurried: bool,
    pub(super) waiting: Vec<Reply<AuditReport>>,
    pub(super) open: BTreeMap<(Fault, String), Open>,
    pub(super) remembered: VecDeque<Remembered>,
    pub(super) counts: BTreeMap<Fault, Counts>,
    pub(super) figures: Figures,
    pub(super) packets: Option<Reconciled>,
    /// Which of the verdicts are asked about next.
    pub(super) turn: usize,
    pub(super) busy: Duration,
    pub(super) looked_at_unix_ns: u64,
}

/// Lets others have the processor.
#[expect(clippy::disallowed_methods, reason = "a thread of its own, without a runtime")]
fn rest() {
    thread::sleep(REST);
}

impl AuditDesk {
    /// Starts the thread that reads.
    pub(super) fn start(&mut self, mut reader: Box<dyn Reader>) -> io::Result<()> {
        let (orders, ordered) = sync_channel::<()>(1);
        let (sender, pieces) = mpsc::channel(PIECES);
        thread::Builder::new().name("weir-audit".into()).spawn(move || {
            while ordered.recv().is_ok() {
                reader.sweep(&mut |part| {
                    let goes_on = sender.blocking_send(part).is_ok();
                    rest();
                    goes_on
                });
            }
        })?;
        self.orders = Some(orders);
        self.pieces = Some(pieces);
        Ok(())
    }

    /// Orders a sweep. `false`: nobody reads.
    pub(super) fn order(&mut self) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.try_send(()).is_ok())
    }

    /// Waits for the next piece of a sweep. Cancel-safe.
    pub(in crate::daemon) async fn next(&mut self) -> Step {
        if self.sweep.as_ref().is_some_and(|sweep| sweep.unseen.is_some()) {
            return Step::Walk;
        }
        if let Some(pieces) = &mut self.pieces
            && let Some(part) = pieces.recv().await
        {
            return Step::Read(part);
        }
        std::future::pending().await
    }
}
