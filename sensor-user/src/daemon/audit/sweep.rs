//! A sweep: the ledger against the maps, piece by piece; and synthetic packets for some verdicts.

use std::{net::IpAddr, time::Instant};

use ipnet::IpNet;
use weir_common::abi::{Mode, Verdict, VerdictClass, time, verdict::UNPROTECTED};

use super::{
    QUESTIONS,
    desk::{Step, Sweep, Swept, Watch},
    period_s,
    told::unix_ns,
};
use crate::{
    daemon::{Daemon, sensor::Sensor},
    enforce::{
        audit::{
            Fault, Finding, Outcome, Part, Site, Stray,
            synthetic::{self, Wanted},
        },
        ledger::{Picks, Unseen},
    },
    system::clock,
};

/// Places of the ledger that are gone through between two other things.
const PLACES: usize = 4096;

impl<S: Sensor> Daemon<S> {
    /// Begins to audit.
    pub(in crate::daemon) fn begin_audit(&mut self) {
        let started = self.sensor.reader().and_then(|reader| match reader {
            Some(reader) => self.audit.start(reader),
            None => Ok(()),
        });
        if let Err(error) = started {
            tracing::error!("the kernel's verdicts are not audited: {error}");
        }
    }

    /// A second passed: what is due is begun.
    pub(in crate::daemon) fn tick_audit(&mut self) {
        if self.ticks.is_multiple_of(super::LOOK_EVERY) {
            self.look();
        }
        let is_due = self.ticks >= self.audit.due_at_tick || self.audit.is_hurried;
        if is_due && self.audit.sweep.is_none() {
            self.begin_sweep();
        }
    }

    pub(super) fn begin_sweep(&mut self) {
        if !self.audit.order() {
            return;
        }
        self.audit.is_hurried = false;
        self.audit.due_at_tick = self.ticks + period_s(self.ledger.prefixes());
        self.ledger.begin_sweep();
        self.audit.sweep = Some(Sweep {
            begun: Instant::now(),
            busy: std::time::Duration::ZERO,
            entries: 0,
            amiss: 0,
            findings: std::collections::BTreeMap::new(),
            unseen: None,
        });
    }

    /// Takes the next step of the sweep that is under way.
    pub(in crate::daemon) fn audit(&mut self, step: Step) {
        let begun = Instant::now();
        match step {
            Step::Read(Part::Verdicts(found)) => self.compare(&found),
            Step::Read(Part::Strays(strays)) => self.remove_strays(&strays),
            Step::Read(Part::Classes(found)) => self.compare_classes(&found),
            Step::Read(Part::End) => {
                let picks = self.next_picks();
                if let Some(sweep) = &mut self.audit.sweep {
                    sweep.unseen = Some(Unseen::new(picks));
                }
            }
            Step::Read(Part::Failed(error)) => {
                let finding = Finding::new(Fault::Unreadable, "verdicts", Outcome::Alarm);
                self.found(Watch::Sweep, finding.saying(error));
                self.end_sweep();
            }
            Step::Walk => self.walk_unseen(),
        }
        let took = begun.elapsed();
        self.audit.busy += took;
        if let Some(sweep) = &mut self.audit.sweep {
            sweep.busy += took;
        }
    }

    fn compare(&mut self, found: &[(Site, Verdict)]) {
        let now_tick = time::tick(clock::monotonic_ns());
        let suspects = self.ledger.compare(found, now_tick);
        if let Some(sweep) = &mut self.audit.sweep {
            sweep.entries += found.len();
        }
        self.confirm(&suspects, now_tick);
    }

