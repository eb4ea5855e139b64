//! Where questions come in: connections and requests are bounded, and nobody holds a place for long.
//!
//! Anybody on this host can connect to the loopback address. So a door has so many places, and
//! when all are taken, the connection that was silent for longest goes: who asks is answered, and
//! who only holds connections keeps nobody out.

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};

use super::Lookup;
use crate::system::clock;

/// How much a door puts up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub seats: usize,
    /// A request must be there, and its answer taken, in this time.
    pub request: Duration,
    /// How long a connection may be silent between requests.
    pub idle: Duration,
    /// How often a connection is looked at.
    pub look: Duration,
}

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

/// More than nginx or Envoy let a client send (32 KiB, 60 KiB): were it less, a client could make
/// the question too long by what it sends, and pass where proxies let pass what is not answered.
const REQUEST_BYTES: usize = 80 << 10;
/// The same in header fields.
const FIELDS: usize = 512;

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
        let talk = converse(stream, limits, Arc::clone(&progress), Arc::clone(&lookup));
        seats.push(Seat { task: tokio::spawn(talk).abort_handle(), progress });
    }
}

/// A connection's place. Who loses it is cut off.
struct Seat {
    task: AbortHandle,
    progress: Arc<Progress>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn converse<T>(stream: T, limits: Limits, progress: Arc<Progress>, lookup: Arc<Lookup>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (asked, answering) = (Arc::clone(&progress), Arc::clone(&lookup));
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let response = answering.answer(&request);
        asked.answered();
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(REQUEST_BYTES).max_headers(FIELDS).half_close(false);
    let watched = Watched { stream, progress: Arc::clone(&progress) };
    let mut connection = pin!(http.serve_connection(TokioIo::new(watched), answer));
    let mut look = interval(limits.look);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                // Who goes away in the middle of a request is no news.
                if ended.is_err_and(|error| error.is_parse()) {
                    lookup.counters.malformed();
                }
                return;
            }
            _ = look.tick() => match progress.patience(&limits, clock::monotonic_ns()) {
                Patience::Left => {}
                Patience::Idle => return,
                Patience::Slow => {
                    lookup.counters.slow();
                    return;
                }
            }
        }
    }
}

/// How a connection gets on.
struct Progress {
    // When the request under way began; 0: none is.
    began_ns: AtomicU64,
    // When the last one was answered, or the connection made.
    last_ns: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Patience {
    Left,
    Idle,
    Slow,
}

// One task writes these, and the one that accepts reads them: what is read may be a little old.
impl Progress {
    fn new() -> Self {
        Self { began_ns: AtomicU64::new(0), last_ns: AtomicU64::new(clock::monotonic_ns()) }
    }

    fn received(&self) {
        if self.began_ns.load(Ordering::Relaxed) == 0 {
            self.began_ns.store(clock::monotonic_ns(), Ordering::Relaxed);
        }
    }

    fn answered(&self) {
        self.began_ns.store(0, Ordering::Relaxed);
        self.last_ns.store(clock::monotonic_ns(), Ordering::Relaxed);
    }

    fn last_ns(&self) -> u64 {
        self.last_ns.load(Ordering::Relaxed)
    }

    fn patience(&self, limits: &Limits, now_ns: u64) -> Patience {
        let since = |then_ns: u64| Duration::from_nanos(now_ns.saturating_sub(then_ns));
        let began_ns = self.began_ns.load(Ordering::Relaxed);
        if began_ns != 0 && since(began_ns) > limits.request {
            Patience::Slow
        } else if since(self.last_ns()) > limits.idle {
            Patience::Idle
        } else {
            Patience::Left
        }
    }
}

/// A stream that notes when something comes in.
struct Watched<T> {
    stream: T,
    progress: Arc<Progress>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.progress.received();
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
