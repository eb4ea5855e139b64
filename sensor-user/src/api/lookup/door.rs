//! Where questions come in: connections and requests are bounded, and nobody holds a place for long.
//!
//! Anybody on this host can connect to the loopback address. So a door has so many places, and
//! when all are taken, the connection that was silent for longest goes: who asks is answered, and
//! who only holds connections keeps nobody out.

use std::{sync::Arc, time::Duration};

use axum::serve::Listener;
use hyper::{body::Incoming, service::service_fn};

use super::Lookup;
use crate::api::talk::{End, Progress, Seat, converse};

pub use crate::api::talk::Limits;

impl Default for Limits {
    fn default() -> Self {
        Self {
            seats: 256,
            request: Duration::from_secs(5),
            // Longer than proxies keep idle connections (nginx: 60 s), so that they close them and not
            // we, while a request may be under way.
            idle: Duration::from_secs(75),
            look: Duration::from_secs(1),
        }
    }
}

/// Answers whoever comes in, until it is dropped.
pub async fn serve<L>(mut listener: L, limits: Limits, lookup: Arc<Lookup>)
where
    L: Listener,
    L::Io: Send + Unpin + 'static,
{
    let mut seats: Vec<Seat> = Vec::new();
    loop {
        let (stream, _) = listener.accept().await;
        seats.retain(|seat| !seat.task.is_finished());
        if seats.len() >= limits.seats {
            let silent = (0..).zip(&seats).min_by_key(|(_, seat)| seat.progress.last_ns());
            if let Some((index, _)) = silent {
                lookup.counters.turned_away();
                seats.swap_remove(index);
            }
        }
        let progress = Arc::new(Progress::new());
        let talk = talk(stream, limits, Arc::clone(&progress), Arc::clone(&lookup));
        seats.push(Seat { task: tokio::spawn(talk).abort_handle(), progress });
    }
}

async fn talk<T>(stream: T, limits: Limits, progress: Arc<Progress>, lookup: Arc<Lookup>)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (asked, answering) = (Arc::clone(&progress), Arc::clone(&lookup));
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let response = answering.answer(&request);
        asked.answered();
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    match converse(stream, limits, progress, answer).await {
        End::Over => {}
        End::Malformed => lookup.counters.malformed(),
        End::Slow => lookup.counters.slow(),
    }
}
