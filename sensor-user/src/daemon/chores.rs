//! Work that blocks, on a thread of its own, so that the loop never waits for it: ending
//! connections (a dump of the host's sockets) and keeping files (an fsync).
//!
//! The queue is bounded. A chore that finds it full is handed back, and offered again.

use std::{path::PathBuf, thread};

use tokio::sync::mpsc;
use weir_common::abi::FlowKey;

use crate::system::{
    durable,
    sockets::{self, Ended, SocketError, Targets},
};

/// Chores that wait.
const QUEUE: usize = 64;

/// A chore.
pub(super) enum Chore {
    /// End the connections of dropped sources.
    End {
        /// Whose.
        targets: Targets,
        /// What is told how many ended.
        then: Then,
    },
    /// End single connections.
    EndFlows {
        /// Which.
        flows: Vec<FlowKey>,
        /// What is told how many ended.
        then: Then,
    },
    /// Keep a file.
    Keep {
        /// Where.
        path: PathBuf,
        /// What.
        contents: Vec<u8>,
    },
    /// Put something into words, and keep it.
    Write {
        /// Where.
        path: PathBuf,
        /// What says it.
        write: Box<dyn FnOnce() -> serde_json::Result<Vec<u8>> + Send>,
    },
}

/// Who wants to know how many connections ended.
pub(super) enum Then {
    /// The loop, for this decision (its number in the history).
    Record(u64),
    /// The loop, for its total.
    Count,
    /// Whoever waits for an answer; and the loop, for its total.
    Answer(Box<dyn FnOnce(usize) + Send>),
}

impl Then {
    fn tell(self, ended: usize) -> Done {
        let decision = match self {
            Self::Record(number) => Some(number),
            Self::Count => None,
            Self::Answer(answer) => {
                answer(ended);
                None
            }
        };
        Done { ended, decision }
    }
}

/// A chore's end, for the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    /// Connections that ended.
    pub(super) ended: usize,
    /// For which decision.
    pub(super) decision: Option<u64>,
}

/// The loop's end of the queue.
pub(super) struct Chores {
    queue: mpsc::Sender<Chore>,
    done: mpsc::Receiver<Done>,
    thread: thread::JoinHandle<()>,
}

impl Chores {
    /// Starts the thread, in the network namespace of this one.
    pub(super) fn start() -> std::io::Result<Self> {
        Self::start_with(sockets::destroy)
    }

    fn start_with(
        end: impl Fn(&Targets) -> Result<Ended, SocketError> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, mut chores) = mpsc::channel(QUEUE);
        let (results, done) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new().name("weir-chores".into()).spawn(move || {
            let mut worker = Worker { end, is_told: false };
            while let Some(chore) = chores.blocking_recv() {
                if let Some(done) = worker.carry_out(chore) {
                    // Once the loop has ended nobody counts any more, but what is queued is done.
                    let _ = results.blocking_send(done);
                }
            }
        })?;
        Ok(Self { queue, done, thread })
    }

    /// Hands a chore over, or back if the queue is full.
    pub(super) fn offer(&self, chore: Chore) -> Result<(), Chore> {
        self.queue.try_send(chore).map_err(|error| match error {
            mpsc::error::TrySendError::Full(chore) | mpsc::error::TrySendError::Closed(chore) => {
                chore
            }
        })
    }

    /// Waits for the next chore's end. Cancel-safe.
    pub(super) async fn done(&mut self) -> Option<Done> {
        self.done.recv().await
    }

    /// Lets the thread finish what is queued, and ends it.
    pub(super) fn finish(self) {
        drop(self.queue);
        drop(self.done);
        // A panic there has already been reported by the panic hook.
        let _ = self.thread.join();
    }
}

struct Worker<F> {
    end: F,
    /// Whether it was said that this kernel cannot end sockets.
    is_told: bool,
}

impl<F: Fn(&Targets) -> Result<Ended, SocketError>> Worker<F> {
    fn carry_out(&mut self, chore: Chore) -> Option<Done> {
        match chore {
            Chore::Keep { path, contents } => {
                if let Err(error) = durable::write(&path, &contents) {
                    tracing::error!("{error}");
                }
                None
            }
            Chore::Write { path, write } => {
                match write() {
                    Ok(contents) => return self.carry_out(Chore::Keep { path, contents }),
                    Err(error) => tracing::error!("cannot write {}: {error}", path.display()),
                }
                None
            }
            Chore::End { targets, then } => {
                let ended = (self.end)(&targets);
                Some(then.tell(self.count(ended)))
            }
            Chore::EndFlows { flows, then } => {
                let ended = sockets::destroy_flows(&flows);
                Some(then.tell(self.count(ended)))
            }
        }
    }

    fn count(&mut self, ended: Result<Ended, SocketError>) -> usize {
        match ended {
            Ok(ended) => ended.ended,
            Err(error) => {
                let is_known = matches!(error, SocketError::Unsupported) && self.is_told;
                self.is_told |= matches!(error, SocketError::Unsupported);
                if !is_known {
                    tracing::warn!("{error}");
                }
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chores_are_done_in_order_and_whoever_waits_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let file = std::env::temp_dir().join(format!("weir-chore-{}", std::process::id()));
        let mut chores = Chores::start_with(|targets| {
            let found = targets.remotes.len();
            Ok(Ended { found, ended: found })
        })
        .unwrap();
        let targets = |count: usize| Targets {
            remotes: vec!["192.0.2.0/24".parse().unwrap(); count],
            ..Targets::default()
        };
        let (answer, answered) = tokio::sync::oneshot::channel();
        let keep = Chore::Keep { path: file.clone(), contents: b"kept".into() };
        let told = Then::Answer(Box::new(|ended| answer.send(ended).unwrap()));
        for chore in [
            Chore::End { targets: targets(2), then: Then::Record(7) },
            keep,
            Chore::End { targets: targets(3), then: told },
        ] {
            assert!(chores.offer(chore).is_ok());
        }
        runtime.block_on(async {
            assert_eq!(chores.done().await, Some(Done { ended: 2, decision: Some(7) }));
            assert_eq!(chores.done().await, Some(Done { ended: 3, decision: None }));
            assert_eq!(answered.await, Ok(3));
        });
        chores.finish();
        assert_eq!(std::fs::read(&file).unwrap(), b"kept");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_full_queue_hands_the_chore_back() {
        let (hold, held) = std::sync::mpsc::sync_channel::<()>(0);
        let chores = Chores::start_with(move |_| {
            let _ = held.recv();
            Ok(Ended::default())
        })
        .unwrap();
        let offered = (0..QUEUE + 2)
            .filter(|_| {
                let chore = Chore::End { targets: Targets::default(), then: Then::Count };
                chores.offer(chore).is_ok()
            })
            .count();
        assert!((QUEUE..=QUEUE + 1).contains(&offered), "{offered}");
        drop(hold);
        chores.finish();
    }
}
