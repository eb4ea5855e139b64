//! What applications and logs say becomes events: names become kinds, and flows say what is missing.

use std::{collections::BTreeMap, sync::Arc};

use super::{Daemon, sensor::Sensor};
use crate::{
    api::message::{LogStatus, RefusalCount, SignalCount, SignalStatus},
    event::{Event, Signal},
    policy::{CompiledPolicy, Proxies},
    signal::{
        Heard,
        entity::{KeyError, Pseudonyms},
        entry::Hearing,
        join::Join,
        reader::{Reader, StartError},
        refusal::Refusal,
    },
    system::{address, paths::Paths},
};

/// Signals taken at once: events of the kernel wait no longer than that.
const AT_ONCE: usize = 256;

/// Why the daemon cannot hear.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeskError {
    /// Accounts cannot be made unreadable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nobody is there to listen.
    #[error(transparent)]
    Reader(#[from] StartError),
}

/// The loop's side of signals.
pub(super) struct SignalDesk {
    reader: Reader,
    pseudonyms: Arc<Pseudonyms>,
    paths: Paths,
    join: Join,
    heard: u64,
    unjoined: u64,
    undeclared: u64,
    unnamed: u64,
    by_signal: BTreeMap<Arc<str>, u64>,
}

impl SignalDesk {
    /// Reads the key, makes the sockets, and hears from now on.
    pub(super) fn open(paths: &Paths, policy: &Arc<CompiledPolicy>) -> Result<Self, DeskError> {
        let pseudonyms = Arc::new(Pseudonyms::open(&paths.entity_key())?);
        let hearing = Hearing::new(Arc::clone(policy), Arc::clone(&pseudonyms));
        let reader = Reader::start(hearing, &paths.signal_datagrams(), &paths.signal_streams())?;
        Ok(Self {
            reader,
            pseudonyms,
            paths: paths.clone(),
            join: Join::default(),
            heard: 0,
            unjoined: 0,
            undeclared: 0,
            unnamed: 0,
            by_signal: BTreeMap::new(),
        })
    }

    /// Another policy, and maybe another key.
    pub(super) fn replace(&mut self, policy: &Arc<CompiledPolicy>) {
        match Pseudonyms::open(&self.paths.entity_key()) {
            Ok(pseudonyms) => self.pseudonyms = Arc::new(pseudonyms),
            Err(error) => tracing::error!("{error}; the key before is used on"),
        }
        self.by_signal.retain(|name, _| policy.signals.kind(name).is_some());
        self.reader.replace(Hearing::new(Arc::clone(policy), Arc::clone(&self.pseudonyms)));
    }

    /// Takes note of any event.
    pub(super) fn note(&mut self, event: &Event, proxies: &Proxies) {
        self.join.note(event, proxies);
    }

    /// Waits for signals. Cancel-safe.
    pub(super) async fn next(&mut self, heard: &mut Vec<Heard>) {
        self.reader.next(heard, AT_ONCE).await;
    }

    /// The event that a signal is; `None` if it is not declared any more, or about a proxy whose
    /// connection named nobody.
    pub(super) fn event(&mut self, heard: &Heard, policy: &CompiledPolicy) -> Option<Event> {
        let Some(kind) = policy.signals.kind(&heard.name) else {
            self.undeclared += 1;
            return None;
        };
        let joined = self.join.find(heard.client, heard.port, heard.at_ns);
        if policy.proxies.contains(joined.client) {
            self.unnamed += 1;
            return None;
        }
        self.heard += 1;
        self.unjoined += u64::from(!joined.is_found);
        *self.by_signal.entry(Arc::clone(&heard.name)).or_default() += 1;
        Some(Event::Signal(Signal {
            at_ns: heard.at_ns,
            client: address::words(joined.client),
            client_port: heard.port.to_be(),
            service: if heard.service == 0 { joined.service } else { heard.service },
            kind,
            entity: heard.entity,
            endpoint: heard.endpoint,
        }))
    }

    /// What was heard.
    pub(super) fn status(&self, policy: &CompiledPolicy) -> SignalStatus {
        let counters = self.reader.counters();
        let refused = Refusal::ALL.into_iter().filter_map(|refusal| {
            let late = match refusal {
                Refusal::Undeclared => self.undeclared,
                Refusal::NoClient => self.unnamed,
                _ => 0,
            };
            let count = counters.refused(refusal) + late;
            (count > 0).then(|| RefusalCount {
                reason: refusal.name().into(),
                explanation: refusal.explanation().into(),
                count,
            })
        });
        let by_signal = policy.signals.list().iter().map(|signal| SignalCount {
            signal: signal.name.to_string(),
            count: self.by_signal.get(&signal.name).copied().unwrap_or_default(),
        });
        let logs = self.reader.logs().into_iter().map(|log| LogStatus {
            name: log.name,
            file: log.file,
            lines: log.lines,
            refused: log.refused,
            signals: log.signals,
            behind_bytes: log.behind_bytes,
            problem: log.problem,
        });
        SignalStatus {
            messages: counters.messages(),
            lines: counters.lines(),
            heard: self.heard,
            unjoined: self.unjoined,
            refused: refused.collect(),
            by_signal: by_signal.collect(),
            logs: logs.collect(),
        }
    }
}

impl<S: Sensor> Daemon<S> {
    /// Signals were heard.
    pub(super) fn hear(&mut self, heard: &mut Vec<Heard>) {
        let policy = Arc::clone(self.engine.policy());
        let events: Vec<Event> =
            heard.drain(..).filter_map(|heard| self.signals.event(&heard, &policy)).collect();
        self.handle(&events);
    }
}
