//! The operator's verdicts: all of a request or nothing of it.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc, time::Instant};

use ipnet::IpNet;
use weir_common::abi::{Action, Mode, ServiceSet, time::SECOND_NS};

mod fingerprints;

use self::fingerprints::check as check_fingerprints;
use super::{
    Daemon,
    chores::{Chore, Then},
    keep::Held,
    sensor::Sensor,
};
use crate::{
    api::{
        command::{Block, Reply, Unblock},
        message::{Blocked, Failure, FailureKind, Unblocked},
    },
    enforce::{
        dataplane::DataplaneError,
        fingerprint::{Fingerprint, FingerprintName},
        guard::Protection,
        ladder::RateLimit,
        ledger::{Meaning, Origin},
        names,
    },
    store::StoreError,
    system::clock,
};

/// Prefixes of one request that are looked up to see whether something stronger covers them.
const LOOKED_UP: usize = 1024;

impl<S: Sensor> Daemon<S> {
    /// Sets verdicts, and answers when they are in force, on disk, and open connections are ended.
    pub(super) fn block(&mut self, mut block: Block, reply: Reply<Blocked>) {
        let begun = Instant::now();
        block.list.prefixes.sort_unstable();
        block.list.prefixes.dedup();
        let (services, blocked) = match self.set_verdicts(&block) {
            Ok(set) => set,
            Err(failure) => {
                self.note_refused("block", &failure);
                // What of it was set is kept as well.
                self.keep(None);
                drop(reply.send(Err(failure)));
                return;
            }
        };
        let held = Held::new(blocked, move |mut blocked: Blocked| {
            blocked.took_ms = begun.elapsed().as_secs_f64() * 1e3;
            // A client that went away does not wait for it.
            drop(reply.send(Ok(blocked)));
        });
        self.keep(Some(held.part(|blocked, became| {
            blocked.notes.extend(not_kept("in force", "it would not survive a reboot", &became));
        })));
        // Those of fingerprints are not known to the sockets: they end at their next hello.
        let ends = block.action.refuses()
            && !block.observe
            && !block.list.prefixes.is_empty()
            && self.effective_mode() == Mode::Enforce;
        if ends {
            let targets = self.targets(&block.list.prefixes, services);
            self.again.push(targets.clone());
            let told = held.part(|blocked, ended| blocked.connections_ended = ended);
            self.charge(Chore::End { targets, then: Then::Answer(told) });
        }
    }

    fn set_verdicts(&mut self, block: &Block) -> Result<(ServiceSet, Blocked), Failure> {
        let services = self.services(block.service.as_deref())?;
        let action = Action::from(block.action);
        let now_ns = clock::monotonic_ns();
        let fingerprints = self.designated(&block.list.fingerprints, block.stable)?;
        check_fingerprints(&fingerprints, action)?;
        if action > Action::Mark {
            self.refuse_to_cut_off(block, &fingerprints, now_ns)?;
        }
        let meaning = Arc::new(Meaning {
            mode: if block.observe { Mode::Observe } else { Mode::Enforce },
            limit: (action == Action::Limit).then(|| {
                RateLimit::new(SECOND_NS / u64::from(block.rate_per_s.max(1)), block.rate_per_s)
            }),
            heartbeat_s: block.heartbeat.and_then(|limit| {
                NonZeroU32::new(u32::try_from(limit.as_secs().max(1)).unwrap_or(u32::MAX))
            }),
            ..Meaning::operator(action, services, &block.reason)
        });
        let expires_ns = block
            .term
            .map(|term| now_ns.saturating_add(u64::try_from(term.as_nanos()).unwrap_or(u64::MAX)));
        let entries = block.list.prefixes.len() + fingerprints.len();
        let mut replaced = 0;
        let mut done = 0;
        let mut full = None;
        for prefix in &block.list.prefixes {
            match self.ledger.block(*prefix, &meaning, expires_ns, now_ns) {
                Ok(was_there) => replaced += usize::from(was_there),
                Err(error) => full = full.or(Some(error)),
            }
            if full.is_some() {
                break;
            }
            done += 1;
        }
        for fingerprint in &fingerprints {
            if full.is_some() {
                break;
            }
            match self.block_fingerprint(fingerprint, &meaning, expires_ns, now_ns) {
                Ok(was_there) => replaced += usize::from(was_there),
                Err(error) => {
                    full = Some(error);
                    break;
                }
            }
            done += 1;
        }
        if let Some(error) = full {
            // What could not be meant is refused above, so this is a full ledger.
            self.apply();
            let message = format!("{error}; {done} of {entries} were set");
            return Err(Failure::new(FailureKind::Full, message));
        }
        let names: Vec<FingerprintName> = fingerprints.iter().map(|it| it.name().clone()).collect();
        if action == Action::Allow {
            self.lift_for_allow(&block.list.prefixes, services);
        }
        // A long list is stored while the kernel is told of it.
        self.keep(None);
        self.write(&block.list.prefixes, &names)?;
        if action == Action::Allow {
            self.note_allowed(now_ns);
        }
        tracing::info!(
            "an operator set {} on {}: {}",
            names::action_name(action),
            counted(entries, "prefix or fingerprint", "prefixes and fingerprints"),
            block.reason
        );
        self.note_block(block, entries);
        let mut notes = self.notes(block, &meaning, now_ns);
        notes.extend(self.fingerprint_notes(&names, action, now_ns));
        let waiting = self.waiting(&names, now_ns).len();
        Ok((services, Blocked { entries, waiting, replaced, notes, ..Blocked::default() }))
    }

