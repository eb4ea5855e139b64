//! Answers: status and verdicts.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use weir_common::abi::{
    ABI_VERSION, Mode, Reason, Tally, Verdict,
    tally::{self, Outcome},
    time,
    verdict::UNPROTECTED,
};

use super::{
    Daemon,
    history::{self, service_names},
    sensor::{RecordStream as _, Sensor, Streams},
};
use crate::{
    api::message::{
        Count, EventStatus, Failure, FailureKind, FingerprintEntry, InterfaceStatus, MapStatus,
        MemoryStatus, ModeStatus, PolicyStatus, ProgramStatus, ReasonCount, ServiceCount, Standing,
        Status, VerdictCount, VerdictEntry, Verdicts,
    },
    enforce::{
        dataplane::DataplaneError,
        ledger::{Entry, Listed, ListedFingerprint, Origin, State},
        names,
    },
    system::{clock, process, sandbox},
};

/// Reasons under which lost events are counted.
const LOST: [Reason; 4] =
    [Reason::LostEstablished, Reason::LostClosed, Reason::LostMilestone, Reason::LostHit];

impl<S: Sensor> Daemon<S> {
    /// What the daemon is doing.
    pub(super) fn status(&self, streams: &Streams<S>) -> Result<Status, Failure> {
        let tally = self.sensor.tally().map_err(failed)?;
        let kill = self.sensor.kill().map_err(failed)?;
        let policy = self.engine.policy();
        let lost = LOST.iter().map(|reason| count(&tally, tally::reason_index(*reason)).packets);
        let unreadable = streams.events.unreadable();
        let events = EventStatus { lost: lost.sum(), unreadable, ..self.events };
        let hellos_lost = count(&tally, tally::reason_index(Reason::LostHello)).packets;
        let breaker = self.brakes.breaker.mode();
        let effective = if kill { Mode::Off } else { policy.settings.mode.min(breaker) };
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").into(),
            abi: ABI_VERSION,
            pid: std::process::id(),
            started_at: clock::wall_text(self.started_ns),
            mode: ModeStatus {
                effective: effective.into(),
                policy: policy.settings.mode.into(),
                breaker: breaker.into(),
                kill,
            },
            switched: self.modes.told(),
            guards: self.guard_status(),
            policy: PolicyStatus {
                files: vec![self.policy_file.display().to_string()],
                loaded_at: clock::wall_text(self.policy_loaded_ns),
                reload_error: self.reload_error.clone(),
            },
            interfaces: self.interfaces(),
            programs: self.programs(),
            readiness: self.readiness(),
            audit: self.audit_status(),
            sandbox: sandbox::report(),
            counters: reasons(&tally),
            services: self.services_counted(&tally),
            events,
            hellos: self.hello_status(hellos_lost, streams.hellos.unreadable()),
            signals: self.signals.status(self.engine.policy()),
            lookups: self.lookup.status(),
            reputation: self.feeds.status(),
            brakes: self.brake_status(),
            labels: self.label_status(),
            store: self.keeper.store.health().into(),
            verdicts: self.verdict_counts(),
            profiles: usize::try_from(self.engine.counters().sources).unwrap_or(usize::MAX),
            decisions: self.history.made(),
            connections_ended: self.connections_ended,
            latency: self.latencies.summary(),
            memory: self.memory()?,
            warnings: Vec::new(),
        };
        status.warnings = self.warnings(&status);
        Ok(status)
    }

    /// The verdicts in force, or those that cover an address.
    pub(super) fn verdicts(&self, address: Option<IpAddr>) -> Result<Verdicts, Failure> {
        let now_ns = clock::monotonic_ns();
        let in_kernel: BTreeMap<_, _> =
            self.sensor.read_verdicts().map_err(failed)?.into_iter().collect();
        let covers = |listed: &Listed<'_>| {
            address.is_none_or(|address| listed.prefix.contains(&address.to_canonical()))
        };
        let verdicts = self
            .ledger
            .list(now_ns)
            .filter(covers)
            .map(|listed| {
                let kernel = in_kernel.get(&listed.prefix).filter(|_| acts(listed.state));
                let standing = self.standing(listed.entry, listed.state, kernel, now_ns);
                VerdictEntry { prefix: listed.prefix, standing }
            })
            .collect();
        let fingerprints = match address {
            None => self.fingerprint_verdicts(now_ns)?,
            Some(_) => Vec::new(),
        };
        Ok(Verdicts { verdicts, fingerprints })
    }

    fn fingerprint_verdicts(&self, now_ns: u64) -> Result<Vec<FingerprintEntry>, Failure> {
        let in_kernel: HashMap<_, _> =
            self.sensor.read_subjects().map_err(failed)?.into_iter().collect();
        let entry = |listed: ListedFingerprint<'_>| {
            let kernel = listed.subjects.iter().filter_map(|subject| in_kernel.get(subject));
            let standing = self.standing(listed.entry, listed.state, kernel, now_ns);
            FingerprintEntry { fingerprint: listed.name.to_string(), standing }
        };
        let mut entries: Vec<FingerprintEntry> =
            self.ledger.list_fingerprints(now_ns).map(entry).collect();
        entries.sort_unstable_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
        Ok(entries)
    }

    fn standing<'a>(
        &self,
        entry: &Entry,
        state: State,
        kernel: impl IntoIterator<Item = &'a Verdict>,
        now_ns: u64,
    ) -> Standing {
        let (hits, last_tick) = kernel.into_iter().fold((0, 0), |(hits, last), verdict| {
            (hits + u64::from(verdict.hits), verdict.last_hit_tick.max(last))
        });
        let meaning = &entry.meaning;
        let left_ns = |end: u64| end.saturating_sub(now_ns);
        Standing {
            action: names::action_name(meaning.action).into(),
            mode: names::mode_name(meaning.mode).into(),
            state: state_name(state).into(),
            services: service_names(self.engine.policy(), meaning.services),
            origin: origin_name(&meaning.origin).into(),
            rule: meaning.rule.as_ref().map(ToString::to_string),
            reason: meaning.reason.to_string(),
            expires_at: entry.expires_ns.map(clock::wall_text),
            expires_in_s: entry.expires_ns.map(|end| left_ns(end).div_ceil(time::SECOND_NS)),
            hits,
            last_hit_at: (last_tick != 0).then(|| clock::wall_text(time::tick_start_ns(last_tick))),
        }
    }

    fn interfaces(&self) -> Vec<InterfaceStatus> {
        let status = |attachment: &super::sensor::Attachment| InterfaceStatus {
            name: attachment.interface.clone(),
            index: attachment.index,
            ingress: attachment.ingress.name().into(),
            egress: attachment.egress.name().into(),
            why: attachment.why.clone(),
        };
        self.attachments.iter().map(status).collect()
    }

    fn programs(&self) -> Vec<ProgramStatus> {
        let programs = self.sensor.programs().into_iter();
        let tag = |tag: u64| tag.to_be_bytes().map(|byte| format!("{byte:02x}")).concat();
        programs
            .map(|program| ProgramStatus { name: program.name, tag: tag(program.tag) })
            .collect()
    }

    fn services_counted(&self, tally: &[Tally]) -> Vec<ServiceCount> {
        let services = self.engine.policy().services.iter();
        let named = services.map(|service| (service.id, service.name.clone()));
        named
            .chain([(UNPROTECTED, history::UNPROTECTED.to_owned())])
            .map(|(id, service)| {
                let of = |outcome| count(tally, tally::service_index(id, outcome));
                ServiceCount {
                    service,
                    passed: of(Outcome::Pass),
                    dropped: of(Outcome::Drop),
                    limited: of(Outcome::Limit),
                    would: of(Outcome::Would),
                }
            })
            .collect()
    }

    fn verdict_counts(&self) -> Vec<VerdictCount> {
        let mut counts: BTreeMap<(u8, u8, &str), usize> = BTreeMap::new();
        let now_ns = clock::monotonic_ns();
        let on_addresses = self.ledger.list(now_ns).map(|listed| &listed.entry.meaning);
        let on_fingerprints =
            self.ledger.list_fingerprints(now_ns).map(|listed| &listed.entry.meaning);
        for meaning in on_addresses.chain(on_fingerprints) {
            let key = (meaning.action as u8, meaning.mode as u8, origin_name(&meaning.origin));
            *counts.entry(key).or_default() += 1;
        }
        counts
            .into_iter()
            .rev()
            .map(|((action, mode, origin), count)| VerdictCount {
                action: names::action_name(weir_common::abi::Action::from_u8(action)).into(),
                mode: names::mode_name(Mode::from_u8(mode)).into(),
                origin: origin.into(),
                count,
            })
            .collect()
    }

    fn memory(&self) -> Result<MemoryStatus, Failure> {
        let maps: Vec<MapStatus> = self
            .sensor
            .memory()
            .map_err(failed)?
            .into_iter()
            .map(|map| MapStatus {
                name: map.name,
                entries: map.entries,
                max_entries: map.max_entries,
                bytes: map.bytes,
            })
            .collect();
        Ok(MemoryStatus {
            resident_bytes: process::resident_bytes().map_err(|error| {
                let message = format!("cannot read this process's memory: {error}");
                Failure::new(FailureKind::Internal, message)
            })?,
            kernel_bytes: maps.iter().map(|map| map.bytes).sum(),
            maps,
        })
    }

    fn warnings(&self, status: &Status) -> Vec<String> {
        let mut warnings = Vec::new();
        if status.mode.kill {
            warnings.push("the kill switch is on: everything passes; `weir kill off`".into());
        }
        if let Some(error) = &self.kernel_error {
            warnings.push(format!("verdicts are missing in the kernel: {error}"));
        }
        if let Some(error) = &self.reload_error {
            warnings
                .push(format!("the policy before is in force, the file has a mistake: {error}"));
        }
        if status.events.lost > 0 {
            warnings.push(format!(
                "{} events were lost since the maps were made: the host makes more connections than \
                 the daemon can follow",
                status.events.lost
            ));
        }
        if status.hellos.mismatched > 0 {
            warnings.push(format!(
                "the kernel knew {} ClientHellos by other keys than the daemon: verdicts by \
                 fingerprint do not work; please report it",
                status.hellos.mismatched
            ));
        }
        warnings.extend(status.signals.warnings());
        warnings.extend(status.reputation.warnings());
        warnings.extend(status.store.warnings());
        if status.lookups.misunderstood > 0 {
            warnings.push(format!(
                "{} questions of proxies were not understood, and are not answered: look into the \
                 proxy's log, and at `lookup` in the policy",
                status.lookups.misunderstood
            ));
        }
        let unmet = self.ledger.unmet().count();
        if unmet > 0 {
            warnings.push(format!(
                "{unmet} prefixes have verdicts for several services of which only the strongest \
                 acts; `weir verdicts` shows them as partial or covered"
            ));
        }
        let is_verdicts = |map: &&MapStatus| {
            let kinds = ["_EXACT", "_PREFIXES", "FINGERPRINT_VERDICTS", "SYN_VERDICTS"];
            kinds.iter().any(|kind| map.name.ends_with(kind))
        };
        for map in status.memory.maps.iter().filter(is_verdicts) {
            let fill = map.entries.unwrap_or_default();
            if fill * 10 >= map.max_entries * 9 {
                warnings.push(format!(
                    "{} holds {fill} of {} entries: raise its capacity in the policy, or merge \
                     prefixes",
                    map.name, map.max_entries
                ));
            }
        }
        warnings
    }
}

fn count(tally: &[Tally], index: u32) -> Count {
    let tally = tally.get(index as usize).copied().unwrap_or_default();
    Count { packets: tally.packets, bytes: tally.bytes }
}

fn reasons(tally: &[Tally]) -> Vec<ReasonCount> {
    Reason::ALL
        .iter()
        .map(|reason| ReasonCount {
            reason: reason.name().into(),
            explanation: reason.explanation().into(),
            count: count(tally, tally::reason_index(*reason)),
        })
        .filter(|counted| counted.count.packets > 0)
        .collect()
}

const fn acts(state: State) -> bool {
    matches!(state, State::Active | State::Partial)
}

const fn state_name(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Partial => "partial",
        State::Covered => "covered",
        State::Due => "due",
        State::Waiting => "waiting",
        State::Daemon => "daemon",
    }
}

const fn origin_name(origin: &Origin) -> &'static str {
    match origin {
        Origin::Guard => "guard",
        Origin::Operator => "operator",
        Origin::Policy { .. } => "rule",
    }
}

fn failed(error: DataplaneError) -> Failure {
    Failure::new(FailureKind::Internal, error.to_string())
}