    /// Looks suspects up again, and has those that are wrong written anew.
    fn confirm(&mut self, suspects: &[Site], now_tick: u32) {
        let mut amiss = Vec::new();
        for site in suspects {
            match self.sensor.verdict_at(*site) {
                Ok(now) => {
                    if let Some(drift) = self.ledger.drift(*site, now.as_ref(), now_tick) {
                        self.ledger.distrust(*site, now.as_ref());
                        amiss.push((Fault::from(drift), *site));
                    }
                }
                Err(error) => {
                    let finding = Finding::new(Fault::Unreadable, "verdicts", Outcome::Alarm);
                    self.found(Watch::Sweep, finding.saying(error.to_string()));
                    return;
                }
            }
        }
        if amiss.is_empty() {
            return;
        }
        let outcome = self.written_again();
        for (fault, site) in amiss {
            let net = match site {
                Site::Prefix(net) => Some(net),
                Site::Subject(_) => None,
            };
            self.note_amiss(fault, outcome, 1, net);
        }
    }

    /// Brings what is due into the kernel.
    fn written_again(&mut self) -> Outcome {
        if self.apply().is_some() { Outcome::Repaired } else { Outcome::Alarm }
    }

    fn note_amiss(&mut self, fault: Fault, outcome: Outcome, count: usize, net: Option<IpNet>) {
        let Some(sweep) = &mut self.audit.sweep else { return };
        // A foreign entry takes nothing away from what is wanted, unless it stands above it.
        sweep.amiss += if fault == Fault::VerdictForeign { 0 } else { count };
        let finding = sweep.findings.entry(fault).or_insert_with(|| {
            let mut none = Finding::new(fault, "", outcome);
            none.count = 0;
            none
        });
        finding.count += count;
        finding.name(net);
        if outcome == Outcome::Alarm {
            finding.outcome = outcome;
        }
    }

    fn remove_strays(&mut self, strays: &[(Stray, Verdict)]) {
        let now_tick = time::tick(clock::monotonic_ns());
        for (stray, verdict) in strays {
            if !verdict.is_live(now_tick) {
                continue;
            }
            let removed = self.sensor.remove_stray(*stray);
            let outcome = if removed.is_ok() { Outcome::Repaired } else { Outcome::Alarm };
            self.note_amiss(Fault::VerdictForeign, outcome, 1, Some(stray.0));
        }
    }

    fn compare_classes(&mut self, found: &[(u16, VerdictClass)]) {
        let mut amiss = Vec::new();
        let mut users = 0;
        for drift in self.ledger.compare_classes(found) {
            // Written since it was read?
            let Ok(now) = self.sensor.class_at(drift.id) else { continue };
            if self.ledger.is_class_amiss(drift.id, &now) {
                amiss.push(drift.id);
                users += drift.users;
            }
        }
        if amiss.is_empty() {
            return;
        }
        let outcome = match self.ledger.rewrite_classes(&mut self.sensor, &amiss) {
            Ok(()) => Outcome::Repaired,
            Err(error) => {
                tracing::error!("{error}");
                Outcome::Alarm
            }
        };
        self.note_amiss(Fault::ClassOverwritten, outcome, amiss.len(), None);
        if let Some(sweep) = &mut self.audit.sweep {
            sweep.amiss += users.saturating_sub(amiss.len());
            if let Some(finding) = sweep.findings.get_mut(&Fault::ClassOverwritten) {
                finding.text = format!("verdicts concerned: {users}");
            }
        }
    }

    fn walk_unseen(&mut self) {
        let now_tick = time::tick(clock::monotonic_ns());
        let Some(sweep) = &mut self.audit.sweep else { return };
        let Some(walk) = &mut sweep.unseen else { return };
        match self.ledger.unseen(walk, PLACES, now_tick) {
            Some(suspects) => self.confirm(&suspects, now_tick),
            None => {
                let sample = walk.take_sample();
                self.audit.figures.wanted = self.ledger.wanted_in_kernel(walk);
                self.ask_program(sample);
                self.end_sweep();
            }
        }
    }