    /// Takes verdicts back, and answers when they are out of force, and that is on disk: a kill at any
    /// moment after the answer does not bring them back.
    pub(super) fn unblock(&mut self, unblock: Unblock, reply: Reply<Unblocked>) {
        let begun = Instant::now();
        let unblocked = match self.lift_verdicts(unblock) {
            Ok(unblocked) => unblocked,
            Err(failure) => {
                self.note_refused("unblock", &failure);
                self.keep(None);
                drop(reply.send(Err(failure)));
                return;
            }
        };
        let held = Held::new(unblocked, move |mut unblocked: Unblocked| {
            unblocked.took_ms = begun.elapsed().as_secs_f64() * 1e3;
            drop(reply.send(Ok(unblocked)));
        });
        self.keep(Some(held.part(|unblocked, became| {
            unblocked.notes.extend(not_kept(
                "taken back",
                "a restart would bring it back",
                &became,
            ));
        })));
    }

    pub(super) fn lift_verdicts(&mut self, unblock: Unblock) -> Result<Unblocked, Failure> {
        let now_ns = clock::monotonic_ns();
        let (mut prefixes, names): (Vec<IpNet>, Vec<FingerprintName>) = match unblock {
            Unblock::These { list, stable } => {
                let fingerprints = self.designated(&list.fingerprints, stable)?;
                (list.prefixes, fingerprints.iter().map(|it| it.name().clone()).collect())
            }
            Unblock::All => {
                let listed = self.ledger.list_fingerprints(now_ns);
                let names = listed.map(|listed| listed.name.clone()).collect();
                (self.ledger.list(now_ns).map(|listed| listed.prefix).collect(), names)
            }
        };
        prefixes.sort_unstable();
        prefixes.dedup();
        let mut unblocked = Unblocked::default();
        for prefix in &prefixes {
            match self.ledger.unblock(prefix, None) {
                0 => unblocked.unknown += 1,
                removed => unblocked.removed += removed,
            }
        }
        for name in &names {
            if self.ledger.unblock_fingerprint(name) {
                unblocked.removed += 1;
            } else {
                unblocked.unknown += 1;
            }
        }
        self.write(&prefixes, &names)?;
        self.note_allowed(now_ns);
        let verdicts = counted(unblocked.removed, "verdict", "verdicts");
        tracing::info!("an operator took {verdicts} back");
        self.note_unblock(&prefixes, &names, unblocked.removed);
        Ok(unblocked)
    }

    /// Brings the ledger into the kernel, or says what is missing there of these prefixes. What is
    /// missing of an earlier request is a warning in the status and no failure of this one.
    fn write(&mut self, prefixes: &[IpNet], names: &[FingerprintName]) -> Result<(), Failure> {
        let now_ns = clock::monotonic_ns();
        let Err(error) = self.ledger.apply(&mut self.sensor, now_ns) else {
            return Ok(());
        };
        self.kernel_error = Some(error.to_string());
        if !self.ledger.is_due_within(prefixes) && !self.ledger.are_fingerprints_due(names) {
            return Ok(());
        }
        let kind = match &error {
            DataplaneError::Full { .. } => FailureKind::Full,
            DataplaneError::Kernel { .. } => FailureKind::Internal,
        };
        let message = format!("{error}; what is missing is tried again every second");
        Err(Failure::new(kind, message))
    }

    /// The services that a name means; everything without one.
    fn services(&self, name: Option<&str>) -> Result<ServiceSet, Failure> {
        let Some(name) = name else {
            return Ok(ServiceSet::ALL);
        };
        let services = &self.engine.policy().services;
        match services.iter().find(|service| service.name == name) {
            Some(service) => Ok(ServiceSet::one(service.id)),
            None => {
                let known: Vec<&str> =
                    services.iter().map(|service| service.name.as_str()).collect();
                let message =
                    format!("the policy has no service `{name}`; it has: {}", known.join(", "));
                Err(Failure::new(FailureKind::BadRequest, message))
            }
        }
    }

