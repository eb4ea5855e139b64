//! What the API asks of the daemon's loop, and the handle that asks.
//!
//! The loop owns ledger, profiles and kernel tables; nothing is shared and nothing is locked.

use std::{net::IpAddr, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{
    block_list::BlockList,
    message::{
        AuditReport, Blocked, BrakeStatus, Decisions, ExplainQuery, Explanation, Failure,
        FailureKind, Forgot, Gates, GatesQuery, JournalKey, Labelled, Labels, LabelsQuery,
        ModeReport, OperatorAction, PromoteQuery, Readiness, RollbackQuery, Rotated, StageMoved,
        Status, SwitchQuery, Unblocked, Verdicts,
    },
};
use crate::{journal::Actor, label::LabelList};

/// Requests that wait for the loop; beyond it, clients wait.
const QUEUE: usize = 16;

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// Operator verdicts to set.
#[derive(Clone, Debug)]
pub struct Block {
    /// On whom.
    pub list: BlockList,
    /// Take JA4s by their stable form.
    pub stable: bool,
    /// For how long; `None` = until taken back.
    pub term: Option<Duration>,
    /// Why.
    pub reason: String,
    /// What to do.
    pub action: OperatorAction,
    /// Only for this service.
    pub service: Option<String>,
    /// Count only.
    pub observe: bool,
    /// For `limit`: new connections a second.
    pub rate_per_s: u32,
    /// If set: it stops acting this long after the daemon died.
    pub heartbeat: Option<Duration>,
    /// Must not be covered: where the operator is connected from.
    pub operator: Option<IpAddr>,
}

/// Verdicts to take back.
#[derive(Clone, Debug)]
pub enum Unblock {
    /// Those on exactly these prefixes and fingerprints.
    These {
        /// Which.
        list: BlockList,
        /// Take JA4s by their stable form.
        stable: bool,
    },
    /// Every one.
    All,
}

/// One request to the loop.
#[derive(Debug)]
pub enum Command {
    /// What are you doing?
    Status(Reply<Status>),
    /// Is all as it should be?
    Ready(Reply<Readiness>),
    /// Which figures are there for Prometheus?
    Metrics(Reply<String>),
    /// Which verdicts are in force (that cover this address)?
    Verdicts(Option<IpAddr>, Reply<Verdicts>),
    /// What was decided lately (at most so many)?
    Decisions(Option<usize>, Reply<Decisions>),
    /// Why is somebody treated as they are?
    Explain(ExplainQuery, Reply<Explanation>),
    /// Say what sources were.
    Label(LabelList, Reply<Labelled>),
    /// What was said?
    Labels(LabelsQuery, Reply<Labels>),
    /// How do the brakes stand?
    Brake(Reply<BrakeStatus>),
    /// Close the circuit breaker.
    ResetBrake(Reply<BrakeStatus>),
    /// Forget somebody.
    Forget {
        /// Whom.
        list: BlockList,
        /// Take verdicts on them back too.
        unblock: bool,
        /// Where the answer goes.
        reply: Reply<Forgot>,
    },
    /// Replace a key of the journal.
    RotateKey(JournalKey, Reply<Rotated>),
    /// Which mode is on?
    Mode(Reply<ModeReport>),
    /// Switch the mode.
    SwitchMode(SwitchQuery, Reply<ModeReport>),
    /// What did the self-audit find?
    Audit {
        /// Look now.
        now: bool,
        /// Where the answer goes.
        reply: Reply<AuditReport>,
    },
    /// Where do policies stand?
    Gates(GatesQuery, Reply<Gates>),
    /// Move a policy forward.
    Promote(PromoteQuery, Reply<StageMoved>),
    /// Take a policy back.
    RollBack(RollbackQuery, Reply<StageMoved>),
    /// Set verdicts.
    Block(Block, Reply<Blocked>),
    /// Take verdicts back.
    Unblock(Unblock, Reply<Unblocked>),
    /// So many were turned away at the control socket since it was told last, this actor as the latest.
    TurnedAway(u64),
}

/// Asks the loop, in somebody's name.
#[derive(Clone, Debug)]
pub struct Commander {
    queue: mpsc::Sender<(Command, Actor)>,
    actor: Actor,
}

/// The loop's end of the queue: what is asked, and by whom.
pub type Commands = mpsc::Receiver<(Command, Actor)>;

/// A queue of commands.
#[must_use]
pub fn channel() -> (Commander, Commands) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Commander { queue: sender, actor: Actor::default() }, receiver)
}

impl Commander {
    /// The same queue, in the name of somebody else.
    #[must_use]
    pub fn for_actor(&self, actor: Actor) -> Self {
        Self { queue: self.queue.clone(), actor }
    }

    /// Tells, and waits for nothing; whether there was room.
    pub fn tell(&self, command: Command) -> bool {
        self.queue.try_send((command, self.actor.clone())).is_ok()
    }

    /// Asks, and waits for the answer.
    pub async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Failure> {
        let stopping =
            || Failure::new(FailureKind::Stopping, "the daemon is ending; nothing was changed");
        let (reply, answer) = oneshot::channel();
        self.queue.send((command(reply), self.actor.clone())).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}
