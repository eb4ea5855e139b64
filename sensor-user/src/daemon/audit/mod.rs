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

/// A sweep begins this often; with more verdicts than [`A_SECOND`] in each of these seconds, as much
/// more seldom.
const PERIOD_S: u64 = 2;
/// Verdicts that are swept for each second of a period.
const A_SECOND: u64 = 50_000;
/// What a sweep may take on a busy host, seconds: at least, and for so many verdicts. By itself it
/// takes a fraction of that.
const MARGIN: (u64, u64) = (3, 100_000);
/// Settings, pins and attachments are looked at this often, in ticks.
const LOOK_EVERY: u64 = 2;
/// Synthetic packets a sweep.
const QUESTIONS: usize = 16;

/// How long after it happened a fault is noticed at most, seconds: it may come just after the sweep
/// was there, and a sweep takes its time.
pub(super) const fn noticed_within_s(verdicts: usize) -> u64 {
    let (least, each) = MARGIN;
    period_s(verdicts) + at_least(least, least * verdicts as u64, each)
}

/// How often a sweep begins, seconds.
pub(super) const fn period_s(verdicts: usize) -> u64 {
    at_least(PERIOD_S, verdicts as u64, A_SECOND)
}

/// A ratio, rounded to the nearest, so that one verdict more does not double it.
const fn at_least(least: u64, dividend: u64, divisor: u64) -> u64 {
    let ratio = (dividend + divisor / 2) / divisor;
    if ratio > least { ratio } else { least }
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

    #[test]
    fn one_verdict_more_adds_no_more_than_two_seconds() {
        for verdicts in [100_000, 110_000, 125_000, 999_999] {
            assert!(noticed_within_s(verdicts + 1) - noticed_within_s(verdicts) <= 2);
        }
        assert_eq!((period_s(100_002), noticed_within_s(100_002)), (2, 5));
    }
}
