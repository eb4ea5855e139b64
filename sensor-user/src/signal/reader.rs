//! The thread that hears: it reads sockets and logs, makes signals of what they say, and queues them for
//! the loop.
//!
//! On a thread of its own, so that files that block and lines that have to be understood delay no
//! event. When the loop does not keep up, logs wait, because a file loses nothing; what applications
//! send then is counted and dropped, because they must not wait.

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::{
    Heard,
    entry::Hearing,
    listen::{ListenError, OnLine, Sockets},
    refusal::Counters,
    stamp::Now,
    tail::Tail,
};
use crate::system::sandbox;

/// Signals that wait for the loop.
const QUEUE: usize = 4096;
/// How often logs are looked at that have nothing new.
const PAUSE: Duration = Duration::from_millis(200);

/// How a log is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LogState {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Lines read.
    pub lines: u64,
    /// Lines that were passed over.
    pub refused: u64,
    /// Signals in it.
    pub signals: u64,
    /// Bytes not read yet.
    pub behind_bytes: u64,
    /// Why it is not read.
    pub problem: Option<String>,
}

/// What the loop and the thread share.
#[derive(Debug, Default)]
struct Shared {
    counters: Counters,
    logs: Mutex<Vec<LogState>>,
}

/// The loop's end.
#[derive(Debug)]
pub struct Reader {
    hearing: watch::Sender<Arc<Hearing>>,
    heard: mpsc::Receiver<Heard>,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Reader {
    /// Makes the sockets, and starts the thread.
    ///
    /// # Errors
    /// If the sockets cannot be made.
    pub fn start(hearing: Hearing, datagrams: &Path, streams: &Path) -> Result<Self, StartError> {
        let sockets = Sockets::bind(datagrams, streams)?;
        let (sender, hearing) = watch::channel(Arc::new(hearing));
        let (queue, heard) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let thread = thread::Builder::new()
            .name("weir-signals".into())
            .spawn(move || match sandbox::enter(sandbox::Part::Signals) {
                Ok(()) => runtime.block_on(hear(sockets, hearing, queue, theirs)),
                Err(unwalled) => tracing::error!("signals and logs are not heard: {unwalled}"),
            })
            .map_err(StartError::Thread)?;
        Ok(Self { hearing: sender, heard, shared, thread: Some(thread) })
    }

    /// Hears by another policy from now on. Logs that stay are read on where they were.
    pub fn replace(&self, hearing: Hearing) {
        // Nobody hears any more only if the thread ended, which it does not on its own.
        let _ = self.hearing.send(Arc::new(hearing));
    }

    /// Waits for signals, and appends at most `most`. Cancel-safe; never returns without one.
    pub async fn next(&mut self, heard: &mut Vec<Heard>, most: usize) {
        if self.heard.recv_many(heard, most).await == 0 {
            std::future::pending::<()>().await;
        }
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// How the logs are doing.
    #[must_use]
    pub fn logs(&self) -> Vec<LogState> {
        self.shared.logs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The thread ends when nobody is there to tell it of another policy.
        let hearing = Arc::clone(&self.hearing.borrow());
        drop(std::mem::replace(&mut self.hearing, watch::channel(hearing).0));
        self.heard.close();
        if let Some(thread) = self.thread.take() {
            // A panic there has already been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// Hearing could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The sockets could not be made.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The thread could not be started.
    #[error("cannot start the thread that hears signals: {0}")]
    Thread(io::Error),
}

async fn hear(
    sockets: Sockets,
    hearing: watch::Receiver<Arc<Hearing>>,
    queue: mpsc::Sender<Heard>,
    shared: Arc<Shared>,
) {
    let mut ends = hearing.clone();
    let on_line = on_message(hearing.clone(), queue.clone(), Arc::clone(&shared));
    let listening = async {
        if let Err(error) = sockets.serve(on_line).await {
            tracing::error!("the sockets of signals failed: {error}; start the daemon again");
        }
        // Logs are read on.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = listening => {}
        () = hear_logs(hearing, queue, shared) => {}
        () = async { while ends.changed().await.is_ok() {} } => {}
    }
}

/// What becomes of what applications say.
fn on_message(
    hearing: watch::Receiver<Arc<Hearing>>,
    queue: mpsc::Sender<Heard>,
    shared: Arc<Shared>,
) -> OnLine {
    Arc::new(move |line| {
        shared.counters.message();
        let hearing = Arc::clone(&hearing.borrow());
        let heard = line.and_then(|line| hearing.message(line, &Now::here()));
        let queued = heard
            .and_then(|heard| queue.try_send(heard).map_err(|_| super::refusal::Refusal::Crowded));
        if let Err(refusal) = queued {
            shared.counters.refuse(refusal);
        }
    })
}

/// A log and how it is doing.
struct Followed {
    tail: Tail,
    state: LogState,
}

async fn hear_logs(
    mut hearing: watch::Receiver<Arc<Hearing>>,
    queue: mpsc::Sender<Heard>,
    shared: Arc<Shared>,
) {
    let mut logs: Vec<Followed> = Vec::new();
    let mut heard = Vec::new();
    hearing.mark_changed();
    loop {
        let current = Arc::clone(&hearing.borrow_and_update());
        logs = follow(&current, logs);
        while !hearing.has_changed().unwrap_or(true) {
            let mut has_more = false;
            for (index, log) in logs.iter_mut().enumerate() {
                has_more |= log.read(index, &current, &shared.counters, &mut heard);
                for signal in heard.drain(..) {
                    if queue.send(signal).await.is_err() {
                        return;
                    }
                }
            }
            let states = logs.iter().map(|log| log.state.clone()).collect();
            *shared.logs.lock().unwrap_or_else(PoisonError::into_inner) = states;
            if has_more {
                tokio::task::yield_now().await;
            } else {
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    changed = hearing.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        hearing.mark_changed();
                    }
                }
            }
        }
        if hearing.has_changed().is_err() {
            return;
        }
    }
}

/// The logs of a policy; those of a file that was read before are read on.
fn follow(hearing: &Hearing, mut before: Vec<Followed>) -> Vec<Followed> {
    let logs = hearing.policy.signals.logs().iter();
    logs.map(|spec| {
        let kept = before.iter().position(|log| log.tail.path() == spec.file);
        let kept = kept.map(|at| before.swap_remove(at));
        let mut followed = kept.unwrap_or_else(|| Followed {
            tail: Tail::new(spec.file.clone()),
            state: LogState::default(),
        });
        followed.state.name = spec.name.to_string();
        followed.state.file = spec.file.display().to_string();
        followed
    })
    .collect()
}

impl Followed {
    /// Reads what was added; whether there may be more at once.
    fn read(
        &mut self,
        index: usize,
        hearing: &Hearing,
        counters: &Counters,
        heard: &mut Vec<Heard>,
    ) -> bool {
        let now = Now::here();
        let Self { tail, state } = self;
        let has_more = tail.read(now.monotonic_ns, &mut |line| {
            counters.line();
            state.lines += 1;
            if let Err(refusal) = line.and_then(|line| hearing.line(index, line, &now, heard)) {
                counters.refuse(refusal);
                state.refused += 1;
            }
        });
        state.signals += heard.len() as u64;
        state.behind_bytes = tail.behind();
        let problem = tail.problem().map(ToOwned::to_owned);
        if problem != state.problem {
            match &problem {
                Some(problem) => {
                    tracing::warn!(
                        "cannot read the log {} ({}): {problem}",
                        state.name,
                        state.file
                    );
                }
                None => tracing::info!("reads the log {} ({})", state.name, state.file),
            }
            state.problem = problem;
        }
        has_more
    }
}

#[cfg(test)]
mod tests;
