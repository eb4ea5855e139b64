//! What goes over the control socket, one file per subject. Shared by server and client, and
//! printed as it is by `--format json`: fields are added, never renamed.

mod audit;
mod block;
mod brake;
mod decision;
mod explain;
mod failure;
mod gates;
mod journal;
mod label;
mod lookup;
mod mode;
mod readiness;
mod sandbox;
mod signals;
mod status;
mod store;
mod verdict;

pub use audit::{AuditCount, AuditFinding, AuditQuery, AuditReport};
pub use block::{BlockQuery, Blocked, OperatorAction, UnblockQuery, Unblocked};
pub use brake::BrakeStatus;
pub use decision::{Decision, Decisions, DecisionsQuery};
pub use explain::{ComparisonState, ExplainQuery, Explanation, PolicyExplanation, Seen, UnmetRule};
pub use failure::{BadLine, Failure, FailureKind};
pub use gates::{
    Gates, GatesQuery, PolicyGates, PromoteQuery, RollbackQuery, StageCounts, StageMoved,
    TimedReading, VersionGates,
};
pub use journal::{ForgetQuery, Forgot, JournalKey, RotateQuery, Rotated};
pub use label::{Label, LabelStatus, Labelled, Labels, LabelsQuery};
pub use lookup::{Asker, LookupAnswer, LookupQuery, LookupStatus};
pub use mode::{DeclaredMode, ModeOn, ModeReport, SwitchQuery};
pub use readiness::{Cause, Readiness, Reason};
pub use sandbox::{SandboxPart, SandboxStatus};
pub use signals::{LogStatus, RefusalCount, SignalCount, SignalStatus};
pub use status::{
    Count, EventStatus, GuardStatus, HelloStatus, InterfaceStatus, Latency, MapStatus,
    MemoryStatus, ModeName, ModeStatus, PolicyStatus, ProgramStatus, ReasonCount, ServiceCount,
    Status, VerdictCount,
};
pub use store::StoreStatus;
pub use verdict::{FingerprintEntry, Standing, VerdictEntry, Verdicts, VerdictsQuery};
