//! A content delivery network between clients and the server: it ends clients' TLS at an address of its
//! own, and asks the server over a few connections of its own, which it keeps and shares between
//! clients. Who a client is says `X-Forwarded-For`, and nothing that a packet shows.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use crate::{
    actors::{Client, Connection},
    http::{Message, read_message},
    net::{Lab, runtime},
    server::Server,
    tls::Library,
};

/// How long it waits for the server.
const PATIENCE: Duration = Duration::from_secs(6);

/// Connections to the server at a time.
const CONNECTIONS: usize = 24;

/// A running CDN. Dropping it ends every connection through it.
#[derive(Debug)]
pub struct Cdn {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Cdn {
    /// Takes clients' connections at `address` and asks `origin` from the addresses `edges`; all are of
    /// the clients' side and of one family.
    pub fn start(
        lab: &Lab,
        server: &Server,
        address: IpAddr,
        edges: &[IpAddr],
        origin: SocketAddr,
    ) -> Result<Self> {
        let address = SocketAddr::new(address, origin.port());
        let clients = edges.iter().map(|edge| {
            Ok(Client::with(server.trust(), Library::Proxy, *edge, PATIENCE)?.named("weir-cdn"))
        });
        let pool = Arc::new(Pool::new(clients.collect::<Result<_>>()?, origin));
        let acceptor = TlsAcceptor::from(Arc::<ServerConfig>::clone(server.config()));
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let thread = lab.clients().spawn("cdn", move || {
            // The starter may have given up; then nobody is left to tell.
            let Ok(runtime) = runtime() else { return };
            runtime.block_on(async {
                match TcpListener::bind(address).await {
                    Ok(listener) => {
                        tokio::spawn(accept(listener, acceptor, pool));
                        let _ = ready.send(Ok(()));
                        let _ = stopped.await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        })?;
        let cdn = Self { address, stop: Some(stop), thread: Some(thread) };
        is_ready
            .blocking_recv()
            .map_err(|_| anyhow!("the CDN's thread died"))?
            .with_context(|| format!("cannot listen on {address}"))?;
        Ok(cdn)
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Cdn {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, pool: Arc<Pool>) {
    while let Ok((client, peer)) = listener.accept().await {
        let (acceptor, pool) = (acceptor.clone(), Arc::clone(&pool));
        // What goes wrong ends the client's connection, which it notices.
        tokio::spawn(async move { serve(client, peer.ip(), &acceptor, &pool).await });
    }
}

async fn serve(client: TcpStream, from: IpAddr, acceptor: &TlsAcceptor, pool: &Pool) -> Result<()> {
    client.set_nodelay(true)?;
    let mut client = acceptor.accept(client).await?;
    let mut buffer = Vec::new();
    while let Some(request) = read_message(&mut client, &mut buffer).await? {
        let answer = pool.ask(&request, from).await?;
        let connection = if request.closes { "close" } else { "keep-alive" };
        let head = format!(
            "{}\r\nServer: weir-cdn\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            answer.line,
            answer.body.len(),
        );
        client.write_all(&[head.as_bytes(), &answer.body].concat()).await?;
        client.flush().await?;
        if request.closes {
            break;
        }
    }
    client.shutdown().await?;
    Ok(())
}

/// Connections to the server that whoever asks next may use.
struct Pool {
    clients: Vec<Client>,
    origin: SocketAddr,
    idle: Mutex<Vec<Connection>>,
    opened: AtomicUsize,
    room: Semaphore,
}

impl Pool {
    fn new(clients: Vec<Client>, origin: SocketAddr) -> Self {
        let (idle, opened) = (Mutex::default(), AtomicUsize::new(0));
        Self { clients, origin, idle, opened, room: Semaphore::new(CONNECTIONS) }
    }

    /// Asks for a client. A kept connection may be gone by now: then over a new one.
    async fn ask(&self, request: &Message, client: IpAddr) -> Result<Message> {
        let _place = self.room.acquire().await?;
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut connection) = kept
            && let Ok(answer) = connection.forward(request, client).await
        {
            self.keep(connection);
            return Ok(answer);
        }
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let edge = self.clients.get(number % self.clients.len().max(1));
        let mut connection = edge.context("a CDN without addresses")?.connect(self.origin).await?;
        let answer = connection.forward(request, client).await?;
        self.keep(connection);
        Ok(answer)
    }

    fn keep(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }
}
