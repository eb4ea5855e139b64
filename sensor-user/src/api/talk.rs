//! Conversations over HTTP/1.1 that nobody can draw out: requests are bounded in size and time, and a
//! connection that says nothing does not stay.
//!
//! Used where anybody on this host can knock (lookups) and where operators do (the control socket).

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

use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::HttpService,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};

use crate::system::clock;

/// How much is put up with.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once.
    pub seats: usize,
    /// A request must be there, and be answered, in this time.
    pub request: Duration,
    /// How long a connection may be silent between requests.
    pub idle: Duration,
    /// How often a connection is looked at.
    pub look: Duration,
}

/// More than nginx or Envoy let a client send (32 KiB, 60 KiB): were it less, a client could make
/// the question too long by what it sends, and pass where proxies let pass what is not answered.
const REQUEST_BYTES: usize = 80 << 10;
/// The same in header fields.
const FIELDS: usize = 512;

/// A connection's place. Who loses it is cut off.
pub(super) struct Seat {
    pub(super) task: AbortHandle,
    pub(super) progress: Arc<Progress>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a conversation ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// One side had enough.
    Over,
    /// What came is not HTTP, or more than a request may be.
    Malformed,
    /// A request did not come to its end.
    Slow,
}

/// Answers what comes over a stream. `service` says [`Progress::answered`] with each answer.
pub(super) async fn converse<T, S, B>(
    stream: T,
    limits: Limits,
    progress: Arc<Progress>,
    service: S,
) -> End
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut http = http1::Builder::new();
    http.max_buf_size(REQUEST_BYTES).max_headers(FIELDS).half_close(false);
    let watched = Watched { stream, progress: Arc::clone(&progress) };
    let mut connection = pin!(http.serve_connection(TokioIo::new(watched), service));
    let mut look = interval(limits.look);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Who goes away in the middle of a request is no news.
            ended = connection.as_mut() => return match ended {
                Err(error) if error.is_parse() => End::Malformed,
                _ => End::Over,
            },
            _ = look.tick() => match progress.patience(&limits, clock::monotonic_ns()) {
                Patience::Left => {}
                Patience::Idle => return End::Over,
                Patience::Slow => return End::Slow,
            }
        }
    }
}

/// How a connection gets on.
pub(super) struct Progress {
    // When the request under way began; 0: none is.
    began_ns: AtomicU64,
    // When an answer was made or taken last, or the connection made.
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
    pub(super) fn new() -> Self {
        Self { began_ns: AtomicU64::new(0), last_ns: AtomicU64::new(clock::monotonic_ns()) }
    }

    fn received(&self) {
        if self.began_ns.load(Ordering::Relaxed) == 0 {
            self.began_ns.store(clock::monotonic_ns(), Ordering::Relaxed);
        }
    }

    // Long answers are taken bit by bit.
    fn taken(&self) {
        self.last_ns.store(clock::monotonic_ns(), Ordering::Relaxed);
    }

    pub(super) fn answered(&self) {
        self.began_ns.store(0, Ordering::Relaxed);
        self.last_ns.store(clock::monotonic_ns(), Ordering::Relaxed);
    }

    pub(super) fn last_ns(&self) -> u64 {
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
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if matches!(polled, Poll::Ready(Ok(1..))) {
            self.progress.taken();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