    /// This host's own addresses, gateways and proxies can be no target, and neither can the address
    /// that the operator is connected from, unless an allow holds for it.
    fn refuse_to_cut_off(
        &self,
        block: &Block,
        fingerprints: &[Fingerprint],
        now_ns: u64,
    ) -> Result<(), Failure> {
        let refused = |message| Err(Failure::new(FailureKind::Refused, message));
        let guarded = |wanted: &Protection| -> Vec<String> {
            let prefixes = block.list.prefixes.iter();
            let guarded = prefixes.filter(|net| self.guards.protects(net).as_ref() == Some(wanted));
            guarded.map(ToString::to_string).collect()
        };
        let own = guarded(&Protection::Own);
        if !own.is_empty() {
            return refused(format!(
                "{} is this host's own address or its gateway; nothing was changed",
                own.join(", ")
            ));
        }
        for range in &self.engine.policy().never_block.ranges {
            let of_range = guarded(&Protection::Range(range.name.clone()));
            if !of_range.is_empty() {
                return refused(format!(
                    "{} lies in the range `{}`, in which nobody is blocked; nothing was changed. Take it \
                     out of the policy's `never_block.ranges` first",
                    of_range.join(", "),
                    range.name
                ));
            }
        }
        for proxy in self.engine.policy().proxies.iter() {
            let of_proxy = guarded(&Protection::Proxy(proxy.name.clone()));
            if !of_proxy.is_empty() {
                return refused(format!(
                    "{} belongs to the proxy `{}`, which many clients come through; nothing was \
                     changed. Block the clients, or take it out of the policy's `proxies` first",
                    of_proxy.join(", "),
                    proxy.name
                ));
            }
        }
        let Some(operator) = block.operator.filter(|_| !block.observe) else {
            return Ok(());
        };
        let is_allowed = self
            .ledger
            .lookup(operator, weir_common::abi::verdict::UNPROTECTED, now_ns)
            .is_some_and(|(_, entry)| entry.meaning.action == Action::Allow);
        let is_by_syn = |it: &&Fingerprint| !it.name().is_hello();
        let everywhere = fingerprints.iter().find(is_by_syn).filter(|_| block.service.is_none());
        if let Some(fingerprint) = everywhere.filter(|_| !is_allowed) {
            return refused(format!(
                "{} would hold for every port, and may be what the machine looks like that you are \
                 connected from; nothing was changed. Name a service with --service, or first: weir \
                 block {operator} --action allow --reason myself",
                fingerprint.name()
            ));
        }
        match block.list.prefixes.iter().find(|prefix| prefix.contains(&operator)) {
            Some(prefix) if !is_allowed => refused(format!(
                "{prefix} covers {operator}, where you are connected from; nothing was changed. To \
                 block the rest of it, first: weir block {operator} --action allow --reason myself"
            )),
            _ => Ok(()),
        }
    }

    /// What the operator should know beside the numbers.
    fn notes(&self, block: &Block, meaning: &Meaning, now_ns: u64) -> Vec<String> {
        let mut notes = Vec::new();
        if self.sensor.kill().unwrap_or(false) {
            notes.push("the kill switch is on: nothing acts until `weir kill off`".into());
        } else if self.engine.policy().settings.mode != Mode::Enforce {
            let mode = names::mode_name(self.engine.policy().settings.mode);
            notes.push(format!("the policy's mode is {mode}: nothing acts until it is enforce"));
        }
        let service = names::service_ids(meaning.services).next().unwrap_or_default();
        let covered: Vec<(IpNet, String)> = block
            .list
            .prefixes
            .iter()
            .take(LOOKED_UP)
            .filter_map(|prefix| {
                let (by, entry) = self.ledger.lookup(first(prefix), service, now_ns)?;
                let is_other = entry.meaning.origin != Origin::Operator || by != *prefix;
                (is_other && *entry.meaning != *meaning).then(|| {
                    let action = names::action_name(entry.meaning.action);
                    (*prefix, format!("{action} on {by} ({})", entry.meaning.reason))
                })
            })
            .collect();
        if let Some((prefix, by)) = covered.first() {
            let others = match covered.len() {
                1 => String::new(),
                more => format!(", and likewise {} more", more - 1),
            };
            notes.push(format!("{prefix} is covered by something that counts more: {by}{others}"));
        }
        notes
    }
}

fn first(prefix: &IpNet) -> IpAddr {
    prefix.network()
}

/// What an operator is told of something that is done and not on disk.
fn not_kept(done: &str, meaning: &str, became: &Result<(), StoreError>) -> Option<String> {
    let error = became.as_ref().err()?;
    Some(format!("this is {done}, but not stored, so {meaning}: {error}"))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
