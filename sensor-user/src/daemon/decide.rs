//! Events become decisions, decisions become verdicts, and verdicts end connections.

use std::net::IpAddr;

use ipnet::IpNet;
use weir_common::abi::{Action, FlowKey, Mode, ServiceSet, SourceKey};

use super::{
    Daemon,
    chores::{Chore, Done, Then},
    history,
    sensor::Sensor,
};
use crate::{
    enforce::ledger::{Applied, Origin},
    event::Event,
    profile::source,
    score::{Decision, Trigger, feature::Evidence},
    system::{address, clock, sockets::Targets},
};

impl<S: Sensor> Daemon<S> {
    /// Takes a batch of events in.
    pub(super) fn handle(&mut self, events: &[Event]) {
        for event in events {
            if self.is_management(event) {
                // Who comes to manage this host is judged by nobody here, and earns nothing either.
                continue;
            }
            let event = self.joined(event);
            self.count(&event);
            self.open_flows.note(&event, &self.engine.policy().proxies);
            self.signals.note(&event, &self.engine.policy().proxies);
            if let Some(recorder) = &mut self.recorder {
                recorder.note(&event);
            }
            self.note_would(&event);
            self.note_visit(&event);
            let decisions = self.engine.handle(&event);
            if !decisions.is_empty() {
                self.enforce(&decisions);
            }
            if let Event::Signal(signal) = &event {
                self.note_challenge(signal);
            }
        }
    }

    fn count(&mut self, event: &Event) {
        match event {
            Event::Established(_) => self.events.established += 1,
            Event::Closed(_) => self.events.closed += 1,
            Event::Milestone(_) => self.events.milestones += 1,
            Event::Hit(_) => self.events.hits += 1,
            // Hellos are counted where they are read.
            Event::Hello(_) | Event::Tick { .. } => {}
            Event::Progress(_) | Event::Signal(_) => {}
        }
    }

