//! A real server at the edge: HTTP/1.1 over TLS 1.3 and 1.2, on the ports of the shop and of the
//! interface for programs. It knows whom it served and who holds a connection open. Where a connection
//! begins with a PROXY header, that is whom the header names.

mod connection;
mod gate;
mod log;
mod proxied;
mod site;
mod visitors;

pub use gate::Gate;
pub use site::PASSWORD;
pub use visitors::Visitor;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::oneshot,
    time::sleep,
};
use tokio_rustls::rustls::ServerConfig;

use self::{connection::House, log::AccessLog, visitors::Visitors};
use crate::{
    net::{Family, Lab, PROTECTED_PORTS, runtime},
    tls::{self, Trust},
};

/// Half-open and unaccepted connections that the kernel keeps for a port.
const BACKLOG: u32 = 4096;

/// What a server does beside serving.
#[derive(Debug, Default)]
pub struct Duties {
    /// Notes every request in this file, one JSON object a line.
    pub log: Option<PathBuf>,
    /// Asks Weir before it answers.
    pub gate: Option<Gate>,
}

/// A running server. Dropping it ends every connection.
#[derive(Debug)]
pub struct Server {
    trust: Trust,
    config: Arc<ServerConfig>,
    visitors: Arc<Visitors>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

impl Server {
    /// Listens on every address of the edge; connections are accepted once this returns.
    pub fn start(lab: &Lab) -> Result<Self> {
        Self::start_with(lab, Duties::default())
    }

    /// The same with more to do.
    pub fn start_with(lab: &Lab, duties: Duties) -> Result<Self> {
        let (config, trust) = tls::server()?;
        let log = duties.log.as_deref().map(AccessLog::open).transpose()?.map(Arc::new);
        let gate = duties.gate.map(Arc::new);
        let house = House { config: Arc::clone(&config), log, gate };
        let visitors = Arc::new(Visitors::default());
        let addresses: Vec<SocketAddr> = lab
            .links()
            .iter()
            .flat_map(|link| [Family::V4, Family::V6].map(|family| link.server(family)))
            .flat_map(|address| PROTECTED_PORTS.map(|port| SocketAddr::new(address, port)))
            .collect();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let table = Arc::clone(&visitors);
        let thread = lab.edge().spawn("server", move || {
            let runtime = runtime()?;
            runtime.block_on(async {
                let listeners = addresses.iter().map(|address| listen(*address)).collect();
                let listeners: Vec<TcpListener> = match listeners {
                    Ok(listeners) => listeners,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                for listener in listeners {
                    tokio::spawn(accept(listener, house.clone(), Arc::clone(&table)));
                }
                // The starter may have given up; then the sender of `stopped` is gone as well.
                let _ = ready.send(Ok(()));
                let _ = stopped.await;
            });
            // Dropping the runtime drops every task and with it every connection.
            Ok(())
        })?;
        let server = Self { trust, config, visitors, stop: Some(stop), thread: Some(thread) };
        is_ready.blocking_recv().map_err(|_| anyhow!("the server's thread died"))??;
        Ok(server)
    }

    /// The certificate that clients are to trust.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// How it shows its certificate, for a CDN that answers in its name.
    pub(crate) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// What the server knows of one client address.
    #[must_use]
    pub fn visitor(&self, address: IpAddr) -> Visitor {
        self.visitors.of(address)
    }

    /// Everyone who ever connected.
    #[must_use]
    pub fn visitors(&self) -> Vec<(IpAddr, Visitor)> {
        self.visitors.all()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("cannot bind the server to {address}"))?;
    socket.listen(BACKLOG).with_context(|| format!("cannot listen on {address}"))
}

async fn accept(listener: TcpListener, house: House, visitors: Arc<Visitors>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let visit = visitors.arrive(peer.ip());
                tokio::spawn(connection::serve(stream, peer, house.clone(), visit));
            }
            // Out of descriptors or aborted before it was accepted: the next one may do.
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}
