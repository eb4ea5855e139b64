//! ClientHellos: read, learned from, scored, and refused late where the kernel could not judge them.
//!
//! | file | what |
//! | --- | --- |
//! | `reader` | records → hellos, within a budget a second |
//! | `streams` | hellos that the kernel does not collect, from their pieces |
//! | `suspects` | QUIC clients that wait for their proof |

pub(crate) mod reader;
mod streams;
pub(crate) mod suspects;

use std::sync::Arc;

use weir_common::{
    abi::{Action, FlowKey, Mode, Protocol, ServiceSet, SourceKey, time::SECOND_NS},
    host::HelloRecord,
    tls::Seed,
};

use self::{
    reader::{Read, Reader},
    suspects::Suspects,
};
use super::{
    Daemon,
    chores::{Chore, Then},
    sensor::Sensor,
};
use crate::{
    api::message::HelloStatus,
    enforce::ledger::Meaning,
    event::{Event, Hello},
    system::{address, clock},
};

/// How long a flow stays refused whose hello was read too late for the kernel: longer than a client
/// sends a segment again.
const REFUSED_FOR_NS: u64 = 120 * SECOND_NS;

/// How often what was learned is kept.
const KEEP_EVERY_NS: u64 = 60 * SECOND_NS;

/// What the daemon knows of hellos.
#[derive(Debug)]
pub(super) struct Hellos {
    reader: Reader,
    suspects: Suspects<Arc<Meaning>>,
    refused: u64,
    unix_s_at_zero: u64,
    kept_revision: u64,
    kept_ns: u64,
}

impl Hellos {
    /// Of hellos that are keyed with this secret.
    pub(super) fn new(seed: Seed, now_ns: u64) -> Self {
        Self {
            reader: Reader::new(seed),
            suspects: Suspects::default(),
            refused: 0,
            unix_s_at_zero: clock::unix_s_at_zero(),
            kept_revision: 0,
            kept_ns: now_ns,
        }
    }
}

impl<S: Sensor> Daemon<S> {
    /// Takes a batch of records in.
    pub(super) fn handle_hellos(&mut self, records: &[HelloRecord]) {
        for record in records {
            let policy = Arc::clone(self.engine.policy());
            let Some(read) = self.hellos.reader.read(record, &policy.services) else { continue };
            self.learn(&read);
            if read.is_late {
                self.refuse_late(&read.hello);
            }
            self.handle(&[Event::Hello(read.hello)]);
        }
    }

    /// Learns what stands behind a JA4; an operator's verdict may have waited for it. Not over QUIC,
    /// whose hellos anybody can send in any name.
    fn learn(&mut self, read: &Read) {
        let Read { hello, raw, .. } = read;
        if hello.is_quic() {
            return;
        }
        let source = SourceKey::from_address(&hello.client);
        let unix_s = self.hellos.unix_s_at_zero.saturating_add(hello.at_ns / SECOND_NS);
        self.known.learn(&hello.ja4, raw, &source, unix_s);
        if self.ledger.learned(&hello.ja4, &hello.stable, raw) {
            tracing::info!("{} was seen for the first time: its verdict takes effect", hello.ja4);
            self.apply();
        }
    }

    /// Ends the flow of a hello that a verdict refuses and that the kernel did not judge. Over QUIC,
    /// once the client is proven.
    fn refuse_late(&mut self, hello: &Hello) {
        let refusal = self.refusal(hello);
        if hello.is_quic() {
            self.hellos.suspects.hello(hello, refusal);
        } else if let Some(meaning) = refusal {
            self.end_flow(&hello.key, &meaning);
        }
    }

    /// An event as it is after the hello that may have waited for it: over QUIC, the name comes before
    /// the proof; and what stalls, stalls at the service that was named.
    pub(super) fn joined(&mut self, event: &Event) -> Event {
        let mut event = match event {
            Event::Established(event) => *event,
            Event::Milestone(event) => return Event::Milestone(self.open_flows.refined(event)),
            other => return *other,
        };
        if event.key.protocol == Protocol::Udp as u32
            && let Some(proof) = self.hellos.suspects.proven(&event.key, event.header.at_ns)
        {
            event.header.service = proof.service;
            if let Some(meaning) = proof.refusal {
                self.end_flow(&event.key, &meaning);
            }
        }
        Event::Established(event)
    }

    /// What refuses a hello, unless its client is allowed.
    fn refusal(&self, hello: &Hello) -> Option<Arc<Meaning>> {
        let now_ns = clock::monotonic_ns();
        let service = hello.service;
        let found = self.ledger.lookup_fingerprint(&hello.ja4, &hello.stable, service, now_ns);
        let (_, entry) = found?;
        let meaning = &entry.meaning;
        if meaning.action < Action::Reject
            || meaning.mode != Mode::Enforce
            || self.effective_mode() != Mode::Enforce
        {
            return None;
        }
        let client = self.ledger.lookup(address::ip(&hello.client), service, now_ns);
        if client.is_some_and(|(_, entry)| entry.meaning.action == Action::Allow) {
            return None;
        }
        // The kernel does not know the service that the name led to.
        Some(Arc::new(Meaning { services: ServiceSet::ALL, ..Meaning::clone(meaning) }))
    }

    fn end_flow(&mut self, key: &FlowKey, meaning: &Arc<Meaning>) {
        let now_ns = clock::monotonic_ns();
        let until_ns = now_ns.saturating_add(REFUSED_FOR_NS);
        self.hellos.refused += 1;
        self.ledger.end_flow(*key, meaning, until_ns, now_ns);
        self.apply();
        if key.protocol == Protocol::Tcp as u32 {
            self.charge(Chore::EndFlows { flows: vec![*key], then: Then::Count });
        }
    }

    /// A second passed.
    pub(super) fn tick_hellos(&mut self, now_ns: u64) {
        self.hellos.reader.renew_budget();
        if now_ns.saturating_sub(self.hellos.kept_ns) >= KEEP_EVERY_NS {
            self.hellos.kept_ns = now_ns;
            self.keep_fingerprints();
        }
    }

    /// Keeps what was learned if there is news.
    pub(super) fn keep_fingerprints(&mut self) {
        let revision = self.known.revision();
        if revision == self.hellos.kept_revision {
            return;
        }
        match self.known.write() {
            Ok(contents) => {
                self.hellos.kept_revision = revision;
                let path = self.files.fingerprints_file();
                self.charge(Chore::Keep { path, contents });
            }
            Err(error) => tracing::error!("cannot write the known fingerprints: {error}"),
        }
    }

    /// What became of hellos; `lost` and `unreadable` are the kernel's and the stream's to say.
    pub(super) fn hello_status(&self, lost: u64, unreadable: u64) -> HelloStatus {
        let counters = self.hellos.reader.counters();
        HelloStatus {
            read: counters.whole,
            pieced: counters.pieced,
            quic: counters.quic,
            malformed: counters.malformed,
            conflicts: counters.conflicts,
            unread_flows: self.hellos.reader.unread_flows(),
            skipped: counters.skipped,
            lost,
            unreadable,
            mismatched: counters.mismatched,
            refused_late: self.hellos.refused,
            known_fingerprints: self.known.len(),
        }
    }
}
