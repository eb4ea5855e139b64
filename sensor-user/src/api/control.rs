//! The control socket's door: who knocks is looked at, and nobody takes the place of others.
//!
//! Whoever may come in has rights; a mistake of theirs, or a program of theirs that hangs, must not keep
//! root out. So connections are counted by user: who takes more than their share loses the one of theirs
//! that was silent for longest. Who may not come in is turned away before a byte of theirs is read, which
//! the journal is told, at most once in ten seconds.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, serve::Listener as _};
use hyper::{
    Request,
    body::Incoming,
    service::{Service as _, service_fn},
};
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;

use super::{
    command::{Command, Commander},
    lookup::Lookup,
    peer::Peer,
    route::router,
    server::OpenSocket,
    talk::{Limits, Progress, Seat, converse},
};

/// What an operator's connection is allowed.
const LIMITS: Limits = Limits {
    seats: 64,
    // As long as the command line waits for its answer.
    request: Duration::from_secs(60),
    idle: Duration::from_secs(75),
    look: Duration::from_secs(1),
};

/// Connections of one user at once.
const SHARE: usize = 16;

/// How often the journal is told of those turned away.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// Answers whoever may come in, until it is dropped.
pub(super) async fn serve(
    mut socket: OpenSocket,
    operators: Option<u32>,
    commander: Commander,
    lookup: Arc<Lookup>,
) {
    let mut seats = Seats::default();
    let mut refusals = Refusals::default();
    loop {
        let (stream, _) = socket.accept().await;
        match Peer::of(&stream) {
            Ok(peer) if peer.may_operate(operators) => {
                let router = router(commander.for_actor(peer.actor()), Arc::clone(&lookup));
                seats.take(peer.uid(), stream, router);
            }
            Ok(peer) => refusals.note(&peer, &commander),
            Err(error) => tracing::warn!(%error, "cannot tell who talks to the control socket"),
        }
    }
}

/// The places, by user.
#[derive(Default)]
struct Seats(Vec<(u32, Seat)>);

impl Seats {
    fn take(&mut self, uid: u32, stream: UnixStream, router: Router) {
        self.0.retain(|(_, seat)| !seat.task.is_finished());
        if self.of(uid) >= SHARE {
            self.end_silent(uid);
        } else if self.0.len() >= LIMITS.seats {
            let greediest = self.0.iter().map(|(uid, _)| *uid).max_by_key(|uid| self.of(*uid));
            self.end_silent(greediest.unwrap_or(uid));
        }
        let progress = Arc::new(Progress::new());
        let task = tokio::spawn(talk(stream, Arc::clone(&progress), router)).abort_handle();
        self.0.push((uid, Seat { task, progress }));
    }

    fn of(&self, uid: u32) -> usize {
        self.0.iter().filter(|(user, _)| *user == uid).count()
    }

    /// Ends the connection of a user that was silent for longest.
    fn end_silent(&mut self, uid: u32) {
        let theirs = (0..).zip(&self.0).filter(|(_, (user, _))| *user == uid);
        if let Some((index, _)) = theirs.min_by_key(|(_, (_, seat))| seat.progress.last_ns()) {
            self.0.swap_remove(index);
        }
    }
}

async fn talk(stream: UnixStream, progress: Arc<Progress>, router: Router) {
    let (asked, router) = (Arc::clone(&progress), TowerToHyperService::new(router));
    let answer = service_fn(move |request: Request<Incoming>| {
        let (answer, asked) = (router.call(request), Arc::clone(&asked));
        async move {
            let response = answer.await;
            asked.answered();
            response.map_err(|never: Infallible| never)
        }
    });
    // However it ended, there is nobody left to tell.
    let _ = converse(stream, LIMITS, progress, answer).await;
}

/// Those turned away.
#[derive(Default)]
struct Refusals {
    untold: u64,
    told: Option<Instant>,
}

impl Refusals {
    fn note(&mut self, peer: &Peer, commander: &Commander) {
        self.untold += 1;
        if self.told.is_some_and(|told| told.elapsed() < TOLD_EVERY) {
            return;
        }
        if commander.for_actor(peer.actor()).tell(Command::TurnedAway(self.untold)) {
            (self.untold, self.told) = (0, Some(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests;
