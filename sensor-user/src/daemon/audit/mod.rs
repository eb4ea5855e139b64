//! Self-audit: whether the kernel does what the ledger wants.
//!
//! | file | what |
//! | --- | --- |
//! | `desk` | what is under way, what was found |
//! | `sweep` | ledger against maps, and synthetic packets for some of the verdicts |
//! | `look` | settings, pins, attachments, drivers' counters |
//! | `told` | findings: journal, log, counters |
//! | `report` | what a person is shown, what others ask |
//!
//! A thread reads the maps in pieces and the loop compares one between two other things, so that no
//! event waits for a sweep. What looks wrong is looked up again before it counts: what was read may be
//! older than the last write.

mod desk;
mod look;
mod report;
mod sweep;
mod told;

pub(super) use self::desk::AuditDesk;

/// A sweep begins this often, up to [`ENTRIES_A_PERIOD`] verdicts; with more, as much more seldom.
const PERIOD_S: u64 = 2;
/// See [`PERIOD_S`].
const ENTRIES_A_PERIOD: usize = 100_000;
/// Settings, pins and attachments are looked at this often, in ticks.
const LOOK_EVERY: u64 = 2;
/// Synthetic packets a sweep.
const QUESTIONS: usize = 16;

/// How long after it happened a fault is noticed at most, seconds: it may come just after the sweep
/// was there, and a sweep takes its time.
pub(super) const fn noticed_within_s(verdicts: usize) -> u64 {
    period_s(verdicts) + 3 * verdicts.div_ceil(ENTRIES_A_PERIOD) as u64
}

/// How often a sweep begins, seconds.
pub(super) const fn period_s(verdicts: usize) -> u64 {
    let periods = verdicts.div_ceil(ENTRIES_A_PERIOD) as u64;
    PERIOD_S * if periods == 0 { 1 } else { periods }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_a_hundred_thousand_verdicts_a_fault_is_noticed_within_five_seconds() {
        assert_eq!((period_s(0), period_s(100_000)), (2, 2));
        assert!(noticed_within_s(100_000) <= 5);
        assert_eq!((period_s(1_000_000), noticed_within_s(1_000_000)), (20, 50));
    }
}
