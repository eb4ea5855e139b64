//! Answers for proxies: may this client go on?
//!
//! Asked by nginx's `auth_request`, Envoy's `ext_authz` and applications, on every request that they
//! serve. Answers come from the [`Board`] on a thread of their own, so that neither a batch of
//! events nor an operator's list keeps a visitor waiting. Nothing can be changed from here.
//!
//! | file | what |
//! | --- | --- |
//! | `question` | what is asked, and of whom |
//! | `answer` | what is told, as status, headers and JSON |
//! | `pace` | how many requests of a limited client go on |
//! | `door` | listeners: bounded connections, bounded requests, no patience with slow ones |
//! | `counters` | what happened |

mod answer;
mod counters;
pub mod door;
mod pace;
mod question;

use std::sync::{Mutex, PoisonError, RwLock};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};
use weir_common::abi::{Action, Mode, SourceKey};

use self::{answer::Ruling, counters::Counters, pace::Paces, question::Question};
use super::message::LookupStatus;
use crate::{
    enforce::ledger::{Board, Posted},
    system::{address, clock},
};

/// What every door and the control socket answer from.
#[derive(Debug, Default)]
pub struct Lookup {
    board: Board,
    // Lower case.
    header: RwLock<Option<String>>,
    paces: Mutex<Paces>,
    counters: Counters,
}

impl Lookup {
    /// The board, for its one writer.
    #[must_use]
    pub const fn board(&self) -> &Board {
        &self.board
    }

    /// Takes clients' addresses from this header, where the query names none.
    pub fn set_header(&self, header: Option<String>) {
        *self.header.write().unwrap_or_else(PoisonError::into_inner) = header;
    }

    /// What happened so far.
    #[must_use]
    pub fn status(&self) -> LookupStatus {
        LookupStatus { prefixes: self.board.len() as u64, ..self.counters.status() }
    }

    /// Answers one request; its body is not looked at.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let header = self.header.read().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = Question::read(request, header.as_deref());
        let asked = asked.and_then(|question| {
            let service = question.service.as_deref().map(|name| self.service(name)).transpose()?;
            Ok((question, service))
        });
        match asked {
            Ok((question, service)) => {
                let ruling = self.rule(&question, service);
                self.counters.note(&ruling);
                ruling.respond(&question)
            }
            Err(failure) => {
                self.counters.misunderstood();
                answer::refuse(&failure)
            }
        }
    }

    fn service(&self, name: &str) -> Result<u8, question::Misunderstood> {
        self.board.service(name).map_err(|known| question::Misunderstood::NoSuchService {
            name: name.to_owned(),
            known: known.join(", "),
        })
    }

    /// What to do with a client now.
    fn rule(&self, question: &Question, service: Option<u8>) -> Ruling {
        let now_ns = clock::monotonic_ns();
        let found = self.board.find(question.address, service, now_ns);
        let ceiling = self.board.ceiling();
        let ruling = match ceiling {
            Mode::Enforce => Ruling::new(ceiling, found.enforced, found.observed),
            Mode::Observe => Ruling::new(ceiling, None, found.enforced.or(found.observed)),
            Mode::Off => Ruling::new(ceiling, None, None),
        };
        match &ruling.held {
            Some(held) if held.meaning.action == Action::Limit => {
                let retry_ns = self.pace(question, held, now_ns);
                Ruling { retry_ns, ..ruling }
            }
            _ => ruling,
        }
    }

    /// How long until a limited client may go on; `None`: now.
    fn pace(&self, question: &Question, held: &Posted, now_ns: u64) -> Option<u64> {
        let source = SourceKey::from_address(&address::words(question.address));
        let limit = held.meaning.limit.unwrap_or(pace::UNSAID);
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).take(&source, limit, now_ns)
    }
}

#[cfg(test)]
mod tests;
