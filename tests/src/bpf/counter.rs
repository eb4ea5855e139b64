//! Counters by name, and which of them moved.

use std::{collections::BTreeMap, fmt};

use weir_common::abi::{
    Reason, Tally,
    reason::REASON_COUNT,
    tally::{self, OUTCOME_COUNT, Outcome},
    verdict::CLASS_COUNT,
};

/// A counter: its index in `TALLY`. Shown by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter(u32);

/// Counters that moved, and by how much.
pub type Moved = BTreeMap<Counter, Tally>;

impl Counter {
    /// The counter of a reason.
    #[must_use]
    pub const fn reason(reason: Reason) -> Self {
        Self(tally::reason_index(reason))
    }

    /// The counter of a verdict class.
    #[must_use]
    pub const fn class(id: u16) -> Self {
        Self(tally::class_index(id))
    }

    /// The counter of a service's packets with this outcome.
    #[must_use]
    pub const fn service(service: u8, outcome: Outcome) -> Self {
        Self(tally::service_index(service, outcome))
    }

    /// Whether it counts an occurrence and not the packet: bytes stay at zero.
    #[must_use]
    pub fn is_note(self) -> bool {
        const NOTES: [Reason; 19] = [
            Reason::HeartbeatLost,
            Reason::BadClass,
            Reason::ProvenHandshake,
            Reason::ProvenAnswer,
            Reason::FullHandshakes,
            Reason::FullFlows,
            Reason::FullSources,
            Reason::FullBuckets,
            Reason::LostEstablished,
            Reason::LostClosed,
            Reason::LostMilestone,
            Reason::LostHit,
            Reason::SynAckSeen,
            Reason::LostHello,
            Reason::LostProgress,
            Reason::QuicInitial,
            Reason::QuicOverBudget,
            Reason::ProvenQuic,
            Reason::FullQuic,
        ];
        NOTES.map(Self::reason).contains(&self)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const OUTCOMES: [&str; OUTCOME_COUNT] = ["pass", "drop", "limit", "would"];
        let index = self.0 as usize;
        let Some(class) = index.checked_sub(REASON_COUNT) else {
            return f.write_str(Reason::from_u8(self.0 as u8).name());
        };
        let Some(service) = class.checked_sub(CLASS_COUNT) else {
            return write!(f, "class {class}");
        };
        let outcome = OUTCOMES.get(service % OUTCOME_COUNT).unwrap_or(&"");
        write!(f, "service {} {outcome}", service / OUTCOME_COUNT)
    }
}

/// What was counted between two snapshots.
#[must_use]
pub fn moved(before: &[Tally], after: &[Tally]) -> Moved {
    (0..)
        .zip(before.iter().zip(after))
        .filter(|(_, (before, after))| before != after)
        .map(|(index, (before, after))| {
            let by = Tally {
                packets: after.packets.wrapping_sub(before.packets),
                bytes: after.bytes.wrapping_sub(before.bytes),
            };
            (Counter(index), by)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_after_what_they_count() {
        assert_eq!(format!("{:?}", Counter::reason(Reason::DropOperator)), "drop_operator");
        assert_eq!(format!("{:?}", Counter::class(12)), "class 12");
        assert_eq!(format!("{:?}", Counter::service(255, Outcome::Would)), "service 255 would");
    }
}
