//! A load balancer between clients and the server: it takes connections at an address of its own on
//! the clients' side, opens one to the server for each, and says with a PROXY header who the client
//! is (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

use std::{
    net::{IpAddr, SocketAddr},
    thread::JoinHandle,
};

use anyhow::{Context, Result, anyhow, bail};
use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
};

use crate::net::{Lab, runtime};

/// What a header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, a connection that is somebody else's.
const PROXIED: u8 = 0x21;

/// How the header is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// A running balancer. Dropping it ends every connection through it.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Balancer {
    /// Takes connections at `address`, which must be one of the clients' side, and relays them to
    /// `server`, which must be of the same family.
    pub fn start(
        lab: &Lab,
        address: IpAddr,
        server: SocketAddr,
        version: ProxyVersion,
    ) -> Result<Self> {
        let address = SocketAddr::new(address, server.port());
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let thread = lab.clients().spawn("balancer", move || {
            // The starter may have given up; then nobody is left to tell.
            let Ok(runtime) = runtime() else { return };
            runtime.block_on(async {
                match TcpListener::bind(address).await {
                    Ok(listener) => {
                        tokio::spawn(accept(listener, address.ip(), server, version));
                        let _ = ready.send(Ok(()));
                        let _ = stopped.await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            });
        })?;
        let balancer = Self { address, stop: Some(stop), thread: Some(thread) };
        is_ready
            .blocking_recv()
            .map_err(|_| anyhow!("the balancer's thread died"))?
            .with_context(|| format!("cannot listen on {address}"))?;
        Ok(balancer)
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, own: IpAddr, server: SocketAddr, version: ProxyVersion) {
    while let Ok((client, peer)) = listener.accept().await {
        // What goes wrong on either side ends both, which the client notices.
        tokio::spawn(async move { relay(client, peer, own, server, version).await });
    }
}

async fn relay(
    mut client: TcpStream,
    peer: SocketAddr,
    own: IpAddr,
    server: SocketAddr,
    version: ProxyVersion,
) -> Result<()> {
    let socket = if own.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(own, 0))?;
    let mut upstream = socket.connect(server).await?;
    upstream.set_nodelay(true)?;
    client.set_nodelay(true)?;
    upstream.write_all(&header(version, peer, server)?).await?;
    copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

/// The header that says that a connection to `server` is `client`'s.
fn header(version: ProxyVersion, client: SocketAddr, server: SocketAddr) -> Result<Vec<u8>> {
    if version == ProxyVersion::V1 {
        let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (client.ip(), server.ip());
        let (from_port, to_port) = (client.port(), server.port());
        return Ok(format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes());
    }
    let (family, addresses) = match (client.ip(), server.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (0x11, [from.octets(), to.octets()].concat()),
        (IpAddr::V6(from), IpAddr::V6(to)) => (0x21, [from.octets(), to.octets()].concat()),
        _ => bail!("{client} and {server} are of two families"),
    };
    let length = (addresses.len() + 4) as u16;
    let mut header = SIGNATURE.to_vec();
    header.extend([PROXIED, family]);
    header.extend(length.to_be_bytes());
    header.extend(addresses);
    header.extend(client.port().to_be_bytes());
    header.extend(server.port().to_be_bytes());
    Ok(header)
}
