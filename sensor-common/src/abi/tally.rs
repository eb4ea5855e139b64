//! `TALLY`: packets and bytes, per CPU, by reason, by verdict class and by service.
//!
//! One array with three regions, so that every increment is one inlined array access. A class
//! names its action, services, reason and rule, so counts by action and by rule are sums over
//! classes.

use super::{
    reason::{REASON_COUNT, Reason},
    verdict::{CLASS_COUNT, SERVICE_COUNT},
};

/// One counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Tally {
    /// Packets (segments, where the hook sees super-packets).
    pub packets: u64,
    /// Bytes on the wire, link-layer header included.
    pub bytes: u64,
}
const _: () = assert!(size_of::<Tally>() == 16);

/// What became of a service's packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Outcome {
    /// Passed.
    Pass = 0,
    /// Dropped or rejected by a verdict.
    Drop = 1,
    /// Held back by a limiter or the SYN guard.
    Limit = 2,
    /// Would have been dropped or limited, had the mode been enforce.
    Would = 3,
}

/// Number of [`Outcome`]s.
pub const OUTCOME_COUNT: usize = 4;

const CLASSES_AT: usize = REASON_COUNT;
const SERVICES_AT: usize = CLASSES_AT + CLASS_COUNT;

/// Entries of `TALLY`.
pub const TALLY_SLOTS: usize = SERVICES_AT + SERVICE_COUNT * OUTCOME_COUNT;

/// Index of a reason's counter.
#[inline(always)]
#[must_use]
pub const fn reason_index(reason: Reason) -> u32 {
    reason as u32
}

/// Index of a class's counter.
#[inline(always)]
#[must_use]
pub const fn class_index(class: u16) -> u32 {
    CLASSES_AT as u32 + class as u32
}

/// Index of a service's counter.
#[inline(always)]
#[must_use]
pub const fn service_index(service: u8, outcome: Outcome) -> u32 {
    SERVICES_AT as u32 + service as u32 * OUTCOME_COUNT as u32 + outcome as u32
}
