//! A look at everything but verdicts: settings, pins, attachments, drivers' counters.

use std::time::Instant;

use super::{desk::Watch, told::unix_ns};
use crate::{
    daemon::{Daemon, audited::Reconciled, sensor::Sensor},
    enforce::audit::{Fault, Finding, Outcome},
};

/// Fewer received packets say nothing.
const ENOUGH: u64 = 1000;

impl<S: Sensor> Daemon<S> {
    pub(super) fn look(&mut self) {
        let begun = Instant::now();
        let inspection = self.sensor.inspect();
        let figures = &mut self.audit.figures;
        figures.interfaces = inspection.attachments.len();
        figures.attached = inspection.attached;
        figures.settings_hold = !inspection.settings_amiss;
        self.audit.looked_at_unix_ns = unix_ns();
        if !inspection.attachments.is_empty() && inspection.attachments != self.attachments {
            self.attachments = inspection.attachments;
        }
        for finding in inspection.findings {
            self.found(Watch::Look, finding);
        }
        if let Some(packets) = inspection.packets {
            self.audit.packets = Some(packets);
        }
        // It holds until the next comparison says otherwise.
        if let Some(packets) = self.audit.packets.filter(|packets| are_unseen(*packets)) {
            let mut finding = Finding::new(Fault::PacketsUnseen, "", Outcome::Alarm).saying(
                format!("{} packets were received and {} seen", packets.received, packets.seen),
            );
            finding.count = usize::try_from(packets.received - packets.seen).unwrap_or(usize::MAX);
            self.found(Watch::Look, finding);
        }
        self.settle(Watch::Look);
        self.audit.busy += begun.elapsed();
    }
}

/// Whether a good part of what was received was not seen. Drivers count differently what XDP drops
/// and what GRO joins, so that less than half says nothing.
const fn are_unseen(packets: Reconciled) -> bool {
    packets.received >= ENOUGH && packets.seen < packets.received / 20
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packets_that_pass_by_in_numbers_are_an_alarm() {
        assert!(are_unseen(Reconciled { received: 1000, seen: 0 }));
        assert!(!are_unseen(Reconciled { received: 999, seen: 0 }), "too few");
        assert!(!are_unseen(Reconciled { received: 1000, seen: 300 }), "super-packets");
        assert!(!are_unseen(Reconciled { received: 1000, seen: 2000 }), "dropped before counting");
    }
}