    /// Brings decisions into the kernel at once, before any other event is looked at: every
    /// millisecond here is one in which a flagged source goes on.
    pub(super) fn enforce(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            if decision.whole_service.is_some() {
                self.press(decision);
            } else if self.is_held_by_label(decision) {
                tracing::debug!(source = %source::net(&decision.source), "not enforced: labelled human");
            } else if let Err(error) = self.ledger.decide(decision) {
                tracing::warn!(source = %source::net(&decision.source), "not enforced: {error}");
            }
        }
        self.stages.note_decisions(decisions);
        let written = self.apply().is_some_and(|applied| applied.written > 0);
        self.keep(None);
        self.post();
        let now_ns = clock::monotonic_ns();
        self.note_judged(decisions, now_ns);
        for decision in decisions {
            // A renewal is caused by time and not by a packet.
            let elapsed_ns = (written
                && !matches!(decision.trigger, Trigger::Renewal | Trigger::Room))
            .then(|| now_ns.saturating_sub(decision.at_ns));
            if let Some(elapsed_ns) = elapsed_ns {
                self.latencies.record(elapsed_ns);
            }
            let told =
                history::told(decision, self.engine.policy(), self.engine.clock(), elapsed_ns);
            history::log(&told);
            self.note_decision(decision, &told);
            let number = self.history.record(told);
            if decision.whole_service.is_none() {
                self.post_decision(decision);
                self.end_connections_of(decision, number, now_ns);
            }
        }
        self.weigh_gates(decisions, now_ns);
    }

    /// Tells the kernel what the ledger wants; `None` if it refused.
    pub(super) fn apply(&mut self) -> Option<Applied> {
        match self.ledger.apply(&mut self.sensor, clock::monotonic_ns()) {
            Ok(applied) => {
                if self.kernel_error.take().is_some() {
                    tracing::info!("the kernel takes verdicts again");
                }
                Some(applied)
            }
            Err(error) => {
                let error = error.to_string();
                if self.kernel_error.as_ref() != Some(&error) {
                    tracing::error!("{error}; what is missing is tried again every second");
                }
                self.kernel_error = Some(error);
                None
            }
        }
    }

    /// Whether verdicts act at all.
    pub(super) fn effective_mode(&self) -> Mode {
        // A switch that cannot be read is taken to be off: the kernel reads its own.
        if self.sensor.kill().unwrap_or(false) {
            Mode::Off
        } else {
            self.engine.policy().settings.mode.min(self.brakes.breaker.mode())
        }
    }

    /// Ends the open connections of a source, at those of a decision's services where it is now
    /// refused.
    fn end_connections_of(&mut self, decision: &Decision, number: u64, now_ns: u64) {
        if decision.action < Action::Reject
            || decision.mode != Mode::Enforce
            || self.effective_mode() != Mode::Enforce
        {
            return;
        }
        let net = source::net(&decision.source);
        let refused = |service: u8| {
            self.ledger.lookup(net.addr(), service, now_ns).is_some_and(|(_, entry)| {
                entry.meaning.action >= Action::Reject && entry.meaning.mode == Mode::Enforce
            })
        };
        let services = &self.engine.policy().services;
        let mut cut = ServiceSet::NONE;
        for service in services {
            if decision.services.contains(service.id) && refused(service.id) {
                cut.insert(service.id);
            }
        }
        // A socket knows neither what name was asked for, where services share a port, nor who is
        // behind a proxy.
        let ports = services.tcp_ports_of(cut);
        let is_by_port = |key: &FlowKey| {
            key.source() == decision.source && ports.contains(&u16::from_be(key.local_port))
        };
        let is_allowed = |key: &FlowKey| {
            let remote = address::ip(&key.remote);
            self.allowed.iter().any(|allowed| allowed.contains(&remote))
        };
        let flows = self.open_flows.of(&decision.source);
        let flows: Vec<FlowKey> = flows
            .filter(|(key, service)| cut.contains(*service) && !is_by_port(key) && !is_allowed(key))
            .map(|(key, _)| *key)
            .collect();
        if !flows.is_empty() {
            self.charge(Chore::EndFlows { flows, then: Then::Record(number) });
        }
        if !ports.is_empty() {
            let targets = Targets {
                remotes: vec![net],
                except: self.allowed.clone(),
                sessions: self.guard_desk.view().logged_in(),
                local_ports: Some(ports),
            };
            self.again.push(targets.clone());
            self.charge(Chore::End { targets, then: Then::Record(number) });
        }
    }

    /// Whose connections a verdict of an operator ends.
    pub(super) fn targets(&self, prefixes: &[IpNet], services: ServiceSet) -> Targets {
        let policy = self.engine.policy();
        let local_ports =
            (services != ServiceSet::ALL).then(|| policy.services.tcp_ports_of(services));
        let except = self.allowed.iter().copied().chain(self.guards.prefixes()).collect();
        let sessions = self.guard_desk.view().logged_in();
        Targets { remotes: prefixes.to_vec(), except, sessions, local_ports }
    }

    /// Hands a chore to the thread, or keeps it until the next tick.
    pub(super) fn charge(&mut self, chore: Chore) {
        if let Err(chore) = self.chores.offer(chore) {
            self.postponed.push(chore);
        }
    }

    /// A chore ended.
    pub(super) fn note_done(&mut self, done: Done) {
        self.connections_ended += done.ended as u64;
        if let Some(number) = done.decision {
            self.history.add_ended(number, done.ended);
        }
        if done.ended > 0 {
            tracing::debug!(connections = done.ended, "ended connections of a dropped source");
        }
    }

    /// Notes which prefixes have an allow.
    pub(super) fn note_allowed(&mut self, now_ns: u64) {
        self.allowed = self
            .ledger
            .list(now_ns)
            .filter(|listed| listed.entry.meaning.action == Action::Allow)
            .map(|listed| listed.prefix)
            .collect();
        self.list_trusted();
    }

    /// Tells the engine which verdicts of its rules an earlier run left in force, so that it does
    /// not decide them again.
    pub(super) fn assume_verdicts(&mut self, now_ns: u64) {
        for listed in self.ledger.list(now_ns) {
            let Origin::Policy { name, forgeable } = &listed.entry.meaning.origin else {
                continue;
            };
            let Some(until_ns) = listed.entry.expires_ns else {
                continue;
            };
            let evidence = if *forgeable { Evidence::Forgeable } else { Evidence::Authentic };
            let action = listed.entry.meaning.action;
            let source = source_key(listed.prefix.addr());
            self.engine.assume(&source, name, evidence, action, now_ns, until_ns);
        }
    }
}

/// The source that an address is judged as.
pub(super) fn source_key(address: IpAddr) -> SourceKey {
    SourceKey::from_address(&address::words(address))
}