    /// Sums a sweep up.
    fn end_sweep(&mut self) {
        let Some(sweep) = self.audit.sweep.take() else { return };
        self.audit.last = Some(Swept {
            at_unix_ns: unix_ns(),
            entries: sweep.entries,
            amiss: sweep.amiss,
            took: sweep.begun.elapsed(),
            busy: sweep.busy,
        });
        self.audit.sweeps += 1;
        for finding in sweep.findings.into_values() {
            self.found(Watch::Sweep, finding);
        }
        let unwritten = self.ledger.unwritten();
        if let Some(why) = self.kernel_error.clone().filter(|_| unwritten > 0) {
            let mut finding = Finding::new(Fault::Unwritten, "", Outcome::Alarm).saying(why);
            finding.count = unwritten;
            self.found(Watch::Sweep, finding);
        }
        let figures = &mut self.audit.figures;
        // A sweep that failed counted nothing.
        figures.wanted = figures.wanted.max(unwritten);
        figures.amiss = unwritten;
        self.settle(Watch::Sweep);
        self.answer_waiting();
    }

    /// Which verdicts the live program is asked about by this sweep: others every time.
    fn next_picks(&mut self) -> Picks {
        let stride = (self.ledger.prefixes() / QUESTIONS).max(1);
        let skip = self.audit.turn % stride;
        self.audit.turn = self.audit.turn.wrapping_add(1);
        Picks { skip, stride, most: QUESTIONS }
    }

    /// Asks the live program about some verdicts.
    fn ask_program(&mut self, nets: Vec<IpNet>) {
        let (mut asked, mut answered) = (0, 0);
        let mut wrong: Option<Finding> = None;
        for net in nets {
            // Twice, because a verdict may end in between.
            let Some(first) = self.ask_about(net) else { continue };
            let is_right = first || self.ask_about(net).unwrap_or(true);
            asked += 1;
            answered += usize::from(is_right);
            if !is_right {
                match &mut wrong {
                    Some(finding) => finding.add(Some(net)),
                    None => {
                        let mut finding =
                            Finding::new(Fault::VerdictNotEnforced, "", Outcome::Alarm)
                                .saying("the program decided otherwise than the ledger wants");
                        finding.name(Some(net));
                        wrong = Some(finding);
                    }
                }
            }
        }
        self.audit.figures.asked = asked;
        self.audit.figures.answered = answered;
        if let Some(finding) = wrong {
            self.found(Watch::Sweep, finding);
        }
    }

    /// Whether the live programs decide on an address of a prefix as the ledger wants. `None`: it
    /// cannot be told.
    fn ask_about(&mut self, net: IpNet) -> Option<bool> {
        let address = net.addr();
        let now_ns = clock::monotonic_ns();
        let (service, port) = self.port_for(address, now_ns)?;
        let (_, entry) = self.ledger.lookup(address, service, now_ns)?;
        if entry.meaning.is_unproven_only() || !is_judged(address) {
            return None;
        }
        let wanted = Wanted {
            action: entry.meaning.action,
            mode: entry.meaning.mode.min(self.effective_mode()),
        };
        let mut all = None;
        for attachment in self.attachments.clone() {
            let frame = synthetic::syn(address, port, self.sensor.is_ethernet(&attachment));
            if let Ok(Some(answer)) = self.sensor.ask(&attachment, &frame) {
                all = Some(all.unwrap_or(true) && wanted.is_met_by(&answer));
            }
        }
        all
    }

    /// A TCP port of a service for which something is wanted of an address.
    fn port_for(&self, address: IpAddr, now_ns: u64) -> Option<(u8, u16)> {
        let ports = self.engine.policy().service_ports();
        let tcp = ports.iter().filter(|it| it.protocol == weir_common::abi::Protocol::Tcp);
        let mut candidates = tcp.map(|it| (it.service, it.port)).chain(
            (1..=u16::MAX)
                .find(|port| !ports.iter().any(|it| it.port == *port))
                .map(|port| (UNPROTECTED, port)),
        );
        candidates.find(|(service, _)| {
            let verdict = self.ledger.lookup(address, *service, now_ns);
            verdict.is_some_and(|(_, entry)| entry.meaning.mode != Mode::Off)
        })
    }
}

/// Whether verdicts on an address are looked at: the kernel passes what cannot be a source.
fn is_judged(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => !matches!(it.octets().first(), Some(0 | 224..)),
        IpAddr::V6(it) => !it.is_multicast() && it.to_bits() >> 64 != 0,
    }
}
