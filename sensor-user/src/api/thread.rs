//! The thread that answers, so that what is asked of it never waits for the daemon's loop, and the
//! loop never for a list that is being read.

use std::{io, net::TcpListener as BoundListener, pin::pin, sync::Arc, thread};

use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use super::{
    command::Commander,
    lookup::{
        Lookup,
        door::{self, Limits},
    },
    server::{BoundSocket, Server},
};
use crate::system::sandbox;

/// Everything that listens.
#[derive(Debug)]
pub struct Doors {
    /// The control socket.
    pub control: Server,
    /// Where proxies ask.
    pub lookup: BoundSocket,
    /// The same on a loopback address.
    pub loopback: Option<BoundListener>,
}

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub struct ApiThread {
    moves: mpsc::Sender<Option<BoundListener>>,
    ended: oneshot::Receiver<io::Result<()>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl ApiThread {
    /// Starts it.
    ///
    /// # Errors
    /// If there can be no further thread, or it no runtime.
    pub fn start(doors: Doors, commander: Commander, lookup: Arc<Lookup>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        // One is under way while the next is asked for.
        let (moves, moving) = mpsc::channel(1);
        let answer = move || {
            if let Err(unwalled) = sandbox::enter(sandbox::Part::Api) {
                let _ = end.send(Err(io::Error::other(unwalled)));
                return;
            }
            let result = runtime.block_on(async {
                tokio::select! {
                    result = serve(doors, moving, commander, lookup) => result,
                    // The other end says so, or is gone.
                    _ = stopped => Ok(()),
                }
            });
            // With the runtime go all connections, before anybody is told.
            drop(runtime);
            let _ = end.send(result);
        };
        let thread = thread::Builder::new().name("weir-api".into()).spawn(answer)?;
        Ok(Self { moves, ended, stop: Some(stop), thread: Some(thread) })
    }

    /// Waits until it ends by itself, which it does only on a failure. Cancel-safe.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.ended).await.unwrap_or_else(|_| Err(io::Error::other("the thread died")))
    }

    /// Answers at this loopback address from now on, or at none. Connections at the one before end.
    pub fn move_loopback(&self, listener: Option<BoundListener>) {
        // Full only if the thread takes longer than a reload does; it is ended, or will be.
        if self.moves.try_send(listener).is_err() {
            tracing::error!("lookups are still answered at the address before: reload again");
        }
    }
}

impl Drop for ApiThread {
    fn drop(&mut self) {
        // Waited for, so that the sockets' files are gone before the process is.
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

async fn serve(
    doors: Doors,
    mut moving: mpsc::Receiver<Option<BoundListener>>,
    commander: Commander,
    lookup: Arc<Lookup>,
) -> io::Result<()> {
    let mut control = pin!(doors.control.serve(commander, Arc::clone(&lookup)));
    let local = door::serve(doors.lookup.open()?, Limits::default(), Arc::clone(&lookup));
    let mut local = pin!(local);
    let mut loopback = Loopback(None);
    loopback.open(doors.loopback, &lookup)?;
    loop {
        tokio::select! {
            result = &mut control => return result,
            () = &mut local => {}
            Some(listener) = moving.recv() => loopback.open(listener, &lookup)?,
        }
    }
}

/// The door at the loopback address.
struct Loopback(Option<AbortHandle>);

impl Loopback {
    fn open(&mut self, listener: Option<BoundListener>, lookup: &Arc<Lookup>) -> io::Result<()> {
        if let Some(before) = self.0.take() {
            before.abort();
        }
        if let Some(listener) = listener {
            let listener = TcpListener::from_std(listener)?;
            let serving =
                tokio::spawn(door::serve(listener, Limits::default(), Arc::clone(lookup)));
            self.0 = Some(serving.abort_handle());
        }
        Ok(())
    }
}
