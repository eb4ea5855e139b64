//! One connection, from its handshake to its end. The server waits for a request as long as the
//! client likes: a slow client costs it a connection, which is what such clients are after.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context, Result};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{
    LazyConfigAcceptor,
    rustls::{HandshakeKind, ServerConfig, server::Acceptor},
};

use super::{
    gate::Gate,
    log::{AccessLog, Line},
    proxied,
    site::{self, FILLER},
    visitors::Visit,
};
use crate::http::read_message;

/// A client that has not finished its TLS handshake by then is gone.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);

/// What all connections share.
#[derive(Clone, Debug)]
pub(super) struct House {
    /// The certificate and how it is shown.
    pub(super) config: Arc<ServerConfig>,
    /// Where requests are noted.
    pub(super) log: Option<Arc<AccessLog>>,
    /// Who is asked before a request is answered.
    pub(super) gate: Option<Arc<Gate>>,
}

/// Serves a connection until either side ends it. What goes wrong is the client's to notice.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, house: House, visit: Visit) {
    let _ = converse(stream, peer, house, visit).await;
}

async fn converse(
    mut stream: TcpStream,
    mut peer: SocketAddr,
    house: House,
    mut visit: Visit,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    if let Some(client) = timeout(HANDSHAKE, proxied::client(&mut stream)).await?? {
        visit = visit.of(client.ip());
        peer = client;
    }
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let hello = timeout(HANDSHAKE, hello).await??;
    visit.greeted();
    let mut stream = timeout(HANDSHAKE, hello.into_stream(house.config)).await??;
    if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
        visit.resumed();
    }
    let mut buffer = Vec::new();
    while let Some(request) = read_message(&mut stream, &mut buffer).await? {
        visit.asked();
        let mut words = request.line.split(' ');
        let method = words.next().context("a request without a method")?;
        let path = words.next().context("a request without a path")?;
        let refused = match &house.gate {
            Some(gate) => gate.refuses(peer.ip(), &request).await,
            None => None,
        };
        let answer = refused.unwrap_or_else(|| site::answer(method, path, &request.body));
        sleep(answer.after).await;
        let connection = if request.closes { "close" } else { "keep-alive" };
        let mut message = format!(
            "HTTP/1.1 {}\r\nServer: weir-lab\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
             Connection: {connection}\r\n\r\n",
            answer.status, answer.kind, answer.length,
        )
        .into_bytes();
        message.extend_from_slice(FILLER.get(..answer.length).unwrap_or(&FILLER));
        stream.write_all(&message).await?;
        stream.flush().await?;
        if let Some(log) = &house.log {
            log.note(&Line { peer, local, request: &request, method, path, answer: &answer })?;
        }
        if request.closes {
            break;
        }
    }
    stream.shutdown().await?;
    Ok(())
}
